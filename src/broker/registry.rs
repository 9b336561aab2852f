//! Which apps and users does the broker know?
//!
//! The registry is an immutable snapshot that writers replace as a whole, so
//! that a request reads it without a lock and sees one state throughout. It
//! keeps, per app, the terms that an administrator approved apart from those
//! that a developer edits: tokens are served from the approved ones.
//!
//! Invariants: an app's number never changes and is never given to another
//! app; every key has passed [`VerifyingKey::admit`]; of a client secret only
//! its SHA-256 is kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use serde::Serialize;

use super::admission::{AdmissionError, VerifyingKey};
use super::origin::Origins;
use super::registration::{AppRegistration, Authentication, Membership, UserRegistration};
use super::terms::Terms;

/// The apps and users that a broker knows.
pub struct Registry {
    current: ArcSwap<Snapshot>,
    /// Held by whoever prepares the next snapshot; never by a request.
    writer: Mutex<()>,
}

/// One state of the registry.
#[derive(Clone, Default)]
pub struct Snapshot {
    apps: Vec<Arc<App>>,
    by_client: HashMap<String, u32>,
    service_accounts: HashSet<String>,
    users: HashMap<String, Arc<UserRegistration>>,
}

/// A registered app.
#[derive(Clone)]
pub struct App {
    number: u32,
    client_id: String,
    secret_sha256: [u8; 32],
    enterprise_id: String,
    keys: Vec<Arc<VerifyingKey>>,
    edited: Terms,
    approved: Option<Terms>,
    is_enabled: bool,
    authentication: Authentication,
    origins: Origins,
    service_account: ServiceAccount,
}

/// The account that an enterprise token acts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceAccount {
    /// The user ID.
    pub id: String,
    /// The login.
    pub login: String,
}

/// Why an app or a user is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The client ID is empty, too long, or holds other characters.
    #[error("the client ID {0:?} is not 1 to 128 letters, digits, dots, dashes and underscores")]
    ClientId(String),
    /// The client secret is empty.
    #[error("the client secret of {0:?} is empty")]
    Secret(String),
    /// An ID is not a number.
    #[error("the {what} {id:?} is not a number of 1 to 20 digits that begins with 1 to 9")]
    Id {
        /// What the ID is of.
        what: &'static str,
        /// The ID.
        id: String,
    },
    /// Something of that name is there already.
    #[error("the {what} {name:?} is registered already")]
    Duplicate {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing of that name is there.
    #[error("no app has the client ID {0:?}")]
    UnknownApp(String),
    /// A key is not fit.
    #[error("the key {kid:?} of {client_id:?} is refused")]
    Key {
        /// The key ID.
        kid: String,
        /// The app's client ID.
        client_id: String,
        /// What is wrong with it.
        source: AdmissionError,
    },
    /// There are too many apps.
    #[error("there are more than 2^32 apps")]
    TooManyApps,
}

impl Registry {
    /// Makes a registry of apps and users.
    ///
    /// # Errors
    ///
    /// The first registration that cannot be used.
    pub fn new(
        apps: &[AppRegistration],
        users: &[UserRegistration],
    ) -> Result<Self, RegistryError> {
        let registry = Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            writer: Mutex::new(()),
        };
        registry.edit(|next| {
            for app in apps {
                next.add_app(app)?;
            }
            for user in users {
                next.add_user(user)?;
            }
            Ok(())
        })?;
        Ok(registry)
    }

    /// Replaces the whole state. Numbers of apps must not change.
    pub(super) fn replace(&self, next: Snapshot) {
        let _one_at_a_time = self.writer.lock();
        self.current.store(Arc::new(next));
    }

    /// Returns the current state, without a lock.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Replaces the state by one that `edit` makes of a copy, or leaves it
    /// alone if `edit` fails.
    ///
    /// # Errors
    ///
    /// Those of `edit`.
    pub fn edit<T>(
        &self,
        edit: impl FnOnce(&mut Snapshot) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let _one_at_a_time = self.writer.lock();
        let mut next = Snapshot::clone(&self.current.load());
        let outcome = edit(&mut next)?;
        self.current.store(Arc::new(next));
        Ok(outcome)
    }
}

