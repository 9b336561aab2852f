//! How does a program set up apps, when it has no command line?
//!
//! The directory as JSON over HTTP, beside the token endpoint and described
//! by the OpenAPI document at `/admin/v1/openapi.json`. Every other request
//! needs the admin secret as a bearer token, which no page in a browser sends
//! by itself. A change is served to token requests before it is answered.
//!
//! The directory is asked on threads for blocking work, not on those that
//! serve tokens.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use http::{Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::directory::{AppRecord, Directory, DirectoryError, NewUser};
use super::follow::Followed;
use super::order_sheet::OrderSheet;
use super::origin::Origins;
use super::registration::{Access, Authentication};
use super::registry::sha256;
use super::routes::{Endpoint, bearer, read_body};
use super::stats::add;
use super::terms::Scopes;
use crate::credential::generate::RsaBits;
use crate::error::Chain;
use crate::signer::PublicKey;

/// The OpenAPI document.
const DOCUMENT: &str = include_str!("openapi.json");

/// Who may use the API, and on what.
pub(super) struct Admin {
    followed: Arc<Followed>,
    secret_sha256: [u8; 32],
}

impl Admin {
    pub(super) fn new(followed: Arc<Followed>, secret: &str) -> Self {
        Self {
            followed,
            secret_sha256: sha256(secret.as_bytes()),
        }
    }
}

/// Routes requests below `/admin/v1`.
pub(super) fn router() -> Router<Arc<Endpoint>> {
    Router::new()
        .route("/openapi.json", get(document))
        .route("/enterprises", get(enterprises).post(add_enterprise))
        .route("/apps", get(apps).post(create))
        .route("/apps/{app}", get(show).patch(edit))
        .route("/apps/{app}/keypair", post(keypair))
        .route("/apps/{app}/keys", post(add_key))
        .route("/apps/{app}/keys/{kid}", delete(remove_key))
        .route("/apps/{app}/{step}", post(step))
        .route("/users", get(users).post(add_user))
        .route("/notices", get(notices))
        .route("/stats", get(stats))
        .route("/behaviour", get(behaviour).put(order))
        .fallback(any(nowhere))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEnterprise {
    id: Option<String>,
    name: String,
    administrator: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewApp {
    name: String,
    enterprise_id: String,
    #[serde(default)]
    authentication: Authentication,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    public_key: String,
    #[serde(default)]
    allow_small_exponent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    access: Option<Access>,
    user_tokens: Option<bool>,
    as_user: Option<bool>,
    scopes: Option<Scopes>,
    cors: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    enterprise_id: Option<String>,
    app: Option<String>,
    id: Option<String>,
    name: Option<String>,
    login: Option<String>,
}

/// Why the API does not do what was asked.
enum Refused {
    NotAllowed,
    NoApi,
    Malformed(String),
    Directory(DirectoryError),
    Failed,
}

impl From<DirectoryError> for Refused {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

type Outcome = Result<(StatusCode, Value), Refused>;

async fn document(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    endpoint.answer(StatusCode::OK, DOCUMENT)
}

async fn nowhere(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    endpoint.resource_error(StatusCode::NOT_FOUND, "not_found", "Not Found")
}

async fn enterprises(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, ()| {
        shown(&directory.enterprises()?)
    })
    .await
}

async fn add_enterprise(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, new: NewEnterprise| {
        let made = directory.add_enterprise(new.id.as_deref(), &new.name)?;
        directory.add_administrator(&made.id, &new.administrator)?;
        created(&made)
    })
    .await
}

async fn apps(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, ()| shown(&directory.apps()?)).await
}

async fn create(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, new: NewApp| {
        let made = directory.create_app(&new.name, &new.enterprise_id, new.authentication)?;
        let secret = made.client_secret.expose();
        created(&json!({"app": made.app, "client_secret": secret}))
    })
    .await
}

async fn show(
    State(endpoint): State<Arc<Endpoint>>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    act(endpoint, request, move |directory, ()| {
        shown(&directory.app(&app)?)
    })
    .await
}

