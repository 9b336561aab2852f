//! Which tokens are being issued right now?
//!
//! The page shows the latest requests as they were when it was rendered, and
//! is loaded anew every few seconds by the browser itself. With the script it
//! asks for what is new instead: each request is held until there is
//! something, and answered with rows that are rendered here.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Office;
use super::gate::{FEED, Fault, Visit};
use super::view::{self, Counted, FeedPart, TokenLine, TokensPage};
use crate::broker::directory::Directory;

/// How long a request for what is new is held.
const HOLD: Duration = Duration::from_secs(10);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(100);

const LATEST: HeaderName = HeaderName::from_static("x-latest");

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
