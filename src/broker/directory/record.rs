//! What does the directory tell about an app, a key or a user?
//!
//! Plain data as a list, a page or a JSON document shows it; no secret is in
//! any of it, except in [`Created`], which is seen once.

use std::fmt::Write;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::DirectoryError;
use crate::broker::origin::Origins;
use crate::broker::registration::{
    AppRegistration, Authentication, KeyRegistration, Membership, UserRegistration,
};
use crate::broker::registry::{ServiceAccount, Snapshot};
use crate::broker::terms::Terms;
use crate::credential::Secret;
use crate::signer::PublicKey;

/// An enterprise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Enterprise {
    /// The ID, in decimal digits.
    pub id: String,
    /// The name.
    pub name: String,
}

/// Somebody who decides over apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Administrator {
    /// The login, to which notices go.
    pub login: String,
    /// The enterprise.
    pub enterprise_id: String,
}

/// An app as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppRecord {
    /// The client ID.
    pub client_id: String,
    /// The name, unique whatever its case.
    pub name: String,
    /// The enterprise.
    pub enterprise_id: String,
    /// How it authenticates, which never changes.
    pub authentication: Authentication,
    /// When it was created, in seconds since the Unix epoch.
    pub created_at_s: u64,
    /// How far its authorization is.
    pub status: Status,
    /// Is it switched on?
    pub is_enabled: bool,
    /// What the developer asks for.
    pub edited: Terms,
    /// What an administrator approved, which is what tokens go by.
    pub approved: Option<Terms>,
    /// The web pages that may ask for tokens; effective at once.
    #[serde(serialize_with = "as_list")]
    pub cors: Origins,
    /// The public keys.
    pub keys: Vec<KeyRecord>,
    /// What enterprise tokens act as; it comes into being with the first
    /// authorization.
    pub service_account: Option<ServiceAccount>,
}

/// A public key of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyRecord {
    /// The key ID.
    pub kid: String,
    /// The size of the modulus.
    pub bits: usize,
    /// The SHA-256 of the SPKI structure, in hex.
    pub sha256: String,
    /// When it was added, in seconds since the Unix epoch.
    pub added_at_s: u64,
    /// The key in PEM.
    pub public_key: String,
}

/// How far the authorization of an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody was asked.
    NotSubmitted,
    /// An administrator was asked.
    Submitted,
    /// An administrator said no.
    Declined,
    /// Approved as it is.
    Authorized,
    /// Approved, and edited since.
    ReauthorizationRequired,
    /// Approved, edited, and an administrator was asked again.
    ReauthorizationSubmitted,
}

/// A user as registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserRecord {
    /// The user ID.
    pub id: String,
    /// The name.
    pub name: String,
    /// The login.
    pub login: String,
    /// The enterprise of a managed user.
    pub enterprise_id: Option<String>,
    /// The client ID of the app that an app user belongs to.
    pub client_id: Option<String>,
}

/// A message to an administrator, as mail would carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Counts up.
    pub number: u64,
    /// When it was written, in seconds since the Unix epoch.
    pub at_s: u64,
    /// The login of the recipient.
    pub recipient: String,
    /// The app that it is about.
    pub client_id: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
}

/// An app that was just created.
#[derive(Debug)]
pub struct Created {
    /// The app.
    pub app: AppRecord,
    /// Its client secret.
    pub client_secret: Secret,
}

impl Status {
    /// Says it in words, with which a sentence goes on.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotSubmitted => "not submitted for authorization",
            Self::Submitted => "waiting for authorization",
            Self::Declined => "declined",
            Self::Authorized => "authorized",
            Self::ReauthorizationRequired => "authorized, re-authorization required",
            Self::ReauthorizationSubmitted => "authorized, waiting for re-authorization",
        }
    }
}

