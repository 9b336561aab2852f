//! Does a request suit the provider that the broker is dressed as?
//!
//! A dressed broker has one more token endpoint, at the provider's own path.
//! It demands what that provider documents, to the letter: exactly these
//! members of header and claims, exactly these parameters, this audience, a
//! life no longer than that, one of these algorithms; and it answers in that
//! provider's shape. What is demanded stands in [`providers`], written down
//! apart from the profiles that clients use, so that one checks the other.
//!
//! A dress is for tests of clients. It knows no users, scopes or approvals: who
//! signs with a registered key gets a token of the app.

mod providers;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

pub use self::providers::Provider;
use self::providers::{Audience, Carried, Demands, Life};
use super::routes::{Endpoint, parsed, posted, read_body};
use super::token::{SubjectKind, Wish};
use crate::signer::{Algorithm, PublicKey, verify};

/// The provider that a broker is dressed as, and who may sign.
#[derive(Clone, Debug)]
pub struct Dress {
    /// The provider.
    pub provider: Provider,
    /// Client IDs of registered apps with the key that signs their assertions.
    pub keys: Vec<(String, PublicKey)>,
}

/// Why a request does not suit.
type Unsuited = (&'static str, String);

impl Dress {
    /// Returns the path of the provider's token endpoint.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.provider.demands().path
    }

    /// Checks an assertion and returns the client that signed it.
    fn judge(&self, assertion: &str, own_url: &str, now: u64) -> Result<&str, Unsuited> {
        let demands = self.provider.demands();
        let mut parts = assertion.split('.');
        let (Some(head), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(("assertion", "not of three parts".into()));
        };
        let head = members(head).ok_or(("header", "no object".to_owned()))?;
        let claims = members(body).ok_or(("claims", "no object".to_owned()))?;
        has_members("header", &head, demands.header)?;
        has_members("claims", &claims, demands.claims)?;
        let algorithm = algorithm_of(&head, demands)?;
        let client = text(&claims, "iss")?;
        let (client, key) = self
            .keys
            .iter()
            .find(|(known, _)| known == client)
            .ok_or_else(|| ("iss", client.to_owned()))?;
        let signed = &assertion[..assertion.len() - signature.len() - 1];
        let is_authentic = URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|signature| verify(key, algorithm, signed.as_bytes(), &signature));
        if !is_authentic {
            return Err(("signature", "another key's".into()));
        }
        match demands.audience {
            Audience::None => {}
            Audience::Own => is_text(&claims, "aud", own_url)?,
            Audience::Fixed(audience) => is_text(&claims, "aud", audience)?,
        }
        if demands.subject_is_issuer {
            is_text(&claims, "sub", client)?;
        }
        for (name, value) in demands.fixed_claims {
            is_text(&claims, name, value)?;
        }
        check_life(&claims, demands, now)?;
        Ok(client)
    }
}

/// Answers a request at the provider's own path.
pub(super) async fn token(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let Some(dress) = &endpoint.dress else {
        return endpoint.answer(StatusCode::NOT_FOUND, "{}");
    };
    let demands = dress.provider.demands();
    let own_url = format!("{}{}", endpoint.grants.issuer(), request.uri().path());
    let found = match demands.carried {
        Carried::Bearer => bearer(&endpoint, request).await,
        Carried::Parameter(name) => parameter(&endpoint, demands, name, request).await,
    };
    let judged = found.and_then(|assertion| {
        let client = dress.judge(&assertion, &own_url, endpoint.grants.now())?;
        issue(&endpoint, client)
    });
    match judged {
        Ok((token, life_s)) => {
            super::stats::add(&endpoint.counters.granted);
            let body = (demands.answer)(&token, life_s);
            let status = StatusCode::from_u16(demands.status).unwrap_or(StatusCode::OK);
            endpoint.answer(status, body.to_string())
        }
        Err((what, found)) => {
            super::stats::add(&endpoint.counters.others);
            let (status, body) = match demands.carried {
                Carried::Bearer => (
                    StatusCode::UNAUTHORIZED,
                    json!({"message": format!("{what}: {found}")}),
                ),
                Carried::Parameter(_) => (
                    StatusCode::BAD_REQUEST,
                    json!({"error": demands.error, "error_description": format!("{what}: {found}")}),
                ),
            };
            endpoint.answer(status, Body::from(body.to_string()))
        }
    }
}

