//! Which parameters does the body carry, beyond doubt?
//!
//! The usual form parsers replace bytes that are not UTF-8, let bad percent
//! signs pass and keep the first or the last of two equal names. A token
//! endpoint must not guess: this parser refuses all of these (RFC 6749 §3.2
//! and appendix B). Parameters without a value count as absent, unknown ones
//! are kept and ignored by whoever does not ask for them.
//!
//! Invariant: values without escapes are borrowed from the body; the caller
//! caps the body.

use std::borrow::Cow;

use zeroize::Zeroize;

/// The most parameters of a body. The longest form of an official SDK has 6.
pub const MAX_PARAMETERS: usize = 32;

/// The parameters of a body, each name once.
pub struct Form<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why a body is not a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("a percent sign is not followed by two hexadecimal digits")]
    Percent,
    /// The decoded bytes are not UTF-8.
    #[error("the form is not UTF-8")]
    Utf8,
    /// A character stands there that a form escapes.
    #[error("the form holds a control character, a space or a byte above 0x7e unescaped")]
    Raw,
    /// A name occurs twice.
    #[error("a parameter occurs more than once")]
    Duplicate,
    /// There are more than [`MAX_PARAMETERS`].
    #[error("the form has more than {MAX_PARAMETERS} parameters")]
    TooMany,
}

impl<'a> Form<'a> {
    /// Reads an `application/x-www-form-urlencoded` body.
    ///
    /// # Errors
    ///
    /// The first fault of the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, FormError> {
        // Form serializers escape everything outside of printable ASCII; what
        // stands there unescaped was put together by hand. Without an early
        // exit, the compiler looks at many bytes at once.
        let is_printable = |byte: &u8| (0x21..=0x7e).contains(byte);
        let is_escaped = body.iter().fold(true, |all, byte| all & is_printable(byte));
        let body = std::str::from_utf8(body).map_err(|_| FormError::Utf8)?;
        if !is_escaped {
            return Err(FormError::Raw);
        }
        let mut form = Self {
            parameters: Vec::with_capacity(8),
        };
        for pair in body.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            let value = decode(value)?;
            if form.parameters.iter().any(|(seen, _)| *seen == name) {
                return Err(FormError::Duplicate);
            }
            if form.parameters.len() == MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            form.parameters.push((name, value));
        }
        Ok(form)
    }

    /// Returns the number of parameters.
    pub(super) fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Returns the value of a parameter; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(seen, _)| seen == name)
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }
}

impl Drop for Form<'_> {
    fn drop(&mut self) {
        // A secret with an escaped character was copied.
        for (_, value) in &mut self.parameters {
            if let Cow::Owned(value) = value {
                value.zeroize();
            }
        }
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, FormError> {
    let is_escape = |byte: u8| byte == b'%' || byte == b'+';
    if !text.bytes().fold(false, |any, byte| any | is_escape(byte)) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or(FormError::Percent)?;
                let low = bytes.next().and_then(hex).ok_or(FormError::Percent)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| FormError::Utf8)
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(body: &[u8]) -> Option<FormError> {
        Form::parse(body).err()
    }

    #[test]
    fn values_are_decoded() {
        let form = Form::parse(b"a=1&b+c=%C3%A4+%2b&d=x%3Dy=z&e").unwrap();
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!(form.get("b c"), Some("ä +"));
        assert_eq!(form.get("d"), Some("x=y=z"));
        assert_eq!(form.get("f"), None);
    }

    #[test]
    fn an_empty_parameter_counts_as_absent() {
        let form = Form::parse(b"a=&b&=c&&").unwrap();
        assert_eq!(form.get("a"), None);
        assert_eq!(form.get("b"), None);
        assert!(Form::parse(b"").unwrap().get("a").is_none());
    }

    #[test]
    fn no_parameter_may_occur_twice_however_it_is_spelt() {
        assert_eq!(fault(b"a=1&a=1"), Some(FormError::Duplicate));
        assert_eq!(fault(b"a=1&%61=1"), Some(FormError::Duplicate));
        assert_eq!(fault(b"a=&a=1"), Some(FormError::Duplicate));
        assert_eq!(fault(b"x=1&y=2&x=3"), Some(FormError::Duplicate));
        assert_eq!(fault(b"a=1&A=1"), None);
    }

    #[test]
    fn bad_escapes_and_bytes_are_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%4g", b"%=1", b"a=%%41"] {
            assert_eq!(fault(body), Some(FormError::Percent), "{body:?}");
        }
        for body in [&b"a=%ff"[..], b"a=%C3", b"%c0%80=1", b"a=\xff"] {
            assert_eq!(fault(body), Some(FormError::Utf8), "{body:?}");
        }
        for body in [&b"a=\0"[..], b"a=1\r\n", b"a=b c", "a=ä".as_bytes()] {
            assert_eq!(fault(body), Some(FormError::Raw), "{body:?}");
        }
    }

    #[test]
    fn there_are_at_most_thirty_two_parameters() {
        let body = |count: usize| {
            (0..count)
                .map(|i| format!("p{i}=1"))
                .collect::<Vec<_>>()
                .join("&")
        };
        assert_eq!(fault(body(MAX_PARAMETERS).as_bytes()), None);
        assert_eq!(
            fault(body(MAX_PARAMETERS + 1).as_bytes()),
            Some(FormError::TooMany)
        );
    }

    proptest! {
        #[test]
        fn what_a_serializer_writes_is_read_back(pairs in
            proptest::collection::btree_map(".{1,12}", ".{1,40}", 0..10)
        ) {
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&pairs)
                .finish();
            let form = Form::parse(body.as_bytes()).unwrap();
            for (name, value) in &pairs {
                prop_assert_eq!(form.get(name), Some(value.as_str()));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }
    }
}
