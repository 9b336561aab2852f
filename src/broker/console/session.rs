//! Who is sitting in front of the console, and in which role?
//!
//! A session begins with a secret and lives in memory: at most
//! [`IDLE`] without a request and [`LIFE`] in all. Its ID is a random cookie
//! of which only the SHA-256 is kept, and is replaced whenever the role
//! changes. Wrong secrets are counted, and too many of them close the door
//! for a while.
//!
//! Files that are handed out once wait in the session that made them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::broker::registry::sha256;

/// How long a session lives without a request.
pub(super) const IDLE: Duration = Duration::from_secs(30 * 60);

/// How long a session lives in all.
pub(super) const LIFE: Duration = Duration::from_secs(8 * 60 * 60);

/// How long a file waits to be downloaded.
pub(super) const WAIT: Duration = Duration::from_secs(10 * 60);

/// The most sessions; a further one ends the one that was idle for longest.
const MAX_SESSIONS: usize = 64;

/// The most files that wait in a session.
const MAX_HANDOUTS: usize = 16;

/// How many wrong secrets are heard within [`GUESS_WINDOW`].
pub(super) const MAX_GUESSES: usize = 5;

/// The time over which wrong secrets are counted.
pub(super) const GUESS_WINDOW: Duration = Duration::from_secs(60);

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Create and edit apps.
    Developer,
    /// Decide over apps and keep users as well.
    Administrator,
}

/// The sessions that are open.
pub(super) struct Sessions {
    open: Mutex<HashMap<SessionKey, Session>>,
    /// What waited in sessions that had to make room.
    displaced: Mutex<Vec<Handout>>,
    csrf: hmac::Key,
}

type SessionKey = [u8; 32];

struct Session {
    role: Role,
    opened: Duration,
    seen: Duration,
    flash: Option<String>,
    handouts: Vec<Handout>,
}

/// A file that is handed out once.
pub(super) struct Handout {
    /// Names it in addresses; without the session it is worth nothing.
    pub(super) ticket: String,
    /// The app that it is of.
    pub(super) client_id: String,
    /// The key whose private half it holds and nothing else does.
    pub(super) private_half_of: Option<String>,
    /// What the browser shall call it.
    pub(super) file_name: String,
    /// The text.
    pub(super) text: Zeroizing<String>,
    /// The monotonic time at which it is discarded.
    until: Duration,
}

/// A key whose private half was discarded before anybody had it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orphan {
    pub(super) client_id: String,
    pub(super) kid: String,
}

impl Sessions {
    pub(super) fn new() -> Result<Self, Unspecified> {
        let mut key = Zeroizing::new([0; 32]);
        rand::fill(&mut *key)?;
        Ok(Self {
            open: Mutex::default(),
            displaced: Mutex::default(),
            csrf: hmac::Key::new(hmac::HMAC_SHA256, &*key),
        })
    }

    /// Opens a session and returns its ID, which is the value of a cookie.
    /// Times are monotonic.
    pub(super) fn open(&self, role: Role, now: Duration) -> Result<String, Unspecified> {
        let id = drawn()?;
        let mut open = self.open.lock();
        if open.len() >= MAX_SESSIONS {
            let idlest = open.iter().min_by_key(|(_, session)| session.seen);
            let idlest = idlest.map(|(key, _)| *key);
            if let Some(session) = idlest.and_then(|key| open.remove(&key)) {
                self.displaced.lock().extend(session.handouts);
            }
        }
        open.insert(
            key_of(&id),
            Session {
                role,
                opened: now,
                seen: now,
                flash: None,
                handouts: Vec::new(),
            },
        );
        Ok(id)
    }

    /// Returns the role of a session that has not expired. A request that a
    /// page makes by itself keeps no session alive.
    pub(super) fn role(&self, id: &str, now: Duration, is_active: bool) -> Option<Role> {
        let mut open = self.open.lock();
        let session = open.get_mut(&key_of(id))?;
        if session.has_expired(now) {
            return None;
        }
        if is_active {
            session.seen = now;
        }
        Some(session.role)
    }

    /// Changes the role of a session, which gets another ID by that.
    pub(super) fn change(&self, id: &str, role: Role) -> Option<String> {
        let mut open = self.open.lock();
        let mut session = open.remove(&key_of(id))?;
        session.role = role;
        let id = drawn().ok()?;
        open.insert(key_of(&id), session);
        Some(id)
    }

    /// Ends a session, and returns the keys that nobody will ever hold.
    pub(super) fn close(&self, id: &str) -> Vec<Orphan> {
        let ended = self.open.lock().remove(&key_of(id));
        orphans(ended.into_iter().flat_map(|session| session.handouts))
    }

