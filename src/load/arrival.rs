//! When is each request of an open load due?
//!
//! A rate over time ([`Rate`]) and a way to draw starts from it ([`Spacing`])
//! make a sequence of due times that depends on nothing but its index and the
//! seed. Start number `i` lies where the integral of the rate reaches `i`
//! (even spacing) or the `i`-th event of a unit Poisson process (Poisson
//! spacing): the inverse of the integral is in closed form for a rate that is
//! linear piece by piece. A machine has a [`Share`] of the starts, all of them
//! if it works alone, and its threads take turns: the union over machines and
//! threads is exactly the one sequence.
//!
//! Nothing here waits; a pacer does.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::share::Share;
use crate::stats::Random;

/// A rate of starts over time, linear piece by piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pieces: Vec<Piece>,
}

/// A piece of a rate: from one value to another in a straight line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Its length in nanoseconds.
    pub length_ns: u64,
    /// The rate at its beginning, in starts per second.
    pub from_per_s: f64,
    /// The rate at its end, in starts per second.
    pub to_per_s: f64,
}

/// How starts are drawn from a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// As independent clients arrive: exponential gaps, from the seed.
    #[default]
    Poisson,
    /// As a metronome beats.
    Even,
}

/// A whole sequence of starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// Drawn from a rate.
    Drawn {
        /// The rate.
        rate: Rate,
        /// How starts are drawn from it.
        spacing: Spacing,
        /// The seed of Poisson spacing.
        seed: u64,
    },
    /// Recorded: nanoseconds from the beginning, in ascending order.
    Trace(Arc<[u64]>),
}

/// One start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its number in the whole sequence, from 0.
    pub index: u64,
    /// Its number among the starts of its thread, from 0.
    pub nth: u64,
    /// When it is due, in nanoseconds from the beginning.
    pub due_ns: u64,
}

impl Rate {
    /// Makes a rate of pieces in order.
    #[must_use]
    pub fn of(pieces: Vec<Piece>) -> Self {
        Self { pieces }
    }

    /// Makes a rate that stays the same for `length`.
    #[must_use]
    pub fn constant(per_s: f64, length: Duration) -> Self {
        Self::ramp(per_s, per_s, length)
    }

    /// Makes a rate that goes from one value to another within `length`.
    #[must_use]
    pub fn ramp(from_per_s: f64, to_per_s: f64, length: Duration) -> Self {
        Self::of(vec![Piece {
            length_ns: as_ns(length),
            from_per_s,
            to_per_s,
        }])
    }

    /// Makes a rate of equally long steps within `length`.
    #[must_use]
    pub fn steps(per_s: &[f64], length: Duration) -> Self {
        let each = as_ns(length) / (per_s.len() as u64).max(1);
        Self::of(
            per_s
                .iter()
                .map(|rate| Piece {
                    length_ns: each,
                    from_per_s: *rate,
                    to_per_s: *rate,
                })
                .collect(),
        )
    }

    /// Makes a rate that is `base` but for `peak` from `at` on for `width`,
    /// within `length`.
    #[must_use]
    pub fn spike(base: f64, peak: f64, at: Duration, width: Duration, length: Duration) -> Self {
        let at = at.min(length);
        let end = (at + width).min(length);
        let flat = |per_s, length: Duration| Piece {
            length_ns: as_ns(length),
            from_per_s: per_s,
            to_per_s: per_s,
        };
        Self::of(vec![
            flat(base, at),
            flat(peak, end - at),
            flat(base, length - end),
        ])
    }

    /// Puts a stretch at the first rate in front, for warm-up.
    #[must_use]
    pub fn after_warm_up(mut self, warm_up: Duration) -> Self {
        let first = self.pieces.first().map_or(0.0, |piece| piece.from_per_s);
        self.pieces.insert(
            0,
            Piece {
                length_ns: as_ns(warm_up),
                from_per_s: first,
                to_per_s: first,
            },
        );
        self
    }

    /// Returns the pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Returns the length of the whole.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.pieces.iter().map(|piece| piece.length_ns).sum())
    }

    /// Returns how many starts lie between two moments, on average.
    #[must_use]
    pub fn starts_between(&self, from: Duration, to: Duration) -> f64 {
        self.starts_until(as_ns(to)) - self.starts_until(as_ns(from))
    }

    /// Returns the highest rate, in starts per second.
    #[must_use]
    pub fn peak_per_s(&self) -> f64 {
        self.pieces
            .iter()
            .map(|piece| piece.from_per_s.max(piece.to_per_s))
            .fold(0.0, f64::max)
    }

    fn starts_until(&self, ns: u64) -> f64 {
        let mut rest = ns;
        let mut sum = 0.0;
        for piece in &self.pieces {
            let within = rest.min(piece.length_ns);
            sum += piece.starts_within(within);
            rest -= within;
        }
        sum
    }
}

impl Piece {
    /// Integrates the rate over the first `ns` of the piece.
    fn starts_within(&self, ns: u64) -> f64 {
        let (t, length) = (ns as f64 / 1e9, self.length_ns as f64 / 1e9);
        if length <= 0.0 {
            return 0.0;
        }
        let slope = (self.to_per_s - self.from_per_s) / length;
        self.from_per_s * t + slope * t * t / 2.0
    }

