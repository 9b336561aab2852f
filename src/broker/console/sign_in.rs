//! How does somebody come in, take another role, and leave?

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::gate::{
    Fault, NewVisitor, Posted, SIGN_IN, Visit, session_cookie, set_cookie, visitor_cookie,
};
use super::session::Role;
use super::view::{self, RolePage, SignInPage};
use super::{Office, see_other};
use crate::broker::registry::sha256;

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/", get(async || see_other("/apps")))
        .route(SIGN_IN, get(door).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/role", get(role).post(change_role))
}

/// What came of a secret.
enum Heard {
    Right(Role),
    Wrong,
    /// Nobody is heard for so many seconds.
    Closed(u64),
}

async fn door(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    request: Request,
) -> Result<Response, Fault> {
    if visit.role.is_some() {
        return Ok(see_other("/apps"));
    }
    let chrome = office.chrome(&visit, "").await?;
    let mut response = view::page(
        StatusCode::OK,
        &SignInPage {
            chrome,
            error: None,
        },
    );
    if let Some(NewVisitor(visitor)) = request.extensions().get() {
        set_cookie(&mut response, &visitor_cookie(office.port), visitor);
    }
    Ok(response)
}

async fn sign_in(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let role = match hear(&office, &posted) {
        Heard::Right(role) => role,
        other => {
            let chrome = office.chrome(&visit, "").await?;
            let (status, error) = told(&other, "No role has this secret.");
            let error = Some(error);
            return Ok(view::page(status, &SignInPage { chrome, error }));
        }
    };
    let orphans = office.sessions.close(&visit.session);
    office.remove_orphans(orphans).await;
    let id = office.sessions.open(role, office.clock.monotonic());
    let id = id.map_err(|_| Fault::Failed)?;
    let mut response = see_other("/apps");
    set_cookie(&mut response, &session_cookie(office.port), &id);
    set_cookie(&mut response, &visitor_cookie(office.port), "");
    Ok(response)
}

async fn sign_out(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Response {
    let orphans = office.sessions.close(&visit.session);
    office.remove_orphans(orphans).await;
    let mut response = see_other(SIGN_IN);
    set_cookie(&mut response, &session_cookie(office.port), "");
    response
}

async fn role(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let chrome = office.chrome(&visit, "role").await?;
    Ok(view::page(
        StatusCode::OK,
        &RolePage {
            chrome,
            error: None,
        },
    ))
}

async fn change_role(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let role = if posted.get("to").as_str() == "administrator" {
        match hear(&office, &posted) {
            Heard::Right(Role::Administrator) => Role::Administrator,
            other => {
                let chrome = office.chrome(&visit, "role").await?;
                let wrong = "This is not the administrator's secret.";
                let (status, error) = told(&other, wrong);
                let error = Some(error);
                return Ok(view::page(status, &RolePage { chrome, error }));
            }
        }
    } else {
        Role::Developer
    };
    let Some(id) = office.sessions.change(&visit.session, role) else {
        return Ok(see_other(SIGN_IN));
    };
    let (message, to) = match role {
        Role::Administrator => ("You are an administrator now.", "/approvals"),
        Role::Developer => ("You are a developer again.", "/apps"),
    };
    office.sessions.say(&id, message);
    let mut response = see_other(to);
    set_cookie(&mut response, &session_cookie(office.port), &id);
    Ok(response)
}

/// Listens to a secret, unless too many were wrong of late.
fn hear(office: &Office, posted: &Posted) -> Heard {
    let now = office.clock.monotonic();
    if let Some(wait) = office.guesses.closed_for(now) {
        return Heard::Closed(wait.as_secs() + 1);
    }
    let given = sha256(posted.get("secret").as_bytes());
    let is = |own: &[u8; 32]| constant_time::verify_slices_are_equal(&given, own).is_ok();
    // Both are compared, whichever it is.
    match (is(&office.admin_sha256), is(&office.developer_sha256)) {
        (true, _) => Heard::Right(Role::Administrator),
        (false, true) => Heard::Right(Role::Developer),
        (false, false) => {
            office.guesses.count(now);
            Heard::Wrong
        }
    }
}

fn told(heard: &Heard, wrong: &str) -> (StatusCode, String) {
    match heard {
        Heard::Closed(seconds) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Too many wrong secrets. Try again in {seconds} seconds."),
        ),
        Heard::Wrong | Heard::Right(_) => (StatusCode::FORBIDDEN, wrong.to_owned()),
    }
}
