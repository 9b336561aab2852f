//! How is one member of a provider's JSON file read?
//!
//! The files are the providers', so unknown members are no errors, and an
//! error names the missing or wrong one by its full path. The parsed document
//! is wiped when it is dropped, with whatever secrets nobody asked for.

use serde_json::Value;
use zeroize::Zeroize;

use super::app_config::ConfigError;

/// A parsed file whose strings are taken out one by one.
pub(super) struct Document(Value);

impl Document {
    /// Parses a file; a byte order mark before the text is skipped.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let document = Self(serde_json::from_slice(text)?);
        if document.0.is_object() {
            Ok(document)
        } else {
            Err(ConfigError::NotAnObject)
        }
    }

    /// Is there a member of that path?
    pub(super) fn has(&self, path: &str) -> bool {
        path.split('.')
            .try_fold(&self.0, |value, name| value.get(name))
            .is_some()
    }

    /// Takes a string out; `None` if the member is absent or null.
    pub(super) fn take(&mut self, path: &str) -> Result<Option<String>, ConfigError> {
        let mut value = &mut self.0;
        let mut end = 0;
        for name in path.split('.') {
            end += name.len();
            value = match value {
                Value::Object(members) => match members.get_mut(name) {
                    Some(member) => member,
                    None => return Ok(None),
                },
                other => {
                    return Err(ConfigError::NotA {
                        path: path[..end - name.len()].trim_end_matches('.').to_owned(),
                        found: kind_of(other),
                        expected: "an object",
                    });
                }
            };
            end += 1;
        }
        match value {
            Value::String(text) => Ok(Some(std::mem::take(text))),
            Value::Null => Ok(None),
            Value::Number(_) => Err(ConfigError::Number {
                path: path.to_owned(),
            }),
            other => Err(ConfigError::NotA {
                path: path.to_owned(),
                found: kind_of(other),
                expected: "a string",
            }),
        }
    }

    /// Takes a string out that must be there and must not be empty.
    pub(super) fn require(&mut self, path: &str) -> Result<String, ConfigError> {
        match self.take(path)? {
            Some(text) if text.is_empty() => Err(ConfigError::Empty {
                path: path.to_owned(),
            }),
            Some(text) => Ok(text),
            None => Err(ConfigError::Missing {
                path: path.to_owned(),
            }),
        }
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
