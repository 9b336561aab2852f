//! How is a text kept that nobody may read by accident?
//!
//! A [`Secret`] zeroizes its buffer when it is dropped, has a `Debug` form
//! that shows nothing, and cannot be serialised. Reading it takes a call of
//! [`Secret::expose`], which is easy to search for. What it cannot undo:
//! copies that the allocator, the kernel's swap or a library made on the way.

use std::fmt;

use zeroize::Zeroizing;

/// A client secret, a passphrase or the text of a private key.
///
/// It does not get into a record by mistake:
///
/// ```compile_fail
/// let secret = mintmark::credential::Secret::from("hunter2");
/// serde_json::to_string(&secret).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`; its buffer is zeroized when the secret is dropped.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is the text of length zero?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_text_nor_its_length() {
        let shown = format!("{:?} {:#?}", Secret::from("hunter2"), Secret::from("h"));
        assert_eq!(shown, "Secret(..) Secret(..)");
    }
}
