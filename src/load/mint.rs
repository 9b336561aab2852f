//! Who signs ahead of the schedule, and how far?
//!
//! Threads of their own sign in batches, where the signer likes them, into a
//! bounded ring for each sending thread; or everything is signed before the
//! load begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::gettid;
use tokio::sync::mpsc::{Sender, channel};

use super::arrival::{Start, Starts};
use super::assertions::{Made, Source};
use super::cached::CachePlan;
use super::pace::{NEVER, Warp};
use super::population::Population;
use super::ring::Ring;
use super::writer::{Input, Writer, sign};
use crate::assertion::AssertionError;

/// How long a signing thread rests when all rings are full. A ring holds
/// twenty milliseconds' worth; a tenth of that is early enough.
const REST: Duration = Duration::from_micros(500);

/// Threads that sign ahead.
pub(super) struct Mint {
    threads: Vec<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    tids: Vec<i32>,
}

impl Mint {
    /// Returns the kernel's IDs of the threads.
    pub fn tids(&self) -> &[i32] {
        &self.tids
    }

    /// Starts `threads` signing threads for the starts of each sending thread
    /// and returns a source for each. `depth` is what a source holds.
    ///
    /// # Errors
    ///
    /// An assertion cannot be laid out, or the system gives no thread.
    pub fn start(
        population: &Arc<Population>,
        lanes: &[Starts],
        origin_ns: u64,
        threads: usize,
        depth: usize,
        cache: Option<CachePlan>,
        warp: &Warp,
    ) -> Result<(Self, Vec<Source>), MintError> {
        let threads = threads.max(1);
        let depth = (depth / threads).max(2);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut rings: Vec<Vec<Ring>> = lanes.iter().map(|_| Vec::new()).collect();
        let mut running = Vec::new();
        let (tell, told) = mpsc::channel();
        for own in 0..threads {
            let mut tracks = Vec::new();
            for (lane, starts) in lanes.iter().enumerate() {
                let (ring, out) = channel(depth);
                rings[lane].push(Ring::new(out));
                let mut warp = warp.clone();
                tracks.push(Track {
                    // A call that finds a token needs no assertion.
                    starts: Box::new(
                        starts
                            .clone()
                            .skip(own)
                            .step_by(threads)
                            .filter(move |start| {
                                cache.is_none_or(|cache| cache.forgets(start.index))
                            })
                            .map(move |start| dated(start, &mut warp)),
                    ),
                    ring,
                    is_done: false,
                });
            }
            let mut writer = Writer::new(population)?;
            let population = Arc::clone(population);
            let is_over = Arc::clone(&is_over);
            let tell = tell.clone();
            running.push(
                thread::Builder::new()
                    .name(format!("mint-{own}"))
                    .spawn(move || {
                        // Nobody listens if the load failed to begin.
                        let _ = tell.send(gettid().as_raw_nonzero().get());
                        drop(tell);
                        while !is_over.load(Ordering::Relaxed)
                            && tracks.iter().any(|track| !track.is_done)
                        {
                            if !sign_some(&mut tracks, &mut writer, &population, origin_ns) {
                                thread::sleep(REST);
                            }
                        }
                        // Its rings are closed; the thread stays until whoever
                        // watches has read what it used.
                        drop(tracks);
                        while !is_over.load(Ordering::Relaxed) {
                            thread::park();
                        }
                    })
                    .map_err(MintError::Thread)?,
            );
        }
        drop(tell);
        let sources = rings.into_iter().map(Source::Rings).collect();
        Ok((
            Self {
                threads: running,
                is_over,
                tids: told.iter().collect(),
            },
            sources,
        ))
    }
}

impl Drop for Mint {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // One that panicked has left its ring; requests failed and count.
            let _ = thread.join();
        }
    }
}

/// Returns a start with the time for which its assertion is dated. Nobody knows
/// when a pause ends: what it holds back keeps its time.
fn dated(start: Start, warp: &mut Warp) -> Start {
    match warp.due_ns(start.due_ns) {
        NEVER => start,
        due_ns => Start { due_ns, ..start },
    }
}

/// What one signing thread does for one sending thread.
struct Track {
    starts: Box<dyn Iterator<Item = Start> + Send>,
    ring: Sender<Made>,
    /// Is there nothing left to sign, or nobody to take it?
    is_done: bool,
}

/// Signs a batch for the rings that have room; says whether any had.
fn sign_some(
    tracks: &mut [Track],
    writer: &mut Writer,
    population: &Population,
    origin_ns: u64,
) -> bool {
    let width = population
        .members()
        .iter()
        .map(|member| member.signer.batch_width())
        .max()
        .unwrap_or(1)
        .max(1);
    let mut inputs: Vec<Input> = Vec::with_capacity(width);
    for (number, track) in tracks.iter_mut().enumerate() {
        track.is_done |= track.ring.is_closed();
        if track.is_done {
            continue;
        }
        let room = track.ring.capacity().min(width - inputs.len());
        for _ in 0..room {
            let Some(start) = track.starts.next() else {
                track.is_done = true;
                break;
            };
            inputs.push(writer.input(number, &start, origin_ns, population));
        }
    }
    if inputs.is_empty() {
        return false;
    }
    for (number, made) in sign(inputs) {
        // There was room, unless the receiver has gone.
        let _ = tracks[number].ring.try_send(made);
    }
    true
}

/// Signs the assertions of all starts, on as many threads as there are
/// processors, for a load that begins at `origin_ns`.
///
/// # Errors
///
/// An assertion cannot be laid out.
pub(super) fn premint(
    population: &Population,
    lanes: &[Starts],
    origin_ns: u64,
) -> Result<Vec<Source>, MintError> {
    use rayon::prelude::*;
    // A faulty layout shows here, once.
    Writer::new(population)?;
    Ok(lanes
        .iter()
        .map(|starts| {
            let starts: Vec<Start> = starts.clone().collect();
            let stock = starts
                .par_chunks(64)
                .flat_map_iter(|chunk| {
                    let mut writer = Writer::new(population).ok();
                    let inputs = chunk
                        .iter()
                        .filter_map(|start| {
                            Some(writer.as_mut()?.input(0, start, origin_ns, population))
                        })
                        .collect();
                    sign(inputs).into_iter().map(|(_, made)| Some(made))
                })
                .collect();
            Source::Stock(stock)
        })
        .collect())
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The assertion cannot be laid out.
    #[error("the assertion cannot be laid out")]
    Assertion(#[from] AssertionError),
    /// The system gave no thread.
    #[error("cannot start a signing thread")]
    Thread(#[source] std::io::Error),
}

#[cfg(test)]
mod tests;
