//! Where does the assertion of a request come from, and what did it cost?
//!
//! *Inline*, the thread that sends signs. By the *mint*, threads of their own
//! sign ahead, in batches where the signer likes them, into a bounded ring for
//! each sending thread. *Pre-minted*, everything is signed before the load
//! begins. *Repeated*, one assertion serves as long as it lives, for endpoints
//! that allow it. In each case an assertion is dated with the moment for which
//! its request is scheduled.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::gettid;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::arrival::{Start, Starts};
use super::pacer::{now_ns, wall_ns};
use super::population::Population;
use crate::assertion::{AssertionError, Builder, append_signature};
use crate::signer::Job;

/// Where assertions come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The thread that sends signs.
    Inline,
    /// Threads of their own sign ahead.
    #[default]
    Mint,
    /// Everything is signed before the load begins.
    Preminted,
    /// One assertion serves as long as it lives.
    Repeat,
}

/// How long a signing thread rests when all rings are full. A ring holds
/// twenty milliseconds' worth; a tenth of that is early enough.
const REST: Duration = Duration::from_micros(500);

/// How much of a repeated assertion's life is used.
const REPEATED_LIFE: Duration = Duration::from_secs(20);

/// An assertion and what making it took.
#[derive(Debug)]
pub(super) struct Made {
    /// The number of its start.
    pub index: u64,
    /// The compact JWS; empty if nothing signed.
    pub text: Vec<u8>,
    /// The time for signing, in nanoseconds.
    pub signing_ns: u64,
}

/// A source of one thread's assertions.
pub(super) enum Source {
    /// Signs when asked.
    Inline(Writer),
    /// Takes what others have signed.
    Rings {
        /// One ring for each signing thread, which take turns.
        rings: Vec<Ring>,
        /// Sending threads, among which starts are dealt out in turn.
        lanes: u64,
    },
    /// Takes what was signed before, by the position among the own starts.
    Stock {
        stock: Vec<Option<Made>>,
        lanes: u64,
    },
    /// Signs again when the last one has grown old.
    Repeat {
        writer: Writer,
        last: Vec<Option<(u64, Vec<u8>)>>,
    },
}

/// What one signing thread has signed for one sending thread.
pub(super) struct Ring {
    receiver: Receiver<Made>,
    /// Assertions of starts that are asked for later, as connections overtake
    /// each other by a step or two.
    aside: HashMap<u64, Made>,
    /// Starts that were given up before their assertion was there.
    unwanted: HashSet<u64>,
}

impl Source {
    /// Takes the assertion of `start`, or `None` if it is not there yet:
    /// [`Self::wait`].
    pub fn take(&mut self, start: &Start, origin_ns: u64, population: &Population) -> Option<Made> {
        match self {
            Self::Inline(writer) => Some(writer.write(start, origin_ns, population)),
            Self::Stock { stock, lanes } => {
                let at = usize::try_from(start.index / *lanes).unwrap_or(usize::MAX);
                let made = stock.get_mut(at).and_then(Option::take);
                Some(made.unwrap_or_else(|| Made::nothing(start.index)))
            }
            Self::Rings { rings, lanes } => ring_of(rings, *lanes, start.index).take(start.index),
            Self::Repeat { writer, last } => {
                let (member, _) = population.pick(start.index);
                let now = now_ns();
                if let Some((until, text)) = &last[member]
                    && now < *until
                {
                    return Some(Made {
                        index: start.index,
                        text: text.clone(),
                        signing_ns: 0,
                    });
                }
                let made = writer.write(start, origin_ns, population);
                let life = u64::try_from(REPEATED_LIFE.as_nanos()).unwrap_or(u64::MAX);
                last[member] = Some((now + life, made.text.clone()));
                Some(made)
            }
        }
    }

    /// Waits for an assertion that was not there.
    pub async fn wait(&mut self, index: u64) -> Made {
        match self {
            Self::Rings { rings, lanes } => ring_of(rings, *lanes, index).wait(index).await,
            _ => Made::nothing(index),
        }
    }

