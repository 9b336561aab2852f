//! May this request come in at all, and what does every answer carry?
//!
//! One function stands before all pages, so that none can forget a check:
//! the name of the host (against DNS rebinding), the session, and for
//! everything that could change something the origin, the form and its CSRF
//! token. It also renders faults and sets the headers that bind the browser.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use zeroize::Zeroizing;

use super::session::{Role, drawn};
use super::view::{self, Chrome};
use super::{Office, see_other};
use crate::broker::directory::DirectoryError;
use crate::broker::form::Form;

/// The most bytes of a form. A public key of 8192 bits takes 2 KB.
const MAX_BODY: usize = 64 * 1024;

/// How long a form may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The page that asks for the secret.
pub(super) const SIGN_IN: &str = "/sign-in";

/// Where the page that watches asks for what is new.
pub(super) const FEED: &str = "/tokens/feed";

/// Nothing but the console's own files, no frames, no plug-ins, no inline
/// scripts or styles.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'";

/// Who asks.
#[derive(Clone)]
pub(super) struct Visit {
    /// The ID of the session; empty without one.
    pub(super) session: Zeroizing<String>,
    /// The role; none without a session.
    pub(super) role: Option<Role>,
    /// What the forms of the page have to carry.
    pub(super) csrf: String,
}

/// The fields of a form that has been posted and checked.
#[derive(Clone)]
pub(super) struct Posted(Arc<Zeroizing<Vec<u8>>>);

/// Why a page is not shown.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no such page.
    NotFound,
    /// The page was there, once.
    Gone,
    /// The form was made for another session, or by somebody else.
    Stale,
    /// The page is for administrators.
    NeedsAdministrator,
    /// The directory refused or failed.
    Directory(DirectoryError),
    /// Something failed that has no name.
    Failed,
}

/// Why a request does not get as far as a page.
enum Stop {
    /// There is no session.
    SignIn,
    /// The form was made for another session.
    Stale(Box<Visit>),
    /// Something about it is not as a page of the console would have it.
    Said(StatusCode, &'static str),
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn => see_other(SIGN_IN),
            Self::Stale(_) => StatusCode::FORBIDDEN.into_response(),
            Self::Said(status, message) => (status, message).into_response(),
        }
    }
}

/// Carries a fault from a page to the gate, which renders it.
#[derive(Clone)]
struct Faulty(Arc<Fault>);

impl Visit {
    /// Goes on for administrators only.
    pub(super) fn need_administrator(&self) -> Result<(), Fault> {
        match self.role {
            Some(Role::Administrator) => Ok(()),
            _ => Err(Fault::NeedsAdministrator),
        }
    }
}

impl Posted {
    /// Returns the value of a field, without white space around it. Line
    /// ends are as they were typed.
    pub(super) fn get(&self, name: &str) -> Zeroizing<String> {
        // It was parsed before.
        let form = Form::parse(&self.0).ok();
        let value = form.as_ref().and_then(|form| form.get(name));
        Zeroizing::new(value.unwrap_or_default().trim().to_owned())
    }

    /// Is there such a field, as a ticked box has it?
    pub(super) fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::Directory(DirectoryError::Unknown { .. }) => {
                StatusCode::NOT_FOUND
            }
            Self::Gone => StatusCode::GONE,
            Self::NeedsAdministrator | Self::Stale => StatusCode::FORBIDDEN,
            Self::Directory(error) if is_answerable(error) => StatusCode::CONFLICT,
            Self::Directory(_) | Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Faulty(Arc::new(self)));
        response
    }
}

/// Can a person do something about it?
pub(super) fn is_answerable(error: &DirectoryError) -> bool {
    !matches!(
        error,
        DirectoryError::Database(_) | DirectoryError::Row { .. } | DirectoryError::Generate(_)
    )
}

/// Lets a request in, or not.
pub(super) async fn pass(
    State(office): State<Arc<Office>>,
    request: Request,
    next: Next,
) -> Response {
    let is_asset = request.uri().path().starts_with("/assets/");
    let mut response = match admit(&office, request).await {
        Ok((request, visit)) => {
            let response = next.run(request).await;
            match response.extensions().get::<Faulty>() {
                Some(Faulty(fault)) => explain(&office, &visit, &Arc::clone(fault)).await,
                None => response,
            }
        }
        Err(Stop::Stale(visit)) => explain(&office, &visit, &Fault::Stale).await,
        Err(stop) => stop.into_response(),
    };
    bind(response.headers_mut(), is_asset);
    response
}

