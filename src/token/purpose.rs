//! What is a token good for, apart from whom it is for?
//!
//! A [`Purpose`] is an app, a set of scopes and an audience. A program has
//! few of them and uses each for many subjects; one is made once, cloned for
//! the price of a counter, and carries its own hash.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::FixedState;

/// The app that asks, the scopes that it asks for, and the audience.
#[derive(Clone)]
pub struct Purpose(Arc<Parts>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Parts {
    app: String,
    scopes: Vec<String>,
    audience: Option<String>,
    /// The hash of the rest; the same for equal parts within a process.
    digest: u64,
}

impl Purpose {
    /// Makes the purpose of an app that names neither scopes nor audience.
    #[must_use]
    pub fn of_app(app: impl Into<String>) -> Self {
        Self::new(app.into(), Vec::new(), None)
    }

    /// Replaces the scopes; their order and repetitions do not matter
    /// (RFC 6749 §3.3).
    #[must_use]
    pub fn with_scopes(self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut scopes: Vec<String> = scopes.into_iter().map(Into::into).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self::new(self.0.app.clone(), scopes, self.0.audience.clone())
    }

    /// Replaces the audience.
    #[must_use]
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        let (app, scopes) = (self.0.app.clone(), self.0.scopes.clone());
        Self::new(app, scopes, Some(audience.into()))
    }

    /// Returns the app: its client ID.
    #[must_use]
    pub fn app(&self) -> &str {
        &self.0.app
    }

    /// Returns the scopes, sorted, each once.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Returns the audience, if one was named.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.0.audience.as_deref()
    }

    pub(super) fn digest(&self) -> u64 {
        self.0.digest
    }

    fn new(app: String, scopes: Vec<String>, audience: Option<String>) -> Self {
        let digest = FixedState::default().hash_one((&app, &scopes, &audience));
        Self(Arc::new(Parts {
            app,
            scopes,
            audience,
            digest,
        }))
    }
}

impl PartialEq for Purpose {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.digest == other.0.digest && self.0 == other.0)
    }
}

impl Eq for Purpose {}

impl Hash for Purpose {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.digest);
    }
}

impl fmt::Debug for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purpose")
            .field("app", &self.0.app)
            .field("scopes", &self.0.scopes)
            .field("audience", &self.0.audience)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set() {
        let one = Purpose::of_app("a").with_scopes(["read", "write", "read"]);
        let other = Purpose::of_app("a").with_scopes(["write", "read"]);
        assert_eq!(one, other);
        assert_eq!(one.digest(), other.digest());
        assert_eq!(one.scopes(), ["read", "write"]);
    }

    #[test]
    fn every_part_tells_purposes_apart() {
        let base = Purpose::of_app("a");
        for other in [
            Purpose::of_app("b"),
            base.clone().with_scopes(["read"]),
            base.clone().with_scopes(["read write"]),
            base.clone().with_audience("read"),
            base.clone().with_audience(""),
        ] {
            assert_ne!(base, other);
            assert_ne!(base.digest(), other.digest());
        }
        assert_ne!(
            base.clone().with_scopes(["read", "write"]),
            base.with_scopes(["read write"])
        );
    }
}