    /// Discards what has expired, and returns the keys that nobody will ever
    /// hold.
    pub(super) fn sweep(&self, now: Duration) -> Vec<Orphan> {
        let mut discarded = std::mem::take(&mut *self.displaced.lock());
        self.open.lock().retain(|_, session| {
            let is_over = session.has_expired(now);
            let late = |handout: &mut Handout| is_over || handout.until <= now;
            discarded.extend(session.handouts.extract_if(.., late));
            !is_over
        });
        orphans(discarded)
    }

    /// Leaves a message for the next page.
    pub(super) fn say(&self, id: &str, message: impl Into<String>) {
        if let Some(session) = self.open.lock().get_mut(&key_of(id)) {
            session.flash = Some(message.into());
        }
    }

    /// Takes the message that was left.
    pub(super) fn heard(&self, id: &str) -> Option<String> {
        self.open.lock().get_mut(&key_of(id))?.flash.take()
    }

    /// Is there room for another file?
    pub(super) fn has_room(&self, id: &str) -> bool {
        let open = self.open.lock();
        let session = open.get(&key_of(id));
        session.is_some_and(|session| session.handouts.len() < MAX_HANDOUTS)
    }

    /// Keeps a file until it is downloaded, and returns its ticket. If the
    /// session is over, the file is lost and `None` returned.
    pub(super) fn keep(
        &self,
        id: &str,
        now: Duration,
        make: impl FnOnce(String, Duration) -> Handout,
    ) -> Option<String> {
        let ticket = drawn().ok()?;
        let mut open = self.open.lock();
        let session = open.get_mut(&key_of(id))?;
        session.handouts.push(make(ticket.clone(), now + WAIT));
        Some(ticket)
    }

    /// Lists what waits for an app, as `look` describes it.
    pub(super) fn waiting<T>(
        &self,
        id: &str,
        client_id: &str,
        now: Duration,
        look: impl FnMut(&Handout) -> T,
    ) -> Vec<T> {
        let open = self.open.lock();
        let session = open.get(&key_of(id));
        let handouts = session.iter().flat_map(|session| &session.handouts);
        handouts
            .filter(|handout| handout.client_id == client_id && handout.until > now)
            .map(look)
            .collect()
    }

    /// Hands a file out, after which it is gone.
    pub(super) fn hand_out(&self, id: &str, ticket: &str, now: Duration) -> Option<Handout> {
        let mut open = self.open.lock();
        let handouts = &mut open.get_mut(&key_of(id))?.handouts;
        let place = handouts
            .iter()
            .position(|handout| handout.ticket == ticket && handout.until > now)?;
        Some(handouts.swap_remove(place))
    }

    /// Returns what a form has to carry that was made for this cookie.
    pub(super) fn csrf(&self, cookie: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.csrf, cookie.as_bytes()))
    }

    /// Was the form made for this cookie?
    pub(super) fn is_csrf(&self, cookie: &str, given: &str) -> bool {
        URL_SAFE_NO_PAD
            .decode(given)
            .is_ok_and(|tag| hmac::verify(&self.csrf, cookie.as_bytes(), &tag).is_ok())
    }
}

impl Session {
    fn has_expired(&self, now: Duration) -> bool {
        now.saturating_sub(self.seen) >= IDLE || now.saturating_sub(self.opened) >= LIFE
    }
}

impl Handout {
    pub(super) fn new(
        ticket: String,
        until: Duration,
        client_id: String,
        file_name: String,
        text: Zeroizing<String>,
    ) -> Self {
        Self {
            ticket,
            client_id,
            private_half_of: None,
            file_name,
            text,
            until,
        }
    }

    /// Says that the file holds the only private half of a key.
    pub(super) fn with_private_half_of(mut self, kid: &str) -> Self {
        self.private_half_of = Some(kid.to_owned());
        self
    }
}

/// Counts wrong secrets.
#[derive(Default)]
pub(super) struct Guesses {
    wrong: Mutex<VecDeque<Duration>>,
}

impl Guesses {
    /// Says how long nobody is heard, if so.
    pub(super) fn closed_for(&self, now: Duration) -> Option<Duration> {
        let mut wrong = self.wrong.lock();
        while wrong.front().is_some_and(|at| *at + GUESS_WINDOW <= now) {
            wrong.pop_front();
        }
        let first = wrong.front().filter(|_| wrong.len() >= MAX_GUESSES)?;
        Some(*first + GUESS_WINDOW - now)
    }

    /// Takes down a wrong secret.
    pub(super) fn count(&self, now: Duration) {
        self.wrong.lock().push_back(now);
    }
}

/// Draws 256 bits.
pub(super) fn drawn() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn key_of(id: &str) -> SessionKey {
    sha256(id.as_bytes())
}

