//! What is asked of the broker besides tokens?
//!
//! Revocation (RFC 7009), introspection (RFC 7662), the server's metadata
//! (RFC 8414) and keys, the current user, and what a page in a browser may
//! do. A client learns about its own tokens only: those of others are as
//! unknown as none.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use serde_json::{Value, json};

use super::body::{parsed, posted};
use super::form::Form;
use super::grant::{Grants, Reach, Refused, reach};
use super::registration::ALGORITHMS;
use super::registry::App;
use super::routes::{Endpoint, unauthorized};
use super::stats::add;
use super::terms::{DOWNSCOPES, SCOPES, Scopes};
use super::token::{Grant, Subject};
use crate::credential::generate;
use crate::oauth::{
    CLIENT_CREDENTIALS, INTROSPECT_PATH, JWT_BEARER, REVOKE_PATH, Refusal, TOKEN_EXCHANGE,
    TOKEN_PATH,
};
use crate::signer::Algorithm;

/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_AGE_S: &str = "86400";

/// The most bytes of a preflight's list of headers.
const MAX_PREFLIGHT: usize = 512;

const AS_USER: HeaderName = HeaderName::from_static("as-user");

/// What a request has to do with a page in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Nothing, or nothing that can be told before the app is known.
    None,
    /// The app lists the page's origin.
    Listed,
    /// The app does not list it.
    Refused,
}

/// Looks up a page's origin with the app that a form names, by client ID or
/// by the token that is to be narrowed.
pub(super) fn page(grants: &Grants, form: &Form<'_>, origin: &HeaderValue) -> Page {
    let registry = grants.registry.load();
    let app = match form.get("client_id") {
        Some(client_id) => registry.app(client_id),
        None => form
            .get("subject_token")
            .and_then(|token| grants.bearer(token))
            .and_then(|grant| registry.app_by_number(grant.app)),
    };
    app.map_or(Page::None, |app| page_of(app, origin))
}

fn page_of(app: &App, origin: &HeaderValue) -> Page {
    let is_listed = origin
        .to_str()
        .is_ok_and(|origin| app.origins().allow(origin));
    if is_listed {
        Page::Listed
    } else {
        Page::Refused
    }
}

/// Answers a page whose origin is not listed.
pub(super) fn refuse_page(endpoint: &Endpoint, origin: &HeaderValue) -> Response {
    add(&endpoint.counters.others);
    let body = json!({
        "type": "error",
        "status": 403,
        "code": "cors_origin_not_whitelisted",
        "context_info": {"origin": origin.to_str().unwrap_or_default()},
        "help_url": endpoint.help_url(),
        "message": "Access denied - Did you forget to safelist your origin in the CORS config of your app?",
        "request_id": generate::key_id().unwrap_or_default(),
    });
    endpoint.answer(StatusCode::FORBIDDEN, body.to_string())
}

/// Lets a browser hand an answer to the page.
pub(super) fn open_to_pages(headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Answers a preflight, which names no client; the list of origins counts
/// for the request that follows.
pub(super) async fn preflight(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    add(&endpoint.counters.others);
    let mut response = endpoint.answer(StatusCode::NO_CONTENT, Body::empty());
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    open_to_pages(headers);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(PREFLIGHT_AGE_S),
    );
    let asked = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let is_list = |value: &&HeaderValue| {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-, ".contains(byte);
        value.len() <= MAX_PREFLIGHT && value.as_bytes().iter().all(is_plain)
    };
    if let Some(asked) = asked.filter(is_list) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

/// Revokes a token of the client (RFC 7009 §2); an unknown one is no error.
pub(super) async fn revoke(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    add(&endpoint.counters.others);
    match own_token(&endpoint, request).await {
        Ok(grant) => {
            if let Some((grant, _)) = grant {
                let grants = &endpoint.grants;
                grants.revoked.revoke(&grant, grants.now());
            }
            let mut response = endpoint.answer(StatusCode::OK, Body::empty());
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Err(refused) => endpoint.refuse(refused),
    }
}

/// Tells a client about a token of its own (RFC 7662 §2).
pub(super) async fn introspect(
    State(endpoint): State<Arc<Endpoint>>,
    request: Request,
) -> Response {
    add(&endpoint.counters.others);
    let body = match own_token(&endpoint, request).await {
        Ok(Some((grant, client_id))) => {
            let (kind, subject) = match &grant.subject {
                Subject::Enterprise(id) => ("enterprise", id),
                Subject::User(id) => ("user", id),
            };
            let mut told = json!({
                "active": true,
                "scope": grant.scopes.to_string(),
                "client_id": client_id,
                "token_type": "bearer",
                "exp": grant.expires_at,
                "sub": subject,
                "box_sub_type": kind,
                "iss": endpoint.grants.issuer(),
            });
            if let Some(actor) = &grant.actor {
                // RFC 8693 §4.1.
                told["act"] = json!({"sub": actor, "box_sub_type": "external"});
            }
            told
        }
        Ok(None) => json!({"active": false}),
        Err(refused) => return endpoint.refuse(refused),
    };
    endpoint.answer(StatusCode::OK, body.to_string())
}

/// Authenticates the client and finds the token that it names, if that is
/// one of its own that is still good.
async fn own_token(
    endpoint: &Endpoint,
    request: Request,
) -> Result<Option<(Grant, String)>, Refused> {
    let body = posted(endpoint, request).await?;
    let form = parsed(&body)?;
    let grants = &endpoint.grants;
    let registry = grants.registry.load();
    let app = grants.client(&registry, &form)?;
    let token = form.get("token").ok_or(Refusal::MissingToken)?;
    let grant = grants
        .bearer(token)
        .filter(|grant| grant.app == app.number() && app.terms().is_some());
    Ok(grant.map(|grant| (grant, app.client_id().to_owned())))
}

/// Lists the keys of signed access tokens; none if tokens are opaque.
pub(super) async fn keys(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    let key_set = endpoint.grants.minter.key_set().to_owned();
    endpoint.answer(StatusCode::OK, key_set)
}

/// Describes the server (RFC 8414 §2).
pub(super) async fn metadata(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    let issuer = endpoint.grants.issuer();
    let methods = ["client_secret_post", "private_key_jwt"];
    let algorithms = ALGORITHMS.map(Algorithm::name);
    let scopes: Vec<_> = SCOPES
        .into_iter()
        .map(|(name, _)| name)
        .chain(DOWNSCOPES)
        .collect();
    let body = json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}{TOKEN_PATH}"),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "grant_types_supported": [JWT_BEARER, CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
        "response_types_supported": [],
        "scopes_supported": scopes,
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "revocation_endpoint": format!("{issuer}{REVOKE_PATH}"),
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint": format!("{issuer}{INTROSPECT_PATH}"),
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
    });
    endpoint.answer(StatusCode::OK, body.to_string())
}

