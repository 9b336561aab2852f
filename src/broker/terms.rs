//! What may an app do, once an administrator has approved it?
//!
//! The terms are what a developer edits and an administrator approves: access
//! level, advanced features and scopes. They are plain data that compare;
//! whether they differ decides over "re-authorization required". Origins for
//! cross-origin requests are no part of them: they widen nobody's rights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::registration::Access;

/// What an app may do, as a developer edits it and an administrator approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Whose tokens the app may ask for.
    pub access: Access,
    /// Is the feature "generate user access tokens" on?
    pub user_tokens: bool,
    /// Is the feature "perform actions as users" on, which allows the
    /// `As-User` header?
    pub as_user: bool,
    /// What tokens may be used for.
    pub scopes: Scopes,
}

/// A set of scopes: of [`SCOPES`] for an app, and of [`DOWNSCOPES`] as well for
/// a token.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scopes(u32);

/// The scopes that an app is given, each with its label.
pub const SCOPES: [(&str, &str); 13] = [
    ("root_readonly", "Read all files and folders"),
    ("root_readwrite", "Read and write all files and folders"),
    ("manage_managed_users", "Manage managed users"),
    ("manage_app_users", "Manage app users"),
    ("manage_groups", "Manage groups"),
    ("manage_webhook", "Manage webhooks"),
    (
        "manage_enterprise_properties",
        "Manage enterprise properties",
    ),
    ("manage_data_retention", "Manage retention policies"),
    ("sign_requests.readwrite", "Manage signature requests"),
    ("ai.readwrite", "Manage AI requests"),
    ("manage_triggers", "Manage triggers"),
    ("manage_legal_holds", "Manage legal holds (on request)"),
    ("enterprise_content", "Global content manager (on request)"),
];

/// The scopes that a token is narrowed to, besides those of the app.
pub const DOWNSCOPES: [&str; 16] = [
    "annotation_edit",
    "annotation_view_all",
    "annotation_view_self",
    "base_explorer",
    "base_picker",
    "base_preview",
    "base_sidebar",
    "base_upload",
    "item_delete",
    "item_download",
    "item_preview",
    "item_read",
    "item_readwrite",
    "item_rename",
    "item_share",
    "item_upload",
];

/// The scopes that need enterprise access.
const OF_ENTERPRISE: [&str; 2] = ["manage_managed_users", "manage_groups"];

/// Why terms cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// A scope is not one of the provider's.
    #[error("no scope is called {0:?}, expected one of those that the list of scopes shows")]
    UnknownScope(String),
    /// A scope needs more access than the app has.
    #[error("the scope {0} needs the access level app_and_enterprise")]
    NeedsEnterprise(&'static str),
}

impl Terms {
    /// What the console gives a new app: its own content, its own users.
    pub const NEW: Self = Self {
        access: Access::App,
        user_tokens: false,
        as_user: false,
        scopes: Scopes(0b11),
    };

    /// Does a scope need enterprise access?
    #[must_use]
    pub fn needs_enterprise(scope: &str) -> bool {
        OF_ENTERPRISE.contains(&scope)
    }

