//! What is an access token, when nobody stores it?
//!
//! A token is opaque to its bearer and proves itself to the broker that
//! issued it: `base64url(version | expiry | app | scopes | subject | ID | MAC)`,
//! with an HMAC-SHA-256 truncated to 128 bits under a key that lives as long
//! as the broker. Storing the tokens of an hour at a high rate would take
//! gigabytes, and signing them would make the broker what is measured.
//!
//! Invariant: [`Minter::verify`] accepts only what [`Minter::mint`] of the
//! same broker returned, until it expires.

use std::cell::Cell;
use std::ops::RangeInclusive;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::other_grants::MAX_RESOURCE;
use super::registry::App;
use super::signed_token::SignedTokens;
use super::terms::{Scopes, Terms};

/// The shortest and the longest life of a token, in seconds, as seen at the
/// provider; the value varies from call to call.
pub const LIFE_S: RangeInclusive<u64> = 3600..=4300;

/// The longest subject ID, in bytes.
pub const MAX_SUBJECT: usize = 64;

/// The longest ID of an external user, in bytes.
pub const MAX_ACTOR: usize = 128;

/// What the text of a narrowed token begins with, as the provider's does.
const NARROWED: &str = "1!";

/// The random ID of a token, by which it is revoked.
pub type TokenId = [u8; ID_LEN];

const VERSION: u8 = 3;
const MAC_LEN: usize = 16;
const ID_LEN: usize = 16;
/// Version, expiry, app, scopes, flags, and the lengths of subject, resource
/// and actor.
const HEAD_LEN: usize = 1 + 8 + 4 + 4 + 1 + 1 + 1 + 1;
const MAX_LEN: usize = HEAD_LEN + MAX_SUBJECT + MAX_RESOURCE + MAX_ACTOR + 2 * ID_LEN + MAC_LEN;

/// The flags of a token.
const IS_USER: u8 = 1;
const IS_NARROWED: u8 = 2;
const MAY_ACT_AS_USER: u8 = 4;

/// Issues and verifies the access tokens of one broker.
pub struct Minter {
    key: hmac::Key,
    life_s: RangeInclusive<u64>,
    signed: Option<SignedTokens>,
}

/// On whose behalf a token acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The app's service account in this enterprise.
    Enterprise(String),
    /// A user.
    User(String),
}

/// What a token says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number of the app in the registry.
    pub app: u32,
    /// On whose behalf the token acts.
    pub subject: Subject,
    /// What the token may be used for.
    pub scopes: Scopes,
    /// May the bearer act as other users?
    pub as_user: bool,
    /// The address of the one item that the token is narrowed to.
    pub resource: Option<String>,
    /// The external user on whose behalf the token was narrowed.
    pub actor: Option<String>,
    /// The token's own ID.
    pub id: TokenId,
    /// The ID of the token that it was narrowed from, or its own.
    pub root: TokenId,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// A token that was just issued.
pub struct Issued {
    /// The token. It is secret.
    pub access_token: String,
    /// How long it lives, in seconds.
    pub expires_in: u64,
    /// What it was narrowed to, and the item, if it was.
    pub narrowed: Option<(Scopes, Option<String>)>,
}

/// What a token is to say.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The number of the app in the registry.
    pub app: u32,
    /// The app's client ID.
    pub client_id: &'a str,
    /// The kind of subject.
    pub kind: SubjectKind,
    /// The ID of the subject.
    pub subject: &'a str,
    /// What the token may be used for.
    pub scopes: Scopes,
    /// May the bearer act as other users?
    pub as_user: bool,
    /// The item that the token is narrowed to.
    pub resource: Option<&'a str>,
    /// The external user on whose behalf the token is narrowed.
    pub actor: Option<&'a str>,
    /// The token that is narrowed.
    pub parent: Option<&'a Grant>,
}

impl<'a> Wish<'a> {
    /// Describes a token of all that an app's terms allow.
    pub(super) fn of(app: &'a App, terms: Terms, kind: SubjectKind, subject: &'a str) -> Self {
        Self {
            app: app.number(),
            client_id: app.client_id(),
            kind,
            subject,
            scopes: terms.scopes,
            as_user: terms.as_user,
            resource: None,
            actor: None,
            parent: None,
        }
    }
}

