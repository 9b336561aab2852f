//! `mintmark token`: one access token.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::app_flags::{AppFlags, USUAL_BACKEND};
use super::{Exit, Failure, print_json};
use crate::clock::SystemClock;
use crate::token::{Client, Exchange, Retry};
use crate::units::Span;

/// Obtains an access token and writes it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark token --config app.json\n  \
    mintmark token --config app.json --user 12345 --url http://127.0.0.1:8080/oauth2/token --json")]
pub(super) struct Flags {
    #[command(flatten)]
    app: AppFlags,

    /// The token endpoint, or a server's address to which /oauth2/token is added.
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Attempts in all; each is signed anew.
    #[arg(long, value_name = "N", default_value_t = 5)]
    attempts: u32,

    /// How long one attempt may take.
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    timeout: Span,

    /// Print JSON with the token, its type and its lifetime.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let url = flags.url.as_deref().map(crate::oauth::endpoint_of);
    let bound = flags.app.bind(url.as_deref(), USUAL_BACKEND)?;
    let url = bound
        .token_url
        .ok_or_else(|| Failure::usage("the profile names no token endpoint, expected --url"))?;
    let exchange =
        Exchange::new(&url, bound.app.form().clone(), flags.timeout.0).map_err(Failure::usage)?;
    let retry = Retry {
        attempts: flags.attempts.max(1),
        ..Retry::default()
    };
    let client = Client::new(
        bound.app,
        exchange,
        bound.signer,
        Arc::new(SystemClock::new()),
        retry,
    );
    let token = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?
        .block_on(client.fetch(&bound.subject))
        .map_err(Failure::failed)?;
    if flags.json {
        print_json(&json!({
            "access_token": token.expose(),
            "token_type": token.token_type(),
            "expires_in_s": token.lifetime().as_secs(),
            "clock_offset_ms": client.clock_offset_ms(),
        }))?;
    } else {
        println!("{}", token.expose());
    }
    Ok(Exit::Success)
}
