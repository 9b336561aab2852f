//! How does what one thread signs reach the thread that sends it?
//!
//! A bounded channel carries assertions in the order of their starts.
//! Connections overtake each other by a step or two, so that what is taken too
//! early waits aside, and what nobody wants any more is thrown away.

use std::collections::{HashMap, HashSet};

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::arrival::Start;
use super::assertions::Made;

/// What one signing thread has signed for one sending thread.
pub(super) struct Ring {
    receiver: Receiver<Made>,
    /// Assertions of starts that are asked for later, as connections overtake
    /// each other by a step or two.
    aside: HashMap<u64, Made>,
    /// Starts that were given up before their assertion was there.
    unwanted: HashSet<u64>,
}

/// Finds the ring that holds the assertion of a start.
pub(super) fn ring_of<'a>(rings: &'a mut [Ring], start: &Start) -> &'a mut Ring {
    let count = rings.len() as u64;
    let own = usize::try_from(start.nth % count).unwrap_or_default();
    &mut rings[own]
}

impl Ring {
    pub fn new(receiver: Receiver<Made>) -> Self {
        Self {
            receiver,
            aside: HashMap::new(),
            unwanted: HashSet::new(),
        }
    }

    /// Notes that nobody will ask for the assertion of a start.
    pub fn discard(&mut self, index: u64) {
        if self.take(index).is_none() {
            self.unwanted.insert(index);
        }
    }

    /// Takes the assertion of a start, if it is there.
    pub fn take(&mut self, index: u64) -> Option<Made> {
        if let Some(made) = self.aside.remove(&index) {
            return Some(made);
        }
        loop {
            match self.receiver.try_recv() {
                Ok(made) if made.index == index => return Some(made),
                Ok(made) => self.put_aside(made),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => return Some(Made::nothing(index)),
            }
        }
    }

    /// Waits for the assertion of a start.
    pub async fn wait(&mut self, index: u64) -> Made {
        if let Some(made) = self.aside.remove(&index) {
            return made;
        }
        while let Some(made) = self.receiver.recv().await {
            if made.index == index {
                return made;
            }
            self.put_aside(made);
        }
        Made::nothing(index)
    }

    fn put_aside(&mut self, made: Made) {
        if !self.unwanted.remove(&made.index) {
            self.aside.insert(made.index, made);
        }
    }
}