async fn edit(
    State(endpoint): State<Arc<Endpoint>>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    act(endpoint, request, move |directory, edit: Edit| {
        let origins: Option<Origins> = match edit.cors {
            Some(list) if list.iter().any(|one| one.contains(',')) => {
                return Err(Refused::Malformed("an origin holds a comma".into()));
            }
            Some(list) => Some(list.join(",").parse().map_err(DirectoryError::from)?),
            None => None,
        };
        let mut record = directory.edit_terms(&app, |terms| {
            terms.access = edit.access.unwrap_or(terms.access);
            terms.user_tokens = edit.user_tokens.unwrap_or(terms.user_tokens);
            terms.as_user = edit.as_user.unwrap_or(terms.as_user);
            terms.scopes = edit.scopes.unwrap_or(terms.scopes);
        })?;
        if let Some(origins) = origins {
            record = directory.set_origins(&app, &origins)?;
        }
        shown(&record)
    })
    .await
}

async fn keypair(
    State(endpoint): State<Arc<Endpoint>>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    act(endpoint, request, move |directory, ()| {
        let config = directory.generate_key(&app, RsaBits::default())?;
        let text = config.to_json();
        let file = serde_json::from_str(&text).map_err(|_| Refused::Failed)?;
        Ok((StatusCode::CREATED, file))
    })
    .await
}

async fn add_key(
    State(endpoint): State<Arc<Endpoint>>,
    Path(app): Path<String>,
    request: Request,
) -> Response {
    act(endpoint, request, move |directory, new: NewKey| {
        let key = PublicKey::from_pem(&new.public_key)
            .map_err(|error| Refused::Malformed(Chain(&error).to_string()))?;
        let kid = directory.add_key(&app, &key, new.allow_small_exponent)?;
        created(&json!({"key_id": kid}))
    })
    .await
}

async fn remove_key(
    State(endpoint): State<Arc<Endpoint>>,
    Path((app, kid)): Path<(String, String)>,
    request: Request,
) -> Response {
    act(endpoint, request, move |directory, ()| {
        shown(&directory.remove_key(&app, &kid)?)
    })
    .await
}

async fn step(
    State(endpoint): State<Arc<Endpoint>>,
    Path((app, step)): Path<(String, String)>,
    request: Request,
) -> Response {
    type Step = fn(&Directory, &str) -> Result<AppRecord, DirectoryError>;
    let take: Step = match step.as_str() {
        "submit" => Directory::submit,
        "authorize" => Directory::authorize,
        "reauthorize" => Directory::reauthorize,
        "decline" => Directory::decline,
        "disable" => |directory, app| directory.set_enabled(app, false),
        "enable" => |directory, app| directory.set_enabled(app, true),
        _ => return nowhere(State(endpoint)).await,
    };
    act(endpoint, request, move |directory, ()| {
        shown(&take(directory, &app)?)
    })
    .await
}

async fn users(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, ()| {
        shown(&directory.users()?)
    })
    .await
}

async fn add_user(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, user: User| {
        let new = NewUser {
            id: user.id.as_deref(),
            name: user.name.as_deref(),
            login: user.login.as_deref(),
        };
        let added = match (&user.enterprise_id, &user.app) {
            (Some(enterprise), None) => directory.add_managed_user(enterprise, &new)?,
            (None, Some(app)) => directory.add_app_user(app, &new)?,
            _ => {
                let wanted = "give either enterprise_id or app";
                return Err(Refused::Malformed(wanted.into()));
            }
        };
        created(&added)
    })
    .await
}

async fn notices(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    act(endpoint, request, |directory, ()| {
        shown(&directory.notices()?)
    })
    .await
}

async fn stats(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let counted = endpoint.counters.read();
    act(endpoint, request, move |_, ()| shown(&counted)).await
}

async fn behaviour(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let sheet = endpoint.sheet();
    act(endpoint, request, move |_, ()| shown(&sheet)).await
}

async fn order(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let ordered = Arc::clone(&endpoint);
    act(endpoint, request, move |_, sheet: OrderSheet| {
        let obeyed = ordered.order_all(&sheet);
        obeyed.map_err(|error| Refused::Malformed(error.to_string()))?;
        shown(&ordered.sheet())
    })
    .await
}

