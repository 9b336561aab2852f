//! Fleets that tests look at, made of the events that a coordinator tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::FleetModel;
use crate::fleet::event::{AgentNow, Event, Live, Standing};
use crate::fleet::message::{Beat, State};
use crate::fleet::roster::Progress;
use crate::fleet::schedule::Schedule;
use crate::load::arrival::{Arrival, Rate, Spacing};
use crate::load::observe::{PassedSlice, Sets};
use crate::record::fleet::DeltaFacts;

/// The rate of each agent.
pub const PER_S: u64 = 100;

/// A fleet whose agents send evenly, but for those that are told otherwise.
pub struct Fleet {
    pub model: FleetModel,
    pub begun: Instant,
    beats: Vec<Beat>,
    standings: Vec<Standing>,
    silent_since: Vec<Option<u64>>,
    outcomes: BTreeMap<String, Sets>,
    /// Whose starts an agent makes, if it is a part of another's share.
    pub in_place_of: Vec<Option<usize>>,
    pub is_answering: bool,
    /// The wall clock of agent 0, less the coordinator's.
    pub wall_offset_ns: i64,
}

impl Fleet {
    /// Makes a fleet of which nobody has joined.
    pub fn of(agents: usize) -> Self {
        let begun = Instant::now();
        let mut model = FleetModel::new("fleet");
        model.hear(
            &Event::Leads {
                name: "steady",
                agents,
            },
            begun,
        );
        let beat = |slot| Beat {
            run: "r".into(),
            slot,
            incarnation: String::new(),
            state: State::Running,
            elapsed_ns: 0,
            due: 0,
            sent: 0,
            answered: 0,
            failed: 0,
            waiting: 0,
        };
        Self {
            model,
            begun,
            beats: (0..agents).map(beat).collect(),
            standings: vec![Standing::Running; agents],
            silent_since: vec![None; agents],
            outcomes: BTreeMap::new(),
            in_place_of: vec![None; agents],
            is_answering: true,
            wall_offset_ns: 0,
        }
    }

    /// Lets all agents join and begin.
    pub fn begin(&mut self) {
        for slot in 0..self.beats.len() {
            self.join(slot);
        }
        let rate = Rate::constant((PER_S * self.beats.len() as u64) as f64, SECONDS * 31);
        let schedule = Schedule {
            arrival: Arrival::Drawn {
                rate,
                spacing: Spacing::Even,
                seed: 1,
            },
            count: None,
            seed: 1,
            warm_up: SECONDS,
            measure: SECONDS * 30,
            slice: SECONDS,
            population: None,
        };
        let event = Event::Begins {
            within: Duration::ZERO,
            schedule: &schedule,
        };
        self.model.hear(&event, self.begun);
    }

    /// Lets an agent join.
    pub fn join(&mut self, slot: usize) {
        let event = Event::Joined {
            slot,
            host: host(slot),
            joined: slot + 1,
        };
        self.model.hear(&event, self.begun);
    }

    /// An agent says nothing from now on, and is in another state.
    pub fn silence(&mut self, slot: usize, standing: Standing, since_ms: u64) {
        self.standings[slot] = standing;
        self.silent_since[slot] = Some(since_ms);
    }

    /// Lets half seconds pass in which beats are heard and slices end.
    pub fn pass(&mut self, from_ms: u64, to_ms: u64) {
        for ms in (from_ms..=to_ms).step_by(500) {
            self.look(ms);
            if ms % 1_000 == 0 && ms >= 3_000 {
                self.slice(ms / 1_000 - 3);
            }
        }
    }

    /// A slice ends of which every agent tells, one request in a hundred of
    /// which failed.
    pub fn slice(&mut self, number: u64) {
        let all = PER_S * self.beats.len() as u64;
        let mut answered = Sets::default();
        for request in 0..all * 99 / 100 {
            let us = 900 + 4_000 * request / all;
            answered.response.record(Duration::from_micros(us + 40));
            answered.service.record(Duration::from_micros(us));
            answered.generator_lag.record(Duration::from_micros(12));
            answered.signing.record(Duration::from_micros(51));
        }
        let mut refused = Sets::default();
        for _ in 0..all / 100 {
            refused.response.record(Duration::from_millis(2));
        }
        let slice = BTreeMap::from([
            ("answered".to_owned(), answered),
            ("http_503".to_owned(), refused),
        ]);
        let passed = PassedSlice::new(number * 1_000_000_000, 1_000_000_000, all, &slice);
        self.model.hear(&Event::Slice(passed), self.begun);
        for (name, sets) in &slice {
            self.outcomes.entry(name.clone()).or_default().add(sets);
        }
    }

    fn look(&mut self, ms: u64) {
        let now = self.begun + Duration::from_millis(ms);
        for (beat, silent) in self.beats.iter_mut().zip(&self.silent_since) {
            if silent.is_none() {
                let due = ms * PER_S / 1_000;
                beat.elapsed_ns = ms * 1_000_000;
                (beat.due, beat.sent) = (due, due.saturating_sub(1));
                beat.failed = due / 100;
                beat.answered = due.saturating_sub(2 + beat.failed);
            }
        }
        let agents: Vec<_> = (0..self.beats.len())
            .map(|slot| AgentNow {
                host: HOSTS[slot % HOSTS.len()],
                in_place_of: self.in_place_of[slot],
                standing: self.standings[slot],
                beat: Some(&self.beats[slot]),
                silence: self.silent_since[slot].map_or(Duration::from_millis(200), |since| {
                    Duration::from_millis(ms.saturating_sub(since))
                }),
                wall_offset_ns: if slot == 0 { self.wall_offset_ns } else { 0 },
            })
            .collect();
        let lost = self.standings.iter().filter(|one| **one == Standing::Lost);
        let running = self.standings.iter();
        let running = running.filter(|one| **one == Standing::Running);
        let live = Live {
            elapsed: Duration::from_millis(ms),
            progress: Progress {
                running: running.count(),
                lost: lost.count(),
                failed: self.beats.iter().map(|beat| beat.failed).sum(),
                answered: self.beats.iter().map(|beat| beat.answered).sum(),
                ..Progress::default()
            },
            agents,
            scheduled: 4_321,
            outcomes: &self.outcomes,
            deltas: DeltaFacts {
                merged: 1_234,
                duplicate: 2,
                ..DeltaFacts::default()
            },
            is_answering: self.is_answering,
        };
        self.model.hear(&Event::Progress(live), now);
    }
}

const SECONDS: Duration = Duration::from_secs(1);

const HOSTS: [&str; 3] = [
    "load-1.example",
    "load-2.example",
    "a-machine-with-a-name-that-is-much-too-long.example",
];

fn host(slot: usize) -> String {
    HOSTS[slot % HOSTS.len()].to_owned()
}
