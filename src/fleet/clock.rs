//! What time is it for a run, whoever leads it?
//!
//! A run's times are those of its first coordinator's monotonic clock. One that
//! takes over on another machine has another clock: it answers for the run's,
//! as far as it hears of it by the agents' beats. These are late by what
//! progress and network take, some tens of milliseconds, which is little beside
//! how far ahead changes are told; the instants that are agreed on are exact
//! whatever the clock says.

use std::future::pending;

use futures_util::StreamExt;

use super::agent::{LOOK, read_clocks};
use super::bus::{Bus, BusError};
use super::clock_offset::Reading;
use super::message::{Beat, Begin, State, of_json};
use crate::load::pacer::now_ns;

/// By so much beats may be late: clocks that differ by less are one clock.
const SAME_NS: u64 = 1_000_000_000;

/// The clock of a run.
pub(super) struct RunClock {
    /// The run's time less this machine's, in nanoseconds; `None` as long as
    /// nobody has told.
    ahead_ns: Option<i64>,
    /// When the run began, if that was agreed by another coordinator.
    began_ns: Option<u64>,
}

impl RunClock {
    /// Makes the clock of a run that this coordinator lays down, or that had
    /// begun when it took over.
    pub fn of(begin: Option<&Begin>) -> Self {
        Self {
            ahead_ns: begin.is_none().then_some(0),
            began_ns: begin.map(|begin| begin.at_ns),
        }
    }

    /// Tells whoever asks what the run's clock shows.
    pub async fn answer(mut self, bus: Bus, run: String) {
        // A subscription outlives a reconnection; one that cannot be made is
        // made again.
        loop {
            let _ = self.answer_on(&bus, &run).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Answers until a subscription ends.
    async fn answer_on(&mut self, bus: &Bus, run: &str) -> Result<(), BusError> {
        let mut questions = bus.listen("clock", run).await?;
        // Whoever has agreed on the beginning needs nobody's word.
        let mut beats = match self.began_ns {
            Some(_) => Some(bus.listen("beat", run).await?),
            None => None,
        };
        loop {
            let beat = async {
                match &mut beats {
                    Some(beats) => beats.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                question = questions.next() => {
                    let Some(question) = question else { return Ok(()) };
                    if let Some(reading) = self.shows(read_clocks()) {
                        bus.answer(&question, &reading).await;
                    }
                }
                beat = beat => {
                    let Some(beat) = beat else { return Ok(()) };
                    if let Ok(beat) = of_json(&beat.payload) {
                        self.heard(&beat, now_ns());
                    }
                }
            }
        }
    }

    /// Learns from a beat that came in at `own_ns`. None comes early, so that
    /// the one that puts the run's time furthest ahead is nearest.
    fn heard(&mut self, beat: &Beat, own_ns: u64) {
        let Some(began_ns) = self.began_ns else {
            return;
        };
        if beat.state != State::Running || beat.elapsed_ns == 0 {
            return;
        }
        let run_ns = i128::from(began_ns) + i128::from(beat.elapsed_ns);
        let Ok(ahead_ns) = i64::try_from(run_ns - i128::from(own_ns)) else {
            return;
        };
        let ahead_ns = if ahead_ns.unsigned_abs() < SAME_NS {
            0
        } else {
            ahead_ns
        };
        self.ahead_ns = self.ahead_ns.max(Some(ahead_ns));
    }

    /// Returns what the run's clock shows when this machine's show `own`.
    fn shows(&self, own: Reading) -> Option<Reading> {
        Some(Reading {
            monotonic_ns: own.monotonic_ns.saturating_add_signed(self.ahead_ns?),
            ..own
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::message::Dealing;

    const SECOND: u64 = 1_000_000_000;

    fn begin(at_ns: u64) -> Begin {
        Begin {
            at_ns,
            weights: vec![1.0],
            dealt: Dealing::InTurns,
        }
    }

    fn beat(state: State, elapsed_ns: u64) -> Beat {
        Beat {
            run: "r".into(),
            slot: 0,
            incarnation: "a".into(),
            state,
            elapsed_ns,
            answered: 0,
            failed: 0,
            waiting: 0,
        }
    }

    fn shown(clock: &RunClock, monotonic_ns: u64) -> Option<u64> {
        let own = Reading {
            monotonic_ns,
            wall_ns: 5,
        };
        clock.shows(own).map(|reading| reading.monotonic_ns)
    }

    #[test]
    fn who_takes_over_elsewhere_answers_for_the_clock_by_which_the_run_began() {
        let mut clock = RunClock::of(Some(&begin(900 * SECOND)));
        assert_eq!(shown(&clock, 70 * SECOND), None, "nobody has told yet");
        // It has ended, or not begun: that says nothing about now.
        clock.heard(&beat(State::Told, 9 * SECOND), 70 * SECOND);
        clock.heard(&beat(State::Running, 0), 70 * SECOND);
        assert_eq!(shown(&clock, 70 * SECOND), None);
        clock.heard(&beat(State::Running, 3 * SECOND), 70 * SECOND);
        assert_eq!(shown(&clock, 71 * SECOND), Some(904 * SECOND));
        // One that was held up does not set it back.
        clock.heard(&beat(State::Running, 3 * SECOND), 72 * SECOND);
        assert_eq!(shown(&clock, 72 * SECOND), Some(905 * SECOND));
    }

    #[test]
    fn on_the_same_machine_the_clock_is_exact_however_late_beats_are() {
        let mut clock = RunClock::of(Some(&begin(900 * SECOND)));
        clock.heard(&beat(State::Running, 3 * SECOND), 903 * SECOND + SECOND / 3);
        assert_eq!(shown(&clock, 904 * SECOND), Some(904 * SECOND));
        let own = RunClock::of(None);
        assert_eq!(shown(&own, 7), Some(7));
    }
}
