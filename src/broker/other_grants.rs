//! What else is a token given for than an assertion?
//!
//! For an app's own credentials, if that is the way of authentication that
//! the app was created with, and for another token that is to be narrowed
//! (RFC 8693). A narrowed token holds no more than its parent did and never
//! outlives it.

use super::form::Form;
use super::grant::{Grants, Reach, Refused, reach};
use super::registration::Authentication;
use super::registry::Snapshot;
use super::terms::Scopes;
use super::token::{Issued, Subject, SubjectKind, Wish};
use crate::oauth::{ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, Refusal};

/// The longest address of a resource, in bytes.
pub const MAX_RESOURCE: usize = 200;

impl Grants {
    /// Judges a `client_credentials` grant (RFC 6749 §4.4).
    pub(super) fn client_credentials(
        &self,
        registry: &Snapshot,
        form: &Form<'_>,
    ) -> Result<Issued, Refused> {
        let app = self.client(registry, form)?;
        if app.authentication() != Authentication::ClientCredentials {
            return Err(Refusal::GrantNotAllowed.into());
        }
        let terms = app.terms().ok_or(Refusal::AppNotAuthorized)?;
        let id = form.get("box_subject_id");
        let id = id.ok_or(Refusal::InvalidCredentials)?;
        let kind = match form.get("box_subject_type") {
            Some("enterprise") if id == app.enterprise_id() => SubjectKind::Enterprise,
            Some("enterprise") => return Err(Refusal::InvalidCredentials.into()),
            Some("user") if !terms.user_tokens => {
                return Err(Refusal::SubjectTypeNotPermitted.into());
            }
            Some("user") => match reach(registry, app, terms.access, id) {
                Reach::Within => SubjectKind::User,
                Reach::Beyond | Reach::Unknown => return Err(Refusal::InvalidCredentials.into()),
            },
            _ => return Err(Refusal::SubjectTypeNotPermitted.into()),
        };
        self.check_rate()?;
        self.mint(&Wish::of(app, terms, kind, id))
    }

    /// Judges a token exchange, which narrows a token.
    ///
    /// Official SDKs name no client here; one that is named has to be the
    /// token's and to prove itself.
    pub(super) fn exchange(&self, registry: &Snapshot, form: &Form<'_>) -> Result<Issued, Refused> {
        let client = match form.get("client_id").or(form.get("client_assertion")) {
            Some(_) => Some(self.client(registry, form)?),
            None => None,
        };
        if form.get("subject_token_type") != Some(ACCESS_TOKEN_TYPE) {
            return Err(Refusal::InvalidSubjectToken.into());
        }
        let parent = form
            .get("subject_token")
            .and_then(|token| self.bearer(token))
            .ok_or(Refusal::InvalidSubjectToken)?;
        let app = registry
            .app_by_number(parent.app)
            .filter(|app| client.is_none_or(|client| client.number() == app.number()))
            .ok_or(Refusal::InvalidSubjectToken)?;
        let terms = app.terms().ok_or(Refusal::AppNotAuthorized)?;
        let scope = form.get("scope").ok_or(Refusal::InvalidScope)?;
        let names = scope.split(' ').filter(|name| !name.is_empty());
        let scopes = Scopes::narrowed(names.clone()).map_err(|_| Refusal::InvalidScope)?;
        // A scope that has been withdrawn meanwhile is not handed on.
        let is_held = |name: &str| {
            parent.scopes.cover(name) && (parent.is_narrowed() || terms.scopes.cover(name))
        };
        if !names.clone().all(is_held) || names.count() == 0 {
            return Err(Refusal::InvalidScope.into());
        }
        let resource = match (form.get("resource"), form.get("box_shared_link")) {
            (Some(_), Some(_)) => return Err(Refusal::InvalidResource.into()),
            (Some(url), None) | (None, Some(url)) => Some(check_resource(url)?),
            (None, None) => None,
        };
        // What was narrowed to one item is not widened to another.
        let resource = match (parent.resource.as_deref(), resource) {
            (Some(before), Some(wanted)) if before != wanted => {
                return Err(Refusal::InvalidResource.into());
            }
            (before, wanted) => wanted.or(before),
        };
        // Last of all, as it can be presented once only.
        let actor = match (form.get("actor_token"), form.get("actor_token_type")) {
            (None, None) => None,
            // Who acts does not change on the way.
            (Some(token), Some(ID_TOKEN_TYPE)) if parent.actor.is_none() => {
                Some(self.actor(app, token)?)
            }
            _ => return Err(Refusal::InvalidActorToken.into()),
        };
        self.check_rate()?;
        let (kind, subject) = match &parent.subject {
            Subject::Enterprise(id) => (SubjectKind::Enterprise, id),
            Subject::User(id) => (SubjectKind::User, id),
        };
        self.mint(&Wish {
            scopes,
            as_user: false,
            resource,
            actor: actor.as_deref().or(parent.actor.as_deref()),
            parent: Some(&parent),
            ..Wish::of(app, terms, kind, subject)
        })
    }
}

/// Takes a full address that needs no escape in an answer.
fn check_resource(url: &str) -> Result<&str, Refused> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte);
    let is_address = url.starts_with("https://") || url.starts_with("http://");
    if is_address && url.len() <= MAX_RESOURCE && url.bytes().all(is_plain) {
        Ok(url)
    } else {
        Err(Refusal::InvalidResource.into())
    }
}
