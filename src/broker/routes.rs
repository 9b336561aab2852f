//! Which address is asked for, and what does HTTP have to say about it?
//!
//! The handlers turn requests into forms and grants into answers. Every
//! answer, refusals included, is JSON with the headers of RFC 6749 §5.1 and
//! the date of the broker's clock.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, options, post};
use axum::{BoxError, Router};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use hyper::body::Bytes;
use serde_json::json;

use super::admin::{self, Admin};
use super::body::{parsed, posted};
use super::config::Limits;
use super::dress::{self, Dress};
use super::feed::Feed;
use super::foreman::{Fate, Foreman};
use super::form::Form;
use super::grant::{Grants, Refused};
use super::order_sheet::{OrderError, OrderSheet};
use super::orders::Orders;
use super::service::{self, Page};
use super::skew::SkewedClock;
use super::stats::{Counters, add};
use super::token::Issued;
use super::traffic::Traffic;
use crate::credential::generate;
use crate::oauth::{ACCESS_TOKEN_TYPE, INTROSPECT_PATH, REVOKE_PATH, Refusal, TOKEN_PATH};

/// Marks an answer in whose place the connection is reset.
#[derive(Clone, Copy)]
pub(super) struct Reset;

/// What all requests share.
pub(super) struct Endpoint {
    pub(super) grants: Grants,
    pub(super) counters: Counters,
    pub(super) traffic: Traffic,
    pub(super) limits: Limits,
    pub(super) foreman: Foreman,
    pub(super) admin: Option<Admin>,
    /// Kept for a console that looks on.
    pub(super) feed: Option<Arc<Feed>>,
    pub(super) dress: Option<Dress>,
    clock: Arc<SkewedClock>,
    date: ArcSwap<(u64, HeaderValue)>,
}

impl Endpoint {
    pub(super) fn new(
        grants: Grants,
        limits: Limits,
        orders: Orders,
        clock: Arc<SkewedClock>,
        admin: Option<Admin>,
        feed: Option<Arc<Feed>>,
    ) -> Self {
        Self {
            date: ArcSwap::from_pointee(rendered_date(grants.now())),
            grants,
            counters: Counters::default(),
            traffic: Traffic::default(),
            limits,
            foreman: Foreman::new(orders),
            admin,
            feed,
            dress: None,
            clock,
        }
    }

    /// Shows a request that was judged to whoever looks on.
    fn note(&self, form: Option<&Form<'_>>, judged: &Result<Issued, Refused>) {
        if let Some(feed) = &self.feed {
            feed.note(&self.grants, form, judged);
        }
    }

    /// Refuses a request that is no form.
    fn refuse_unread(&self, refusal: Refusal) -> Response {
        self.note(None, &Err(refusal.into()));
        self.refuse(refusal)
    }

    /// Gives new orders.
    pub(super) fn order(&self, orders: Orders) {
        self.clock.set(orders.skew_s);
        self.foreman.order(orders);
    }

    /// Gives new orders and everything else that a sheet says.
    pub(super) fn order_all(&self, sheet: &OrderSheet) -> Result<(), OrderError> {
        sheet.check()?;
        self.grants.set_remembers_refused(!sheet.spare_refused_jti);
        self.grants.set_rate_limit(sheet.rate_limit);
        self.order(sheet.orders());
        Ok(())
    }

    /// Writes down what is ordered.
    pub(super) fn sheet(&self) -> OrderSheet {
        let spares = !self.grants.remembers_refused();
        OrderSheet::of(&self.foreman.orders(), self.grants.rate_limit(), spares)
    }

    /// Returns the `Date` of now, rendered once a second.
    fn date(&self) -> HeaderValue {
        let now = self.grants.now();
        let rendered = self.date.load();
        if rendered.0 == now {
            return rendered.1.clone();
        }
        let rendered = rendered_date(now);
        let date = rendered.1.clone();
        self.date.store(Arc::new(rendered));
        date
    }