impl Grant {
    /// Was the token narrowed from another?
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.id != self.root
    }
}

/// Which kind of subject a token is for, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// `enterprise`
    Enterprise,
    /// `user`
    User,
}

impl Minter {
    /// Makes a minter with a random key, whose tokens live for `life_s`
    /// seconds, drawn for each.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new(life_s: RangeInclusive<u64>) -> Result<Self, Unspecified> {
        let mut key = [0; 32];
        rand::fill(&mut key)?;
        let minter = Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            life_s,
            signed: None,
        };
        zeroize::Zeroize::zeroize(&mut key);
        Ok(minter)
    }

    /// Issues signed tokens from now on, except for narrowed ones.
    pub(super) fn sign_with(&mut self, signed: SignedTokens) {
        self.signed = Some(signed);
    }

    /// Returns the keys of signed tokens as a JWK Set.
    pub(super) fn key_set(&self) -> &str {
        self.signed
            .as_ref()
            .map_or("{\"keys\":[]}", SignedTokens::key_set)
    }

    /// Issues a token; `now` is in seconds since the Unix epoch. It does not
    /// outlive the token that it is narrowed from.
    ///
    /// # Errors
    ///
    /// The subject is longer than [`MAX_SUBJECT`], the resource than
    /// [`MAX_RESOURCE`] or the actor than [`MAX_ACTOR`], or the system has no
    /// random bytes.
    pub fn mint(&self, wish: &Wish<'_>, now: u64) -> Result<Issued, Unspecified> {
        let resource = wish.resource.unwrap_or_default();
        let subject_len = u8::try_from(wish.subject.len()).map_err(|_| Unspecified)?;
        let resource_len = u8::try_from(resource.len()).map_err(|_| Unspecified)?;
        let actor = wish.actor.unwrap_or_default();
        let actor_len = u8::try_from(actor.len()).map_err(|_| Unspecified)?;
        if wish.subject.len() > MAX_SUBJECT
            || resource.len() > MAX_RESOURCE
            || actor.len() > MAX_ACTOR
        {
            return Err(Unspecified);
        }
        let (id, draw) = new_id()?;
        let (shortest, longest) = (*self.life_s.start(), *self.life_s.end());
        let mut expires_in = shortest + draw % (longest.saturating_sub(shortest) + 1);
        let mut flags = match wish.kind {
            SubjectKind::Enterprise => 0,
            SubjectKind::User => IS_USER,
        };
        if wish.as_user {
            flags |= MAY_ACT_AS_USER;
        }
        if let Some(parent) = wish.parent {
            flags |= IS_NARROWED;
            expires_in = expires_in.min(parent.expires_at.saturating_sub(now));
        }
        if let (Some(signed), None) = (&self.signed, wish.parent) {
            return Ok(Issued {
                access_token: signed.sign(wish, &id, now, now.saturating_add(expires_in))?,
                expires_in,
                narrowed: None,
            });
        }
        let mut token = Writer::default();
        token.put(&[VERSION]);
        token.put(&now.saturating_add(expires_in).to_be_bytes());
        token.put(&wish.app.to_be_bytes());
        token.put(&wish.scopes.bits().to_be_bytes());
        token.put(&[flags, subject_len, resource_len, actor_len]);
        token.put(wish.subject.as_bytes());
        token.put(resource.as_bytes());
        token.put(actor.as_bytes());
        if let Some(parent) = wish.parent {
            token.put(&parent.root);
        }
        token.put(&id);
        let mac = hmac::sign(&self.key, token.bytes());
        token.put(&mac.as_ref()[..MAC_LEN]);
        let mut access_token = URL_SAFE_NO_PAD.encode(token.bytes());
        if wish.parent.is_some() {
            access_token.insert_str(0, NARROWED);
        }
        Ok(Issued {
            access_token,
            expires_in,
            narrowed: wish
                .parent
                .map(|_| (wish.scopes, wish.resource.map(str::to_owned))),
        })
    }

    /// Checks a token; `now` is in seconds since the Unix epoch.
    ///
    /// Returns `None` for a token of another broker, one that was tampered
    /// with, and one that has expired.
    #[must_use]
    pub fn verify(&self, access_token: &str, now: u64) -> Option<Grant> {
        if access_token.contains('.') {
            let grant = self.signed.as_ref()?.verify(access_token)?;
            return (grant.expires_at > now).then_some(grant);
        }
        let text = access_token.strip_prefix(NARROWED);
        let is_narrowed = text.is_some();
        let mut buffer = [0; MAX_LEN];
        let len = URL_SAFE_NO_PAD
            .decode_slice(text.unwrap_or(access_token), &mut buffer)
            .ok()?;
        let (signed, mac) = buffer[..len].split_at_checked(len.checked_sub(MAC_LEN)?)?;
        let expected = hmac::sign(&self.key, signed);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], mac)
            .ok()?;
        let grant = read(signed)?;
        (grant.expires_at > now && grant.is_narrowed() == is_narrowed).then_some(grant)
    }
}