impl Snapshot {
    /// Finds an app by its client ID.
    #[must_use]
    pub fn app(&self, client_id: &str) -> Option<&App> {
        self.app_by_number(*self.by_client.get(client_id)?)
    }

    /// Finds an app by its number.
    #[must_use]
    pub fn app_by_number(&self, number: u32) -> Option<&App> {
        self.apps
            .get(usize::try_from(number).ok()?)
            .map(Arc::as_ref)
    }

    /// Finds a user by ID; service accounts are not among them.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<&UserRegistration> {
        self.users.get(id).map(Arc::as_ref)
    }

    /// Lists the apps, in the order of their numbers.
    pub fn apps(&self) -> impl Iterator<Item = &App> {
        self.apps.iter().map(Arc::as_ref)
    }

    /// Registers an app.
    ///
    /// # Errors
    ///
    /// Something about the app cannot be used, or its client ID is taken.
    pub fn add_app(&mut self, app: &AppRegistration) -> Result<(), RegistryError> {
        let client_id = app.client_id.clone();
        if !is_client_id(&client_id) {
            return Err(RegistryError::ClientId(client_id));
        }
        if app.client_secret.is_empty() {
            return Err(RegistryError::Secret(client_id));
        }
        check_id("enterprise ID", &app.enterprise_id)?;
        if self.by_client.contains_key(&client_id) {
            return Err(duplicate("client ID", &client_id));
        }
        let keys = admit_keys(app)?;
        let edited = app.terms();
        let number = u32::try_from(self.apps.len()).map_err(|_| RegistryError::TooManyApps)?;
        let service_account = self.new_service_account(&client_id);
        self.service_accounts.insert(service_account.id.clone());
        self.apps.push(Arc::new(App {
            number,
            secret_sha256: sha256(app.client_secret.as_bytes()),
            enterprise_id: app.enterprise_id.clone(),
            keys,
            edited,
            approved: app.authorized.then_some(edited),
            is_enabled: app.enabled,
            authentication: app.authentication,
            origins: app.origins.clone(),
            service_account,
            client_id: client_id.clone(),
        }));
        self.by_client.insert(client_id, number);
        Ok(())
    }

    /// Registers a user.
    ///
    /// # Errors
    ///
    /// The ID is no number or taken, or the user's app is not registered.
    pub fn add_user(&mut self, user: &UserRegistration) -> Result<(), RegistryError> {
        check_id("user ID", &user.id)?;
        match &user.membership {
            Membership::Managed { enterprise_id } => check_id("enterprise ID", enterprise_id)?,
            Membership::App { client_id } => {
                if !self.by_client.contains_key(client_id) {
                    return Err(RegistryError::UnknownApp(client_id.clone()));
                }
            }
        }
        if self.is_taken(&user.id) {
            return Err(duplicate("user ID", &user.id));
        }
        self.users.insert(user.id.clone(), Arc::new(user.clone()));
        Ok(())
    }

    /// Has an administrator approve the app as it is now, or withdraw that.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn set_authorized(&mut self, client_id: &str, to: bool) -> Result<(), RegistryError> {
        let app = self.app_mut(client_id)?;
        app.approved = to.then_some(app.edited);
        Ok(())
    }

    /// Switches an app on or off.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn set_enabled(&mut self, client_id: &str, to: bool) -> Result<(), RegistryError> {
        self.app_mut(client_id)?.is_enabled = to;
        Ok(())
    }

    /// Edits what an app may do; tokens follow once it is authorized again.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn set_terms(&mut self, client_id: &str, terms: Terms) -> Result<(), RegistryError> {
        self.app_mut(client_id)?.edited = terms;
        Ok(())
    }

    /// Replaces the keys of an app by those that `app` has now.
    ///
    /// # Errors
    ///
    /// There is no such app, or a key is not fit.
    pub fn set_keys(&mut self, app: &AppRegistration) -> Result<(), RegistryError> {
        let keys = admit_keys(app)?;
        self.app_mut(&app.client_id)?.keys = keys;
        Ok(())
    }

    fn app_mut(&mut self, client_id: &str) -> Result<&mut App, RegistryError> {
        self.by_client
            .get(client_id)
            .and_then(|number| usize::try_from(*number).ok())
            .and_then(|index| self.apps.get_mut(index))
            .map(Arc::make_mut)
            .ok_or_else(|| RegistryError::UnknownApp(client_id.to_owned()))
    }

    /// Makes the service account of an app, whose ID depends on the client ID
    /// only, unless a user has it.
    fn new_service_account(&self, client_id: &str) -> ServiceAccount {
        const FIRST: u64 = 10_000_000_000;
        let hash = sha256(client_id.as_bytes());
        let (head, rest) = hash.split_at(8);
        let number_of = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let mut number = FIRST + number_of(head) % (8 * FIRST);
        while self.is_taken(&number.to_string()) {
            number += 1;
        }
        let tail = number_of(&rest[..4]);
        ServiceAccount {
            id: number.to_string(),
            login: format!("AutomationUser_{number}_{tail:010}@boxdevedition.com"),
        }
    }

    fn is_taken(&self, id: &str) -> bool {
        self.users.contains_key(id) || self.service_accounts.contains(id)
    }
}

