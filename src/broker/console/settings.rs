//! What does a developer edit about an app?
//!
//! Access level, advanced features and scopes, which wait for an
//! administrator, and CORS domains, which count at once; all in one form with
//! one button, as the provider's console has it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::gate::{Fault, Posted, Visit, is_answerable};
use super::view::{self, ConfigurationPage, Edited, WaitingFile};
use super::words::{reason, sentence};
use super::{Office, see_other};
use crate::broker::directory::Status;
use crate::broker::origin::Origins;
use crate::broker::registration::Access;
use crate::broker::terms::{SCOPES, Scopes, Terms};

/// What was wrong with a form, and what stood in it.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) generate: Option<String>,
    pub(super) public_key: Option<String>,
    pub(super) pem: String,
    pub(super) scopes: Option<String>,
    pub(super) cors: Option<String>,
    /// The edits as they were typed.
    pub(super) edited: Option<Edited>,
}

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new().route("/apps/{app}/configuration", get(show).post(edit))
}

async fn show(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
) -> Result<Response, Fault> {
    configuration(&office, &visit, app, Problems::default()).await
}

/// Renders the page, with what was wrong beside the fields.
pub(super) async fn configuration(
    office: &Arc<Office>,
    visit: &Visit,
    app: String,
    problems: Problems,
) -> Result<Response, Fault> {
    let app = office.ask(move |directory| directory.app(&app)).await?;
    let now = office.clock.monotonic();
    let files = office
        .sessions
        .waiting(&visit.session, &app.client_id, now, |handout| WaitingFile {
            ticket: handout.ticket.clone(),
            name: handout.file_name.clone(),
            private_half_of: handout.private_half_of.clone(),
        });
    let is_wrong = [
        &problems.generate,
        &problems.public_key,
        &problems.scopes,
        &problems.cors,
    ]
    .into_iter()
    .any(Option::is_some);
    let status = if is_wrong {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let chrome = office.chrome(visit, "apps").await?;
    let page = ConfigurationPage::of(chrome, app, files, problems);
    Ok(view::page(status, &page))
}

async fn edit(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let wanted = Edited {
        terms: terms_of(&posted),
        cors: posted.get("cors").to_string(),
    };
    let lines = wanted.cors.split_whitespace().collect::<Vec<_>>().join(",");
    let origins: Origins = match lines.parse() {
        Ok(origins) => origins,
        Err(error) => {
            let problems = Problems {
                cors: Some(sentence(&error)),
                edited: Some(wanted),
                ..Problems::default()
            };
            return configuration(&office, &visit, app, problems).await;
        }
    };
    let (called, terms) = (app.clone(), wanted.terms);
    let edited = office
        .ask(move |directory| {
            directory.edit_terms(&called, |own| *own = terms)?;
            directory.set_origins(&called, &origins)
        })
        .await;
    let edited = match edited {
        Ok(edited) => edited,
        Err(Fault::Directory(error)) if is_answerable(&error) => {
            let problems = Problems {
                scopes: Some(reason(&error)),
                edited: Some(wanted),
                ..Problems::default()
            };
            return configuration(&office, &visit, app, problems).await;
        }
        Err(fault) => return Err(fault),
    };
    let message = match edited.status {
        Status::ReauthorizationRequired => {
            "Saved. Tokens go by what was approved before until the app is re-authorized."
        }
        _ => "Saved.",
    };
    office.sessions.say(&visit.session, message);
    Ok(see_other(&format!(
        "/apps/{}/configuration",
        edited.client_id
    )))
}

fn terms_of(posted: &Posted) -> Terms {
    let ticked = SCOPES
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| posted.has(&format!("scope.{name}")));
    Terms {
        access: match posted.get("access").as_str() {
            "app_and_enterprise" => Access::AppAndEnterprise,
            _ => Access::App,
        },
        user_tokens: posted.has("user_tokens"),
        as_user: posted.has("as_user"),
        scopes: Scopes::of(ticked).unwrap_or_default(),
    }
}
