//! The slot of a token under every order in which its users may meet.
//!
//! The file of the library is compiled here a second time, against the lock
//! and the atomics of a model checker, which runs the same few callers in one
//! order after another: all orders where they can be counted, thousands that
//! are drawn at random and by priorities (PCT) where they cannot.
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../../src/token/slot.rs"]
mod slot;
mod sync;
mod world;

use std::sync::Arc;

use shuttle::future::{block_on, spawn};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use world::{Cut, World};

/// How many orders are drawn for what cannot be counted out.
const DRAWN: usize = 3_000;

/// Runs `check` in orders that are drawn.
fn drawn(check: impl Fn() + Send + Sync + Clone + 'static) {
    Runner::new(RandomScheduler::new(DRAWN), Config::new()).run(check.clone());
    Runner::new(PctScheduler::new(4, DRAWN), Config::new()).run(check);
}

/// Runs `check` in all orders, or in the first `most` of them; says how many.
fn counted_out(most: usize, check: impl Fn() + Send + Sync + 'static) -> usize {
    Runner::new(DfsScheduler::new(Some(most), false), Config::new()).run(check)
}

#[test]
fn two_callers_share_one_fetch_in_every_order() {
    // About 115,000 were found when this was written.
    let most = 1_000_000;
    let orders = counted_out(most, || {
        block_on(async {
            let world = World::new();
            let other = spawn({
                let world = Arc::clone(&world);
                async move { world.get().await }
            });
            assert_eq!(world.get().await, Ok(1));
            assert_eq!(other.await.unwrap(), Ok(1));
            assert_eq!(world.fetches(), 1);
        });
    });
    assert!((10..most).contains(&orders), "{orders} orders");
}

#[test]
fn of_many_callers_one_fetches_and_all_are_answered() {
    drawn(|| {
        block_on(async {
            let world = World::new();
            let callers: Vec<_> = (0..5)
                .map(|_| {
                    let world = Arc::clone(&world);
                    spawn(async move { world.get().await })
                })
                .collect();
            for caller in callers {
                assert_eq!(caller.await.unwrap(), Ok(1));
            }
            assert_eq!(world.fetches(), 1);
        });
    });
}

#[test]
fn a_failure_reaches_all_who_waited_and_is_remembered() {
    drawn(|| {
        block_on(async {
            let world = World::failing();
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    let world = Arc::clone(&world);
                    spawn(async move { world.get().await })
                })
                .collect();
            for caller in callers {
                assert_eq!(caller.await.unwrap(), Err("down"));
            }
            assert_eq!(world.fetches(), 1);
        });
    });
}

#[test]
fn a_leader_that_is_dropped_after_any_poll_leaves_no_one_waiting() {
    for polls in 1..=6 {
        drawn(move || {
            block_on(async move {
                let world = World::new();
                let dropped: Vec<_> = (0..2)
                    .map(|more| {
                        let world = Arc::clone(&world);
                        spawn(async move {
                            let getting = async move { world.get().await };
                            Cut::new(Box::pin(getting), polls + more).await
                        })
                    })
                    .collect();
                let staying: Vec<_> = (0..2)
                    .map(|_| {
                        let world = Arc::clone(&world);
                        spawn(async move { world.get().await })
                    })
                    .collect();
                for caller in staying {
                    assert!(caller.await.unwrap().is_ok());
                }
                for caller in dropped {
                    caller.await.unwrap();
                }
                assert!(world.fetches() <= 3);
            });
        });
    }
}

#[test]
fn a_token_asked_for_before_it_was_forgotten_is_not_handed_out_after() {
    drawn(|| {
        block_on(async {
            let world = World::new();
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let world = Arc::clone(&world);
                    spawn(async move { world.get().await.unwrap() })
                })
                .collect();
            let forgetting = {
                let world = Arc::clone(&world);
                spawn(async move {
                    world.slot().forget();
                    let asked = world.fetches();
                    assert!(world.get().await.unwrap() > asked);
                })
            };
            for caller in callers {
                caller.await.unwrap();
            }
            forgetting.await.unwrap();
        });
    });
}

#[test]
fn workers_that_are_refused_with_one_token_cause_one_fetch() {
    drawn(|| {
        block_on(async {
            let world = World::new();
            assert_eq!(world.get().await, Ok(1));
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let world = Arc::clone(&world);
                    spawn(async move {
                        world.refuse(1);
                        world.get().await
                    })
                })
                .collect();
            for worker in workers {
                assert_eq!(worker.await.unwrap(), Ok(2));
            }
            assert_eq!(world.fetches(), 2);
        });
    });
}

#[test]
fn a_slot_leaves_the_cache_only_while_no_one_fetches_or_holds() {
    drawn(|| {
        block_on(async {
            let world = World::new();
            let evicting = {
                let world = Arc::clone(&world);
                spawn(async move {
                    for _ in 0..3 {
                        world.evict();
                        shuttle::future::yield_now().await;
                    }
                })
            };
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let world = Arc::clone(&world);
                    // That no two fetch at once is checked by the world.
                    spawn(async move { world.get().await.unwrap() })
                })
                .collect();
            let holding = {
                let world = Arc::clone(&world);
                spawn(async move {
                    let held = world.pin();
                    shuttle::future::yield_now().await;
                    assert!(Arc::ptr_eq(&held, &world.slot()), "it was evicted");
                    held.unpin();
                })
            };
            for caller in callers {
                caller.await.unwrap();
            }
            evicting.await.unwrap();
            holding.await.unwrap();
        });
    });
}

#[test]
fn a_token_that_is_due_is_replaced_by_one_while_all_are_served() {
    drawn(|| {
        block_on(async {
            let world = World::new();
            assert_eq!(world.get().await, Ok(1));
            world.set_time(world::DUE);
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let world = Arc::clone(&world);
                    spawn(async move { world.get_or_refresh().await })
                })
                .collect();
            for caller in callers {
                let (token, has_waited) = caller.await.unwrap();
                assert!(token == 1 || token == 2);
                assert!(!has_waited);
            }
            world.finish_refreshes().await;
            assert_eq!(world.fetches(), 2);
            assert_eq!(world.get().await, Ok(2));
        });
    });
}
