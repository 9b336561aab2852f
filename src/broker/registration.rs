//! What has to be said about an app or a user to register it?
//!
//! Plain data, filled in by a configuration file, by flags or by a test, and
//! judged by [`super::registry`]. Nothing here is checked.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::origin::Origins;
use super::terms::{Scopes, Terms};
use crate::signer::{Algorithm, PublicKey};

/// The algorithms that the provider accepts for an app's keys.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512];

/// An app as it is registered.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own in the console"
)]
pub struct AppRegistration {
    /// The client ID: the assertion's `iss` and the form's `client_id`.
    pub client_id: String,
    /// The client secret. The registry keeps its SHA-256 only.
    pub client_secret: Zeroizing<String>,
    /// The enterprise in which the app is authorized, in decimal digits.
    pub enterprise_id: String,
    /// The public keys, any of which may sign.
    pub keys: Vec<KeyRegistration>,
    /// How the app was created to authenticate, which never changes.
    pub authentication: Authentication,
    /// Whose tokens the app may ask for.
    pub access: Access,
    /// Is the feature "generate user access tokens" on?
    pub user_tokens: bool,
    /// Is the feature "perform actions as users" on?
    pub as_user: bool,
    /// What tokens may be used for.
    pub scopes: Scopes,
    /// The web pages that may ask for tokens.
    pub origins: Origins,
    /// Has an administrator authorized the app as it is described here?
    pub authorized: bool,
    /// Is the app switched on?
    pub enabled: bool,
}

/// A public key of an app.
#[derive(Clone, Debug)]
pub struct KeyRegistration {
    /// The key ID, unique within the app: 1 to 64 letters, digits, dots,
    /// dashes and underscores.
    pub kid: String,
    /// The key: RSA with 2048 to 8192 bits.
    pub public_key: PublicKey,
    /// The algorithms that the key may be used with, of [`ALGORITHMS`].
    pub algorithms: Vec<Algorithm>,
    /// Is a public exponent other than 65537 accepted, 3 among them?
    pub allow_small_exponent: bool,
}

/// How an app authenticates: the console offers one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Server authentication: a signed assertion is the grant.
    #[default]
    Jwt,
    /// The client's own credentials are the grant.
    ClientCredentials,
}

/// The users that an app may act for, if user tokens are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// The service account and the app's own users.
    #[default]
    App,
    /// The managed users of the enterprise as well.
    AppAndEnterprise,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRegistration {
    /// The user ID, in decimal digits.
    pub id: String,
    /// The name that `users/me` shows.
    pub name: String,
    /// The login that `users/me` shows.
    pub login: String,
    /// To whom the user belongs.
    pub membership: Membership,
}

/// To whom a user belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A person with an account in this enterprise.
    Managed {
        /// The enterprise ID.
        enterprise_id: String,
    },
    /// A user that exists for one app alone.
    App {
        /// The client ID of the app.
        client_id: String,
    },
}

impl AppRegistration {
    /// Describes an app that may do everything: authorized, enabled, with
    /// enterprise access and user tokens, and no key yet.
    #[must_use]
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<String>,
        enterprise_id: impl Into<String>,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: Zeroizing::new(client_secret.into()),
            enterprise_id: enterprise_id.into(),
            keys: Vec::new(),
            authentication: Authentication::Jwt,
            access: Access::AppAndEnterprise,
            user_tokens: true,
            as_user: true,
            scopes: Scopes::ALL,
            origins: Origins::default(),
            authorized: true,
            enabled: true,
        }
    }

    /// Returns what the app may do.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            access: self.access,
            user_tokens: self.user_tokens,
            as_user: self.as_user,
            scopes: self.scopes,
        }
    }

    /// Adds a key for all of [`ALGORITHMS`].
    #[must_use]
    pub fn with_key(mut self, kid: impl Into<String>, public_key: PublicKey) -> Self {
        self.keys.push(KeyRegistration::new(kid, public_key));
        self
    }
}

impl fmt::Debug for AppRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppRegistration")
            .field("client_id", &self.client_id)
            .field("enterprise_id", &self.enterprise_id)
            .field("keys", &self.keys)
            .field("access", &self.access)
            .field("user_tokens", &self.user_tokens)
            .field("as_user", &self.as_user)
            .field("scopes", &self.scopes)
            .field("origins", &self.origins)
            .field("authorized", &self.authorized)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl KeyRegistration {
    /// Describes a key for all of [`ALGORITHMS`], with the exponent 65537.
    #[must_use]
    pub fn new(kid: impl Into<String>, public_key: PublicKey) -> Self {
        Self {
            kid: kid.into(),
            public_key,
            algorithms: ALGORITHMS.to_vec(),
            allow_small_exponent: false,
        }
    }
}

impl UserRegistration {
    /// Describes a managed user of an enterprise.
    #[must_use]
    pub fn managed(id: impl Into<String>, enterprise_id: impl Into<String>) -> Self {
        let membership = Membership::Managed {
            enterprise_id: enterprise_id.into(),
        };
        Self::named(id.into(), membership)
    }

    /// Describes a user of one app.
    #[must_use]
    pub fn of_app(id: impl Into<String>, client_id: impl Into<String>) -> Self {
        let membership = Membership::App {
            client_id: client_id.into(),
        };
        Self::named(id.into(), membership)
    }

    fn named(id: String, membership: Membership) -> Self {
        Self {
            name: format!("User {id}"),
            login: format!("user{id}@example.com"),
            id,
            membership,
        }
    }
}
