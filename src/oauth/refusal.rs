//! How does a token endpoint say no?
//!
//! One row for each reason: the HTTP status, the `error` code, the
//! description and the shortest fragment of it that clients match on. The
//! descriptions are fixed strings; nothing that a caller sent is ever echoed.
//! Whether a reason applies is decided by the broker, and what to do about it
//! by the client; this table only keeps the two of them talking of the same
//! thing.

use http::StatusCode;
use serde::Serialize;

use super::ErrorBody;

/// A reason why a token endpoint refuses a request.
///
/// The first rows are those of the provider; the last ones, from
/// [`Self::MissingAssertion`] on, are RFC 6749 §5.2 in the broker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The app is not authorized for the enterprise, or it is disabled.
    AppNotAuthorized,
    /// The client is unknown, or its secret is another.
    InvalidClient,
    /// The grant is known, but not for this kind of app.
    GrantNotAllowed,
    /// `grant_type` is missing or unknown.
    InvalidGrantType,
    /// The subject is a user for whom this app gets no token.
    UserTokenNotPermitted,
    /// A client-credentials grant asks for a kind of subject it may not have.
    SubjectTypeNotPermitted,
    /// A client-credentials grant names an unknown subject.
    InvalidCredentials,
    /// `sub` or `box_sub_type` is missing, of another type, or unknown.
    InvalidSubject,
    /// `iss` is not the client.
    InvalidIssuer,
    /// `aud` is not this endpoint.
    InvalidAudience,
    /// `exp` has passed on the server's clock.
    Expired,
    /// `exp` is too far ahead of the issue time, missing, or no integer.
    ExpiryTooFar,
    /// `nbf` or `iat` is in the server's future.
    NotYetValid,
    /// `jti` was presented before.
    ReplayedJti,
    /// `jti` is missing, too short or too long.
    InvalidJti,
    /// `kid` names no key of the app.
    UnknownKey,
    /// The signature does not verify.
    BadSignature,
    /// `alg` is not one that the key is registered for.
    AlgorithmNotAllowed,
    /// The assertion is not a JWT, or one with members that are refused.
    MalformedAssertion,
    /// A scope is asked for that the parent token does not hold.
    InvalidScope,
    /// The token to be narrowed is not one, or not the client's.
    InvalidSubjectToken,
    /// The token that names an actor is none, or not the app's.
    InvalidActorToken,
    /// The resource to narrow a token to is not an address, or another one
    /// than before.
    InvalidResource,
    /// `token` is missing.
    MissingToken,
    /// Too many requests.
    RateLimited,
    /// The endpoint cannot answer now.
    Overloaded,
    /// The endpoint failed.
    ServerError,
    /// What stands before the endpoint failed.
    BadGateway,
    /// `assertion` is missing.
    MissingAssertion,
    /// A parameter occurs twice (RFC 6749 §3.2).
    DuplicateParameter,
    /// The form is not `application/x-www-form-urlencoded` in UTF-8.
    MalformedForm,
    /// The content type is another one.
    UnsupportedContentType,
    /// Parameters are in the query of the address.
    ParameterInQuery,
    /// The HTTP message is ambiguous or incomplete.
    MalformedRequest,
    /// The method is not `POST`.
    MethodNotAllowed,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is chunked; a length is wanted.
    LengthRequired,
    /// The body is too large.
    BodyTooLarge,
}

/// What one row of the table says.
struct Row {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    fragment: &'static str,
}

impl Refusal {
    /// How many reasons there are. A type whose length was computed from the
    /// table would have the compiler look for its functions to do so, which it
    /// refuses in optimised builds.
    pub const COUNT: usize = Self::BodyTooLarge as usize + 1;

    /// Every reason; where descriptions overlap, the specific one comes first.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self::AppNotAuthorized; Self::COUNT];
        let mut index = 0;
        while index < all.len() {
            all[index] = TABLE[index].0;
            index += 1;
        }
        all
    };

    /// Returns the HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// Returns the `error` code of the answer.
    #[must_use]
    pub fn error(self) -> &'static str {
        self.row().error
    }

    /// Returns the `error_description` of the answer.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.row().description
    }

    /// Returns the part of the description that clients match on.
    #[must_use]
    pub fn fragment(self) -> &'static str {
        self.row().fragment
    }

    /// Returns after how many seconds a client may come back, where the
    /// answer says so in `Retry-After` unless the endpoint knows better.
    #[must_use]
    pub fn retry_after_s(self) -> Option<u64> {
        matches!(self, Self::RateLimited | Self::Overloaded).then_some(1)
    }

    /// Returns the body of the answer.
    #[must_use]
    pub fn body(self) -> ErrorBody {
        ErrorBody {
            error: self.error().to_owned(),
            error_description: Some(self.description().to_owned()),
        }
    }

    /// Finds the reason that an answer gives: by its whole description, or
    /// else by the first fragment under the same `error` code.
    #[must_use]
    pub fn recognise(body: &ErrorBody) -> Option<Self> {
        let said = body.error_description.as_deref().unwrap_or_default();
        let same_code = || {
            Self::ALL
                .into_iter()
                .filter(|refusal| refusal.error() == body.error)
        };
        same_code()
            .find(|refusal| refusal.description() == said)
            .or_else(|| same_code().find(|refusal| said.contains(refusal.fragment())))
    }

    /// Returns the place in [`Self::ALL`], for tables of counters.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize].1
    }
}