async fn admit(office: &Office, request: Request) -> Result<(Request, Visit), Stop> {
    check_host(office, request.headers())?;
    let (mut head, body) = request.into_parts();
    let path = head.uri.path();
    let now = office.clock.monotonic();
    let is_reading = matches!(head.method, Method::GET | Method::HEAD);
    let session = cookie(&head.headers, &session_cookie(office.port)).unwrap_or_default();
    let role = office.sessions.role(&session, now, path != FEED);
    let is_open = path == SIGN_IN || path.starts_with("/assets/");
    if role.is_none() && !is_open {
        if path == FEED {
            // A page that watches shall notice, not follow.
            return Err(Stop::Said(StatusCode::UNAUTHORIZED, "Sign in again.\n"));
        }
        return Err(Stop::SignIn);
    }
    // Before there is a session, a cookie of its own stands in for it.
    let visitor = cookie(&head.headers, &visitor_cookie(office.port)).filter(|id| id.len() == 43);
    let (carrier, is_new) = match (role, visitor) {
        (Some(_), _) => (session.clone(), false),
        (None, Some(visitor)) => (visitor, false),
        (None, None) => (Zeroizing::new(drawn().unwrap_or_default()), true),
    };
    let visit = Visit {
        csrf: office.sessions.csrf(&carrier),
        session: if role.is_some() {
            session
        } else {
            Zeroizing::default()
        },
        role,
    };
    if !is_reading {
        let body = posted(office, &head.method, &head.headers, body).await?;
        if !is_of_session(office, &body, &carrier) {
            return Err(Stop::Stale(Box::new(visit)));
        }
        head.extensions.insert(Posted(Arc::new(body)));
    }
    head.extensions.insert(visit.clone());
    if is_new {
        head.extensions.insert(NewVisitor(carrier));
    }
    Ok((Request::from_parts(head, Body::empty()), visit))
}

/// Tells the page that asks for the secret to set a cookie.
#[derive(Clone)]
pub(super) struct NewVisitor(pub(super) Zeroizing<String>);

/// A page elsewhere can have a name of its own resolve to this machine; it
/// cannot have the browser send another name.
fn check_host(office: &Office, headers: &HeaderMap) -> Result<(), Stop> {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let is_own = |host: &[u8]| office.hosts.iter().any(|own| own.as_bytes() == host);
    if host.is_some_and(is_own) {
        return Ok(());
    }
    let message = "The console answers to its own address only.\n";
    Err(Stop::Said(StatusCode::MISDIRECTED_REQUEST, message))
}

/// Checks a request that could change something, and returns its form.
async fn posted(
    office: &Office,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Zeroizing<Vec<u8>>, Stop> {
    if method != Method::POST {
        return Err(Stop::Said(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET and POST.\n",
        ));
    }
    if !is_own_page(office, headers) {
        return Err(Stop::Said(
            StatusCode::FORBIDDEN,
            "The form was sent from elsewhere.\n",
        ));
    }
    let media = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if media != Some(b"application/x-www-form-urlencoded") {
        return Err(Stop::Said(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "A form is expected.\n",
        ));
    }
    let body = Limited::new(body, MAX_BODY).collect();
    let body = tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| Stop::Said(StatusCode::REQUEST_TIMEOUT, "The form came too slowly.\n"))?
        .map_err(|_| Stop::Said(StatusCode::PAYLOAD_TOO_LARGE, "The form is too large.\n"))?;
    let body = Zeroizing::new(Vec::from(body.to_bytes()));
    if Form::parse(&body).is_err() {
        return Err(Stop::Said(
            StatusCode::BAD_REQUEST,
            "The form cannot be read.\n",
        ));
    }
    Ok(body)
}

/// Does a form carry the token of the cookie that came with it?
fn is_of_session(office: &Office, body: &[u8], carrier: &str) -> bool {
    let Ok(form) = Form::parse(body) else {
        return false;
    };
    let csrf = form.get("csrf").unwrap_or_default();
    !carrier.is_empty() && office.sessions.is_csrf(carrier, csrf)
}

/// Was the request made by a page of the console? Every browser names the
/// origin of a form that is posted.
fn is_own_page(office: &Office, headers: &HeaderMap) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    let is_own = match (
        origin.and_then(|origin| origin.strip_prefix("http://")),
        host,
    ) {
        (Some(origin), Some(host)) => origin == host && office.hosts.iter().any(|own| own == host),
        _ => false,
    };
    let site = headers.get(SITE).map(HeaderValue::as_bytes);
    is_own && site.is_none_or(|site| site == b"same-origin")
}

/// Renders a fault.
async fn explain(office: &Office, visit: &Visit, fault: &Fault) -> Response {
    // What could not be asked for now is not needed to say so.
    let chrome = office.chrome(visit, "").await.unwrap_or_else(|_| Chrome {
        role: visit.role,
        csrf: visit.csrf.clone(),
        here: "",
        flash: None,
        waiting: 0,
    });
    view::fault(fault.status(), chrome, fault)
}

/// Sets what every answer carries.
fn bind(headers: &mut HeaderMap, is_asset: bool) {
    for (name, value) in [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        // Not "no-referrer", with which forms would have no origin.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        ),
        (
            "cache-control",
            if is_asset { "no-cache" } else { "no-store" },
        ),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
}

/// Cookies know no ports; two consoles on one machine must not share theirs.
pub(super) fn session_cookie(port: u16) -> String {
    format!("mintmark_session_{port}")
}

pub(super) fn visitor_cookie(port: u16) -> String {
    format!("mintmark_visitor_{port}")
}

/// Makes a `Set-Cookie`; an empty value takes the cookie away.
pub(super) fn set_cookie(response: &mut Response, name: &str, value: &str) {
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{end}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Zeroizing<String>> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(own, _)| *own == name)
        .map(|(_, value)| Zeroizing::new(value.to_owned()));
    // Two of a name are one too many to trust either.
    let only = found.next();
    only.filter(|_| found.next().is_none())
}
