//! Which members do header and claims have, for a given provider?
//!
//! A template is data: names of members and values, in which `{name}` stands
//! for something that is known later. What an app fixes once (`{client_id}`,
//! `{audience}`, any variable of a profile) may stand anywhere within a text.
//! What differs per assertion stands alone as a value:
//!
//! | placeholder | value |
//! |---|---|
//! | `{now}`, `{now-60}`, `{now+5}` | seconds since the epoch, moved |
//! | `{exp}` | now plus the lifetime |
//! | `{jti}` | an identifier that no other assertion has |
//! | `{subject}`, `{subject_kind}` | whom the token is for |
//!
//! A member whose value is `{name?}` is left out where the variable is
//! not set. Braces are doubled to stand for themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The members of header and claims, in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The JOSE header (RFC 7515 §4).
    pub header: Map<String, Value>,
    /// The claims set (RFC 7519 §4).
    pub claims: Map<String, Value>,
}

/// The values of an app's variables, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings(BTreeMap<String, String>);

impl Bindings {
    /// Makes a set without any variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a variable if there is a value.
    #[must_use]
    pub fn with_optional(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Returns the value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Replaces the placeholders within `text`.
    ///
    /// Returns `None` where the whole text is an optional variable that is
    /// not set.
    ///
    /// # Errors
    ///
    /// A variable is not set, or a brace is not closed.
    pub fn fill(&self, text: &str) -> Result<Option<String>, TemplateError> {
        if let Some(name) = whole(text).and_then(|inner| inner.strip_suffix('?')) {
            return Ok(self.get(name).map(str::to_owned));
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                out.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                out.push('}');
                rest = after;
            } else {
                let inner = rest.strip_prefix('{').and_then(|r| r.split_once('}'));
                let (name, after) = inner.ok_or_else(|| TemplateError::Brace(text.to_owned()))?;
                let value = self.get(name).ok_or_else(|| TemplateError::Unset {
                    name: name.to_owned(),
                    text: text.to_owned(),
                    known: self.0.keys().cloned().collect::<Vec<_>>().join(", "),
                })?;
                out.push_str(value);
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(Some(out))
    }
}

/// A piece of a JSON text: constant, or written anew for each assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes of JSON that stay the same.
    Fixed(Vec<u8>),
    /// Seconds since the epoch, moved by so many.
    Now(i64),
    /// The end of life, in seconds since the epoch.
    Expires,
    /// An identifier, quotes included.
    Jti,
    /// The subject's identifier, quoted and escaped.
    Subject,
    /// The subject's kind, quoted.
    SubjectKind,
}

/// Lays out an object as pieces of JSON, without any white space.
pub(super) fn lay_out(
    members: &Map<String, Value>,
    bindings: &Bindings,
) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut fixed = b"{".to_vec();
    let mut is_first = true;
    for (name, value) in members {
        let filled = match value {
            Value::String(text) => match dynamic(text) {
                Some(piece) => Filled::Dynamic(piece),
                None => match bindings.fill(text)? {
                    Some(text) => Filled::Value(Value::String(text)),
                    None => continue,
                },
            },
            other => Filled::Value(fill_inside(other, bindings)?),
        };
        if !is_first {
            fixed.push(b',');
        }
        is_first = false;
        fixed.extend(Value::String(name.clone()).to_string().into_bytes());
        fixed.push(b':');
        match filled {
            Filled::Value(value) => fixed.extend(value.to_string().into_bytes()),
            Filled::Dynamic(piece) => {
                pieces.push(Piece::Fixed(std::mem::take(&mut fixed)));
                pieces.push(piece);
            }
        }
    }
    fixed.push(b'}');
    pieces.push(Piece::Fixed(fixed));
    Ok(pieces)
}

enum Filled {
    Value(Value),
    Dynamic(Piece),
}

/// Fills the texts inside of arrays and objects, where only constants may be.
fn fill_inside(value: &Value, bindings: &Bindings) -> Result<Value, TemplateError> {
    Ok(match value {
        Value::String(text) => {
            if dynamic(text).is_some() {
                return Err(TemplateError::Nested(text.clone()));
            }
            bindings.fill(text)?.map_or(Value::Null, Value::String)
        }
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| fill_inside(item, bindings))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill_inside(value, bindings)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        other => other.clone(),
    })
}

fn dynamic(text: &str) -> Option<Piece> {
    let inner = whole(text)?;
    match inner {
        "exp" => Some(Piece::Expires),
        "jti" => Some(Piece::Jti),
        "subject" => Some(Piece::Subject),
        "subject_kind" => Some(Piece::SubjectKind),
        "now" => Some(Piece::Now(0)),
        _ => inner
            .strip_prefix("now")
            .filter(|moved| moved.starts_with(['+', '-']))
            .and_then(|moved| moved.parse().ok())
            .map(Piece::Now),
    }
}

/// Returns what is between the braces if the whole text is one placeholder.
fn whole(text: &str) -> Option<&str> {
    text.strip_prefix('{')?
        .strip_suffix('}')
        .filter(|inner| !inner.contains(['{', '}']))
}

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A variable has no value.
    #[error("nothing is known for {{{name}}} in {text:?}, expected one of: {known}")]
    Unset {
        /// The variable.
        name: String,
        /// The text in which it stands.
        text: String,
        /// The variables that are set.
        known: String,
    },
    /// A brace is not closed, or closes nothing.
    #[error("a single brace in {0:?}, expected {{name}}, or the brace doubled")]
    Brace(String),
    /// A placeholder that differs per assertion stands inside of a list or an object.
    #[error("{0:?} stands inside of a list or an object, expected it as a value of its own")]
    Nested(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_anywhere_and_braces_can_be_kept() {
        let bindings = Bindings::new().with("account", "ACME").with("user", "BO");
        assert_eq!(
            bindings.fill("{account}.{user} {{x}}").unwrap().unwrap(),
            "ACME.BO {x}"
        );
        assert_eq!(bindings.fill("{kid?}").unwrap(), None);
        assert_eq!(bindings.fill("{user?}").unwrap().unwrap(), "BO");
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let error = Bindings::new()
            .with("client_id", "x")
            .fill("{clientid}")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("{clientid}") && error.contains("client_id"),
            "{error}"
        );
        for text in ["{", "a}", "{a"] {
            assert!(matches!(
                Bindings::new().fill(text),
                Err(TemplateError::Brace(_))
            ));
        }
    }

    #[test]
    fn layout_separates_what_changes_from_what_does_not() {
        let members = serde_json::from_str(
            r#"{"iss":"{client_id}","kid":"{kid?}","iat":"{now-60}","n":1,"aud":["{client_id}"],"jti":"{jti}"}"#,
        )
        .unwrap();
        let pieces = lay_out(&members, &Bindings::new().with("client_id", "a\"b")).unwrap();
        assert_eq!(
            pieces,
            [
                Piece::Fixed(br#"{"iss":"a\"b","iat":"#.to_vec()),
                Piece::Now(-60),
                Piece::Fixed(br#","n":1,"aud":["a\"b"],"jti":"#.to_vec()),
                Piece::Jti,
                Piece::Fixed(b"}".to_vec()),
            ]
        );
    }

    #[test]
    fn what_changes_cannot_hide_in_a_list() {
        let members = serde_json::from_str(r#"{"aud":["{jti}"]}"#).unwrap();
        assert_eq!(
            lay_out(&members, &Bindings::new()),
            Err(TemplateError::Nested("{jti}".into()))
        );
    }
}