impl App {
    /// Returns the number by which tokens name the app.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the client ID.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the ID of the enterprise.
    #[must_use]
    pub fn enterprise_id(&self) -> &str {
        &self.enterprise_id
    }

    /// Returns the public keys.
    #[must_use]
    pub fn keys(&self) -> &[Arc<VerifyingKey>] {
        &self.keys
    }

    /// Returns the account that enterprise tokens act as.
    #[must_use]
    pub fn service_account(&self) -> &ServiceAccount {
        &self.service_account
    }

    /// Returns the terms under which tokens are served: those that were
    /// approved, if the app is switched on.
    #[must_use]
    pub fn terms(&self) -> Option<Terms> {
        self.approved.filter(|_| self.is_enabled)
    }

    /// Returns how the app authenticates.
    #[must_use]
    pub fn authentication(&self) -> Authentication {
        self.authentication
    }

    /// Returns the web pages that may ask for tokens.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Was the app edited since an administrator approved it?
    #[must_use]
    pub fn needs_reauthorization(&self) -> bool {
        self.approved
            .is_some_and(|approved| approved != self.edited)
    }

    /// Is this the client secret? Takes the same time whatever the answer.
    #[must_use]
    pub fn has_secret(&self, secret: &str) -> bool {
        let given = sha256(secret.as_bytes());
        constant_time::verify_slices_are_equal(&given, &self.secret_sha256).is_ok()
    }
}

fn admit_keys(app: &AppRegistration) -> Result<Vec<Arc<VerifyingKey>>, RegistryError> {
    let mut keys: Vec<Arc<VerifyingKey>> = Vec::with_capacity(app.keys.len());
    for key in &app.keys {
        if keys.iter().any(|seen| seen.kid() == key.kid) {
            return Err(duplicate("key ID", &key.kid));
        }
        let admitted = VerifyingKey::admit(key).map_err(|source| RegistryError::Key {
            kid: key.kid.clone(),
            client_id: app.client_id.clone(),
            source,
        })?;
        keys.push(Arc::new(admitted));
    }
    Ok(keys)
}

fn duplicate(what: &'static str, name: &str) -> RegistryError {
    RegistryError::Duplicate {
        what,
        name: name.to_owned(),
    }
}

fn is_client_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn check_id(what: &'static str, id: &str) -> Result<(), RegistryError> {
    let is_number = (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !id.starts_with('0') {
        Ok(())
    } else {
        Err(RegistryError::Id {
            what,
            id: id.to_owned(),
        })
    }
}

/// Hashes a secret, so that it is compared by its hash.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests;
