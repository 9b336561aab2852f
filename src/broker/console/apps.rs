//! Which apps are there, and how is one made?
//!
//! An app is made in the three steps of the provider's console: the kind of
//! app, how it authenticates, and its name.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use zeroize::Zeroizing;

use super::gate::{Fault, Posted, Visit, is_answerable};
use super::session::Handout;
use super::view::{self, AppLine, AppsPage, GeneralPage, NewAppPage};
use super::words::reason;
use super::{Office, see_other};
use crate::broker::directory::{Created, Directory};
use crate::broker::registration::Authentication;
use crate::credential::{AppConfig, Secret};

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/apps", get(list).post(create))
        .route("/apps/new", get(wizard))
        .route("/apps/{app}", get(general))
}

async fn list(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let apps = office.ask(Directory::apps).await?;
    let chrome = office.chrome(&visit, "apps").await?;
    let apps = apps.iter().rev().map(AppLine::of).collect();
    Ok(view::page(StatusCode::OK, &AppsPage { chrome, apps }))
}

async fn general(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
) -> Result<Response, Fault> {
    let app = office.ask(move |directory| directory.app(&app)).await?;
    let chrome = office.chrome(&visit, "apps").await?;
    let token_url = office.endpoint.grants.issuer().to_owned();
    let page = GeneralPage::of(chrome, app, token_url);
    Ok(view::page(StatusCode::OK, &page))
}

async fn wizard(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    let enterprises = office.ask(Directory::enterprises).await?;
    if enterprises.is_empty() {
        office.sessions.say(
            &visit.session,
            "An app belongs to an enterprise: name yours first.",
        );
        return Ok(see_other("/enterprises"));
    }
    let query = query.unwrap_or_default();
    let chosen = |name: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.into_owned())
    };
    let step = match (
        chosen("kind").as_deref(),
        chosen("authentication").as_deref(),
    ) {
        (Some("custom"), Some("jwt" | "client_credentials")) => 3,
        (Some("custom"), _) => 2,
        _ => 1,
    };
    let page = NewAppPage {
        chrome: office.chrome(&visit, "apps").await?,
        step,
        authentication: chosen("authentication").unwrap_or_default(),
        enterprise_id: String::new(),
        enterprises,
        name: String::new(),
        error: None,
    };
    Ok(view::page(StatusCode::OK, &page))
}

async fn create(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let name = posted.get("name").to_string();
    let enterprise_id = posted.get("enterprise").to_string();
    let authentication = match posted.get("authentication").as_str() {
        "jwt" => Authentication::Jwt,
        "client_credentials" => Authentication::ClientCredentials,
        _ => return Ok(see_other("/apps/new")),
    };
    let (called, within) = (name.clone(), enterprise_id.clone());
    let made = office
        .ask(move |directory| directory.create_app(&called, &within, authentication))
        .await;
    let made = match made {
        Ok(made) => made,
        Err(Fault::Directory(error)) if is_answerable(&error) => {
            let page = NewAppPage {
                chrome: office.chrome(&visit, "apps").await?,
                step: 3,
                authentication: posted.get("authentication").to_string(),
                enterprise_id,
                enterprises: office.ask(Directory::enterprises).await?,
                name,
                error: Some(reason(&error)),
            };
            return Ok(view::page(StatusCode::UNPROCESSABLE_ENTITY, &page));
        }
        Err(fault) => return Err(fault),
    };
    office.sessions.say(
        &visit.session,
        format!(
            "The app “{}” was created. Give it a key pair next.",
            made.app.name
        ),
    );
    if authentication == Authentication::ClientCredentials {
        office.sessions.say(
            &visit.session,
            format!(
                "The app “{}” was created. Download its settings now: they hold the client secret.",
                made.app.name
            ),
        );
        keep_settings(&office, &visit, &made);
    }
    Ok(see_other(&format!(
        "/apps/{}/configuration",
        made.app.client_id
    )))
}

/// Keeps the settings of an app that will never have a key, to be downloaded.
fn keep_settings(office: &Office, visit: &Visit, made: &Created) {
    let app = &made.app;
    let text = settings_text(AppConfig {
        client_id: app.client_id.clone(),
        client_secret: made.client_secret.clone(),
        public_key_id: String::new(),
        private_key: Secret::new(String::new()),
        passphrase: None,
        enterprise_id: Some(app.enterprise_id.clone()),
        user_id: None,
    });
    let file_name = format!("{}_{}_settings.json", app.enterprise_id, app.client_id);
    let now = office.clock.monotonic();
    office.sessions.keep(&visit.session, now, |ticket, until| {
        Handout::new(ticket, until, app.client_id.clone(), file_name, text)
    });
}

/// Writes a configuration file whose key is to be filled in by its owner.
pub(super) fn settings_text(mut settings: AppConfig) -> Zeroizing<String> {
    settings.passphrase = Some(Secret::new(String::new()));
    settings.to_json()
}
