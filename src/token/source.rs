//! Where does a token come from when there is none?
//!
//! A [`Source`] fetches one token per call and is the seam at which tests and
//! other endpoints step in. It does not cache, and it need not keep two
//! callers apart: [`super::Cache`] never asks twice at the same time for the
//! same token.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, FetchError};
use super::exchange::Token;
use super::purpose::Purpose;
use crate::assertion::Subject;

/// The token that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it has to be good for.
    pub purpose: &'a Purpose,
    /// Whom it is for.
    pub subject: &'a Subject,
    /// The token that it replaces, which is too old or was refused; the same
    /// again is no help.
    pub other_than: Option<&'a Token>,
}

/// Fetches tokens.
pub trait Source: Send + Sync + 'static {
    /// Why there is no token.
    type Error: Fault;

    /// Fetches one token.
    ///
    /// # Errors
    ///
    /// The endpoint gave none. The future may be dropped at any time.
    fn fetch(
        &self,
        wanted: Wanted<'_>,
    ) -> impl Future<Output = Result<Arc<Token>, Self::Error>> + Send;

    /// Has the endpoint take a token back (RFC 7009).
    ///
    /// # Errors
    ///
    /// The endpoint did not confirm it.
    fn revoke(
        &self,
        purpose: &Purpose,
        token: &Token,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a cache has to know of a failure.
pub trait Fault: Error + Send + Sync + 'static {
    /// Is the endpoint out of reach or unwilling for now? While it is, an old
    /// token is better than none; a refusal for good ends that as well.
    fn is_transient(&self) -> bool;

    /// How long the endpoint asks to be left alone.
    fn retry_after(&self) -> Option<Duration>;
}

impl<S: Source> Source for Arc<S> {
    type Error = S::Error;

    fn fetch(
        &self,
        wanted: Wanted<'_>,
    ) -> impl Future<Output = Result<Arc<Token>, Self::Error>> + Send {
        S::fetch(self, wanted)
    }

    fn revoke(
        &self,
        purpose: &Purpose,
        token: &Token,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        S::revoke(self, purpose, token)
    }
}

/// Several clients behind one cache, each for a purpose of its own.
#[derive(Default)]
pub struct Clients(HashMap<Purpose, Client>);

impl Clients {
    /// Makes a source that knows no purpose yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a client for [`Client::purpose`], in place of one for the same.
    #[must_use]
    pub fn with(mut self, client: Client) -> Self {
        self.0.insert(client.purpose().clone(), client);
        self
    }

    fn of(&self, purpose: &Purpose) -> Result<&Client, FetchError> {
        self.0
            .get(purpose)
            .ok_or_else(|| FetchError::Purpose(purpose.app().to_owned()))
    }
}

impl Source for Clients {
    type Error = FetchError;

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Arc<Token>, FetchError> {
        self.of(wanted.purpose)?.fetch(wanted.subject).await
    }

    async fn revoke(&self, purpose: &Purpose, token: &Token) -> Result<(), FetchError> {
        self.of(purpose)?.revoke(token).await
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
