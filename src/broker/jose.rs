//! Is this text a compact JWS that leaves no room for interpretation?
//!
//! Reads the compact serialization of RFC 7515 §7.1 as strictly as the
//! grammar allows: size caps before any work, exactly three parts, canonical
//! base64url without padding, strict JSON and an allow-list of header
//! members. It neither verifies the signature nor judges the claims; a
//! caller verifies first and reads the claims after.
//!
//! Invariant: no input makes it panic or allocate more than the input's size.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Value};

/// The longest assertion, in bytes. Those of official SDKs with a key of
/// 2048 bits are below 1 KiB; a key of 8192 bits adds another.
pub const MAX_TOKEN: usize = 8 * 1024;

/// The longest decoded header, in bytes.
pub const MAX_HEADER: usize = 1024;

/// The longest decoded set of claims, in bytes.
pub const MAX_CLAIMS: usize = 4 * 1024;

/// The longest signature, in bytes: that of an RSA key of 8192 bits.
pub const MAX_SIGNATURE: usize = 1024;

/// The longest `kid`, in bytes.
pub const MAX_KEY_ID: usize = 64;

/// A buffer for the decoded header.
pub type HeaderBuffer = [u8; MAX_HEADER];

/// A buffer for the decoded claims.
pub type ClaimsBuffer = [u8; MAX_CLAIMS];

/// The three parts of a compact JWS, still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    signing_input: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

/// The members of a header that the broker looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name of the algorithm.
    pub alg: Cow<'a, str>,
    /// The name of the key, if there is one. It is well formed, and no more
    /// than a name to look up in the app's own keys.
    pub kid: Option<Cow<'a, str>>,
}

/// The claims that the broker looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims<'a> {
    /// `iss`
    pub iss: Text<'a>,
    /// `sub`
    pub sub: Text<'a>,
    /// `box_sub_type`
    pub box_sub_type: Text<'a>,
    /// `aud`; an array of one string counts as that string.
    pub aud: Text<'a>,
    /// `jti`
    pub jti: Text<'a>,
    /// `exp`
    pub exp: NumericDate,
    /// `nbf`
    pub nbf: NumericDate,
    /// `iat`
    pub iat: NumericDate,
}

/// A claim that should be a string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Text<'a> {
    /// The claim is not there.
    #[default]
    Absent,
    /// The claim is a string.
    Is(Cow<'a, str>),
    /// The claim is something else.
    Other,
}

/// A claim that should be a whole number of seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericDate {
    /// The claim is not there.
    #[default]
    Absent,
    /// Seconds since the epoch, below 2^53.
    At(u64),
    /// The claim is not an integer in `0..2^53`.
    Other,
}

/// Why a text is not an assertion that could be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A part, or the whole, is larger than its cap.
    #[error("the assertion or one of its parts is too large")]
    Size,
    /// There are not exactly three parts, or one is empty.
    #[error("the assertion has not three parts")]
    Parts,
    /// A part is not canonical base64url without padding.
    #[error("a part of the assertion is not canonical base64url")]
    Encoding,
    /// A part is not strict JSON.
    #[error("the header or the claims are not strict JSON")]
    Json,
    /// The header has a member that is not on the allow-list.
    #[error("the header has a member other than alg, typ, kid and cty")]
    HeaderMember,
    /// `alg` is missing or no string.
    #[error("the header has no alg that is a string")]
    Algorithm,
    /// `typ` or `cty` says that this is something other than a plain JWT.
    #[error("the header's typ or cty is not that of a plain JWT")]
    Type,
    /// `kid` is no string of 1 to 64 letters, digits, dots, dashes and
    /// underscores.
    #[error("the header's kid is not a key ID")]
    KeyId,
}

impl<'a> Compact<'a> {
    /// Splits a compact JWS.
    ///
    /// # Errors
    ///
    /// [`Malformed::Size`] or [`Malformed::Parts`].
    pub fn split(text: &'a str) -> Result<Self, Malformed> {
        let compact = Self::split_unsigned(text)?;
        if compact.is_unsigned() {
            return Err(Malformed::Parts);
        }
        Ok(compact)
    }

    /// Splits a compact JWS whose signature may be empty, as `alg: none` has
    /// it (RFC 7519 §6.1).
    ///
    /// # Errors
    ///
    /// [`Malformed::Size`] or [`Malformed::Parts`].
    pub fn split_unsigned(text: &'a str) -> Result<Self, Malformed> {
        if text.len() > MAX_TOKEN {
            return Err(Malformed::Size);
        }
        let (header, rest) = text.split_once('.').ok_or(Malformed::Parts)?;
        let (claims, signature) = rest.split_once('.').ok_or(Malformed::Parts)?;
        if header.is_empty() || claims.is_empty() || signature.contains('.') {
            return Err(Malformed::Parts);
        }
        if base64_len(MAX_HEADER) < header.len()
            || base64_len(MAX_CLAIMS) < claims.len()
            || base64_len(MAX_SIGNATURE) < signature.len()
        {
            return Err(Malformed::Size);
        }
        Ok(Self {
            signing_input: &text[..header.len() + 1 + claims.len()],
            header,
            claims,
            signature,
        })
    }

