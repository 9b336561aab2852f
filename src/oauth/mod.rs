//! What goes over the wire at a token endpoint?
//!
//! The forms, answers and errors of RFC 6749, RFC 7523 and the providers that
//! implement them, as plain data shared by the client and the broker. Nothing
//! here opens a socket or decides whether an assertion is good.

pub mod profile;
pub mod refusal;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use self::profile::{Form, Profile, ProfileError};
pub use self::refusal::Refusal;

/// The `grant_type` of an assertion used as a grant (RFC 7523 §2.1).
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The `grant_type` of a client's own credentials (RFC 6749 §4.4.2).
pub const CLIENT_CREDENTIALS: &str = "client_credentials";

/// The `grant_type` of an exchange for a narrower token (RFC 8693 §2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// The type of an access token in an exchange (RFC 8693 §3).
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The type of a token that names somebody, in an exchange (RFC 8693 §3).
pub const ID_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The `client_assertion_type` of a JWT (RFC 7523 §2.2).
pub const CLIENT_ASSERTION_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The audience that every official SDK of the provider puts into its
/// assertions, wherever their requests are sent.
pub const BOX_AUDIENCE: &str = "https://api.box.com/oauth2/token";

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth2/token";

/// The path at which tokens are revoked.
pub const REVOKE_PATH: &str = "/oauth2/revoke";

/// The path at which tokens are looked into.
pub const INTROSPECT_PATH: &str = "/oauth2/introspect";

/// Completes the address of a server to that of its token endpoint.
///
/// A URL with a path is taken as it is.
#[must_use]
pub fn endpoint_of(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(parsed) if parsed.path() == "/" && parsed.query().is_none() => {
            format!("{}{TOKEN_PATH}", url.trim_end_matches('/'))
        }
        _ => url.to_owned(),
    }
}

/// A successful answer of a token endpoint (RFC 6749 §5.1).
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The access token. It is secret.
    pub access_token: Zeroizing<String>,
    /// How long the token lives, in seconds from the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// The provider's list of restrictions; empty for a full token.
    #[serde(default)]
    pub restricted_to: Vec<serde_json::Value>,
    /// `bearer`, in the case that the provider writes.
    pub token_type: String,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("token_type", &self.token_type)
            .finish_non_exhaustive()
    }
}

/// An error answer of a token endpoint (RFC 6749 §5.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error code, such as `invalid_grant`.
    pub error: String,
    /// What clients match fragments of, and people read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_gets_the_path_of_the_token_endpoint() {
        for (given, endpoint) in [
            ("http://127.0.0.1:80", "http://127.0.0.1:80/oauth2/token"),
            ("http://127.0.0.1:80/", "http://127.0.0.1:80/oauth2/token"),
            ("https://x/as/token", "https://x/as/token"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(endpoint_of(given), endpoint);
        }
    }

    #[test]
    fn a_token_is_in_no_debug_form() {
        let response: TokenResponse =
            serde_json::from_str(r#"{"access_token":"s3cret","token_type":"bearer"}"#).unwrap();
        assert!(!format!("{response:?}").contains("s3cret"));
    }
}
