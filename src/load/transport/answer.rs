//! What does an answer say?
//!
//! A success is looked through for its token without building anything from
//! it; a refusal is read in full, since it names its reason. Nothing of the
//! token is kept.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::oauth::ErrorBody;
use crate::record::Outcome;

/// The largest head of an answer that is read.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The largest body of an answer that is read; a token answer is below 2 KiB.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Reads the answers of one provider.
///
/// Answers to the same kind of request differ in nothing but the token. What
/// stood around the token of an answer that was read in full is kept; an
/// answer that has the same around a plain text is read by comparing, which
/// costs a fifth and decides the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    token_field: String,
    around: Option<Around>,
}

/// The bytes around the token of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Around {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Around {
    /// Finds a token of plain characters, as it was written, in a body that
    /// was read in full. Plain are those of ASCII from `#` on but the backslash.
    fn find(token_field: &str, body: &[u8]) -> Option<Self> {
        let name = format!("\"{token_field}\":\"");
        let is_here = |at: &usize| body[*at..].starts_with(name.as_bytes());
        let mut places = (0..body.len()).filter(is_here);
        let start = places.next()? + name.len();
        // A second one may be within a text or an object of its own.
        if places.next().is_some() || name.contains('\\') {
            return None;
        }
        let length = body[start..].iter().position(|byte| *byte == b'"')?;
        let around = Self {
            before: body[..start].to_vec(),
            after: body[start + length..].to_vec(),
        };
        around.is_of(body).then_some(around)
    }

    /// Is `body` the same around a token of plain characters?
    fn is_of(&self, body: &[u8]) -> bool {
        let Some(token) = body
            .strip_prefix(&*self.before)
            .and_then(|rest| rest.strip_suffix(&*self.after))
        else {
            return false;
        };
        !token.is_empty() && is_plain(token)
    }
}

/// Is every character one from `#` on, and no backslash?
fn is_plain(token: &[u8]) -> bool {
    // Without an early exit the compiler takes many at once: a bit that none
    // should have, the least character, and the least difference to a
    // backslash.
    let (bits, least, apart) = token
        .iter()
        .fold((0, u8::MAX, u8::MAX), |(bits, least, apart), byte| {
            (bits | byte, least.min(*byte), apart.min(byte ^ b'\\'))
        });
    bits < 0x80 && least >= b'#' && apart != 0
}

impl Default for Reading {
    /// Reads the answers of RFC 6749 §5.1.
    fn default() -> Self {
        Self::of("access_token")
    }
}

impl Reading {
    /// Reads answers whose token is in the member `token_field`.
    #[must_use]
    pub fn of(token_field: &str) -> Self {
        Self {
            token_field: token_field.to_owned(),
            around: None,
        }
    }

    /// Says what an answer with `status` and `body` is.
    pub fn outcome(&mut self, status: u16, body: &[u8]) -> Outcome {
        if (200..300).contains(&status) {
            if self
                .around
                .as_ref()
                .is_some_and(|around| around.is_of(body))
            {
                return Outcome::Answered;
            }
            let mut json = serde_json::Deserializer::from_slice(body);
            let found = Member(&self.token_field).deserialize(&mut json);
            return match found.and_then(|has_token| json.end().map(|()| has_token)) {
                Ok(true) => {
                    self.around = Around::find(&self.token_field, body);
                    Outcome::Answered
                }
                Ok(false) => Outcome::TokenMissing,
                Err(_) => Outcome::Malformed,
            };
        }
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => Outcome::OAuth {
                status,
                error: body.error,
            },
            Err(_) => Outcome::Status(status),
        }
    }
}

/// Reads `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
///
/// A date is the server's; `date` is the server's clock, if it told.
#[must_use]
pub fn retry_after(value: &[u8], date: Option<&[u8]>) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = date
        .and_then(|text| httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok())
        .unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

/// Looks for a member that is a text and not empty.
struct Member<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut has_token = false;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            if name == self.0 {
                let Name(text) = map.next_value::<Name<'de>>()?;
                has_token = !text.is_empty();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(has_token)
    }
}

/// A text that is borrowed where it holds no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_a_token_or_says_why_not() {
        let mut reading = Reading::default();
        for (body, outcome) in [
            (
                r#"{"expires_in":3,"access_token":"x","a":[{}]}"#,
                Outcome::Answered,
            ),
            (r#"{"access_token":""}"#, Outcome::TokenMissing),
            (r#"{"token":"x"}"#, Outcome::TokenMissing),
            (r#"{"access_token":7}"#, Outcome::Malformed),
            (r#"{"access_token":"x"} "#, Outcome::Answered),
            (r#"{"access_token":"x"}x"#, Outcome::Malformed),
            (r#"{"access_token":"x""#, Outcome::Malformed),
            ("[]", Outcome::Malformed),
            ("<html>", Outcome::Malformed),
            ("", Outcome::Malformed),
        ] {
            assert_eq!(reading.outcome(200, body.as_bytes()), outcome, "{body}");
        }
        assert_eq!(
            Reading::of("token").outcome(201, br#"{"token":"x","expires_at":"y"}"#),
            Outcome::Answered
        );
    }

    #[test]
    fn comparing_with_the_last_answer_decides_as_reading_it_does() {
        let bodies = [
            r#"{"access_token":"abc","expires_in":3}"#,
            r#"{"access_token":"xyz-._~+/=","expires_in":3}"#,
            r##"{"access_token":"!# ","expires_in":3}"##,
            "{\"access_token\":\"\u{7f}\",\"expires_in\":3}",
            r#"{"access_token":"","expires_in":3}"#,
            r#"{"access_token":"a"b","expires_in":3}"#,
            r#"{"access_token":"a\"b","expires_in":3}"#,
            r#"{"access_token":"a\qb","expires_in":3}"#,
            "{\"access_token\":\"a\u{1}b\",\"expires_in\":3}",
            "{\"access_token\":\"\u{e4}\",\"expires_in\":3}",
            r#"{"access_token":"abc","expires_in":4}"#,
            r#"{"access_token":"abc","expires_in":3"#,
            r#"{"x":{"access_token":"abc"}}"#,
            r#"{"x":{"access_token":"abc"},"access_token":"d"}"#,
            r#"{"access_token":7,"x":{"access_token":"abc"}}"#,
        ];
        for first in bodies {
            for second in bodies {
                let mut used = Reading::default();
                let _ = used.outcome(200, first.as_bytes());
                let mut fresh = Reading::default();
                assert_eq!(
                    used.outcome(200, second.as_bytes()),
                    fresh.outcome(200, second.as_bytes()),
                    "{second} after {first}"
                );
            }
        }
    }

    #[test]
    fn each_character_is_judged_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_one = (b'#'..=0x7f).contains(&byte) && byte != b'\\';
            for at in [0, 15, 16, 31, 32, 39] {
                let mut token = [b'a'; 40];
                token[at] = byte;
                assert_eq!(is_plain(&token), is_one, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_refusal_names_its_reason_or_its_status() {
        let mut reading = Reading::default();
        assert_eq!(
            reading.outcome(400, br#"{"error":"invalid_grant"}"#),
            Outcome::OAuth {
                status: 400,
                error: "invalid_grant".into()
            }
        );
        assert_eq!(reading.outcome(503, b"busy"), Outcome::Status(503));
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(retry_after(b" 7", None), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after(
                b"Tue, 24 Nov 2026 06:01:30 GMT",
                Some(b"Tue, 24 Nov 2026 06:00:00 GMT")
            ),
            Some(Duration::from_secs(90))
        );
        assert_eq!(retry_after(b"soon", None), None);
    }
}