fn orphans(discarded: impl IntoIterator<Item = Handout>) -> Vec<Orphan> {
    let of = |handout: Handout| {
        Some(Orphan {
            kid: handout.private_half_of?,
            client_id: handout.client_id,
        })
    };
    discarded.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn sessions() -> (Sessions, String) {
        let sessions = Sessions::new().unwrap();
        let id = sessions.open(Role::Developer, START).unwrap();
        (sessions, id)
    }

    fn keep(sessions: &Sessions, id: &str, now: Duration) -> String {
        sessions
            .keep(id, now, |ticket, until| {
                let text = Zeroizing::new("private".to_owned());
                Handout::new(ticket, until, "app".into(), "file".into(), text)
                    .with_private_half_of("kid")
            })
            .unwrap()
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it() {
        let (sessions, id) = sessions();
        let late = START + IDLE;
        assert!(
            sessions
                .role(&id, late - Duration::from_nanos(1), false)
                .is_some()
        );
        assert!(sessions.role(&id, late, true).is_none());
        assert!(sessions.role("another", START, true).is_none());
    }

    #[test]
    fn use_prolongs_a_session_up_to_its_whole_life() {
        let (sessions, id) = sessions();
        let mut now = START;
        while now + IDLE / 2 < START + LIFE {
            now += IDLE / 2;
            assert!(sessions.role(&id, now, true).is_some());
        }
        assert!(sessions.role(&id, START + LIFE, true).is_none());
    }

    #[test]
    fn another_role_is_another_id() {
        let (sessions, id) = sessions();
        let ticket = keep(&sessions, &id, START);
        let other = sessions.change(&id, Role::Administrator).unwrap();
        assert_ne!(id, other);
        assert!(sessions.role(&id, START, true).is_none());
        assert_eq!(
            sessions.role(&other, START, true),
            Some(Role::Administrator)
        );
        // What waited still does.
        assert!(sessions.hand_out(&other, &ticket, START).is_some());
    }

    #[test]
    fn a_file_is_handed_out_once_and_to_its_session_alone() {
        let (sessions, id) = sessions();
        let stranger = sessions.open(Role::Administrator, START).unwrap();
        let ticket = keep(&sessions, &id, START);
        assert!(sessions.hand_out(&stranger, &ticket, START).is_none());
        assert!(sessions.hand_out(&id, "another", START).is_none());
        let waiting = |client_id| sessions.waiting(&id, client_id, START, |_| ()).len();
        assert_eq!((waiting("app"), waiting("another")), (1, 0));
        assert!(sessions.hand_out(&id, &ticket, START).is_some());
        assert!(sessions.hand_out(&id, &ticket, START).is_none());
        assert_eq!(sessions.close(&id), []);
    }

    #[test]
    fn a_key_that_nobody_took_is_an_orphan() {
        let orphan = || Orphan {
            client_id: "app".into(),
            kid: "kid".into(),
        };
        let (sessions, id) = sessions();
        let ticket = keep(&sessions, &id, START);
        assert_eq!(sessions.sweep(START + WAIT / 2), []);
        assert!(sessions.hand_out(&id, &ticket, START + WAIT).is_none());
        assert_eq!(sessions.sweep(START + WAIT), [orphan()]);
        assert_eq!(sessions.sweep(START + WAIT), []);
        keep(&sessions, &id, START);
        assert_eq!(sessions.close(&id), [orphan()]);
    }

    #[test]
    fn a_form_is_good_for_its_cookie_alone() {
        let (sessions, id) = sessions();
        let csrf = sessions.csrf(&id);
        assert!(sessions.is_csrf(&id, &csrf));
        assert!(!sessions.is_csrf("another", &csrf));
        for other in ["", "AAAA", &csrf[1..], &sessions.csrf("another")] {
            assert!(!sessions.is_csrf(&id, other));
        }
    }

    #[test]
    fn the_idlest_of_too_many_sessions_ends() {
        let (sessions, idlest) = sessions();
        keep(&sessions, &idlest, START);
        let later = START + Duration::from_secs(1);
        for _ in 0..MAX_SESSIONS {
            sessions.open(Role::Developer, later).unwrap();
        }
        assert!(sessions.role(&idlest, later, true).is_none());
        assert_eq!(sessions.open.lock().len(), MAX_SESSIONS);
        assert_eq!(sessions.sweep(later).len(), 1);
    }

    #[test]
    fn the_door_closes_after_wrong_guesses_and_opens_again() {
        let guesses = Guesses::default();
        for _ in 0..MAX_GUESSES {
            assert_eq!(guesses.closed_for(START), None);
            guesses.count(START);
        }
        assert_eq!(guesses.closed_for(START), Some(GUESS_WINDOW));
        assert!(guesses.closed_for(START + GUESS_WINDOW / 2).is_some());
        assert_eq!(guesses.closed_for(START + GUESS_WINDOW), None);
    }
}
