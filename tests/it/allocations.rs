//! Assertions and cached tokens: none allocates on the heap in steady state.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use mintmark::assertion::{Bindings, Builder, Subject};
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, SignError, Signer};
use mintmark::token::{Cache, Purpose};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which
// keeps the contract; the count lives in a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

pub(super) fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// Stands in for a library: what a backend allocates is its own affair.
struct Fixed;

impl Signer for Fixed {
    fn signature_len(&self) -> usize {
        256
    }

    fn sign(&self, _: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        signature.fill(7);
        Ok(())
    }
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(
        allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))),
        1
    );
}

#[test]
fn an_assertion_in_steady_state_allocates_nothing() {
    let profile = Profile::built_in("box").unwrap();
    let bindings = Bindings::new()
        .with("client_id", "k3yu8h9w1nabcdefghijklmnopqrstuv")
        .with("audience", "https://api.box.com/oauth2/token")
        .with("kid", "abcdefgh");
    let mut builder = Builder::new(
        &profile.template(),
        &bindings,
        Algorithm::Rs256,
        Duration::from_secs(30),
    )
    .unwrap();
    let subject = Subject::user("12345678 \u{1F600} \"quoted\"");
    let mut assertion = Vec::new();
    let mut write = |at| {
        assertion.clear();
        builder
            .write(Duration::from_secs(at), &subject, &Fixed, &mut assertion)
            .unwrap();
    };
    write(1_795_000_000);
    let count = allocations(|| {
        for second in 0..1_000 {
            write(1_795_000_000 + second);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_token_that_is_cached_is_had_without_an_allocation() {
    let cache = Cache::new(crate::token::desk::Desk::default());
    let purpose = Purpose::of_app("app").with_scopes(["read"]);
    let subjects: Vec<Subject> = (0..100)
        .map(|i| Subject::user(format!("a subject whose name is long: {i}")))
        .collect();
    for subject in &subjects {
        let token = crate::token::desk::token("token", Duration::from_secs(3_600));
        cache.put(&purpose, subject, token, Duration::ZERO);
    }
    let mut handle = cache.handle(&purpose, &subjects[0]);
    let mut hit = || {
        for subject in &subjects {
            assert!(cache.peek(&purpose, subject).is_some());
            let mut context = Context::from_waker(Waker::noop());
            assert!(
                pin!(cache.get(&purpose, subject))
                    .poll(&mut context)
                    .is_ready()
            );
            assert!(handle.peek().is_some());
            assert!(pin!(handle.get()).poll(&mut context).is_ready());
        }
    };
    // What a thread needs once.
    hit();
    assert_eq!(
        allocations(|| {
            for _ in 0..100 {
                hit();
            }
        }),
        0
    );
}
