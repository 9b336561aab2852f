//! How do threads share objects that only one thread may use at a time?
//!
//! Contexts and sessions of C libraries are cheap to keep and dear to make. A
//! thread takes one, works, and puts it back; there are never more than
//! threads that worked at once. The lock is held for two pointer moves.

use parking_lot::Mutex;

/// Objects that are taken by one thread at a time.
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    /// Makes an empty pool.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Works with an object that nobody else has, and makes one if there is
    /// none. After an error the object is dropped: it may be in any state.
    pub(super) fn with<R, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
        work: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        // The lock must not be held while an object is made.
        let idle = self.0.lock().pop();
        let mut object = match idle {
            Some(object) => object,
            None => make()?,
        };
        let result = work(&mut object)?;
        self.0.lock().push(object);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_reused_and_dropped_after_an_error() {
        let pool = Pool::new();
        let count = std::cell::Cell::new(0);
        let make = || {
            count.set(count.get() + 1);
            Ok::<_, &str>(count.get())
        };
        assert_eq!(pool.with(make, |object| Ok(*object)), Ok(1));
        assert_eq!(pool.with(make, |object| Ok(*object)), Ok(1));
        assert_eq!(pool.with(make, |_| Err::<(), _>("broken")), Err("broken"));
        assert_eq!(pool.with(make, |object| Ok(*object)), Ok(2));
    }

    #[test]
    fn objects_that_are_out_are_not_handed_out_again() {
        let pool = Pool::new();
        let inner = pool.with(
            || Ok::<_, ()>("first"),
            |_| pool.with(|| Ok("second"), |object| Ok(*object)),
        );
        assert_eq!(inner, Ok("second"));
    }
}
