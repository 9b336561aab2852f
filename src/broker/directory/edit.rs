//! What may a developer do to an app?
//!
//! Create it, give it keys and take them away, edit its terms and its CORS
//! domains. Terms wait for an administrator; keys and CORS domains count at
//! once.

use rusqlite::{Connection, params};

use super::people::{check_name, now_s};
use super::record::{self, AppRecord, AppRow, Created};
use super::{Directory, DirectoryError};
use crate::broker::admission::VerifyingKey;
use crate::broker::origin::Origins;
use crate::broker::registration::{Authentication, KeyRegistration};
use crate::broker::terms::Terms;
use crate::credential::generate::{self, RsaBits};
use crate::credential::{AppConfig, Sealing, Secret, seal};
use crate::signer::{PrivateKey, PublicKey};

impl Directory {
    /// Creates a custom app, which may do nothing until an administrator has
    /// authorized it.
    ///
    /// # Errors
    ///
    /// The name is taken or none, or there is no such enterprise.
    pub fn create_app(
        &self,
        name: &str,
        enterprise_id: &str,
        authentication: Authentication,
    ) -> Result<Created, DirectoryError> {
        check_name("name", name)?;
        let (client_id, client_secret) = (generate::client_id()?, generate::client_secret()?);
        let edited = written(Terms::NEW);
        let app = self.change(|writing| {
            let count =
                |sql, value: &str| writing.query_row(sql, [value], |row| row.get::<_, i64>(0));
            if count(
                "SELECT count(*) FROM enterprise WHERE id = ?1",
                enterprise_id,
            )? == 0
            {
                return Err(DirectoryError::Unknown {
                    what: "enterprise",
                    name: enterprise_id.to_owned(),
                });
            }
            // An app is called by its name or its client ID.
            if count(
                "SELECT count(*) FROM app WHERE name = ?1 OR client_id = ?1",
                name,
            )? > 0
            {
                return Err(DirectoryError::Taken {
                    what: "name",
                    name: name.to_owned(),
                });
            }
            writing.execute(
                "INSERT INTO app (client_id, client_secret, name, enterprise_id, created_at_s, \
                 edited, authentication, review, is_enabled, origins) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'none', 1, '')",
                params![
                    client_id,
                    client_secret.expose(),
                    name,
                    enterprise_id,
                    now_s(),
                    edited,
                    match authentication {
                        Authentication::Jwt => "jwt",
                        Authentication::ClientCredentials => "client_credentials",
                    },
                ],
            )?;
            record::app(writing, &client_id)?.record(writing)
        })?;
        Ok(Created { app, client_secret })
    }

