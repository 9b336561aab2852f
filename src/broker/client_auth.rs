//! Who is the client, and can it prove that?
//!
//! By its secret in the form, or by an assertion of its own that it signs
//! with a registered key (`private_key_jwt`, RFC 7523 §2.2). Whatever is
//! wrong with either, the answer is that the credentials are invalid; an
//! assertion is good once, like that of a grant.

use super::form::Form;
use super::grant::{Grants, Refused, check_jti, check_times, verify};
use super::jose::{ClaimsBuffer, Compact, MAX_CLAIMS};
use super::registry::{App, Snapshot};
use super::replay::Presentation;
use crate::oauth::{CLIENT_ASSERTION_JWT, Refusal};

/// The longest life of a client's assertion, in seconds from its issue: what
/// providers advise for `private_key_jwt`.
pub const MAX_CLIENT_LIFE_S: u64 = 300;

impl Grants {
    /// Finds the client that a form names and checks that it is the one.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidClient`], or the replay cache is full.
    pub(super) fn client<'r>(
        &self,
        registry: &'r Snapshot,
        form: &Form<'_>,
    ) -> Result<&'r App, Refused> {
        let secret = form.get("client_secret");
        match (
            form.get("client_assertion_type"),
            form.get("client_assertion"),
        ) {
            (None, None) => form
                .get("client_id")
                .and_then(|client_id| registry.app(client_id))
                .filter(|app| app.has_secret(secret.unwrap_or_default()))
                .ok_or_else(|| Refusal::InvalidClient.into()),
            // One way to authenticate only (RFC 6749 §2.3).
            (Some(CLIENT_ASSERTION_JWT), Some(assertion)) if secret.is_none() => {
                self.asserted_client(registry, form.get("client_id"), assertion)
            }
            _ => Err(Refusal::InvalidClient.into()),
        }
    }

    fn asserted_client<'r>(
        &self,
        registry: &'r Snapshot,
        client_id: Option<&str>,
        assertion: &str,
    ) -> Result<&'r App, Refused> {
        let invalid = || Refused::from(Refusal::InvalidClient);
        let assertion = Compact::split(assertion).map_err(|_| invalid())?;
        let mut buffer: ClaimsBuffer = [0; MAX_CLAIMS];
        let claims = assertion.claims(&mut buffer).map_err(|_| invalid())?;
        let issuer = claims.iss.get();
        let app = issuer
            .filter(|iss| claims.sub.get() == Some(*iss))
            .filter(|iss| client_id.is_none_or(|named| named == *iss))
            .and_then(|iss| registry.app(iss))
            .ok_or_else(invalid)?;
        verify(app, &assertion).map_err(|_| invalid())?;
        let is_for_us = claims
            .aud
            .get()
            .is_some_and(|aud| aud == self.issuer() || self.is_audience(aud));
        if !is_for_us {
            return Err(invalid());
        }
        let now = self.now();
        let exp = check_times(&claims, now, MAX_CLIENT_LIFE_S).map_err(|_| invalid())?;
        let jti = check_jti(&claims).map_err(|_| invalid())?;
        match self.replay.present(app.client_id(), jti, exp, now) {
            Presentation::New => Ok(app),
            Presentation::Full => Err(Refusal::Overloaded.into()),
            Presentation::Replayed | Presentation::Outlived => Err(invalid()),
        }
    }
}
