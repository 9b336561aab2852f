//! How is an app put before an administrator, and what does one decide?

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::gate::{Fault, Posted, Visit};
use super::view::{self, Approval, ApprovalsPage, OutboxPage};
use super::{Office, is_waiting, see_other};
use crate::broker::directory::{AppRecord, Directory, DirectoryError};

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/apps/{app}/review/{step}", post(step))
        .route("/approvals", get(approvals))
        .route("/outbox", get(outbox))
}

type Step = fn(&Directory, &str) -> Result<AppRecord, DirectoryError>;

async fn step(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path((app, step)): Path<(String, String)>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let (take, said): (Step, _) = match step.as_str() {
        "submit" => (
            Directory::submit,
            "was submitted. The administrators have been notified.",
        ),
        "authorize" => (Directory::authorize, "is authorized."),
        "reauthorize" => (
            Directory::reauthorize,
            "is re-authorized. New tokens go by the new terms.",
        ),
        "decline" => (Directory::decline, "was declined."),
        "disable" => (
            |directory, app| directory.set_enabled(app, false),
            "is disabled and gets no tokens.",
        ),
        "enable" => (
            |directory, app| directory.set_enabled(app, true),
            "is enabled again.",
        ),
        _ => return Err(Fault::NotFound),
    };
    if step != "submit" {
        visit.need_administrator()?;
    }
    let app = office.ask(move |directory| take(directory, &app)).await?;
    let message = format!("“{}” {said}", app.name);
    office.sessions.say(&visit.session, message);
    Ok(if posted.get("back").as_str() == "approvals" {
        see_other("/approvals")
    } else {
        see_other(&format!("/apps/{}", app.client_id))
    })
}

async fn approvals(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    visit.need_administrator()?;
    let apps = office.ask(Directory::apps).await?;
    let apps = apps.into_iter().filter(|app| is_waiting(app.status));
    let page = ApprovalsPage {
        apps: apps.map(Approval::of).collect(),
        chrome: office.chrome(&visit, "approvals").await?,
    };
    Ok(view::page(StatusCode::OK, &page))
}

async fn outbox(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let notices = office.ask(Directory::notices).await?;
    let page = OutboxPage {
        chrome: office.chrome(&visit, "outbox").await?,
        notices: notices.into_iter().rev().collect(),
    };
    Ok(view::page(StatusCode::OK, &page))
}
