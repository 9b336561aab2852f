//! How do the tasks of one thread share something without a lock?
//!
//! Whoever is done at once takes it for a moment; whoever has to wait keeps it
//! meanwhile, and the others queue. It never leaves its thread.

use std::cell::RefCell;

use tokio::sync::Mutex;

/// Something that one task at a time has.
pub(super) struct Turn<T> {
    thing: RefCell<Option<T>>,
    queue: Mutex<()>,
}

impl<T> Turn<T> {
    pub fn new(thing: T) -> Self {
        Self {
            thing: RefCell::new(Some(thing)),
            queue: Mutex::new(()),
        }
    }

    /// Does something with it, unless another task keeps it.
    pub fn now<R>(&self, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.thing.borrow_mut().as_mut().map(act)
    }

    /// Does something with it that may take its time, when the others are done.
    pub async fn later<R>(&self, act: impl AsyncFnOnce(&mut T) -> R) -> R {
        let _turn = self.queue.lock().await;
        let mut kept = Kept {
            thing: self.thing.borrow_mut().take(),
            home: &self.thing,
        };
        let thing = kept.thing.as_mut();
        act(thing.expect("who keeps it has the queue's lock, and gives it back")).await
    }
}

/// Gives it back, even if the task is dropped.
struct Kept<'a, T> {
    thing: Option<T>,
    home: &'a RefCell<Option<T>>,
}

impl<T> Drop for Kept<'_, T> {
    fn drop(&mut self) {
        *self.home.borrow_mut() = self.thing.take();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_keeps_it_and_gives_it_back_even_when_dropped() {
        let turn = Turn::new(7);
        assert_eq!(turn.now(|number| *number), Some(7));
        {
            let mut waiting = pin!(turn.later(async |number| {
                *number += 1;
                pending::<()>().await;
            }));
            poll_fn(|cx| {
                assert!(waiting.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            assert_eq!(turn.now(|number| *number), None);
        }
        assert_eq!(turn.now(|number| *number), Some(8));
        assert_eq!(turn.later(async |number| *number).await, 8);
    }
}
