//! Who stands behind a token that is narrowed for somebody outside?
//!
//! An annotator's token acts for the parent's subject and names an external
//! user as its actor (RFC 8693 §4.1). The actor's token is a JWT of the app
//! that says so. Official SDKs leave it unsigned: whoever could ask for it
//! holds the parent's token already, and it gives no rights. This is the one
//! place where `alg: none` is taken, and only with an empty signature; a
//! signed one has to verify with the app's keys.

use super::grant::{Grants, Refused, check_jti, check_times, verify};
use super::jose::{ClaimsBuffer, Compact, HeaderBuffer, MAX_CLAIMS, MAX_HEADER};
use super::registry::App;
use super::replay::Presentation;
use super::token::MAX_ACTOR;
use crate::oauth::Refusal;

/// The longest life of an actor's token, in seconds from its issue.
const MAX_LIFE_S: u64 = super::grant::MAX_LIFE_S;

impl Grants {
    /// Checks an actor's token and returns the external user that it names.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidActorToken`], or the replay cache is full.
    pub(super) fn actor(&self, app: &App, token: &str) -> Result<String, Refused> {
        let invalid = || Refused::from(Refusal::InvalidActorToken);
        let token = Compact::split_unsigned(token).map_err(|_| invalid())?;
        if token.is_unsigned() {
            let mut buffer: HeaderBuffer = [0; MAX_HEADER];
            let header = token.header(&mut buffer).map_err(|_| invalid())?;
            if header.alg != "none" || header.kid.is_some() {
                return Err(invalid());
            }
        } else {
            verify(app, &token).map_err(|_| invalid())?;
        }
        let mut buffer: ClaimsBuffer = [0; MAX_CLAIMS];
        let claims = token.claims(&mut buffer).map_err(|_| invalid())?;
        let is_named = |name: &&str| {
            (1..=MAX_ACTOR).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        let name = claims.sub.get().filter(is_named).ok_or_else(invalid)?;
        let is_sound = claims.iss.get() == Some(app.client_id())
            && claims.box_sub_type.get() == Some("external")
            && claims.aud.get().is_some_and(|aud| self.is_audience(aud));
        if !is_sound {
            return Err(invalid());
        }
        let now = self.now();
        let exp = check_times(&claims, now, MAX_LIFE_S).map_err(|_| invalid())?;
        let jti = check_jti(&claims).map_err(|_| invalid())?;
        // Not among the app's own, which nobody else may burn.
        let issuer = format!("{}\u{0}actor", app.client_id());
        match self.replay.present(&issuer, jti, exp, now) {
            Presentation::New => Ok(name.to_owned()),
            Presentation::Full => Err(Refusal::Overloaded.into()),
            Presentation::Replayed | Presentation::Outlived => Err(invalid()),
        }
    }
}