/// Shows whom a token acts as, or whom its bearer acts as for this request.
pub(super) fn current_user(endpoint: &Endpoint, headers: &HeaderMap, grant: &Grant) -> Response {
    let grants = &endpoint.grants;
    let registry = grants.registry.load();
    let app = registry
        .app_by_number(grant.app)
        .and_then(|app| app.terms().map(|terms| (app, terms)));
    let Some((app, terms)) = app else {
        return unauthorized(endpoint, true);
    };
    if grant.is_narrowed() && !grant.scopes.cover("root_readonly") {
        return insufficient_scope(endpoint);
    }
    let page = headers
        .get(header::ORIGIN)
        .map(|origin| (origin, page_of(app, origin)));
    if let Some((origin, Page::Refused)) = page {
        return refuse_page(endpoint, origin);
    }
    let shown = |id: &str| {
        let user = registry.user(id)?;
        Some((user.id.clone(), user.name.clone(), user.login.clone()))
    };
    let account = || {
        let account = app.service_account();
        let name = "Service Account".to_owned();
        Some((account.id.clone(), name, account.login.clone()))
    };
    let mut others = headers.get_all(AS_USER).iter();
    let user = match (others.next(), others.next(), &grant.subject) {
        (None, _, Subject::Enterprise(_)) => account(),
        (None, _, Subject::User(id)) => shown(id),
        (Some(other), None, _) => {
            let within = other.to_str().ok().filter(|id| {
                grant.as_user && reach(&registry, app, terms.access, id) == Reach::Within
            });
            let Some(user) = within.and_then(shown) else {
                let message = "The token may not act as this user";
                return endpoint.resource_error(StatusCode::FORBIDDEN, "forbidden", message);
            };
            Some(user)
        }
        (Some(_), Some(_), _) => {
            let message = "As-User occurs twice";
            return endpoint.resource_error(StatusCode::BAD_REQUEST, "bad_request", message);
        }
    };
    let Some((id, name, login)) = user else {
        return unauthorized(endpoint, true);
    };
    let body = json!({"type": "user", "id": id, "name": name, "login": login});
    let mut response = endpoint.answer(StatusCode::OK, body.to_string());
    if page.is_some() {
        open_to_pages(response.headers_mut());
    }
    response
}

/// Refuses a token that is good, but not for this (RFC 6750 §3.1).
fn insufficient_scope(endpoint: &Endpoint) -> Response {
    let message = "The request requires higher privileges than provided by the access token.";
    let mut response =
        endpoint.resource_error(StatusCode::FORBIDDEN, "insufficient_scope", message);
    let challenge =
        HeaderValue::from_static("Bearer realm=\"Service\", error=\"insufficient_scope\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Lists what a narrowed token is restricted to, as the provider does.
pub(super) fn restrictions(scopes: Scopes, resource: Option<&str>) -> Vec<Value> {
    let object = resource.map_or_else(
        || json!({"type": "folder", "id": "0", "sequence_id": null, "etag": null, "name": "All Files"}),
        |url| {
            let mut segments = url.trim_end_matches('/').rsplit('/');
            let id = segments.next().unwrap_or_default();
            let kind = match segments.next() {
                Some("files") => "file",
                Some("folders") => "folder",
                _ => "web_link",
            };
            json!({"type": kind, "id": id, "sequence_id": "0", "etag": "0", "name": ""})
        },
    );
    scopes
        .names()
        .map(|scope| json!({"scope": scope, "object": object}))
        .collect()
}