    /// Inverts [`Self::starts_within`]: when have `starts` begun, in
    /// nanoseconds?
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn time_of(&self, starts: f64) -> u64 {
        let length = self.length_ns as f64 / 1e9;
        let slope = (self.to_per_s - self.from_per_s) / length;
        let start = self.from_per_s;
        // The root that also holds for a slope of zero and does not cancel.
        let root = (start * start + 2.0 * slope * starts).max(0.0).sqrt();
        let t = 2.0 * starts / (start + root);
        ((t * 1e9).round().max(0.0) as u64).min(self.length_ns)
    }
}

impl Arrival {
    /// Makes a sequence whose starts are all due at the beginning.
    pub(super) fn endless() -> Self {
        Self::Drawn {
            // A nanosecond holds more starts than any run sends.
            rate: Rate::constant(1e21, Duration::from_nanos(1)),
            spacing: Spacing::Even,
            seed: 0,
        }
    }

    /// Returns the highest rate of starts, in starts per second.
    #[must_use]
    pub fn peak_per_s(&self) -> f64 {
        match self {
            Self::Drawn { rate, .. } => rate.peak_per_s(),
            Self::Trace(times) => {
                // The most starts within a tenth of a second.
                let mut most = 0;
                let mut first = 0;
                for (last, time) in times.iter().enumerate() {
                    while times[first] + 100_000_000 < *time {
                        first += 1;
                    }
                    most = most.max(last + 1 - first);
                }
                most as f64 * 10.0
            }
        }
    }

    /// Returns how many starts lie between two moments: on average where they
    /// are drawn, exactly where they were recorded.
    #[must_use]
    pub fn starts_between(&self, from: Duration, to: Duration) -> f64 {
        match self {
            Self::Drawn { rate, .. } => rate.starts_between(from, to),
            Self::Trace(times) => {
                let before = |at: Duration| times.partition_point(|time| *time < as_ns(at)) as f64;
                before(to) - before(from)
            }
        }
    }

    /// Iterates over the starts of thread `own` of `threads`, on a machine that
    /// works alone.
    #[must_use]
    pub fn starts(&self, own: usize, threads: usize) -> Starts {
        Starts {
            arrival: self.clone(),
            share: Share::whole(),
            next: 0,
            shared: 0,
            own: own as u64,
            threads: threads.max(1) as u64,
            random: match self {
                Self::Drawn { seed, .. } => Random::new(*seed),
                Self::Trace(_) => Random::new(0),
            },
            events: 0.0,
            piece: 0,
            piece_begins_ns: 0,
            events_before: 0.0,
            counted_from_ns: 0,
            left: u64::MAX,
        }
    }
}

/// The starts of one thread, in order.
#[derive(Clone)]
pub struct Starts {
    arrival: Arrival,
    share: Share,
    next: u64,
    /// Starts of this machine so far, over all of its threads.
    shared: u64,
    own: u64,
    threads: u64,
    random: Random,
    /// Where the next start lies on the axis of the integral.
    events: f64,
    piece: usize,
    piece_begins_ns: u64,
    /// The integral up to the current piece.
    events_before: f64,
    counted_from_ns: u64,
    /// Starts of the whole sequence that are still to come, of those that count.
    left: u64,
}

impl Starts {
    /// Ends the whole sequence, over all threads, after `count` starts that
    /// are due `from` the beginning or later.
    #[must_use]
    pub fn limited(mut self, from: Duration, count: u64) -> Self {
        self.counted_from_ns = as_ns(from);
        self.left = count;
        self
    }

    /// Leaves the starts of other machines out.
    #[must_use]
    pub fn of_share(mut self, share: Share) -> Self {
        self.share = share;
        self
    }

    fn due_of_next(&mut self) -> Option<u64> {
        match &self.arrival {
            Arrival::Trace(times) => times.get(usize::try_from(self.next).ok()?).copied(),
            Arrival::Drawn { rate, spacing, .. } => {
                self.events = match spacing {
                    Spacing::Even => self.next as f64,
                    // The gap of a unit Poisson process.
                    Spacing::Poisson => self.events - (1.0 - self.random.unit()).ln(),
                };
                loop {
                    let piece = rate.pieces.get(self.piece)?;
                    let inside = self.events - self.events_before;
                    let capacity = piece.starts_within(piece.length_ns);
                    if inside < capacity {
                        return Some(self.piece_begins_ns + piece.time_of(inside));
                    }
                    self.events_before += capacity;
                    self.piece_begins_ns += piece.length_ns;
                    self.piece += 1;
                }
            }
        }
    }
}

impl Iterator for Starts {
    type Item = Start;

    fn next(&mut self) -> Option<Start> {
        loop {
            if self.left == 0 {
                return None;
            }
            let due_ns = self.due_of_next()?;
            if due_ns >= self.counted_from_ns {
                self.left -= 1;
            }
            let index = self.next;
            self.next += 1;
            if !self.share.owns(index, due_ns) {
                continue;
            }
            let nth = self.shared;
            self.shared += 1;
            if nth % self.threads == self.own {
                return Some(Start {
                    index,
                    nth: nth / self.threads,
                    due_ns,
                });
            }
        }
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
