//! What became of the latest token requests?
//!
//! A short memory for a person who watches: who asked for what, and the
//! answer, without any secret, assertion or token. It is kept only by a
//! broker with a console. It never makes a request wait: a request that finds
//! it in use, or comes after [`PER_SECOND`] others within a second, is counted
//! and not listed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::form::Form;
use super::grant::{Grants, Refused};
use super::terms::Scopes;
use super::token::{Issued, Subject};
use crate::oauth::{CLIENT_CREDENTIALS, JWT_BEARER, Refusal, TOKEN_EXCHANGE};

/// The most entries that are kept.
pub(super) const CAPACITY: usize = 200;

/// The most entries that are listed in a second. Nobody reads faster, and a
/// load test shall not pay for it.
pub(super) const PER_SECOND: u32 = 100;

/// Keeps the latest entries.
#[derive(Default)]
pub(super) struct Feed {
    latest: Mutex<Latest>,
    skipped: AtomicU64,
}

#[derive(Default)]
struct Latest {
    entries: VecDeque<Entry>,
    /// The number of the newest entry; the first is 1.
    number: u64,
    second: u64,
    in_second: u32,
}

/// One token request.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Counts up.
    pub(super) number: u64,
    /// When it was answered, in seconds since the Unix epoch.
    pub(super) at_s: u64,
    /// The client ID, if an app has it.
    pub(super) client_id: Option<String>,
    /// Which kind of grant was presented.
    pub(super) grant: &'static str,
    /// What was issued, or why nothing was.
    pub(super) outcome: Result<Granted, Refusal>,
}

/// What a token was issued for.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// On whose behalf it acts.
    pub(super) subject: Subject,
    /// What it may be used for.
    pub(super) scopes: Scopes,
    /// How long it lives, in seconds.
    pub(super) expires_in: u64,
}

impl Feed {
    /// Takes down a request that was judged; `form` is absent if there was
    /// none to be read.
    pub(super) fn note(
        &self,
        grants: &Grants,
        form: Option<&Form<'_>>,
        judged: &Result<Issued, Refused>,
    ) {
        let now = grants.now();
        let Some(mut latest) = self.latest.try_lock() else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if latest.second != now {
            (latest.second, latest.in_second) = (now, 0);
        }
        if latest.in_second == PER_SECOND {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        latest.in_second += 1;
        latest.number += 1;
        if latest.entries.len() == CAPACITY {
            latest.entries.pop_front();
        }
        let number = latest.number;
        latest
            .entries
            .push_back(entry(number, now, grants, form, judged));
    }

    /// Returns the entries after a number, newest first, and the number of
    /// the newest.
    pub(super) fn since(&self, number: u64) -> (Vec<Entry>, u64) {
        let latest = self.latest.lock();
        let newer = latest.entries.iter().rev();
        let newer = newer.take_while(|entry| entry.number > number).cloned();
        (newer.collect(), latest.number)
    }

    /// Returns the number of the newest entry.
    pub(super) fn number(&self) -> u64 {
        self.latest.lock().number
    }

    /// Returns how many requests were not listed.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }
}

fn entry(
    number: u64,
    now: u64,
    grants: &Grants,
    form: Option<&Form<'_>>,
    judged: &Result<Issued, Refused>,
) -> Entry {
    let registry = grants.registry.load();
    let asked = |name: &str| form.and_then(|form| form.get(name));
    // What is no app's is a stranger's text, which is not shown.
    let mut app = asked("client_id").and_then(|client_id| registry.app(client_id));
    let outcome = match judged {
        Err(refused) => Err(refused.refusal),
        Ok(issued) => match grants.minter.verify(&issued.access_token, now) {
            Some(grant) => {
                app = app.or_else(|| registry.app_by_number(grant.app));
                Ok(Granted {
                    subject: grant.subject,
                    scopes: grant.scopes,
                    expires_in: issued.expires_in,
                })
            }
            // The clock went past the whole life of the token.
            None => Err(Refusal::Expired),
        },
    };
    Entry {
        number,
        at_s: now,
        client_id: app.map(|app| app.client_id().to_owned()),
        grant: match asked("grant_type") {
            Some(JWT_BEARER) => "JWT assertion",
            Some(CLIENT_CREDENTIALS) => "Client credentials",
            Some(TOKEN_EXCHANGE) => "Token exchange",
            Some("refresh_token") => "Refresh token",
            Some(_) => "Unknown grant",
            None => "No grant",
        },
        outcome,
    }
}
