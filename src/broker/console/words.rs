//! In which words does the console speak?
//!
//! States, differences, refusals and times as people read them. Nothing is
//! decided here.

use std::error::Error;

use jiff::Timestamp;

use crate::broker::directory::{AppRecord, DirectoryError, Status};
use crate::broker::registration::{Access, Authentication};
use crate::broker::terms::{Terms, TermsError};
use crate::error::Chain;

/// A short word with a colour.
pub(super) struct Badge {
    pub(super) text: &'static str,
    pub(super) tone: &'static str,
}

/// One difference between what was approved and what is asked for.
pub(super) struct Change {
    pub(super) what: String,
    pub(super) from: String,
    pub(super) to: String,
}

/// Makes a sentence of a refusal, in the words of the console.
pub(super) fn reason(error: &DirectoryError) -> String {
    match error {
        DirectoryError::Terms(TermsError::NeedsEnterprise(scope)) => {
            format!("The scope {scope} needs the access level “App + enterprise access”.")
        }
        // What it was about stands beside it.
        DirectoryError::Terms(cause) => sentence(cause),
        DirectoryError::Key(cause) => sentence(cause),
        DirectoryError::Registry(cause) => sentence(cause),
        _ => sentence(error),
    }
}

/// Makes a sentence of an error and its causes.
pub(super) fn sentence(error: &dyn Error) -> String {
    let text = Chain(error).to_string();
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let rest = characters.as_str();
    format!("{}{rest}.", first.into_iter().flatten().collect::<String>())
}

pub(super) fn badge(app: &AppRecord) -> Badge {
    if !app.is_enabled {
        return Badge {
            text: "Disabled",
            tone: "off",
        };
    }
    let (text, tone) = match app.status {
        Status::NotSubmitted => ("Not submitted", "plain"),
        Status::Submitted => ("Waiting for authorization", "wait"),
        Status::Declined => ("Declined", "bad"),
        Status::Authorized => ("Authorized", "good"),
        Status::ReauthorizationRequired => ("Re-authorization required", "warn"),
        Status::ReauthorizationSubmitted => ("Waiting for re-authorization", "wait"),
    };
    Badge { text, tone }
}

/// Says what a developer does next.
pub(super) fn next_step(app: &AppRecord) -> &'static str {
    match app.status {
        _ if app.keys.is_empty() && app.authentication == Authentication::Jwt => {
            "The app has no key yet. Give it one before you submit it."
        }
        Status::NotSubmitted => {
            "The administrators of the enterprise have to authorize the app before it gets tokens."
        }
        Status::Submitted => "An administrator has been asked. Until then the app gets no tokens.",
        Status::Declined => {
            "An administrator said no. Change what it asks for and submit it again."
        }
        Status::Authorized => "Tokens are issued under the terms that were approved.",
        Status::ReauthorizationRequired => {
            "The app was edited since it was authorized. Tokens go by what was approved before \
             until it is re-authorized and a new token is requested."
        }
        Status::ReauthorizationSubmitted => {
            "An administrator has been asked again. Tokens go by what was approved before."
        }
    }
}

/// Lists what an administrator is asked for: all of it at first, and what
/// differs later.
pub(super) fn changes(app: &AppRecord) -> Vec<Change> {
    let list = |terms: Terms| {
        [
            ("Access level", access(terms.access).to_owned()),
            ("Generate user access tokens", on(terms.user_tokens)),
            ("Perform actions as users", on(terms.as_user)),
            ("Scopes", terms.scopes.to_string().replace(' ', ", ")),
        ]
    };
    let before = app.approved.map(list);
    list(app.edited)
        .into_iter()
        .enumerate()
        .map(|(index, (what, to))| Change {
            what: what.to_owned(),
            from: before
                .as_ref()
                .map_or("—".to_owned(), |terms| terms[index].1.clone()),
            to,
        })
        .filter(|change| change.from != change.to)
        .collect()
}

fn access(access: Access) -> &'static str {
    match access {
        Access::App => "App access only",
        Access::AppAndEnterprise => "App + enterprise access",
    }
}

pub(super) fn authentication(authentication: Authentication) -> &'static str {
    match authentication {
        Authentication::Jwt => "OAuth 2.0 with JWT (Server Authentication)",
        Authentication::ClientCredentials => {
            "OAuth 2.0 with Client Credentials Grant (Server Authentication)"
        }
    }
}

fn on(is_on: bool) -> String {
    if is_on { "On" } else { "Off" }.to_owned()
}

pub(super) fn app_name(client_id: &str, apps: &[AppRecord]) -> String {
    let found = apps.iter().find(|app| app.client_id == client_id);
    found.map_or(client_id, |app| &app.name).to_owned()
}

fn shown(at_s: u64, format: &str) -> String {
    let at = i64::try_from(at_s).ok().map(Timestamp::from_second);
    match at {
        Some(Ok(at)) => at.strftime(format).to_string(),
        _ => String::new(),
    }
}

pub(super) fn date(at_s: u64) -> String {
    shown(at_s, "%Y-%m-%d")
}

pub(super) fn time(at_s: u64) -> String {
    shown(at_s, "%Y-%m-%d %H:%M UTC")
}

pub(super) fn clock_time(at_s: u64) -> String {
    shown(at_s, "%H:%M:%S")
}