    /// Checks that the terms do not contradict themselves.
    ///
    /// # Errors
    ///
    /// A scope needs enterprise access and the app has none.
    pub fn check(&self) -> Result<(), TermsError> {
        let beyond = OF_ENTERPRISE
            .into_iter()
            .find(|name| self.access == Access::App && self.scopes.has(name));
        beyond.map_or(Ok(()), |name| Err(TermsError::NeedsEnterprise(name)))
    }
}

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self((1 << SCOPES.len()) - 1);

    /// Makes a set of names.
    ///
    /// # Errors
    ///
    /// A name is not in [`SCOPES`].
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, TermsError> {
        let mut set = Self::default();
        for name in names {
            let bit = place(name).ok_or_else(|| TermsError::UnknownScope(name.to_owned()))?;
            set.0 |= 1 << bit;
        }
        Ok(set)
    }

    /// Makes a set of the names that a token is narrowed to.
    ///
    /// # Errors
    ///
    /// A name is neither in [`SCOPES`] nor in [`DOWNSCOPES`].
    pub fn narrowed<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, TermsError> {
        let mut set = Self::default();
        for name in names {
            let bit =
                place_in_tokens(name).ok_or_else(|| TermsError::UnknownScope(name.to_owned()))?;
            set.0 |= 1 << bit;
        }
        Ok(set)
    }

    /// Returns the set as a number, whose bits are in the order of [`SCOPES`]
    /// and then [`DOWNSCOPES`].
    #[must_use]
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Is the scope in the set?
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        place_in_tokens(name).is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    /// Does a token of these scopes cover `scope`, be it one of the app's or
    /// one that tokens are narrowed to?
    #[must_use]
    pub fn cover(self, scope: &str) -> bool {
        if self.has(scope) {
            return true;
        }
        let writes = self.has("root_readwrite");
        if place(scope).is_some() {
            return scope == "root_readonly" && writes;
        }
        let reads = matches!(
            scope,
            "annotation_view_all"
                | "annotation_view_self"
                | "base_preview"
                | "item_download"
                | "item_preview"
                | "item_read"
        );
        DOWNSCOPES.contains(&scope) && (writes || (reads && self.has("root_readonly")))
    }

    /// Lists the names, in the order of [`SCOPES`] and [`DOWNSCOPES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        SCOPES
            .into_iter()
            .map(|(name, _)| name)
            .chain(DOWNSCOPES)
            .enumerate()
            .filter(move |(bit, _)| self.0 & 1 << bit != 0)
            .map(|(_, name)| name)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl FromStr for Scopes {
    type Err = TermsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_between = |c: char| c == ',' || c.is_whitespace();
        Self::of(text.split(is_between).filter(|name| !name.is_empty()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::of(names.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

fn place(name: &str) -> Option<usize> {
    SCOPES.iter().position(|(known, _)| *known == name)
}

fn place_in_tokens(name: &str) -> Option<usize> {
    let narrower = || DOWNSCOPES.iter().position(|known| *known == name);
    place(name).or_else(|| narrower().map(|place| SCOPES.len() + place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_they_are_read() {
        for (name, _) in SCOPES {
            let set: Scopes = name.parse().unwrap();
            assert_eq!(set.to_string(), name);
        }
        let set: Scopes = "manage_groups, root_readonly".parse().unwrap();
        assert_eq!(set.to_string(), "root_readonly manage_groups");
        assert_eq!(Scopes::ALL.names().count(), SCOPES.len());
        assert_eq!(
            "root".parse::<Scopes>(),
            Err(TermsError::UnknownScope("root".into()))
        );
    }

    #[test]
    fn terms_survive_json() {
        let terms = Terms {
            access: Access::AppAndEnterprise,
            scopes: Scopes::ALL,
            ..Terms::NEW
        };
        let text = serde_json::to_string(&terms).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&text).unwrap(), terms);
        assert!(text.contains("\"access\":\"app_and_enterprise\""), "{text}");
    }

    #[test]
    fn managed_users_and_groups_need_enterprise_access() {
        for name in OF_ENTERPRISE {
            let mut terms = Terms {
                scopes: Scopes::of([name]).unwrap(),
                ..Terms::NEW
            };
            assert_eq!(terms.check(), Err(TermsError::NeedsEnterprise(name)));
            terms.access = Access::AppAndEnterprise;
            assert_eq!(terms.check(), Ok(()));
        }
    }

    #[test]
    fn a_reader_cannot_be_narrowed_to_a_writer() {
        let reader = Scopes::of(["root_readonly"]).unwrap();
        let writer = Scopes::of(["root_readwrite"]).unwrap();
        assert!(reader.cover("item_preview") && writer.cover("item_preview"));
        assert!(!reader.cover("item_upload") && writer.cover("item_upload"));
        assert!(writer.cover("root_readonly") && !reader.cover("root_readwrite"));
        assert!(!Scopes::ALL.cover("item_everything"));
        assert!(!Scopes::default().cover("item_read"));
    }
}