/// The table, in the order of [`Refusal`]'s variants.
const TABLE: [(Refusal, Row); Refusal::COUNT] = [
    (
        Refusal::AppNotAuthorized,
        row(
            "unauthorized_client",
            "This app is not authorized by the enterprise admin",
            "not authorized by the enterprise admin",
        ),
    ),
    (
        Refusal::InvalidClient,
        whole("invalid_client", "The client credentials are invalid"),
    ),
    (
        Refusal::GrantNotAllowed,
        whole(
            "invalid_request",
            "The grant type is unauthorized for this client_id",
        ),
    ),
    (
        Refusal::InvalidGrantType,
        whole(
            "invalid_request",
            "Invalid grant_type parameter or parameter missing",
        ),
    ),
    (
        Refusal::UserTokenNotPermitted,
        row(
            "invalid_request",
            "Cannot obtain user token based on the enterprise configuration for your app",
            "Cannot obtain user token",
        ),
    ),
    (
        Refusal::SubjectTypeNotPermitted,
        row(
            "unauthorized_client",
            "The \"box_subject_type\" value is unauthorized for this client_id",
            "box_subject_type",
        ),
    ),
    (
        Refusal::InvalidCredentials,
        whole("invalid_grant", "Grant credentials are invalid"),
    ),
    (
        Refusal::InvalidSubject,
        row(
            "invalid_grant",
            "Please check the 'sub' claim. The 'sub' specified is invalid.",
            "'sub'",
        ),
    ),
    (
        Refusal::InvalidIssuer,
        row("invalid_grant", "Please check the 'iss' claim.", "'iss'"),
    ),
    (
        Refusal::InvalidAudience,
        row("invalid_grant", "Please check the 'aud' claim.", "'aud'"),
    ),
    (
        Refusal::Expired,
        row(
            "invalid_grant",
            "Current date/time MUST be before the expiration date/time listed in the 'exp' claim",
            "before the expiration date/time listed in the 'exp' claim",
        ),
    ),
    (
        Refusal::ExpiryTooFar,
        row(
            "invalid_grant",
            "Please check the 'exp' claim. The 'exp' value exceeds the maximum value of 60 \
                 seconds beyond the issue time.",
            "'exp'",
        ),
    ),
    (
        Refusal::NotYetValid,
        row(
            "invalid_grant",
            "Current date/time MUST be after or equal to the not-before date/time listed in \
                 the 'nbf' or 'iat' claim",
            "'nbf' or 'iat'",
        ),
    ),
    (
        Refusal::ReplayedJti,
        row(
            "invalid_grant",
            "Please check the 'jti' claim. A unique 'jti' value is required.",
            "A unique 'jti' value is required.",
        ),
    ),
    (
        Refusal::InvalidJti,
        row("invalid_grant", "Please check the 'jti' claim.", "'jti'"),
    ),
    (
        Refusal::UnknownKey,
        whole(
            "invalid_grant",
            "'kid' invalid, unable to lookup correct key",
        ),
    ),
    (
        Refusal::BadSignature,
        row(
            "invalid_grant",
            "Signature verification error. The public key identified by 'kid' must \
                 correspond to the private key used for signing.",
            "Signature verification error",
        ),
    ),
    (
        Refusal::AlgorithmNotAllowed,
        whole(
            "invalid_grant",
            "The 'alg' of the assertion is not allowed for its key",
        ),
    ),
    (
        Refusal::MalformedAssertion,
        whole(
            "invalid_grant",
            "The assertion is not a valid JSON Web Token",
        ),
    ),
    (
        Refusal::InvalidScope,
        whole(
            "invalid_scope",
            "The requested scope is not held by the token",
        ),
    ),
    (
        Refusal::InvalidSubjectToken,
        whole(
            "invalid_request",
            "The subject_token is not a valid access token",
        ),
    ),
    (
        Refusal::InvalidActorToken,
        whole("invalid_request", "The actor_token is not valid"),
    ),
    (
        Refusal::InvalidResource,
        whole(
            "invalid_target",
            "The resource is not the address of one item",
        ),
    ),
    (
        Refusal::MissingToken,
        whole("invalid_request", "The token parameter is missing"),
    ),
    (
        Refusal::RateLimited,
        row(
            "rate_limit_exceeded",
            "Request rate limit exceeded, please try again later",
            "rate limit exceeded",
        )
        .with(StatusCode::TOO_MANY_REQUESTS),
    ),
    (
        Refusal::Overloaded,
        whole(
            "temporarily_unavailable",
            "The endpoint is overloaded, please try again later",
        )
        .with(StatusCode::SERVICE_UNAVAILABLE),
    ),
    (
        Refusal::ServerError,
        whole("server_error", "The endpoint failed").with(StatusCode::INTERNAL_SERVER_ERROR),
    ),
    (
        Refusal::BadGateway,
        whole("server_error", "The endpoint could not be reached").with(StatusCode::BAD_GATEWAY),
    ),
    (
        Refusal::MissingAssertion,
        whole("invalid_request", "The assertion parameter is missing"),
    ),
    (
        Refusal::DuplicateParameter,
        whole("invalid_request", "A parameter occurs more than once"),
    ),
    (
        Refusal::MalformedForm,
        whole("invalid_request", "The body is not a valid form in UTF-8"),
    ),
    (
        Refusal::UnsupportedContentType,
        whole(
            "invalid_request",
            "The content type must be application/x-www-form-urlencoded",
        ),
    ),
    (
        Refusal::ParameterInQuery,
        whole(
            "invalid_request",
            "Parameters belong into the body, not into the query",
        ),
    ),
    (
        Refusal::MalformedRequest,
        whole("invalid_request", "The HTTP request is malformed"),
    ),
    (
        Refusal::MethodNotAllowed,
        whole("invalid_request", "The method must be POST").with(StatusCode::METHOD_NOT_ALLOWED),
    ),
    (
        Refusal::BodyTimeout,
        whole("invalid_request", "The body did not arrive in time")
            .with(StatusCode::REQUEST_TIMEOUT),
    ),
    (
        Refusal::LengthRequired,
        whole("invalid_request", "A Content-Length is required").with(StatusCode::LENGTH_REQUIRED),
    ),
    (
        Refusal::BodyTooLarge,
        whole("invalid_request", "The body is too large").with(StatusCode::PAYLOAD_TOO_LARGE),
    ),
];

