//! The error table as clients know it, each row provoked over each protocol.

use std::io::Write;
use std::num::NonZeroU32;

use mintmark::broker::orders::Failure;
use mintmark::broker::{Authentication, RateLimit};
use mintmark::oauth::{ACCESS_TOKEN_TYPE, CLIENT_CREDENTIALS, ID_TOKEN_TYPE, TOKEN_EXCHANGE};
use tokio_rustls::rustls::version::TLS13;

use super::http::{Raw, request};
use super::tls::{rest, secured};
use super::*;

/// What the provider's documentation and its clients say, word for word.
const CONTRACT: [(Refusal, u16, &str, &str); 22] = [
    (
        Refusal::AppNotAuthorized,
        400,
        "unauthorized_client",
        "This app is not authorized by the enterprise admin",
    ),
    (
        Refusal::InvalidClient,
        400,
        "invalid_client",
        "The client credentials are invalid",
    ),
    (
        Refusal::GrantNotAllowed,
        400,
        "invalid_request",
        "The grant type is unauthorized for this client_id",
    ),
    (
        Refusal::InvalidGrantType,
        400,
        "invalid_request",
        "Invalid grant_type parameter or parameter missing",
    ),
    (
        Refusal::UserTokenNotPermitted,
        400,
        "invalid_request",
        "Cannot obtain user token based on the enterprise configuration for your app",
    ),
    (
        Refusal::SubjectTypeNotPermitted,
        400,
        "unauthorized_client",
        "The \"box_subject_type\" value is unauthorized for this client_id",
    ),
    (
        Refusal::InvalidCredentials,
        400,
        "invalid_grant",
        "Grant credentials are invalid",
    ),
    (
        Refusal::InvalidSubject,
        400,
        "invalid_grant",
        "Please check the 'sub' claim. The 'sub' specified is invalid.",
    ),
    (
        Refusal::InvalidIssuer,
        400,
        "invalid_grant",
        "Please check the 'iss' claim.",
    ),
    (
        Refusal::InvalidAudience,
        400,
        "invalid_grant",
        "Please check the 'aud' claim.",
    ),
    (
        Refusal::Expired,
        400,
        "invalid_grant",
        "Current date/time MUST be before the expiration date/time listed in the 'exp' claim",
    ),
    (
        Refusal::ExpiryTooFar,
        400,
        "invalid_grant",
        "Please check the 'exp' claim. The 'exp' value exceeds the maximum value of 60 seconds \
         beyond the issue time.",
    ),
    (
        Refusal::NotYetValid,
        400,
        "invalid_grant",
        "Current date/time MUST be after or equal to the not-before date/time listed in the \
         'nbf' or 'iat' claim",
    ),
    (
        Refusal::InvalidJti,
        400,
        "invalid_grant",
        "Please check the 'jti' claim.",
    ),
    (
        Refusal::ReplayedJti,
        400,
        "invalid_grant",
        "Please check the 'jti' claim. A unique 'jti' value is required.",
    ),
    (
        Refusal::UnknownKey,
        400,
        "invalid_grant",
        "'kid' invalid, unable to lookup correct key",
    ),
    (
        Refusal::BadSignature,
        400,
        "invalid_grant",
        "Signature verification error. The public key identified by 'kid' must correspond to the \
         private key used for signing.",
    ),
    (
        Refusal::RateLimited,
        429,
        "rate_limit_exceeded",
        "Request rate limit exceeded, please try again later",
    ),
    (
        Refusal::InvalidScope,
        400,
        "invalid_scope",
        "The requested scope is not held by the token",
    ),
    (
        Refusal::Overloaded,
        503,
        "temporarily_unavailable",
        "The endpoint is overloaded, please try again later",
    ),
    (
        Refusal::ServerError,
        500,
        "server_error",
        "The endpoint failed",
    ),
    (
        Refusal::BadGateway,
        502,
        "server_error",
        "The endpoint could not be reached",
    ),
];

#[tokio::test]
async fn every_row_is_answered_word_for_word_over_plain_http() {
    every_row_is_answered_over(Speaks::Plain).await;
}

#[tokio::test]
async fn every_row_is_answered_word_for_word_over_tls() {
    every_row_is_answered_over(Speaks::Http1).await;
}

#[tokio::test]
async fn every_row_is_answered_word_for_word_over_http_2() {
    every_row_is_answered_over(Speaks::Http2).await;
}

