//! What is the signed JWT that a token endpoint is shown?
//!
//! A [`Template`] says, as data, which members header and claims have. A
//! [`Builder`] is a template bound to one app and writes assertions into a
//! buffer that the caller reuses: no heap allocation in steady state. The
//! signature is a signer's; this module lays out what is signed (RFC 7515
//! §5.1, RFC 7519 §7.1) and gives each assertion a `jti` of its own.
//!
//! Nothing here decides when to sign or sends anything.

pub mod builder;
pub mod bulk;
pub mod jti;
pub mod template;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::builder::{AssertionError, Builder, append_signature};
pub use self::jti::JtiSource;
pub use self::template::{Bindings, Template, TemplateError};

/// On whose behalf a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// What kind of account the identifier names.
    pub kind: SubjectKind,
    /// The identifier, as the provider writes it: digits for the provider of
    /// `box_sub_type`, a name or an address for others.
    pub id: String,
}

impl Subject {
    /// Makes the subject for the service account of an enterprise.
    pub fn enterprise(id: impl Into<String>) -> Self {
        Self {
            kind: SubjectKind::Enterprise,
            id: id.into(),
        }
    }

    /// Makes the subject for a user.
    pub fn user(id: impl Into<String>) -> Self {
        Self {
            kind: SubjectKind::User,
            id: id.into(),
        }
    }
}

/// What kind of account a subject is; the claim `box_sub_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// The enterprise, through the app's service account.
    Enterprise,
    /// A managed user or an app user.
    User,
}

impl SubjectKind {
    /// Returns the value of the claim.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enterprise => "enterprise",
            Self::User => "user",
        }
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SubjectKind {
    type Err = UnknownSubjectKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "enterprise" => Ok(Self::Enterprise),
            "user" => Ok(Self::User),
            _ => Err(UnknownSubjectKind(text.to_owned())),
        }
    }
}

/// The text names no kind of subject.
#[derive(Debug, thiserror::Error)]
#[error("unknown kind of subject {0:?}, expected enterprise or user")]
pub struct UnknownSubjectKind(String);
