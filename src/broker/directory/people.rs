//! Which enterprises, administrators and users are there?

use rusqlite::{Transaction, params};

use super::record::{self, Administrator, Enterprise, UserRecord};
use super::{Directory, DirectoryError};
use crate::clock::{Clock, SystemClock};
use crate::credential::generate;

/// A user to be registered.
#[derive(Clone, Debug, Default)]
pub struct NewUser<'a> {
    /// The ID, in decimal digits; drawn if not given.
    pub id: Option<&'a str>,
    /// The name; made of the ID if not given.
    pub name: Option<&'a str>,
    /// The login; made of the ID if not given.
    pub login: Option<&'a str>,
}

impl Directory {
    /// Registers an enterprise; the ID is drawn if it is not given.
    ///
    /// # Errors
    ///
    /// The ID is no number or taken.
    pub fn add_enterprise(
        &self,
        id: Option<&str>,
        name: &str,
    ) -> Result<Enterprise, DirectoryError> {
        self.change(|writing| insert_enterprise(writing, id, name))
    }

    /// Registers an enterprise together with its first administrator.
    ///
    /// # Errors
    ///
    /// Those of [`Self::add_enterprise`] and [`Self::add_administrator`].
    pub fn found_enterprise(
        &self,
        id: Option<&str>,
        name: &str,
        login: &str,
    ) -> Result<Enterprise, DirectoryError> {
        check_name("login", login)?;
        self.change(|writing| {
            let enterprise = insert_enterprise(writing, id, name)?;
            insert_administrator(writing, &enterprise.id, login)?;
            Ok(enterprise)
        })
    }

    /// Lists the enterprises, oldest first.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn enterprises(&self) -> Result<Vec<Enterprise>, DirectoryError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare("SELECT id, name FROM enterprise ORDER BY rowid")?;
        let rows = statement.query_map((), |row| {
            Ok(Enterprise {
                id: row.get(0)?,
                name: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Registers an administrator of an enterprise.
    ///
    /// # Errors
    ///
    /// The login is taken, or there is no such enterprise.
    pub fn add_administrator(
        &self,
        enterprise_id: &str,
        login: &str,
    ) -> Result<Administrator, DirectoryError> {
        check_name("login", login)?;
        self.change(|writing| insert_administrator(writing, enterprise_id, login))?;
        Ok(Administrator {
            login: login.to_owned(),
            enterprise_id: enterprise_id.to_owned(),
        })
    }

    /// Lists the administrators, oldest first.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn administrators(&self) -> Result<Vec<Administrator>, DirectoryError> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare("SELECT login, enterprise_id FROM administrator ORDER BY rowid")?;
        let rows = statement.query_map((), |row| {
            Ok(Administrator {
                login: row.get(0)?,
                enterprise_id: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Registers a managed user of an enterprise.
    ///
    /// # Errors
    ///
    /// The ID is no number or taken, or there is no such enterprise.
    pub fn add_managed_user(
        &self,
        enterprise_id: &str,
        user: &NewUser<'_>,
    ) -> Result<UserRecord, DirectoryError> {
        self.add_user(user, Some(enterprise_id), None)
    }

    /// Registers a user of an app, which is called by client ID or name.
    ///
    /// # Errors
    ///
    /// The ID is no number or taken, or there is no such app.
    pub fn add_app_user(
        &self,
        app: &str,
        user: &NewUser<'_>,
    ) -> Result<UserRecord, DirectoryError> {
        let app = self.app(app)?;
        self.add_user(user, None, Some(&app.client_id))
    }

    /// Lists the users, oldest first; service accounts are not among them.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn users(&self) -> Result<Vec<UserRecord>, DirectoryError> {
        record::users(&self.connection.lock())
    }

    fn add_user(
        &self,
        user: &NewUser<'_>,
        enterprise_id: Option<&str>,
        client_id: Option<&str>,
    ) -> Result<UserRecord, DirectoryError> {
        let id = drawn_unless(user.id)?;
        let made = |given: Option<&str>, made: String| given.map_or(made, str::to_owned);
        let record = UserRecord {
            name: made(user.name, format!("User {id}")),
            login: made(user.login, format!("user{id}@example.com")),
            enterprise_id: enterprise_id.map(str::to_owned),
            client_id: client_id.map(str::to_owned),
            id,
        };
        check_name("name", &record.name)?;
        check_name("login", &record.login)?;
        self.change(|writing| {
            writing
                .execute(
                    "INSERT INTO person (id, name, login, enterprise_id, client_id) \
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        record.id,
                        record.name,
                        record.login,
                        enterprise_id,
                        client_id
                    ],
                )
                .map_err(|error| missing("enterprise", enterprise_id.unwrap_or_default(), error))
                .map_err(|error| match error {
                    DirectoryError::Database(error) => taken("user ID", &record.id, error),
                    other => other,
                })?;
            Ok(())
        })?;
        Ok(record)
    }
}

fn insert_enterprise(
    writing: &Transaction<'_>,
    id: Option<&str>,
    name: &str,
) -> Result<Enterprise, DirectoryError> {
    check_name("name", name)?;
    let id = drawn_unless(id)?;
    writing
        .execute(
            "INSERT INTO enterprise (id, name) VALUES (?1, ?2)",
            params![id, name],
        )
        .map_err(|error| taken("enterprise", &id, error))?;
    Ok(Enterprise {
        id,
        name: name.to_owned(),
    })
}

fn insert_administrator(
    writing: &Transaction<'_>,
    enterprise_id: &str,
    login: &str,
) -> Result<(), DirectoryError> {
    writing
        .execute(
            "INSERT INTO administrator (login, enterprise_id) VALUES (?1, ?2)",
            params![login, enterprise_id],
        )
        .map_err(|error| missing("enterprise", enterprise_id, error))
        .map_err(|error| match error {
            DirectoryError::Database(error) => taken("administrator", login, error),
            other => other,
        })?;
    Ok(())
}

/// Returns the seconds since the Unix epoch.
pub(super) fn now_s() -> i64 {
    i64::try_from(SystemClock::new().unix().as_secs()).unwrap_or(i64::MAX)
}

/// Refuses what could not be shown in a line.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), DirectoryError> {
    let is_name = (1..=120).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if is_name {
        return Ok(());
    }
    Err(DirectoryError::Name {
        what,
        name: name.to_owned(),
    })
}

fn drawn_unless(id: Option<&str>) -> Result<String, DirectoryError> {
    let Some(id) = id else {
        return Ok(generate::decimal_id()?);
    };
    let is_number = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !id.starts_with('0') {
        return Ok(id.to_owned());
    }
    Err(crate::broker::registry::RegistryError::Id {
        what: "ID",
        id: id.to_owned(),
    }
    .into())
}

/// Says what is taken, if that is what the database complains of.
fn taken(what: &'static str, name: &str, error: rusqlite::Error) -> DirectoryError {
    if extended(&error) == Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) {
        return DirectoryError::Taken {
            what,
            name: name.to_owned(),
        };
    }
    error.into()
}

/// Says what is not there, if that is what the database complains of.
fn missing(what: &'static str, name: &str, error: rusqlite::Error) -> DirectoryError {
    if extended(&error) == Some(rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
        return DirectoryError::Unknown {
            what,
            name: name.to_owned(),
        };
    }
    error.into()
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => Some(failure.extended_code),
        _ => None,
    }
}
