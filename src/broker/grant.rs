//! Does this form earn an access token?
//!
//! The checks run in a fixed order, cheap and specific ones first, and the
//! first that fails is the answer. Claims are read only after the signature
//! has verified, and a `jti` is remembered only then, so that nobody without
//! a registered key can fill the cache. HTTP is not this module's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use super::admission::VerifyingKey;
use super::config::Behaviour;
use super::form::Form;
use super::jose::{
    Claims, ClaimsBuffer, Compact, Header, HeaderBuffer, MAX_CLAIMS, MAX_HEADER, MAX_SIGNATURE,
    Malformed, NumericDate,
};
use super::registration::{ALGORITHMS, Access, Authentication, Membership};
use super::registry::{App, Registry, Snapshot};
use super::replay::{Presentation, ReplayCache};
use super::revocation::Revoked;
use super::signed_token::SignedTokens;
use super::terms::Terms;
use super::throttle::{RateLimit, Throttle};
use super::token::{Grant, Issued, Minter, SubjectKind, Wish};
use crate::clock::Clock;
use crate::oauth::{CLIENT_CREDENTIALS, JWT_BEARER, Refusal, TOKEN_EXCHANGE};

/// The longest life of an assertion, in seconds from its issue.
pub const MAX_LIFE_S: u64 = 60;

/// The lengths that a `jti` may have, in characters.
pub const JTI_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=128;

/// Decides over token requests.
pub struct Grants {
    pub(super) registry: Arc<Registry>,
    pub(super) minter: Minter,
    pub(super) replay: ReplayCache,
    pub(super) revoked: Revoked,
    throttle: ArcSwapOption<Throttle>,
    remembers_refused: AtomicBool,
    /// The address of the broker, which is its name as an issuer.
    issuer: String,
    audiences: Vec<String>,
    clock: Arc<dyn Clock>,
}

/// A refusal, and when to come back if the endpoint knows better than the
/// table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub refusal: Refusal,
    /// What `Retry-After` says, in seconds.
    pub retry_after_s: Option<u64>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            retry_after_s: refusal.retry_after_s(),
        }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::from(match malformed {
            // A name that cannot be one is a name that is not known.
            Malformed::KeyId => Refusal::UnknownKey,
            _ => Refusal::MalformedAssertion,
        })
    }
}