    /// Throws the assertion of a start away.
    pub fn discard(&mut self, index: u64) {
        match self {
            Self::Rings { rings, lanes } => {
                let ring = ring_of(rings, *lanes, index);
                if ring.take(index).is_none() {
                    ring.unwanted.insert(index);
                }
            }
            Self::Stock { stock, lanes } => {
                let at = usize::try_from(index / *lanes).unwrap_or(usize::MAX);
                drop(stock.get_mut(at).and_then(Option::take));
            }
            _ => {}
        }
    }
}

fn ring_of(rings: &mut [Ring], lanes: u64, index: u64) -> &mut Ring {
    let count = rings.len() as u64;
    let own = usize::try_from(index / lanes % count).unwrap_or_default();
    &mut rings[own]
}

impl Ring {
    fn take(&mut self, index: u64) -> Option<Made> {
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

    async fn wait(&mut self, index: u64) -> Made {
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

impl Made {
    fn nothing(index: u64) -> Self {
        Self {
            index,
            text: Vec::new(),
            signing_ns: 0,
        }
    }
}

/// Writes assertions for the apps of a population.
pub(super) struct Writer {
    builders: Vec<Builder>,
}

impl Writer {
    pub fn new(population: &Population) -> Result<Self, AssertionError> {
        Ok(Self {
            builders: population
                .members()
                .iter()
                .map(|member| member.app.builder())
                .collect::<Result<_, _>>()?,
        })
    }

    pub fn write(&mut self, start: &Start, origin_ns: u64, population: &Population) -> Made {
        let (member, subject) = population.pick(start.index);
        let signer = &*population.members()[member].signer;
        let mut text = Vec::with_capacity(1024);
        let begun = now_ns();
        let date = date_of(start, origin_ns);
        if self.builders[member]
            .write(date, subject, signer, &mut text)
            .is_err()
        {
            text.clear();
        }
        Made {
            index: start.index,
            text,
            signing_ns: now_ns() - begun,
        }
    }

    /// Writes what has to be signed for `start`.
    fn input(
        &mut self,
        track: usize,
        start: &Start,
        origin_ns: u64,
        population: &Population,
    ) -> Input {
        let (member, subject) = population.pick(start.index);
        let mut text = Vec::with_capacity(1024);
        self.builders[member].write_signing_input(date_of(start, origin_ns), subject, &mut text);
        Input {
            track,
            index: start.index,
            member,
            text,
        }
    }
}

/// Returns the wall time of a start, or now if it should have begun already:
/// an assertion for a request that is late must not have expired.
///
/// Both clocks are asked anew each time, so that a step of the wall clock
/// moves later assertions with it.
fn date_of(start: &Start, origin_ns: u64) -> Duration {
    let until_due = (origin_ns + start.due_ns).saturating_sub(now_ns());
    Duration::from_nanos(wall_ns() + until_due)
}

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
                rings[lane].push(Ring {
                    receiver: out,
                    aside: HashMap::new(),
                    unwanted: HashSet::new(),
                });
                tracks.push(Track {
                    starts: Box::new(starts.clone().skip(own).step_by(threads)),
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
                    })
                    .map_err(MintError::Thread)?,
            );
        }
        drop(tell);
        let count = lanes.len() as u64;
        let sources = rings
            .into_iter()
            .map(|rings| Source::Rings {
                rings,
                lanes: count,
            })
            .collect();
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
            // One that panicked has left its ring; requests failed and count.
            let _ = thread.join();
        }
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
    for (number, made) in sign(inputs, population) {
        // There was room, unless the receiver has gone.
        let _ = tracks[number].ring.try_send(made);
    }
    true
}

/// Something to sign.
struct Input {
    track: usize,
    index: u64,
    member: usize,
    text: Vec<u8>,
}

