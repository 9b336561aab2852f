//! Which tokens are being issued right now?
//!
//! The page shows the latest requests as they were when it was rendered, and
//! is loaded anew every few seconds by the browser itself. With the script it
//! asks for what is new instead: each request is held until there is
//! something, and answered with rows that are rendered here.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Office;
use super::gate::{FEED, Fault, Visit};
use super::view::{self, Chrome};
use super::words::{app_name, clock_time};
use crate::broker::directory::{AppRecord, Directory};
use crate::broker::feed::Entry;
use crate::broker::token::Subject;

/// How long a request for what is new is held.
const HOLD: Duration = Duration::from_secs(10);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(100);

const LATEST: HeaderName = HeaderName::from_static("x-latest");

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    chrome: Chrome,
    counted: Counted,
    lines: Vec<TokenLine>,
    latest: u64,
    token_url: String,
}

/// What is new, for the page that is there already.
#[derive(Template)]
#[template(path = "feed.html")]
struct FeedPart {
    counted: Counted,
    lines: Vec<TokenLine>,
}

/// How many requests there were.
struct Counted {
    granted: u64,
    refused: u64,
    connections: u64,
    skipped: u64,
}

/// A token request in a list.
struct TokenLine {
    at: String,
    app: String,
    client_id: Option<String>,
    grant: &'static str,
    is_issued: bool,
    subject: String,
    detail: String,
}

impl TokenLine {
    fn of(entry: &Entry, apps: &[AppRecord]) -> Self {
        let (subject, detail) = match &entry.outcome {
            Ok(granted) => (
                match &granted.subject {
                    Subject::Enterprise(id) => format!("Enterprise {id}"),
                    Subject::User(id) => format!("User {id}"),
                },
                format!("{} · {} s", granted.scopes, granted.expires_in),
            ),
            Err(refusal) => (
                format!("{} {}", refusal.status().as_u16(), refusal.error()),
                refusal.description().to_owned(),
            ),
        };
        let client_id = entry.client_id.as_ref();
        Self {
            at: clock_time(entry.at_s),
            app: client_id.map_or("Unknown client".to_owned(), |id| app_name(id, apps)),
            // What came from the command line has no page.
            client_id: client_id
                .filter(|id| apps.iter().any(|app| app.client_id == **id))
                .cloned(),
            grant: entry.grant,
            is_issued: entry.outcome.is_ok(),
            subject,
            detail,
        }
    }
}

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/tokens", get(tokens))
        .route(FEED, get(feed))
}

async fn tokens(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    let (lines, latest) = lines(&office, 0).await?;
    let page = TokensPage {
        chrome: office.chrome(&visit, "tokens").await?,
        counted: counted(&office),
        lines,
        latest,
        token_url: office.endpoint.grants.issuer().to_owned(),
    };
    Ok(view::page(StatusCode::OK, &page))
}

async fn feed(
    State(office): State<Arc<Office>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Fault> {
    let query = query.unwrap_or_default();
    let after = query
        .strip_prefix("after=")
        .and_then(|after| after.parse().ok());
    let after = after.unwrap_or(0);
    let mut looks = HOLD.as_millis() / LOOK.as_millis();
    while office.feed.number() <= after && looks > 0 {
        tokio::time::sleep(LOOK).await;
        looks -= 1;
    }
    let (lines, latest) = lines(&office, after).await?;
    let counted = counted(&office);
    let mut response = view::page(StatusCode::OK, &FeedPart { counted, lines });
    response
        .headers_mut()
        .insert(LATEST, HeaderValue::from(latest));
    Ok(response)
}

async fn lines(office: &Office, after: u64) -> Result<(Vec<TokenLine>, u64), Fault> {
    let (entries, latest) = office.feed.since(after);
    if entries.is_empty() {
        return Ok((Vec::new(), latest));
    }
    let apps = office.ask(Directory::apps).await?;
    let lines = entries.iter().map(|entry| TokenLine::of(entry, &apps));
    Ok((lines.collect(), latest))
}

fn counted(office: &Office) -> Counted {
    let stats = office.endpoint.counters.read();
    Counted {
        granted: stats.granted,
        refused: stats.refused_total(),
        connections: stats.open_connections,
        skipped: office.feed.skipped(),
    }
}