/// Checks who asks, reads the body, and acts on the directory.
async fn act<T: DeserializeOwned + Send + 'static>(
    endpoint: Arc<Endpoint>,
    request: Request,
    act: impl FnOnce(&Directory, T) -> Outcome + Send + 'static,
) -> Response {
    add(&endpoint.counters.others);
    match attempt(&endpoint, request, act).await {
        Ok((status, body)) => endpoint.answer(status, body.to_string()),
        Err(refused) => refuse(&endpoint, &refused),
    }
}

async fn attempt<T: DeserializeOwned + Send + 'static>(
    endpoint: &Endpoint,
    request: Request,
    act: impl FnOnce(&Directory, T) -> Outcome + Send + 'static,
) -> Outcome {
    let admin = endpoint.admin.as_ref().ok_or(Refused::NoApi)?;
    let given = bearer(request.headers()).unwrap_or_default();
    let given = sha256(given.as_bytes());
    constant_time::verify_slices_are_equal(&given, &admin.secret_sha256)
        .map_err(|_| Refused::NotAllowed)?;
    let is_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes() == b"application/json");
    let wants_none = request.method() == Method::GET || request.method() == Method::DELETE;
    let body = read_body(endpoint, request.into_body())
        .await
        .map_err(|refusal| Refused::Malformed(refusal.description().into()))?;
    if !body.is_empty() && (wants_none || !is_json) {
        let wanted = "the body has to be application/json, and that of GET and DELETE empty";
        return Err(Refused::Malformed(wanted.into()));
    }
    // No body stands for null, which is what requests without one are read as.
    let text: &[u8] = if body.is_empty() { b"null" } else { &body };
    let wanted =
        serde_json::from_slice(text).map_err(|error| Refused::Malformed(error.to_string()))?;
    let followed = Arc::clone(&admin.followed);
    tokio::task::spawn_blocking(move || {
        let outcome = act(followed.directory(), wanted)?;
        followed.refresh()?;
        Ok(outcome)
    })
    .await
    .map_err(|_| Refused::Failed)?
}

fn refuse(endpoint: &Endpoint, refused: &Refused) -> Response {
    let (status, code, message) = match refused {
        Refused::NotAllowed => {
            let message = "the admin secret is wanted as a bearer token".to_owned();
            (StatusCode::UNAUTHORIZED, "unauthorized", message)
        }
        Refused::NoApi => {
            let message = "this broker serves no registry for administration".to_owned();
            (StatusCode::NOT_FOUND, "not_found", message)
        }
        Refused::Malformed(why) => (StatusCode::BAD_REQUEST, "bad_request", why.clone()),
        Refused::Failed => {
            let message = "the work was begun and failed".to_owned();
            (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
        }
        Refused::Directory(error) => {
            let (status, code) = match error {
                DirectoryError::Unknown { .. } => (StatusCode::NOT_FOUND, "not_found"),
                DirectoryError::Taken { .. } => (StatusCode::CONFLICT, "name_taken"),
                DirectoryError::State { .. } => (StatusCode::CONFLICT, "out_of_turn"),
                DirectoryError::Database(_)
                | DirectoryError::Row { .. }
                | DirectoryError::Generate(_) => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "internal_error")
                }
                _ => (StatusCode::BAD_REQUEST, "bad_request"),
            };
            (status, code, Chain(error).to_string())
        }
    };
    let mut response = endpoint.resource_error(status, code, &message);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = http::HeaderValue::from_static("Bearer realm=\"Administration\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn shown<T: Serialize>(value: &T) -> Outcome {
    Ok((StatusCode::OK, rendered(value)?))
}

fn created<T: Serialize>(value: &T) -> Outcome {
    Ok((StatusCode::CREATED, rendered(value)?))
}

fn rendered<T: Serialize>(value: &T) -> Result<Value, Refused> {
    serde_json::to_value(value).map_err(|_| Refused::Failed)
}