thread_local! {
    /// What the IDs of this thread begin with, and the next number.
    static IDS: Cell<Option<([u8; ID_LEN / 2], u64)>> = const { Cell::new(None) };
}

/// Makes an ID that no other token has, and a number that varies.
///
/// An ID is no secret, as the MAC is what a forger lacks: eight random bytes
/// of the thread and a number, which costs a hundredth of a draw.
fn new_id() -> Result<(TokenId, u64), Unspecified> {
    let (prefix, number) = if let Some(ids) = IDS.get() {
        ids
    } else {
        let mut drawn: TokenId = [0; ID_LEN];
        rand::fill(&mut drawn)?;
        let (prefix, start) = drawn.split_at(ID_LEN / 2);
        let prefix = prefix.try_into().map_err(|_| Unspecified)?;
        let start = start.try_into().map_err(|_| Unspecified)?;
        (prefix, u64::from_be_bytes(start))
    };
    IDS.set(Some((prefix, number.wrapping_add(1))));
    // An odd factor maps every number to another.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id: TokenId = [0; ID_LEN];
    id[..ID_LEN / 2].copy_from_slice(&prefix);
    id[ID_LEN / 2..].copy_from_slice(&spread.to_be_bytes());
    Ok((id, spread >> 32))
}

/// Reads what an authentic token says.
fn read(signed: &[u8]) -> Option<Grant> {
    let (version, rest) = signed.split_first()?;
    let (expires_at, rest) = rest.split_first_chunk()?;
    let (app, rest) = rest.split_first_chunk()?;
    let (scopes, rest) = rest.split_first_chunk()?;
    let ([flags, subject_len, resource_len, actor_len], rest) = rest.split_first_chunk()?;
    let (subject, rest) = rest.split_at_checked(usize::from(*subject_len))?;
    let (resource, rest) = rest.split_at_checked(usize::from(*resource_len))?;
    let (actor, ids) = rest.split_at_checked(usize::from(*actor_len))?;
    let (id, before) = ids
        .split_last_chunk::<ID_LEN>()
        .map(|(rest, id)| (id, rest))?;
    let root = if flags & IS_NARROWED == 0 { id } else { before };
    let is_whole = before.len() == if flags & IS_NARROWED == 0 { 0 } else { ID_LEN };
    if *version != VERSION || !is_whole {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let subject = text(subject)?;
    Some(Grant {
        app: u32::from_be_bytes(*app),
        subject: if flags & IS_USER == 0 {
            Subject::Enterprise(subject)
        } else {
            Subject::User(subject)
        },
        scopes: Scopes::from_bits(u32::from_be_bytes(*scopes)),
        as_user: flags & MAY_ACT_AS_USER != 0,
        resource: Some(text(resource)?).filter(|resource| !resource.is_empty()),
        actor: Some(text(actor)?).filter(|actor| !actor.is_empty()),
        id: *id,
        root: TokenId::try_from(root).ok()?,
        expires_at: u64::from_be_bytes(*expires_at),
    })
}

/// Appends to a buffer on the stack.
struct Writer {
    buffer: [u8; MAX_LEN],
    len: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            buffer: [0; MAX_LEN],
            len: 0,
        }
    }
}

impl Writer {
    /// Appends `bytes`; the caller's subject is short enough for all of them.
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests;
