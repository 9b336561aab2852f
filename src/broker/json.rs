//! Is this JSON object one that every reader understands alike?
//!
//! Parsers differ on duplicate members, and a forger lives on the difference.
//! The reader here refuses what is ambiguous or excessive: a member that
//! occurs twice at any level, more than [`MAX_MEMBERS`] members in an object,
//! nesting beyond [`MAX_DEPTH`], bytes that are not UTF-8, anything after the
//! object. It does not say what members mean; its caller is handed the
//! members of the outermost object one by one.
//!
//! Invariant: memory use is bounded by the input, which callers cap, and
//! strings without escapes are borrowed from it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The deepest nesting of objects and arrays, the outermost object included.
///
/// Assertions of the official SDKs have a depth of 1; 8 leaves room for
/// claims that are objects and keeps the recursion shallow.
pub const MAX_DEPTH: usize = 8;

/// The most members of one object. Official SDKs send at most 8.
pub const MAX_MEMBERS: usize = 32;

/// A JSON value, as far as a member of an assertion can be one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// An integer in `0..2^64`.
    Integer(u64),
    /// An array of exactly one string.
    OneText(Cow<'a, str>),
    /// Any other value: its own structure was checked, its content dropped.
    Other,
}

/// Reads one object and hands each of its members to `member`.
///
/// # Errors
///
/// The bytes are not a JSON object, or one that this module refuses.
pub fn read_object<'a>(
    bytes: &'a [u8],
    member: impl FnMut(&str, Value<'a>),
) -> Result<(), NotStrict> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer
        .deserialize_map(Outermost(member))
        .and_then(|()| deserializer.end())
        .map_err(|_| NotStrict)
}

/// The bytes are not an unambiguous JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a strict JSON object, expected UTF-8, unique members, at most {MAX_MEMBERS} of them and a depth of {MAX_DEPTH}"
)]
pub struct NotStrict;

/// Reads the members of the outermost object.
struct Outermost<F>(F);

impl<'de, F: FnMut(&str, Value<'de>)> Visitor<'de> for Outermost<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut names = Names::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Inner { depth: 2 })?;
            (self.0)(&name, value);
            names.add(name)?;
        }
        Ok(())
    }
}

/// The names of the members of one object.
struct Names<'de> {
    seen: [Cow<'de, str>; MAX_MEMBERS],
    len: usize,
}

impl<'de> Names<'de> {
    fn new() -> Self {
        Self {
            seen: [const { Cow::Borrowed("") }; MAX_MEMBERS],
            len: 0,
        }
    }

    fn add<E: Error>(&mut self, name: Cow<'de, str>) -> Result<(), E> {
        if self.seen[..self.len].contains(&name) {
            return Err(E::custom("duplicate member"));
        }
        let slot = self
            .seen
            .get_mut(self.len)
            .ok_or_else(|| E::custom("too many members"))?;
        *slot = name;
        self.len += 1;
        Ok(())
    }
}

/// Reads the name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Reads any value below the outermost object; its own depth is `depth` if
/// it is an object or an array.
#[derive(Clone, Copy)]
struct Inner {
    depth: usize,
}

impl Inner {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth > MAX_DEPTH {
            return Err(E::custom("too deep"));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Inner {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let first = seq.next_element_seed(inner)?;
        let mut is_alone = true;
        while seq.next_element_seed(inner)?.is_some() {
            is_alone = false;
        }
        Ok(match first {
            Some(Value::Text(text)) if is_alone => Value::OneText(text),
            _ => Value::Other,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut names = Names::new();
        while let Some(name) = map.next_key_seed(Name)? {
            names.add(name)?;
            map.next_value_seed(inner)?;
        }
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, NotStrict> {
        let mut found = Vec::new();
        read_object(text.as_bytes(), |name, value| {
            found.push((name.to_owned(), format!("{value:?}")));
        })?;
        Ok(found)
    }

    fn is_refused(text: &str) -> bool {
        members(text).is_err()
    }

    /// An object that holds arrays, `depth` levels in all.
    fn nested(depth: usize) -> String {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    }

    #[test]
    fn members_arrive_with_their_values() {
        let found = members(
            r#"{"a":"x","b":7,"c":["y"],"d":["y","z"],"e":7.0,"f":-7,"g":null,"h":{"a":1},"i":[]}"#,
        )
        .unwrap();
        let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            values,
            [
                "Text(\"x\")",
                "Integer(7)",
                "OneText(\"y\")",
                "Other",
                "Other",
                "Other",
                "Other",
                "Other",
                "Other"
            ]
        );
    }

    #[test]
    fn a_member_may_not_occur_twice_at_any_level() {
        assert!(is_refused(r#"{"a":1,"a":1}"#));
        assert!(is_refused(r#"{"a":1,"\u0061":1}"#), "spelt in two ways");
        assert!(is_refused(r#"{"x":{"a":1,"a":2}}"#));
        assert!(is_refused(r#"{"x":[{"y":{"a":1,"a":2}}]}"#));
        assert!(!is_refused(r#"{"a":{"a":{"a":1}}}"#), "not the same object");
    }

    #[test]
    fn nesting_ends_at_eight_levels() {
        assert!(!is_refused(&nested(MAX_DEPTH)));
        assert!(is_refused(&nested(MAX_DEPTH + 1)));
        assert!(is_refused(&nested(2_000)));
        assert!(is_refused(&"[".repeat(4_000)));
        assert!(is_refused(&r#"{"a":"#.repeat(700)));
    }

    #[test]
    fn an_object_has_at_most_thirty_two_members() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|i| format!("\"m{i}\":{i}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(!is_refused(&object(MAX_MEMBERS)));
        assert!(is_refused(&object(MAX_MEMBERS + 1)));
        assert!(is_refused(&format!(
            "{{\"x\":{}}}",
            object(MAX_MEMBERS + 1)
        )));
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for text in [
            "",
            " ",
            "null",
            "[]",
            "\"a\"",
            "7",
            "{",
            "{}{}",
            "{} x",
            "\u{feff}{}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{\"a\":NaN}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\x\"}",
            "{/**/}",
        ] {
            assert!(is_refused(text), "{text:?} was accepted");
        }
        assert!(read_object(b"{\"a\":\"\xff\"}", |_, _| ()).is_err());
        assert!(read_object(b"{\"a\":\"\xc0\x80\"}", |_, _| ()).is_err());
        assert!(!is_refused("{}"));
        assert!(!is_refused(" {\n} "));
    }
}