/// Signs inputs, each by its own member's signer, and keeps their order.
fn sign(inputs: Vec<Input>, population: &Population) -> Vec<(usize, Made)> {
    let mut signatures: Vec<Vec<u8>> = inputs
        .iter()
        .map(|input| vec![0; population.members()[input.member].signer.signature_len()])
        .collect();
    let mut has_failed = vec![false; population.members().len()];
    let begun = now_ns();
    for (number, member) in population.members().iter().enumerate() {
        let mut jobs: Vec<Job<'_>> = inputs
            .iter()
            .zip(&mut signatures)
            .filter(|(input, _)| input.member == number)
            .map(|(input, signature)| Job {
                message: &input.text,
                signature,
            })
            .collect();
        has_failed[number] = !jobs.is_empty() && member.signer.sign_batch(&mut jobs).is_err();
    }
    let signing_ns = (now_ns() - begun) / inputs.len().max(1) as u64;
    inputs
        .into_iter()
        .zip(signatures)
        .map(|(mut input, signature)| {
            if has_failed[input.member] {
                input.text.clear();
            } else {
                append_signature(&mut input.text, &signature);
            }
            let made = Made {
                index: input.index,
                text: input.text,
                signing_ns,
            };
            (input.track, made)
        })
        .collect()
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
                    sign(inputs, population)
                        .into_iter()
                        .map(|(_, made)| Some(made))
                })
                .collect();
            Source::Stock {
                stock,
                lanes: lanes.len() as u64,
            }
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
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::load::arrival::{Arrival, Rate, Spacing};
    use crate::load::population::fake;

    fn starts(lanes: usize) -> Vec<Starts> {
        let arrival = Arrival::Drawn {
            rate: Rate::constant(100.0, Duration::from_secs(2)),
            spacing: Spacing::Even,
            seed: 1,
        };
        (0..lanes).map(|lane| arrival.starts(lane, lanes)).collect()
    }

    fn claims(made: &Made) -> serde_json::Value {
        let text = String::from_utf8(made.text.clone()).unwrap();
        let parts: Vec<_> = text.split('.').collect();
        assert_eq!(parts.len(), 3);
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_mode_signs_each_start_for_its_own_moment_and_subject() {
        let population = Arc::new(Population::new(vec![fake::member(7, 1.0)], None, 1));
        let lanes = starts(2);
        // The load begins in an hour.
        let origin_ns = now_ns() + 3_600_000_000_000;
        let (_mint, minted) = Mint::start(&population, &lanes, origin_ns, 2, 16).unwrap();
        let preminted = premint(&population, &lanes, origin_ns).unwrap();
        let inline = lanes
            .iter()
            .map(|_| Source::Inline(Writer::new(&population).unwrap()))
            .collect();
        let began = wall_ns() / 1_000_000_000;
        for sources in [minted, preminted, inline] {
            for (mut source, starts) in sources.into_iter().zip(lanes.clone()) {
                for start in starts {
                    let made = match source.take(&start, origin_ns, &population) {
                        Some(made) => made,
                        None => source.wait(start.index).await,
                    };
                    assert_eq!(made.index, start.index);
                    let claims = claims(&made);
                    assert_eq!(claims["sub"], (1_000 + start.index % 7).to_string());
                    let issued = claims["exp"].as_u64().unwrap() - 30;
                    let expected = began + 3_600 + start.due_ns / 1_000_000_000;
                    assert!(issued.abs_diff(expected) <= 2, "{issued}, {expected}");
                }
            }
        }
    }

    #[test]
    fn a_repeated_assertion_is_the_same_one() {
        let population = Population::new(vec![fake::member(1, 1.0)], None, 1);
        let mut source = Source::Repeat {
            writer: Writer::new(&population).unwrap(),
            last: vec![None],
        };
        let mut texts = std::collections::BTreeSet::new();
        for start in starts(1).remove(0) {
            let made = source.take(&start, now_ns(), &population).unwrap();
            texts.insert(made.text);
        }
        assert_eq!(texts.len(), 1);
    }
}