    /// Lists the apps, in the order of their creation.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn apps(&self) -> Result<Vec<AppRecord>, DirectoryError> {
        record::records(&self.connection.lock())
    }

    /// Finds an app by its client ID or its name.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn app(&self, called: &str) -> Result<AppRecord, DirectoryError> {
        let connection = self.connection.lock();
        record::app(&connection, called)?.record(&connection)
    }

    /// Generates a key pair, keeps the public half and hands out the app's
    /// configuration file with the private one, sealed as the provider's
    /// console seals it. It cannot be had again.
    ///
    /// # Errors
    ///
    /// There is no such app, or nothing can be generated.
    pub fn generate_key(&self, called: &str, bits: RsaBits) -> Result<AppConfig, DirectoryError> {
        let pkcs8 = generate::rsa_key(bits)?;
        let passphrase = generate::passphrase()?;
        let private_key = seal(&pkcs8, Sealing::CONSOLE, &passphrase)?;
        let failed = || generate::GenerateError::Key { bits: bits.bits() };
        let public_key = PrivateKey::from_pkcs8_der(&pkcs8)
            .ok()
            .and_then(|key| key.public_key().cloned())
            .ok_or_else(failed)?;
        self.change(|writing| {
            let app = record::app(writing, called)?;
            let kid = add_key(writing, &app, &public_key, false)?;
            Ok(AppConfig {
                client_id: app.client_id,
                client_secret: Secret::new(app.client_secret.to_string()),
                public_key_id: kid,
                private_key,
                passphrase: Some(passphrase),
                enterprise_id: Some(app.enterprise_id),
                user_id: None,
            })
        })
    }

    /// Adds a public key and returns the ID that it is given.
    ///
    /// # Errors
    ///
    /// There is no such app, the key is not fit, or the app has it already.
    pub fn add_key(
        &self,
        called: &str,
        key: &PublicKey,
        allow_small_exponent: bool,
    ) -> Result<String, DirectoryError> {
        self.change(|writing| {
            let app = record::app(writing, called)?;
            add_key(writing, &app, key, allow_small_exponent)
        })
    }

    /// Hands out the app's configuration file for a key whose private half
    /// the developer has, with that half left out.
    ///
    /// # Errors
    ///
    /// There is no such app or key.
    pub fn settings(&self, called: &str, kid: &str) -> Result<AppConfig, DirectoryError> {
        let connection = self.connection.lock();
        let app = record::app(&connection, called)?;
        let is_there = connection.query_row(
            "SELECT count(*) FROM app_key WHERE app = ?1 AND kid = ?2",
            params![app.number, kid],
            |row| row.get::<_, i64>(0),
        )? > 0;
        if !is_there {
            return Err(unknown_key(kid));
        }
        Ok(AppConfig {
            client_id: app.client_id,
            client_secret: Secret::new(app.client_secret.to_string()),
            public_key_id: kid.to_owned(),
            private_key: Secret::new(String::new()),
            passphrase: None,
            enterprise_id: Some(app.enterprise_id),
            user_id: None,
        })
    }

    /// Removes a key, by which no token is had any more.
    ///
    /// # Errors
    ///
    /// There is no such app or key.
    pub fn remove_key(&self, called: &str, kid: &str) -> Result<AppRecord, DirectoryError> {
        self.change(|writing| {
            let app = record::app(writing, called)?;
            let removed = writing.execute(
                "DELETE FROM app_key WHERE app = ?1 AND kid = ?2",
                params![app.number, kid],
            )?;
            if removed == 0 {
                return Err(unknown_key(kid));
            }
            app.record(writing)
        })
    }

    /// Edits what an app asks for; tokens follow once it is authorized again.
    ///
    /// # Errors
    ///
    /// There is no such app, or the terms contradict themselves.
    pub fn edit_terms(
        &self,
        called: &str,
        edit: impl FnOnce(&mut Terms),
    ) -> Result<AppRecord, DirectoryError> {
        self.change(|writing| {
            let app = record::app(writing, called)?;
            let mut terms = app.edited;
            edit(&mut terms);
            terms.check()?;
            if terms != app.edited {
                // What was submitted or declined was another wish.
                writing.execute(
                    "UPDATE app SET edited = ?1, review = 'none' WHERE number = ?2",
                    params![written(terms), app.number],
                )?;
            }
            record::app(writing, &app.client_id)?.record(writing)
        })
    }

    /// Sets the web pages that may ask for tokens, at once.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn set_origins(
        &self,
        called: &str,
        origins: &Origins,
    ) -> Result<AppRecord, DirectoryError> {
        self.change(|writing| {
            let app = record::app(writing, called)?;
            writing.execute(
                "UPDATE app SET origins = ?1 WHERE number = ?2",
                params![origins.to_string(), app.number],
            )?;
            record::app(writing, &app.client_id)?.record(writing)
        })
    }
}

fn unknown_key(kid: &str) -> DirectoryError {
    DirectoryError::Unknown {
        what: "key of the app",
        name: kid.to_owned(),
    }
}

/// Writes terms as the database keeps them.
pub(super) fn written(terms: Terms) -> String {
    serde_json::to_string(&terms).expect("terms are strings and booleans")
}

fn add_key(
    writing: &Connection,
    app: &AppRow,
    key: &PublicKey,
    allow_small_exponent: bool,
) -> Result<String, DirectoryError> {
    let kid = generate::key_id()?;
    VerifyingKey::admit(&KeyRegistration {
        allow_small_exponent,
        ..KeyRegistration::new(kid.as_str(), key.clone())
    })?;
    let pem = key.to_pem();
    let known: Option<String> = rusqlite::OptionalExtension::optional(writing.query_row(
        "SELECT kid FROM app_key WHERE app = ?1 AND pem = ?2",
        params![app.number, pem],
        |row| row.get(0),
    ))?;
    if let Some(kid) = known {
        return Err(DirectoryError::Taken {
            what: "public key, under the ID",
            name: kid,
        });
    }
    writing.execute(
        "INSERT INTO app_key (app, kid, pem, allow_small_exponent, added_at_s) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![app.number, kid, pem, allow_small_exponent, now_s()],
    )?;
    Ok(kid)
}
