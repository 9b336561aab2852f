//! What must be known of an app before it can ask for a token?
//!
//! An [`App`] is a credential bound to a provider's profile: the layout of
//! its assertions and of its token request, worked out once. It holds no key.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::assertion::{AssertionError, Bindings, Builder, Subject, Template};
use crate::credential::{Credential, Secret};
use crate::oauth::{Form, Profile, ProfileError};
use crate::signer::Algorithm;

/// An app as a provider knows it, ready to write assertions and requests.
#[derive(Clone)]
pub struct App {
    template: Template,
    bindings: Bindings,
    algorithm: Algorithm,
    lifetime: Duration,
    form: Form,
    default_subject: Option<Subject>,
}

impl App {
    /// Binds `credential` to `profile`.
    ///
    /// `variables` set or replace variables of the profile. `token_url` is
    /// where requests go; a profile may want it as the audience.
    ///
    /// # Errors
    ///
    /// The provider does not accept the algorithm, or the profile needs a
    /// variable or a secret that there is not.
    pub fn new(
        credential: &Credential,
        profile: &Profile,
        variables: &BTreeMap<String, String>,
        algorithm: Algorithm,
        token_url: &str,
    ) -> Result<Self, AppError> {
        if !profile.algorithms.contains(&algorithm) {
            return Err(AppError::Algorithm {
                profile: profile.name.clone(),
                algorithm,
                accepted: profile
                    .algorithms
                    .iter()
                    .map(|algorithm| algorithm.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        let bindings = profile
            .bindings(variables)
            .with("client_id", &credential.client_id)
            .with("token_url", token_url)
            .with_optional("kid", credential.key_id.as_ref())
            .with_optional("enterprise_id", credential.enterprise_id.as_ref())
            .with_optional("user_id", credential.user_id.as_ref());
        let form = profile.form(
            &bindings,
            credential.client_secret.as_ref().map(Secret::expose),
        )?;
        let app = Self {
            template: profile.template(),
            bindings,
            algorithm,
            lifetime: profile.lifetime.0,
            form,
            default_subject: credential
                .enterprise_id
                .as_ref()
                .map(Subject::enterprise)
                .or_else(|| credential.user_id.as_ref().map(Subject::user)),
        };
        // A faulty template shows now, not at the first request.
        app.builder()?;
        Ok(app)
    }

    /// Replaces the lifetime of assertions.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Makes a builder of assertions, one for each thread that signs.
    ///
    /// # Errors
    ///
    /// As [`Builder::new`]; not once [`Self::new`] has succeeded.
    pub fn builder(&self) -> Result<Builder, AssertionError> {
        Builder::new(
            &self.template,
            &self.bindings,
            self.algorithm,
            self.lifetime,
        )
    }

    /// Returns the layout of the token request.
    #[must_use]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Returns the algorithm of assertions.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns whom the credential itself speaks for: the enterprise, or a user.
    #[must_use]
    pub fn default_subject(&self) -> Option<&Subject> {
        self.default_subject.as_ref()
    }
}

/// Why a credential and a profile do not fit.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The provider does not accept the algorithm.
    #[error("the profile {profile} does not accept {algorithm}, expected one of {accepted}")]
    Algorithm {
        /// The profile's name.
        profile: String,
        /// The algorithm that was asked for.
        algorithm: Algorithm,
        /// What the profile accepts.
        accepted: String,
    },
    /// The request cannot be laid out.
    #[error("the token request cannot be laid out")]
    Profile(#[from] ProfileError),
    /// The assertion cannot be laid out.
    #[error("the assertion cannot be laid out")]
    Assertion(#[from] AssertionError),
}
