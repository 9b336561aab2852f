//! Where is the slot of a subject, and which one goes when room runs out?
//!
//! Lookups take no lock and allocate nothing; the map is `scc::HashIndex`.
//! What is added stands in a queue as well. When the queue is longer than the
//! capacity, its head goes: to the end if it was used since it last stood
//! there, out of the cache otherwise (a clock, or FIFO with second chances).
//!
//! Invariant: a slot that is held or led stays, and a key has one slot at a
//! time that is not retired.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use scc::{Equivalent, HashIndex};
use smol_str::SmolStr;

use super::cache::CacheError;
use super::exchange::Token;
use super::purpose::Purpose;
use super::slot::Slot;
use crate::assertion::{Subject, SubjectKind};

/// How many slots an addition looks at before it takes one that is in use.
/// It bounds the time of an addition to some tens of microseconds.
const PATIENCE: usize = 256;

/// Whose token a slot holds.
pub(super) struct Key {
    pub purpose: Purpose,
    kind: SubjectKind,
    id: SmolStr,
}

impl Key {
    /// Returns whom the token is for.
    pub fn subject(&self) -> Subject {
        Subject {
            kind: self.kind,
            id: self.id.to_string(),
        }
    }
}

/// A slot that is shared.
pub(super) struct Place<E>(Arc<Slot<Key, Token, CacheError<E>>>);

impl<E> Clone for Place<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Deref for Place<E> {
    type Target = Arc<Slot<Key, Token, CacheError<E>>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<E> PartialEq for Place<E> {
    fn eq(&self, other: &Self) -> bool {
        Query::of(self.0.key()).equivalent(other)
    }
}

impl<E> Eq for Place<E> {}

impl<E> Hash for Place<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Query::of(self.0.key()).hash(state);
    }
}

/// The slots of a cache.
pub(super) struct Table<E> {
    index: HashIndex<Place<E>, (), RandomState>,
    queue: Mutex<VecDeque<Place<E>>>,
    capacity: usize,
}

impl<E: 'static> Table<E> {
    /// Makes an empty table for `capacity` slots.
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashIndex::with_hasher(RandomState::default()),
            queue: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    /// Looks a slot up and at it, without a lock.
    pub fn look<R>(
        &self,
        purpose: &Purpose,
        subject: &Subject,
        look: impl FnOnce(&Place<E>) -> R,
    ) -> Option<R> {
        self.index
            .peek_with(&Query::new(purpose, subject), |place, ()| look(place))
    }

    /// Returns the slot of a subject, a new one if there is none, and how
    /// many others had to go for it.
    pub fn find_or_add(&self, purpose: &Purpose, subject: &Subject) -> (Place<E>, u64) {
        loop {
            if let Some(place) = self.look(purpose, subject, Place::clone) {
                return (place, 0);
            }
            let place = Place(Arc::new(Slot::new(Key {
                purpose: purpose.clone(),
                kind: subject.kind,
                id: SmolStr::new(&subject.id),
            })));
            // Another may have been faster; then its slot is the one.
            if self.index.insert_sync(place.clone(), ()).is_ok() {
                let evicted = self.make_room_for(&place);
                return (place, evicted);
            }
        }
    }

    /// Removes a slot that is retired, if it is still there.
    pub fn remove(&self, place: &Place<E>) {
        self.index.remove_sync(&Exactly(place));
    }

    /// Returns the number of slots.
    pub fn len(&self) -> usize {
        self.queue.lock().len()
    }

    fn make_room_for(&self, added: &Place<E>) -> u64 {
        let mut evicted = 0;
        let mut queue = self.queue.lock();
        queue.push_back(added.clone());
        let mut looks = 0;
        while queue.len() > self.capacity && looks < 2 * PATIENCE {
            let Some(head) = queue.pop_front() else {
                break;
            };
            looks += 1;
            // The new one would only be added again.
            let is_new = Arc::ptr_eq(&head, added);
            let has_chance = head.take_use() && looks <= PATIENCE;
            if is_new || has_chance || !head.retire() {
                queue.push_back(head);
            } else {
                self.remove(&head);
                evicted += 1;
            }
        }
        evicted
    }
}

/// A key whose parts are borrowed.
struct Query<'a> {
    purpose: &'a Purpose,
    kind: SubjectKind,
    id: &'a str,
}

impl<'a> Query<'a> {
    fn new(purpose: &'a Purpose, subject: &'a Subject) -> Self {
        Self {
            purpose,
            kind: subject.kind,
            id: &subject.id,
        }
    }

    fn of(key: &'a Key) -> Self {
        Self {
            purpose: &key.purpose,
            kind: key.kind,
            id: &key.id,
        }
    }
}

impl Hash for Query<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The digest covers the purpose; the kind flips one of its bits.
        state.write_u64(self.purpose.digest() ^ self.kind as u64);
        state.write(self.id.as_bytes());
    }
}

impl<E> Equivalent<Place<E>> for Query<'_> {
    fn equivalent(&self, place: &Place<E>) -> bool {
        let key = place.0.key();
        self.id == key.id && self.kind == key.kind && *self.purpose == key.purpose
    }
}

/// One slot and no other, even of the same key.
struct Exactly<'a, E>(&'a Place<E>);

impl<E> Hash for Exactly<'_, E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<E> Equivalent<Place<E>> for Exactly<'_, E> {
    fn equivalent(&self, place: &Place<E>) -> bool {
        Arc::ptr_eq(&self.0.0, &place.0)
    }
}