impl Grants {
    /// Makes the judge of a broker that answers to `audiences`.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new(
        registry: Arc<Registry>,
        issuer: String,
        audiences: Vec<String>,
        behaviour: &Behaviour,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut minter = Minter::new(behaviour.token_life_s.clone())?;
        if behaviour.signed_tokens {
            minter.sign_with(SignedTokens::new(&issuer)?);
        }
        Ok(Self {
            registry,
            minter,
            replay: ReplayCache::new(behaviour.replay_capacity)?,
            revoked: Revoked::default(),
            throttle: behaviour.rate_limit.map(Throttle::new).map(Arc::new).into(),
            remembers_refused: AtomicBool::new(behaviour.remembers_refused_jti),
            issuer,
            audiences,
            clock,
        })
    }

    /// Judges a form and issues a token.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub fn token(&self, form: &Form<'_>) -> Result<Issued, Refused> {
        let registry = self.registry.load();
        match form.get("grant_type") {
            Some(JWT_BEARER) => self.jwt_bearer(&registry, form),
            Some(CLIENT_CREDENTIALS) => self.client_credentials(&registry, form),
            Some(TOKEN_EXCHANGE) => self.exchange(&registry, form),
            Some("refresh_token") => {
                // No app of a kind that gets refresh tokens can be registered.
                self.client(&registry, form)?;
                Err(Refusal::GrantNotAllowed.into())
            }
            _ => Err(Refusal::InvalidGrantType.into()),
        }
    }

    /// Returns who is known.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the seconds since the Unix epoch on the broker's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.unix().as_secs()
    }

    /// Returns the broker's name as an issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Does a `jti` stay burnt if the request is refused after all?
    pub(super) fn remembers_refused(&self) -> bool {
        self.remembers_refused.load(Ordering::Relaxed)
    }

    /// Says whether a `jti` stays burnt from now on.
    pub(super) fn set_remembers_refused(&self, to: bool) {
        self.remembers_refused.store(to, Ordering::Relaxed);
    }

    /// Returns the rate limit, if there is one.
    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        self.throttle.load().as_deref().map(Throttle::limit)
    }

    /// Replaces the rate limit; one that stays the same goes on as it was.
    pub(super) fn set_rate_limit(&self, limit: Option<RateLimit>) {
        if limit != self.rate_limit() {
            self.throttle.store(limit.map(Throttle::new).map(Arc::new));
        }
    }

    /// Checks a bearer's token: authentic, not expired, not revoked.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Option<Grant> {
        self.minter
            .verify(token, self.now())
            .filter(|grant| !self.revoked.holds(grant))
    }

    pub(super) fn is_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|own| own == audience)
    }

    pub(super) fn mint(&self, wish: &Wish<'_>) -> Result<Issued, Refused> {
        self.minter
            .mint(wish, self.now())
            .map_err(|_| Refusal::Overloaded.into())
    }

    fn jwt_bearer(&self, registry: &Snapshot, form: &Form<'_>) -> Result<Issued, Refused> {
        let app = self.client(registry, form)?;
        if app.authentication() != Authentication::Jwt {
            return Err(Refusal::GrantNotAllowed.into());
        }
        let terms = app.terms().ok_or(Refusal::AppNotAuthorized)?;
        let assertion = form.get("assertion").ok_or(Refusal::MissingAssertion)?;
        let assertion = Compact::split(assertion)?;
        verify(app, &assertion)?;

        let mut buffer: ClaimsBuffer = [0; MAX_CLAIMS];
        let claims = assertion.claims(&mut buffer)?;
        let now = self.now();
        if claims.iss.get() != Some(app.client_id()) {
            return Err(Refusal::InvalidIssuer.into());
        }
        self.check_audience(&claims)?;
        let exp = check_times(&claims, now, MAX_LIFE_S)?;
        let jti = check_jti(&claims)?;
        // The provider burns a jti whatever the answer will be. A broker that
        // was told not to burns it once nothing else is in the way.
        let remembers_refused = self.remembers_refused();
        if remembers_refused {
            self.present(app, jti, exp, now)?;
        }
        let (kind, subject) = check_subject(registry, app, terms, &claims)?;
        self.check_rate()?;
        if !remembers_refused {
            self.present(app, jti, exp, now)?;
        }
        self.mint(&Wish::of(app, terms, kind, subject))
    }

    /// Exactly one audience, compared as a plain string (RFC 7523 §3).
    fn check_audience(&self, claims: &Claims<'_>) -> Result<(), Refused> {
        claims
            .aud
            .get()
            .filter(|given| self.is_audience(given))
            .map(|_| ())
            .ok_or_else(|| Refusal::InvalidAudience.into())
    }

    fn present(&self, app: &App, jti: &str, exp: u64, now: u64) -> Result<(), Refused> {
        match self.replay.present(app.client_id(), jti, exp, now) {
            Presentation::New => Ok(()),
            Presentation::Replayed => Err(Refusal::ReplayedJti.into()),
            Presentation::Outlived => Err(Refusal::Expired.into()),
            Presentation::Full => Err(Refusal::Overloaded.into()),
        }
    }

    pub(super) fn check_rate(&self) -> Result<(), Refused> {
        let throttle = self.throttle.load();
        let Some(throttle) = throttle.as_deref() else {
            return Ok(());
        };
        throttle
            .admit(self.clock.monotonic())
            .map_err(|wait| Refused {
                refusal: Refusal::RateLimited,
                // Retry-After has whole seconds; an early client is refused
                // again.
                retry_after_s: Some(wait.as_secs() + 1),
            })
    }
}