    pub(super) fn answer(&self, status: StatusCode, body: impl Into<Body>) -> Response {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::DATE, self.date());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }

    pub(super) fn refuse(&self, refused: impl Into<Refused>) -> Response {
        let Refused {
            refusal,
            retry_after_s,
        } = refused.into();
        self.counters.refuse(refusal);
        let body = serde_json::to_vec(&refusal.body()).unwrap_or_default();
        let mut response = self.answer(refusal.status(), body);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match refusal {
            Refusal::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            // What follows on such a connection cannot be trusted to begin
            // where it seems to.
            Refusal::MalformedRequest
            | Refusal::LengthRequired
            | Refusal::BodyTooLarge
            | Refusal::BodyTimeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }

    /// Answers in the shape of the provider's resource endpoints.
    pub(super) fn resource_error(&self, status: StatusCode, code: &str, message: &str) -> Response {
        let body = json!({
            "type": "error",
            "status": status.as_u16(),
            "code": code,
            "context_info": null,
            "help_url": self.help_url(),
            "message": message,
            "request_id": generate::key_id().unwrap_or_default(),
        });
        self.answer(status, body.to_string())
    }

    /// Where answers send people who want to know more.
    pub(super) fn help_url(&self) -> String {
        format!(
            "{}/.well-known/oauth-authorization-server",
            self.grants.issuer()
        )
    }
}

/// Routes requests to the handlers.
pub(super) fn router(endpoint: Arc<Endpoint>) -> Router {
    let dressed = match &endpoint.dress {
        Some(dress) => Router::new().route(dress.path(), post(dress::token)),
        None => Router::new(),
    };
    dressed
        .route(
            TOKEN_PATH,
            // A POST does not come this way.
            options(service::preflight).fallback(not_post),
        )
        .route(
            REVOKE_PATH,
            post(service::revoke)
                .options(service::preflight)
                .fallback(not_post),
        )
        .route(
            INTROSPECT_PATH,
            post(service::introspect).fallback(not_post),
        )
        .route("/oauth2/jwks", get(service::keys))
        .route(
            "/.well-known/oauth-authorization-server",
            get(service::metadata),
        )
        .nest("/admin/v1", admin::router())
        .route("/healthz", get(health))
        .route("/2.0/users/me", get(current_user))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .with_state(endpoint)
}

/// Finds what is wrong with a request wherever it is sent.
///
/// `is_clear` says whether the bytes on the connection so far had one reading
/// only.
pub(super) fn check_head<B>(
    request: &http::Request<B>,
    is_clear: bool,
    max_headers: usize,
) -> Result<(), Refusal> {
    if !is_clear || !names_one_host(request) || request.headers().len() > max_headers {
        return Err(Refusal::MalformedRequest);
    }
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        // No SDK sends chunks; a parser that is not there has no flaws.
        return Err(Refusal::LengthRequired);
    }
    Ok(())
}

/// Is the host given once (RFC 9112 §3.2, RFC 9113 §8.3.1)?
fn names_one_host<B>(request: &http::Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, further) = (hosts.next(), hosts.next());
    if further.is_some() {
        return false;
    }
    if request.version() < Version::HTTP_2 {
        return host.is_some() || request.version() < Version::HTTP_11;
    }
    match (request.uri().authority(), host) {
        (None, None) => false,
        (Some(authority), _) if authority.as_str().contains('@') => false,
        (Some(authority), Some(host)) => host.as_bytes() == authority.as_str().as_bytes(),
        _ => true,
    }
}

/// Does a request go to [`token`]?
pub(super) fn is_for_token<B>(request: &http::Request<B>) -> bool {
    request.uri().path() == TOKEN_PATH && request.method() == Method::POST
}