impl UserRecord {
    /// Describes the user to a snapshot.
    #[must_use]
    pub fn registration(&self) -> UserRegistration {
        let membership = match (&self.enterprise_id, &self.client_id) {
            (_, Some(client_id)) => Membership::App {
                client_id: client_id.clone(),
            },
            (enterprise_id, None) => Membership::Managed {
                enterprise_id: enterprise_id.clone().unwrap_or_default(),
            },
        };
        UserRegistration {
            id: self.id.clone(),
            name: self.name.clone(),
            login: self.login.clone(),
            membership,
        }
    }
}

/// A row of the table of apps.
pub(super) struct AppRow {
    pub(super) number: i64,
    pub(super) client_id: String,
    pub(super) client_secret: Zeroizing<String>,
    pub(super) name: String,
    pub(super) enterprise_id: String,
    pub(super) authentication: Authentication,
    pub(super) created_at_s: u64,
    pub(super) edited: Terms,
    pub(super) approved: Option<Terms>,
    pub(super) review: String,
    pub(super) is_enabled: bool,
    pub(super) origins: Origins,
}

const APP: &str = "SELECT number, client_id, client_secret, name, enterprise_id, created_at_s, \
    edited, approved, review, is_enabled, origins, authentication FROM app";

/// Finds an app by its client ID or its name.
pub(super) fn app(connection: &Connection, called: &str) -> Result<AppRow, DirectoryError> {
    connection
        .prepare(&format!("{APP} WHERE client_id = ?1 OR name = ?1"))?
        .query_row([called], |row| Ok(read_app(row)))
        .optional()?
        .ok_or_else(|| DirectoryError::Unknown {
            what: "app",
            name: called.to_owned(),
        })?
}

/// Lists the apps, in the order of their creation.
fn apps(connection: &Connection) -> Result<Vec<AppRow>, DirectoryError> {
    connection
        .prepare(&format!("{APP} ORDER BY number"))?
        .query_map((), |row| Ok(read_app(row)))?
        .collect::<Result<Result<Vec<_>, _>, _>>()?
}