/// Checks header and signature with the app's own keys.
pub(super) fn verify(app: &App, assertion: &Compact<'_>) -> Result<(), Refused> {
    let mut buffer: HeaderBuffer = [0; MAX_HEADER];
    let header = assertion.header(&mut buffer)?;
    let algorithm = ALGORITHMS
        .into_iter()
        .find(|algorithm| algorithm.name() == header.alg)
        .ok_or(Refusal::AlgorithmNotAllowed)?;
    let mut buffer = [0; MAX_SIGNATURE];
    let message = assertion.signing_input();
    let mut fault = match header.kid {
        Some(_) => Refusal::UnknownKey,
        None => Refusal::BadSignature,
    };
    for key in candidates(app, &header) {
        if !key.allows(algorithm) {
            fault = Refusal::AlgorithmNotAllowed;
            continue;
        }
        let signature = assertion.signature(&mut buffer)?;
        if key.verifies(algorithm, message, signature) {
            return Ok(());
        }
        fault = Refusal::BadSignature;
    }
    Err(fault.into())
}

/// The key that the header names, or all of them if it names none, as the
/// current Node SDK never does.
fn candidates<'a>(app: &'a App, header: &'a Header<'_>) -> impl Iterator<Item = &'a VerifyingKey> {
    app.keys()
        .iter()
        .map(Arc::as_ref)
        .filter(|key| header.kid.as_deref().is_none_or(|kid| kid == key.kid()))
}

/// Checks `exp`, `nbf` and `iat` against the broker's clock without a
/// tolerance, and returns `exp`.
pub(super) fn check_times(claims: &Claims<'_>, now: u64, max_life_s: u64) -> Result<u64, Refused> {
    let NumericDate::At(exp) = claims.exp else {
        return Err(Refusal::ExpiryTooFar.into());
    };
    if exp <= now {
        return Err(Refusal::Expired.into());
    }
    let issued = match claims.iat {
        NumericDate::At(iat) => iat.min(now),
        NumericDate::Absent | NumericDate::Other => now,
    };
    if exp > issued.saturating_add(max_life_s) {
        return Err(Refusal::ExpiryTooFar.into());
    }
    for date in [claims.nbf, claims.iat] {
        match date {
            NumericDate::Absent => {}
            NumericDate::At(at) if at <= now => {}
            NumericDate::At(_) | NumericDate::Other => return Err(Refusal::NotYetValid.into()),
        }
    }
    Ok(exp)
}

pub(super) fn check_jti<'c>(claims: &'c Claims<'_>) -> Result<&'c str, Refused> {
    claims
        .jti
        .get()
        .filter(|jti| JTI_CHARACTERS.contains(&jti.chars().count()))
        .filter(|jti| !jti.chars().any(char::is_control))
        .ok_or_else(|| Refusal::InvalidJti.into())
}

/// Decides whether the app may act for the subject.
fn check_subject<'c>(
    registry: &Snapshot,
    app: &App,
    terms: Terms,
    claims: &'c Claims<'_>,
) -> Result<(SubjectKind, &'c str), Refused> {
    let subject = claims.sub.get().ok_or(Refusal::InvalidSubject)?;
    match claims.box_sub_type.get() {
        Some("enterprise") if subject == app.enterprise_id() => {
            Ok((SubjectKind::Enterprise, subject))
        }
        Some("user") if subject == app.service_account().id => {
            Err(Refusal::UserTokenNotPermitted.into())
        }
        Some("user") => {
            let is_permitted = match reach(registry, app, terms.access, subject) {
                Reach::Within => terms.user_tokens,
                Reach::Beyond => false,
                // Somebody else's user is as unknown as none.
                Reach::Unknown => return Err(Refusal::InvalidSubject.into()),
            };
            if is_permitted {
                Ok((SubjectKind::User, subject))
            } else {
                Err(Refusal::UserTokenNotPermitted.into())
            }
        }
        _ => Err(Refusal::InvalidSubject.into()),
    }
}

/// Where a user stands to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The app may act for the user.
    Within,
    /// A managed user, and the app lacks enterprise access.
    Beyond,
    /// Nobody that the app could know of.
    Unknown,
}

/// Says where a user stands to an app with this access.
pub(super) fn reach(registry: &Snapshot, app: &App, access: Access, user: &str) -> Reach {
    match registry.user(user).map(|user| &user.membership) {
        Some(Membership::App { client_id }) if client_id == app.client_id() => Reach::Within,
        Some(Membership::Managed { enterprise_id }) if enterprise_id == app.enterprise_id() => {
            match access {
                Access::AppAndEnterprise => Reach::Within,
                Access::App => Reach::Beyond,
            }
        }
        _ => Reach::Unknown,
    }
}
