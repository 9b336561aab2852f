//! `mintmark token`: one access token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::app_flags::{AppFlags, USUAL_BACKEND};
use super::{Exit, Failure, print_json};
use crate::assertion::Subject;
use crate::clock::SystemClock;
use crate::error::Chain;
use crate::token::{Client, Exchange, FetchError, Retry, Shelf, Token, Wanted, shelf};
use crate::units::Span;

/// Obtains an access token and writes it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark token --config app.json\n  \
    mintmark token --config app.json --user 12345 --url http://127.0.0.1:8080/oauth2/token --json\n  \
    mintmark token --config app.json --shared")]
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

    /// Keep the token in a file of the user, and take it from there while it
    /// lives: of several processes, one asks for it. Without a folder, in
    /// mintmark/tokens in the user's cache folder.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, require_equals = true)]
    #[allow(clippy::option_option)]
    shared: Option<Option<PathBuf>>,

    /// Ask for another token than the one in the file, which a server refused.
    #[arg(long, requires = "shared")]
    renew: bool,

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
    let client = Arc::new(Client::new(
        bound.app,
        exchange,
        bound.signer,
        Arc::new(SystemClock::new()),
        retry,
    ));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let (token, is_shared) = match &flags.shared {
        None => (runtime.block_on(client.fetch(&bound.subject)), false),
        Some(folder) => {
            let folder = folder.clone().or_else(shelf::usual_folder);
            let folder = folder.ok_or_else(|| {
                Failure::usage("there is no cache folder for this user, expected --shared=FOLDER")
            })?;
            runtime.block_on(shared(&client, &bound.subject, &folder, flags.renew))?
        }
    };
    let token = token.map_err(Failure::failed)?;
    if flags.json {
        print_json(&json!({
            "access_token": token.expose(),
            "token_type": token.token_type(),
            "expires_in_s": token.lifetime().as_secs(),
            "clock_offset_ms": client.clock_offset_ms(),
            "is_from_file": is_shared,
        }))?;
    } else {
        println!("{}", token.expose());
    }
    Ok(Exit::Success)
}

/// Takes the token from the user's file, or fetches it and keeps it there;
/// says whether it was in the file.
async fn shared(
    client: &Arc<Client>,
    subject: &Subject,
    folder: &Path,
    renew: bool,
) -> Result<(Result<Arc<Token>, FetchError>, bool), Failure> {
    let shelf =
        Shelf::open(folder, client.endpoint(), Arc::clone(client)).map_err(Failure::usage)?;
    let refused = renew
        .then(|| shelf.peek(client.purpose(), subject))
        .flatten();
    let wanted = Wanted {
        purpose: client.purpose(),
        subject,
        other_than: refused.as_deref(),
    };
    let token = crate::token::Source::fetch(&shelf, wanted).await;
    if let Some(fault) = shelf.take_fault() {
        eprintln!("mintmark: note: {}", Chain(&fault));
    }
    Ok((token, shelf.served() > 0))
}
