//! What is the cheapest way to a token that one worker asks for often?
//!
//! A handle knows its subject's slot and remembers the token that was last in
//! it. A hit compares a pointer and an instant: no map, no lock, no counter
//! that another processor writes. Each worker has a handle of its own.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use arc_swap::cache::Cache as Watching;

use super::cache::CacheError;
use super::exchange::Token;
use super::flight::{Inner, Visit};
use super::slot::Kept;
use super::source::Source;
use super::table::Place;
use crate::assertion::Subject;

/// One worker's way to the token of one subject.
///
/// A token that was replaced or revoked lives on in a handle until that is
/// used again or dropped.
pub struct Handle<S: Source> {
    inner: Arc<Inner<S>>,
    place: Place<S::Error>,
    watching: Watching<Window<S::Error>, Option<Arc<Kept<Token>>>>,
    /// What was handed out last.
    held: Option<Arc<Kept<Token>>>,
}

impl<S: Source> Handle<S> {
    /// Makes a handle on a place that is pinned; the handle unpins it.
    pub(super) fn new(inner: Arc<Inner<S>>, place: Place<S::Error>) -> Self {
        Self {
            watching: Watching::new(Window(place.clone())),
            held: None,
            inner,
            place,
        }
    }

    /// Returns a token, at once if there is a good one.
    ///
    /// # Errors
    ///
    /// The fetch failed, now or a moment ago.
    pub async fn get(&mut self) -> Result<&Arc<Token>, CacheError<S::Error>> {
        if !self.is_hit() {
            let visit = Visit::new(Arc::clone(&self.inner), self.place.clone());
            self.held = Some(Box::pin(visit.get()).await?);
        }
        let held = self.held.as_ref();
        Ok(&held.expect("a hit holds a token").token)
    }

    /// Returns a token if there is one that is good and needs no attention,
    /// as [`super::Cache::peek`] does.
    #[must_use]
    pub fn peek(&mut self) -> Option<&Arc<Token>> {
        if self.is_hit() {
            self.held.as_ref().map(|kept| &kept.token)
        } else {
            None
        }
    }

    /// Returns whom the tokens are for.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.place.key().subject()
    }

    /// Sees what is kept now, and counts a hit if it is good.
    fn is_hit(&mut self) -> bool {
        let now = self.inner.coarse();
        let current = self.watching.load();
        let address = |kept: &Option<Arc<Kept<Token>>>| kept.as_ref().map(Arc::as_ptr);
        if address(current) != address(&self.held) {
            self.held.clone_from(current);
        }
        let Some(kept) = &self.held else {
            return false;
        };
        let is_hit = self.inner.is_hit(&self.place, kept, now);
        if is_hit {
            self.inner.meter.hit(now.saturating_sub(kept.since));
        }
        is_hit
    }
}

impl<S: Source> Clone for Handle<S> {
    fn clone(&self) -> Self {
        let is_pinned = self.place.pin();
        debug_assert!(is_pinned, "a place that is held is not retired");
        Self::new(Arc::clone(&self.inner), self.place.clone())
    }
}

impl<S: Source> Drop for Handle<S> {
    fn drop(&mut self) {
        self.place.unpin();
    }
}

impl<S: Source> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// A slot, seen as the place of its token.
struct Window<E>(Place<E>);

impl<E> Deref for Window<E> {
    type Target = ArcSwapOption<Kept<Token>>;

    fn deref(&self) -> &Self::Target {
        self.0.place()
    }
}
