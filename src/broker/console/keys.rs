//! How does an app come by its keys?
//!
//! Way A: a key pair is generated, and the configuration file with its
//! private half waits in the session until it is downloaded, once. Way B: a
//! public key is pasted. Keys count at once.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode, header};

use super::apps::settings_text;
use super::gate::{Fault, Posted, Visit, is_answerable};
use super::session::{Handout, Orphan};
use super::settings::{Problems, configuration};
use super::view::{self, RemoveKeyPage};
use super::words::{reason, sentence};
use super::{Office, see_other};
use crate::broker::directory::DirectoryError;
use crate::credential::generate::RsaBits;
use crate::signer::PublicKey;

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/apps/{app}/keys", post(add))
        .route("/apps/{app}/keys/generate", post(generate))
        .route("/apps/{app}/keys/{kid}/remove", get(confirm).post(remove))
        .route("/apps/{app}/handouts/{ticket}", post(download))
}

async fn generate(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    if !office.sessions.has_room(&visit.session) {
        let problems = Problems {
            generate: Some("Download the files that wait for you first.".to_owned()),
            ..Problems::default()
        };
        return configuration(&office, &visit, app, problems).await;
    }
    let bits = posted.get("bits").parse().ok();
    let bits = bits.and_then(|bits: usize| RsaBits::try_from(bits).ok());
    let called = app.clone();
    let config = office
        .ask(move |directory| directory.generate_key(&called, bits.unwrap_or_default()))
        .await?;
    let kid = config.public_key_id.clone();
    let enterprise = config.enterprise_id.as_deref().unwrap_or("0");
    let file_name = format!("{enterprise}_{kid}_config.json");
    let (client_id, text) = (config.client_id.clone(), config.to_json());
    let now = office.clock.monotonic();
    let kept = office.sessions.keep(&visit.session, now, |ticket, until| {
        Handout::new(ticket, until, client_id, file_name, text).with_private_half_of(&kid)
    });
    if kept.is_none() {
        // The session ended meanwhile, so nobody will ever hold the private half.
        let client_id = config.client_id;
        office.remove_orphans(vec![Orphan { client_id, kid }]).await;
        return Err(Fault::Gone);
    }
    let message = format!("Key pair {kid} was generated. Download its file now.");
    office.sessions.say(&visit.session, message);
    Ok(see_other(&format!(
        "/apps/{}/configuration",
        config.client_id
    )))
}

async fn add(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let pem = posted.get("public_key");
    let allow_small_exponent = posted.has("allow_small_exponent");
    let refuse = async |message: String| {
        let problems = Problems {
            public_key: Some(message),
            pem: pem.to_string(),
            ..Problems::default()
        };
        configuration(&office, &visit, app.clone(), problems).await
    };
    if pem.contains("PRIVATE KEY") {
        // It has no business in a browser, and shall not come back in a page.
        let problems = Problems {
            public_key: Some(
                "This is a private key. Keep it, and paste the public one: \
                 openssl rsa -in private.pem -outform PEM -pubout -out public.pem"
                    .to_owned(),
            ),
            ..Problems::default()
        };
        return configuration(&office, &visit, app.clone(), problems).await;
    }
    let key = match PublicKey::from_pem(&pem) {
        Ok(key) => key,
        Err(error) => return refuse(sentence(&error)).await,
    };
    if !office.sessions.has_room(&visit.session) {
        return refuse("Download the files that wait for you first.".to_owned()).await;
    }
    let called = app.clone();
    let added = office
        .ask(move |directory| {
            let kid = directory.add_key(&called, &key, allow_small_exponent)?;
            directory.settings(&called, &kid)
        })
        .await;
    let settings = match added {
        Ok(settings) => settings,
        Err(Fault::Directory(error @ DirectoryError::Unknown { .. })) => {
            return Err(Fault::Directory(error));
        }
        Err(Fault::Directory(error)) if is_answerable(&error) => {
            return refuse(reason(&error)).await;
        }
        Err(fault) => return Err(fault),
    };
    let (client_id, kid) = (settings.client_id.clone(), settings.public_key_id.clone());
    let enterprise = settings.enterprise_id.as_deref().unwrap_or("0");
    let file_name = format!("{enterprise}_{kid}_settings.json");
    let text = settings_text(settings);
    let now = office.clock.monotonic();
    let of_app = client_id.clone();
    office.sessions.keep(&visit.session, now, |ticket, until| {
        Handout::new(ticket, until, of_app, file_name, text)
    });
    let message = format!("The public key was added. Its key ID is {kid}.");
    office.sessions.say(&visit.session, message);
    Ok(see_other(&format!("/apps/{client_id}/configuration")))
}

async fn confirm(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path((app, kid)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let app = office.ask(move |directory| directory.app(&app)).await?;
    let key = app.keys.iter().find(|key| key.kid == kid).cloned();
    let page = RemoveKeyPage {
        chrome: office.chrome(&visit, "apps").await?,
        key: key.ok_or(Fault::NotFound)?,
        is_last: app.keys.len() == 1,
        name: app.name,
        client_id: app.client_id,
    };
    Ok(view::page(StatusCode::OK, &page))
}

async fn remove(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path((app, kid)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let message = format!("Key {kid} was removed. No token is had by it any more.");
    let app = office
        .ask(move |directory| directory.remove_key(&app, &kid))
        .await?;
    office.sessions.say(&visit.session, message);
    Ok(see_other(&format!("/apps/{}/configuration", app.client_id)))
}

/// Hands out a file, once.
async fn download(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path((_, ticket)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let now = office.clock.monotonic();
    let handout = office.sessions.hand_out(&visit.session, &ticket, now);
    let handout = handout.ok_or(Fault::Gone)?;
    let disposition = format!("attachment; filename=\"{}\"", handout.file_name);
    // The buffer is zeroized once it was sent.
    let mut response = Response::new(Body::from(Bytes::from_owner(handout.text)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let disposition = HeaderValue::try_from(disposition).map_err(|_| Fault::Failed)?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}