async fn every_row_is_answered_over(speaks: Speaks) {
    for refusal in Refusal::ALL {
        let Some(answer) = provoke(refusal, speaks).await else {
            continue;
        };
        answer.is(refusal);
        let documented = CONTRACT.iter().find(|(row, ..)| *row == refusal);
        if let Some((_, status, error, description)) = documented {
            let expected = json!({"error": error, "error_description": description});
            assert_eq!(answer.body, expected, "{speaks:?}");
            assert_eq!(answer.status, *status, "{speaks:?}");
        }
        let comes_back = matches!(refusal, Refusal::RateLimited | Refusal::Overloaded);
        assert_eq!(answer.header("retry-after").is_some(), comes_back);
    }
}

/// Does what leads to an answer of that row, on a stage of its own.
///
/// A row without a way to it would not compile. `None` is for rows that need
/// bytes which no client library sends; they are checked as such.
#[expect(clippy::too_many_lines, reason = "a table, a few lines for each row")]
async fn provoke(refusal: Refusal, speaks: Speaks) -> Option<Answer> {
    let stage = |app| {
        Stage::with(Setting {
            app,
            speaks,
            ..Setting::default()
        })
    };
    let usual = || stage(app());
    let own_credentials = || AppRegistration {
        authentication: Authentication::ClientCredentials,
        user_tokens: false,
        ..app()
    };
    let good = Draft::enterprise;
    let of_client = |pairs: &[(&str, &str)]| {
        let mut all = vec![("client_id", CLIENT), ("client_secret", SECRET)];
        all.extend(pairs);
        form(&all)
    };
    let narrowing = async |more: &[(&str, &str)]| {
        let stage = usual();
        let parent = stage.present(&good().sign()).await;
        let mut pairs = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", parent.token()),
            ("subject_token_type", ACCESS_TOKEN_TYPE),
        ];
        pairs.extend(more);
        stage.post(&form(&pairs)).await
    };
    let ordered = async |error| {
        let stage = Stage::with(Setting {
            orders: Orders {
                error_share: 1.0,
                error,
                ..Orders::default()
            },
            speaks,
            ..Setting::default()
        });
        stage.present(&good().sign()).await
    };
    let presented = async |draft: Draft| usual().present(&draft.sign()).await;
    let posted = async |content_type: &str, query: &str, body: String| {
        let stage = usual();
        let url = format!("{}{query}", stage.broker.token_url());
        let request = stage.http.post(url).header("content-type", content_type);
        Answer::of(request.body(body)).await
    };
    let urlencoded = "application/x-www-form-urlencoded";
    Some(match refusal {
        Refusal::AppNotAuthorized => {
            let unauthorized = AppRegistration {
                authorized: false,
                ..app()
            };
            stage(unauthorized).present(&good().sign()).await
        }
        Refusal::InvalidClient => {
            let pairs = [("grant_type", JWT_BEARER), ("client_id", CLIENT)];
            usual().post(&form(&pairs)).await
        }
        Refusal::GrantNotAllowed => {
            let body = of_client(&[("grant_type", "refresh_token")]);
            usual().post(&body).await
        }
        Refusal::InvalidGrantType => usual().post(&of_client(&[])).await,
        Refusal::UserTokenNotPermitted => {
            let without = AppRegistration {
                user_tokens: false,
                ..app()
            };
            stage(without).present(&Draft::user(OF_APP).sign()).await
        }
        Refusal::SubjectTypeNotPermitted => {
            let body = of_client(&[
                ("grant_type", CLIENT_CREDENTIALS),
                ("box_subject_type", "user"),
                ("box_subject_id", OF_APP),
            ]);
            stage(own_credentials()).post(&body).await
        }
        Refusal::InvalidCredentials => {
            let body = of_client(&[
                ("grant_type", CLIENT_CREDENTIALS),
                ("box_subject_type", "enterprise"),
                ("box_subject_id", "1"),
            ]);
            stage(own_credentials()).post(&body).await
        }
        Refusal::InvalidSubject => presented(good().claim("sub", "0")).await,
        Refusal::InvalidIssuer => presented(good().claim("iss", "x")).await,
        Refusal::InvalidAudience => presented(good().claim("aud", "x")).await,
        Refusal::Expired => presented(good().claim("exp", NOW - 1)).await,
        Refusal::ExpiryTooFar => presented(good().claim("exp", NOW + 61)).await,
        Refusal::NotYetValid => presented(good().claim("nbf", NOW + 1)).await,
        Refusal::InvalidJti => presented(good().claim("jti", "x")).await,
        Refusal::ReplayedJti => {
            let (stage, assertion) = (usual(), good().sign());
            stage.present(&assertion).await.token();
            stage.present(&assertion).await
        }
        Refusal::UnknownKey => presented(good().header("kid", "x")).await,
        Refusal::BadSignature => {
            let forged = good().sign_with(&key_b());
            usual().present(&forged).await
        }
        Refusal::AlgorithmNotAllowed => presented(good().header("alg", "none")).await,
        Refusal::MalformedAssertion => usual().present("a.b").await,
        Refusal::MissingAssertion => usual().present("").await,
        Refusal::InvalidScope => narrowing(&[("scope", "no_such_scope")]).await,
        Refusal::InvalidSubjectToken => {
            narrowing(&[("client_id", CLIENT), ("client_secret", SECRET)]).await;
            let pairs = [("grant_type", TOKEN_EXCHANGE), ("subject_token", "x")];
            usual().post(&form(&pairs)).await
        }
        Refusal::InvalidActorToken => {
            narrowing(&[
                ("scope", "item_preview"),
                ("actor_token", "x"),
                ("actor_token_type", ID_TOKEN_TYPE),
            ])
            .await
        }
        Refusal::InvalidResource => {
            narrowing(&[("scope", "item_preview"), ("resource", "folders/1")]).await
        }
        Refusal::MissingToken => {
            let stage = usual();
            let url = format!("{}/oauth2/revoke", stage.broker.url());
            let request = stage.http.post(url).header("content-type", urlencoded);
            Answer::of(request.body(of_client(&[]))).await
        }
        Refusal::RateLimited => {
            let stage = Stage::with(Setting {
                behaviour: Behaviour {
                    rate_limit: Some(RateLimit {
                        per_s: NonZeroU32::MIN,
                        burst: NonZeroU32::MIN,
                    }),
                    ..Setting::default().behaviour
                },
                speaks,
                ..Setting::default()
            });
            stage.present(&good().sign()).await.token();
            stage.present(&good().sign()).await
        }
        Refusal::Overloaded => ordered(Failure::Unavailable).await,
        Refusal::ServerError => ordered(Failure::Internal).await,
        Refusal::BadGateway => ordered(Failure::BadGateway).await,
        Refusal::DuplicateParameter => posted(urlencoded, "", "a=1&a=2".into()).await,
        Refusal::MalformedForm => posted(urlencoded, "", "a=%zz".into()).await,
        Refusal::UnsupportedContentType => posted("text/plain", "", "a=1".into()).await,
        Refusal::ParameterInQuery => posted(urlencoded, "?a=1", "a=1".into()).await,
        Refusal::BodyTooLarge => posted(urlencoded, "", "x".repeat(17_000)).await,
        Refusal::MethodNotAllowed => {
            let stage = usual();
            Answer::of(stage.http.get(stage.broker.token_url())).await
        }
        Refusal::MalformedRequest => {
            let stage = usual();
            let request = stage.http.post(stage.broker.token_url());
            Answer::of(request.header("host", "a").header("host", "b")).await
        }
        Refusal::BodyTimeout | Refusal::LengthRequired => {
            if speaks != Speaks::Http2 {
                let answer = tokio::task::spawn_blocking(move || written(refusal, speaks));
                http::is_refused(&answer.await.unwrap(), refusal);
            }
            return None;
        }
    })
}

/// Writes a request that no client library would.
fn written(refusal: Refusal, speaks: Speaks) -> String {
    let short = Duration::from_millis(200);
    let stage = Stage::with(Setting {
        limits: Limits {
            body_timeout: short,
            ..Limits::default()
        },
        speaks,
        ..Setting::default()
    });
    let text = match refusal {
        Refusal::BodyTimeout => request("Host: a\r\nContent-Length: 9\r\n", "a=b"),
        _ => request(
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "3\r\na=b\r\n0\r\n\r\n",
        ),
    };
    if speaks == Speaks::Plain {
        let mut raw = Raw::to(&stage);
        raw.send(&text);
        return raw.rest();
    }
    let mut stream = secured(&stage.broker, "localhost", &[], &[&TLS13]).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    String::from_utf8(rest(&mut stream)).unwrap()
}