impl Row {
    const fn with(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

const fn row(error: &'static str, description: &'static str, fragment: &'static str) -> Row {
    Row {
        status: StatusCode::BAD_REQUEST,
        error,
        description,
        fragment,
    }
}

const fn whole(error: &'static str, description: &'static str) -> Row {
    row(error, description, description)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_at_its_index() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal.index(), index, "{refusal:?}");
        }
    }

    #[test]
    fn a_description_holds_its_fragment() {
        for refusal in Refusal::ALL {
            assert!(refusal.description().contains(refusal.fragment()));
        }
    }

    #[test]
    fn every_answer_is_recognised_as_what_it_is() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::recognise(&refusal.body()), Some(refusal));
        }
    }

    #[test]
    fn an_answer_in_other_words_is_recognised_by_its_fragment() {
        let body = |description: &str| ErrorBody {
            error: "invalid_grant".into(),
            error_description: Some(description.into()),
        };
        assert_eq!(
            Refusal::recognise(&body("Please check the 'jti' claim, it is short")),
            Some(Refusal::InvalidJti)
        );
        assert_eq!(
            Refusal::recognise(&body("the 'exp' claim is odd")),
            Some(Refusal::ExpiryTooFar)
        );
        assert_eq!(Refusal::recognise(&body("no")), None);
    }

    #[test]
    fn only_claim_errors_speak_of_the_claims_that_clients_retry_on() {
        for refusal in Refusal::ALL {
            let said = refusal.description();
            assert_eq!(
                said.contains("exp'"),
                matches!(refusal, Refusal::Expired | Refusal::ExpiryTooFar),
                "{refusal:?}"
            );
            assert_eq!(
                said.contains("jti"),
                matches!(refusal, Refusal::InvalidJti | Refusal::ReplayedJti),
                "{refusal:?}"
            );
        }
        for refusal in [Refusal::AlgorithmNotAllowed, Refusal::MalformedAssertion] {
            assert!(!refusal.description().contains("exp"), "{refusal:?}");
        }
    }
}