/// Issues a token of the app itself.
fn issue(endpoint: &Endpoint, client: &str) -> Result<(String, u64), Unsuited> {
    let registry = endpoint.grants.registry().load();
    let unknown = || ("iss", "not registered".to_owned());
    let app = registry.app(client).ok_or_else(unknown)?;
    let terms = app.terms().ok_or_else(unknown)?;
    let wish = Wish::of(app, terms, SubjectKind::Enterprise, app.enterprise_id());
    let issued = endpoint
        .grants
        .mint(&wish)
        .map_err(|_| ("token", "none could be made".to_owned()))?;
    Ok((issued.access_token, issued.expires_in))
}

/// Takes the assertion from a form that has exactly the demanded parameters.
async fn parameter(
    endpoint: &Endpoint,
    demands: &Demands,
    name: &'static str,
    request: Request,
) -> Result<String, Unsuited> {
    let malformed = |_| ("form", "malformed".to_owned());
    let body = posted(endpoint, request).await.map_err(malformed)?;
    let form = parsed(&body).map_err(malformed)?;
    for (parameter, value) in demands.form {
        match (form.get(parameter), value) {
            (None, _) => return Err((*parameter, "missing".into())),
            (Some(found), Some(value)) if found != *value => {
                return Err((*parameter, found.to_owned()));
            }
            _ => {}
        }
    }
    if form.len() != demands.form.len() + 1 {
        return Err(("form", format!("{} parameters", form.len())));
    }
    form.get(name)
        .map(str::to_owned)
        .ok_or((name, "missing".into()))
}

/// Takes the assertion from the `Authorization` of a request without a body.
async fn bearer(endpoint: &Endpoint, request: Request) -> Result<String, Unsuited> {
    let (head, body) = request.into_parts();
    let body = read_body(endpoint, body)
        .await
        .map_err(|_| ("body", "malformed".to_owned()))?;
    if !body.is_empty() {
        return Err(("body", "not empty".into()));
    }
    authorization(&head.headers)
        .map(str::to_owned)
        .ok_or(("authorization", "no bearer".into()))
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

fn members(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Are all demanded members there, and no others? A name that ends in `?` may
/// be left out.
fn has_members(
    what: &'static str,
    found: &Map<String, Value>,
    demanded: &[&str],
) -> Result<(), Unsuited> {
    for name in demanded {
        if !name.ends_with('?') && !found.contains_key(*name) {
            return Err((what, format!("no {name}")));
        }
    }
    match found.keys().find(|name| {
        !demanded
            .iter()
            .any(|one| one.trim_end_matches('?') == *name)
    }) {
        Some(strange) => Err((what, format!("a {strange}"))),
        None => Ok(()),
    }
}

fn algorithm_of(head: &Map<String, Value>, demands: &Demands) -> Result<Algorithm, Unsuited> {
    let name = text(head, "alg")?;
    demands
        .algorithms
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == name)
        .ok_or_else(|| ("alg", name.to_owned()))
}

/// Checks that an assertion is dated in numbers and lives no longer than the
/// provider lets it.
fn check_life(claims: &Map<String, Value>, demands: &Demands, now: u64) -> Result<(), Unsuited> {
    let date = |name: &'static str| {
        claims
            .get(name)
            .map(|value| value.as_u64().ok_or((name, value.to_string())))
            .transpose()
    };
    let expires = date("exp")?.ok_or(("exp", "missing".to_owned()))?;
    let issued = match (demands.life, date("iat")?) {
        (Life::FromIssue(_), Some(iat)) => iat,
        _ => now,
    };
    let (Life::FromIssue(longest_s) | Life::FromNow(longest_s)) = demands.life;
    // A second for the one that may have begun since the assertion was made.
    if expires <= now || expires > issued + longest_s + 1 {
        return Err(("exp", format!("{expires} at {now}")));
    }
    for name in ["iat", "nbf"] {
        if date(name)?.is_some_and(|at| at > now + 1) {
            return Err((name, "in the future".into()));
        }
    }
    Ok(())
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Unsuited> {
    members
        .get(name)
        .and_then(Value::as_str)
        .ok_or((name, "no text".into()))
}

fn is_text(members: &Map<String, Value>, name: &'static str, wanted: &str) -> Result<(), Unsuited> {
    let found = text(members, name)?;
    if found == wanted {
        Ok(())
    } else {
        Err((name, found.to_owned()))
    }
}
