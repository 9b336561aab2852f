//! The system's allocator, with a count of calls and of bytes in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

static IN_USE: AtomicU64 = AtomicU64::new(0);

pub struct Counting;

/// Returns how often this thread asked for memory.
pub fn calls() -> u64 {
    CALLS.with(Cell::get)
}

/// Returns the bytes that are in use, as they were asked for.
pub fn in_use() -> u64 {
    IN_USE.load(Ordering::Relaxed)
}

// SAFETY: every call is passed on unchanged to the system's allocator, which
// keeps the contract; the counts are an atomic and a thread-local without a
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        IN_USE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
