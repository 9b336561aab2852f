//! How did a call end?
//!
//! A slow or failing request is data. Every call of a load ends in exactly
//! one of these, and a record counts them by name.

use std::borrow::Cow;
use std::fmt;

/// How one call for a token ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was a token.
    Answered,
    /// There was a token, kept from an earlier call.
    Cached,
    /// There was a token, for which another call had asked.
    Joined,
    /// The endpoint answered with an OAuth error (RFC 6749 §5.2).
    OAuth {
        /// The HTTP status.
        status: u16,
        /// The error code.
        error: String,
    },
    /// The endpoint answered with a status that is not success, and no OAuth error.
    Status(u16),
    /// The endpoint answered with success, and its body is no token answer.
    Malformed,
    /// No connection: nobody listens.
    ConnectRefused,
    /// No connection for another reason.
    Connect,
    /// The name of the host has no address.
    Dns,
    /// The proxy lets nothing through.
    ProxyRefused,
    /// The connection broke.
    Reset,
    /// The TLS handshake failed.
    Tls,
    /// The answer took longer than the time-out.
    TimedOut,
    /// A part of the request took longer than that part's own time-out.
    TimedOutWhile(Stage),
    /// The endpoint answered with success and JSON, and it holds no token.
    TokenMissing,
    /// This process, or the system, has no file descriptor left.
    NoDescriptor,
    /// This machine has no port left to connect from.
    NoPort,
    /// The request was due for so long that the scenario gave it up unsent.
    Dropped,
    /// The client failed by itself: the key could not be opened, or nothing signed.
    Client,
}

/// The parts of a request that have a time-out of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Finding the address.
    Dns,
    /// Connecting, and asking a proxy for a way.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Handing the request to the kernel.
    Write,
    /// From the request to the first byte of the answer.
    FirstByte,
    /// From the first byte of the answer to the last.
    Body,
}

/// The OAuth error codes that are counted under their own names. Others come
/// from a server's imagination, which must not size a record.
const OAUTH_CODES: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "rate_limit_exceeded",
    "temporarily_unavailable",
];

impl Outcome {
    /// Was there a token?
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self, Self::Answered | Self::Cached | Self::Joined)
    }

    /// Should a client wait before it connects again?
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::ConnectRefused
                | Self::Connect
                | Self::Dns
                | Self::ProxyRefused
                | Self::Reset
                | Self::Tls
                | Self::TimedOutWhile(Stage::Dns | Stage::Connect | Stage::Tls)
                | Self::NoDescriptor
                | Self::NoPort
        )
    }

    /// Is `name` that of an outcome with a token?
    #[must_use]
    pub fn is_name_of_token(name: &str) -> bool {
        matches!(name, "answered" | "cached" | "joined")
    }

    /// Returns the name under which a record counts the outcome.
    #[must_use]
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            Self::Answered => "answered".into(),
            Self::Cached => "cached".into(),
            Self::Joined => "joined".into(),
            Self::OAuth { status, error } => {
                let code = OAUTH_CODES
                    .iter()
                    .find(|known| **known == error.as_str())
                    .unwrap_or(&"other");
                format!("oauth_{status}_{code}").into()
            }
            Self::Status(status) => format!("http_{status}").into(),
            Self::Malformed => "malformed_body".into(),
            Self::ConnectRefused => "connect_refused".into(),
            Self::Connect => "connect_failed".into(),
            Self::Dns => "dns_failed".into(),
            Self::ProxyRefused => "proxy_refused".into(),
            Self::Reset => "connection_reset".into(),
            Self::Tls => "tls_failed".into(),
            Self::TimedOut => "timed_out".into(),
            Self::TimedOutWhile(Stage::Dns) => "timed_out_dns".into(),
            Self::TimedOutWhile(Stage::Write) => "timed_out_write".into(),
            Self::TimedOutWhile(Stage::Connect) => "timed_out_connect".into(),
            Self::TimedOutWhile(Stage::Tls) => "timed_out_tls".into(),
            Self::TimedOutWhile(Stage::FirstByte) => "timed_out_first_byte".into(),
            Self::TimedOutWhile(Stage::Body) => "timed_out_body".into(),
            Self::TokenMissing => "token_missing".into(),
            Self::NoDescriptor => "no_descriptor".into(),
            Self::NoPort => "no_port".into(),
            Self::Dropped => "dropped".into(),
            Self::Client => "client_failed".into(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_whatever_a_server_answers() {
        let known = Outcome::OAuth {
            status: 400,
            error: "invalid_grant".into(),
        };
        let invented = Outcome::OAuth {
            status: 400,
            error: "x".repeat(10_000),
        };
        assert_eq!(known.name(), "oauth_400_invalid_grant");
        assert_eq!(invented.name(), "oauth_400_other");
    }
}