/// Answers a request for a token.
pub(super) async fn token<B>(endpoint: &Endpoint, request: http::Request<B>) -> Response
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let origin = request.headers().get(header::ORIGIN).cloned();
    let body = match posted(endpoint, request).await {
        Ok(body) => body,
        Err(refusal) => return endpoint.refuse_unread(refusal),
    };
    let form = match parsed(&body) {
        Ok(form) => form,
        Err(refusal) => return endpoint.refuse_unread(refusal),
    };
    // No SDK on a server sends an origin.
    let page = match &origin {
        None => Page::None,
        Some(origin) => service::page(&endpoint.grants, &form, origin),
    };
    if let (Page::Refused, Some(origin)) = (page, &origin) {
        return service::refuse_page(endpoint, origin);
    }
    let foreman = &endpoint.foreman;
    let place = foreman.enter();
    let fate = match place {
        Some(_) => foreman.next(),
        None => Fate::default(),
    };
    // A failure comes after the judgement, so that it burns the jti as the
    // provider's does, unless it shall not.
    let disorder = match fate.fails {
        _ if place.is_none() => Some(Refusal::Overloaded),
        Some(failure) => Some(failure.refusal()),
        None => None,
    };
    let judged = match disorder {
        Some(disorder) if !endpoint.grants.remembers_refused() => Err(disorder.into()),
        Some(disorder) => {
            // Whatever the judgement was, nobody will learn it.
            let _ = endpoint.grants.token(&form);
            Err(disorder.into())
        }
        None => endpoint.grants.token(&form),
    };
    foreman.wait(fate).await;
    endpoint.note(Some(&form), &judged);
    let mut response = match judged {
        Ok(issued) => {
            add(&endpoint.counters.granted);
            endpoint.answer(StatusCode::OK, token_body(&issued))
        }
        Err(refused) => endpoint.refuse(refused),
    };
    if page == Page::Listed {
        service::open_to_pages(response.headers_mut());
    }
    if fate.is_reset {
        response.extensions_mut().insert(Reset);
    }
    response
}

/// Writes the answer by hand: nothing in it needs an escape.
fn token_body(issued: &Issued) -> String {
    let Issued {
        access_token,
        expires_in,
        narrowed,
    } = issued;
    let Some((scopes, resource)) = narrowed else {
        return format!(
            "{{\"access_token\":\"{access_token}\",\"expires_in\":{expires_in},\"restricted_to\":[],\"token_type\":\"bearer\"}}"
        );
    };
    let restricted_to = service::restrictions(*scopes, resource.as_deref());
    let body = json!({
        "access_token": access_token,
        "expires_in": expires_in,
        "restricted_to": restricted_to,
        "token_type": "bearer",
        "issued_token_type": ACCESS_TOKEN_TYPE,
    });
    body.to_string()
}

async fn not_post(State(endpoint): State<Arc<Endpoint>>) -> Response {
    endpoint.refuse(Refusal::MethodNotAllowed)
}

async fn not_found(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    endpoint.resource_error(StatusCode::NOT_FOUND, "not_found", "Not Found")
}

async fn not_allowed(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    endpoint.resource_error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method Not Allowed",
    )
}

async fn health(State(endpoint): State<Arc<Endpoint>>) -> Response {
    add(&endpoint.counters.others);
    endpoint.answer(StatusCode::OK, "{\"status\":\"ok\"}")
}

async fn current_user(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    add(&endpoint.counters.others);
    let bearer = bearer(&headers);
    let grant = bearer.and_then(|token| endpoint.grants.bearer(token));
    if let Some(grant) = grant {
        return service::current_user(&endpoint, &headers, &grant);
    }
    unauthorized(&endpoint, bearer.is_some())
}

/// Refuses a token, or the want of one.
pub(super) fn unauthorized(endpoint: &Endpoint, was_presented: bool) -> Response {
    let mut response =
        endpoint.resource_error(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized");
    // RFC 6750 §3.1: no error code where no token was presented.
    let challenge = HeaderValue::from_static(if was_presented {
        "Bearer realm=\"Service\", error=\"invalid_token\", error_description=\"The access token provided is invalid.\""
    } else {
        "Bearer realm=\"Service\""
    });
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn rendered_date(now: u64) -> (u64, HeaderValue) {
    // httpdate refuses the years from 10000 on.
    let now_or_last = now.min(253_402_300_799);
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now_or_last));
    let value = HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static(""));
    (now, value)
}