/// Lists the keys of an app, oldest first.
fn keys(
    connection: &Connection,
    app: i64,
) -> Result<Vec<(KeyRecord, KeyRegistration)>, DirectoryError> {
    let mut statement = connection.prepare(
        "SELECT kid, pem, allow_small_exponent, added_at_s FROM app_key WHERE app = ?1 \
         ORDER BY added_at_s, rowid",
    )?;
    let rows = statement.query_map([app], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    rows.map(|row| {
        let (kid, pem, allow_small_exponent, added_at_s): (String, String, _, _) = row?;
        let public_key = PublicKey::from_pem(&pem).map_err(|_| unreadable("a key", &pem))?;
        let record = KeyRecord {
            kid: kid.clone(),
            bits: public_key.bits(),
            sha256: hex(&public_key.fingerprint()),
            added_at_s,
            public_key: pem,
        };
        let registration = KeyRegistration {
            allow_small_exponent,
            ..KeyRegistration::new(kid, public_key)
        };
        Ok((record, registration))
    })
    .collect()
}

/// Lists the users, in the order of their registration.
pub(super) fn users(connection: &Connection) -> Result<Vec<UserRecord>, DirectoryError> {
    let mut statement = connection
        .prepare("SELECT id, name, login, enterprise_id, client_id FROM person ORDER BY rowid")?;
    let rows = statement.query_map((), |row| {
        Ok(UserRecord {
            id: row.get(0)?,
            name: row.get(1)?,
            login: row.get(2)?,
            enterprise_id: row.get(3)?,
            client_id: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Describes all apps to a snapshot, with the terms as edited beside.
pub(super) fn registrations(
    connection: &Connection,
) -> Result<Vec<(AppRegistration, Terms)>, DirectoryError> {
    apps(connection)?
        .into_iter()
        .map(|row| {
            let keys = keys(connection, row.number)?;
            let served = row.approved.unwrap_or(row.edited);
            let registration = AppRegistration {
                keys: keys.into_iter().map(|(_, key)| key).collect(),
                authentication: row.authentication,
                access: served.access,
                user_tokens: served.user_tokens,
                as_user: served.as_user,
                scopes: served.scopes,
                origins: row.origins,
                authorized: row.approved.is_some(),
                enabled: row.is_enabled,
                client_id: row.client_id,
                client_secret: row.client_secret,
                enterprise_id: row.enterprise_id,
            };
            Ok((registration, row.edited))
        })
        .collect()
}

impl AppRow {
    pub(super) fn status(&self) -> Status {
        let is_submitted = self.review == "submitted";
        match self.approved {
            None if is_submitted => Status::Submitted,
            None if self.review == "declined" => Status::Declined,
            None => Status::NotSubmitted,
            Some(approved) if approved == self.edited => Status::Authorized,
            Some(_) if is_submitted => Status::ReauthorizationSubmitted,
            Some(_) => Status::ReauthorizationRequired,
        }
    }

    /// Tells everything that may be told.
    pub(super) fn record(self, connection: &Connection) -> Result<AppRecord, DirectoryError> {
        let mut snapshot = Snapshot::default();
        if self.approved.is_some() {
            super::fill(connection, &mut snapshot)?;
        }
        self.record_with(connection, &snapshot)
    }

    /// Tells everything that may be told; service accounts are as every
    /// snapshot makes them.
    fn record_with(
        self,
        connection: &Connection,
        snapshot: &Snapshot,
    ) -> Result<AppRecord, DirectoryError> {
        let service_account = self
            .approved
            .and_then(|_| snapshot.app(&self.client_id))
            .map(|app| app.service_account().clone());
        Ok(AppRecord {
            keys: keys(connection, self.number)?
                .into_iter()
                .map(|(record, _)| record)
                .collect(),
            status: self.status(),
            service_account,
            client_id: self.client_id,
            name: self.name,
            enterprise_id: self.enterprise_id,
            authentication: self.authentication,
            created_at_s: self.created_at_s,
            is_enabled: self.is_enabled,
            edited: self.edited,
            approved: self.approved,
            cors: self.origins,
        })
    }
}

/// Lists what may be told of all apps, in the order of their creation.
pub(super) fn records(connection: &Connection) -> Result<Vec<AppRecord>, DirectoryError> {
    let mut snapshot = Snapshot::default();
    super::fill(connection, &mut snapshot)?;
    let apps = apps(connection)?.into_iter();
    apps.map(|app| app.record_with(connection, &snapshot))
        .collect()
}

fn read_app(row: &Row<'_>) -> Result<AppRow, DirectoryError> {
    let edited: String = row.get(6)?;
    let approved: Option<String> = row.get(7)?;
    let origins: String = row.get(10)?;
    let terms =
        |text: String| serde_json::from_str::<Terms>(&text).map_err(|_| unreadable("terms", &text));
    Ok(AppRow {
        number: row.get(0)?,
        client_id: row.get(1)?,
        client_secret: Zeroizing::new(row.get(2)?),
        name: row.get(3)?,
        enterprise_id: row.get(4)?,
        authentication: match row.get::<_, String>(11)?.as_str() {
            "jwt" => Authentication::Jwt,
            _ => Authentication::ClientCredentials,
        },
        created_at_s: row.get(5)?,
        edited: terms(edited)?,
        approved: approved.map(terms).transpose()?,
        review: row.get(8)?,
        is_enabled: row.get(9)?,
        origins: origins
            .parse()
            .map_err(|_| unreadable("CORS domains", &origins))?,
    })
}

fn unreadable(what: &'static str, value: &str) -> DirectoryError {
    DirectoryError::Row {
        what,
        value: value.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn as_list<S: Serializer>(origins: &Origins, serializer: S) -> Result<S::Ok, S::Error> {
    let text = origins.to_string();
    serializer.collect_seq(text.split(',').filter(|one| !one.is_empty()))
}