    /// Is the signature empty?
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.signature.is_empty()
    }

    /// Returns the bytes that were signed (RFC 7515 §5.1).
    #[must_use]
    pub fn signing_input(&self) -> &'a [u8] {
        self.signing_input.as_bytes()
    }

    /// Decodes the header into `buffer` and reads it.
    ///
    /// # Errors
    ///
    /// The header is malformed, or has a member that is refused.
    pub fn header<'b>(&self, buffer: &'b mut HeaderBuffer) -> Result<Header<'b>, Malformed> {
        let bytes = decode(self.header, buffer)?;
        let mut alg = None;
        let mut kid = None;
        let mut fault = None;
        json::read_object(bytes, |name, value| match (name, value) {
            ("alg", Value::Text(text)) => alg = Some(text),
            ("alg", _) => fault = fault.or(Some(Malformed::Algorithm)),
            ("kid", Value::Text(text)) if is_key_id(&text) => kid = Some(text),
            ("kid", _) => fault = fault.or(Some(Malformed::KeyId)),
            ("typ", Value::Text(text)) if text.eq_ignore_ascii_case("JWT") => {}
            // A nested token announces itself as cty "JWT" (RFC 7519 §5.2).
            ("cty", Value::Text(text)) if !text.eq_ignore_ascii_case("JWT") => {}
            ("typ" | "cty", _) => fault = fault.or(Some(Malformed::Type)),
            _ => fault = fault.or(Some(Malformed::HeaderMember)),
        })
        .map_err(|_| Malformed::Json)?;
        match (fault, alg) {
            (Some(fault), _) => Err(fault),
            (None, Some(alg)) => Ok(Header { alg, kid }),
            (None, None) => Err(Malformed::Algorithm),
        }
    }

    /// Decodes the claims into `buffer` and reads them.
    ///
    /// Claims that the broker does not know are ignored (RFC 7523 §3), but
    /// have to be strict JSON as well.
    ///
    /// # Errors
    ///
    /// The claims are malformed. A known claim of another type is no error
    /// here.
    pub fn claims<'b>(&self, buffer: &'b mut ClaimsBuffer) -> Result<Claims<'b>, Malformed> {
        let bytes = decode(self.claims, buffer)?;
        let mut claims = Claims::default();
        json::read_object(bytes, |name, value| match name {
            "iss" => claims.iss = text(value),
            "sub" => claims.sub = text(value),
            "box_sub_type" => claims.box_sub_type = text(value),
            "aud" => {
                claims.aud = match value {
                    Value::OneText(text) => Text::Is(text),
                    other => text(other),
                }
            }
            "jti" => claims.jti = text(value),
            "exp" => claims.exp = date(&value),
            "nbf" => claims.nbf = date(&value),
            "iat" => claims.iat = date(&value),
            _ => {}
        })
        .map_err(|_| Malformed::Json)?;
        Ok(claims)
    }

    /// Decodes the signature into `buffer`.
    ///
    /// # Errors
    ///
    /// [`Malformed::Encoding`] if it is not canonical base64url.
    pub fn signature<'b>(
        &self,
        buffer: &'b mut [u8; MAX_SIGNATURE],
    ) -> Result<&'b [u8], Malformed> {
        decode(self.signature, buffer)
    }
}

impl Text<'_> {
    /// Returns the string, if the claim is one.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Is(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }
}

/// Returns how many characters of base64url without padding encode `bytes`.
const fn base64_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

fn decode<'b>(part: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Malformed> {
    // The engine refuses padding, foreign characters and trailing bits.
    let len = URL_SAFE_NO_PAD
        .decode_slice(part, buffer)
        .map_err(|_| Malformed::Encoding)?;
    Ok(&buffer[..len])
}

pub(super) fn is_key_id(text: &str) -> bool {
    (1..=MAX_KEY_ID).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn text(value: Value<'_>) -> Text<'_> {
    match value {
        Value::Text(text) => Text::Is(text),
        _ => Text::Other,
    }
}

fn date(value: &Value<'_>) -> NumericDate {
    match value {
        Value::Integer(at) if *at < 1 << 53 => NumericDate::At(*at),
        _ => NumericDate::Other,
    }
}

#[cfg(test)]
mod tests;
