//! What is each agent doing, and who is in trouble?
//!
//! A rate of an agent is the difference of two things that it said about a
//! second apart, by its own clock: that a beat is late does not change it. Of
//! an agent that has not been heard of for a while no rate is known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::fleet::MOST_WALL_OFFSET;
use crate::fleet::event::{AgentNow, Standing};
use crate::fleet::message::Beat;
use crate::live::rates::{Counted, Rates, Readings};
use crate::load::Progress;

/// After which silence a rate is not known any more: four beats.
const UNHEARD: Duration = Duration::from_secs(2);

/// The agents of a fleet, as they were heard of.
#[derive(Default)]
pub struct Agents {
    /// By slot.
    pub rows: Vec<AgentRow>,
    readings: Vec<Readings>,
    /// When each said something new.
    heard: Vec<Option<Instant>>,
}

/// What is known of one agent.
#[derive(Clone, Debug)]
pub struct AgentRow {
    /// Its place.
    pub slot: usize,
    /// Its machine; empty if the place is free.
    pub host: String,
    /// The agent of whose share this is a part that another one took over.
    pub in_place_of: Option<usize>,
    /// Where it stands.
    pub standing: Standing,
    /// What its counters say, if they are known.
    pub counted: Option<Counted>,
    /// Requests that failed so far, warm-up included.
    pub failed: u64,
    /// Messages of it that are not acknowledged.
    pub messages: u64,
    /// The time since it was heard of. While it sends, that it says something
    /// new is what counts, whether or not the server could have told.
    pub age: Duration,
    /// Its wall clock less the coordinator's, in nanoseconds.
    pub wall_offset_ns: i64,
}

impl Agents {
    /// Makes free places.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            rows: (0..count).map(AgentRow::free).collect(),
            readings: vec![Readings::default(); count],
            heard: vec![None; count],
        }
    }

    /// Notes that an agent has taken a place.
    pub fn join(&mut self, slot: usize, host: &str) {
        if let Some(row) = self.rows.get_mut(slot) {
            host.clone_into(&mut row.host);
            row.standing = Standing::Joined;
        }
    }

    /// Takes what is known of all agents `now`.
    pub fn hear(&mut self, agents: &[AgentNow<'_>], now: Instant) {
        // Parts of shares that were taken over come last.
        for slot in self.rows.len()..agents.len() {
            self.rows.push(AgentRow::free(slot));
            self.readings.push(Readings::default());
            self.heard.push(None);
        }
        let own = self.rows.iter_mut().zip(&mut self.readings);
        for (((row, readings), heard), agent) in own.zip(&mut self.heard).zip(agents) {
            if row.host != agent.host {
                agent.host.clone_into(&mut row.host);
            }
            row.in_place_of = agent.in_place_of;
            row.standing = agent.standing;
            row.age = agent.silence;
            row.wall_offset_ns = agent.wall_offset_ns;
            row.counted = None;
            let Some(beat) = agent.beat else { continue };
            row.failed = beat.failed;
            row.messages = beat.waiting;
            if readings.add(reading(beat)) || heard.is_none() {
                *heard = Some(now);
            }
            if agent.standing == Standing::Running {
                let since = heard.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                row.age = row.age.max(since);
                row.counted = (row.age < UNHEARD).then(|| readings.counted());
            }
        }
    }

    /// Adds up the counters of agents that send and are heard of. Rates are
    /// known once one is.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut sum = Counted::default();
        for counted in self.rows.iter().filter_map(|row| row.counted) {
            sum.in_flight += counted.in_flight;
            sum.waiting += counted.waiting;
            if let Some(rates) = counted.rates {
                let all = sum.rates.get_or_insert_with(Rates::default);
                all.offered_per_s += rates.offered_per_s;
                all.achieved_per_s += rates.achieved_per_s;
                all.goodput_per_s += rates.goodput_per_s;
                all.failed_per_s += rates.failed_per_s;
            }
        }
        sum
    }

    /// Returns the longest silence of those that are counted.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        let heard = self.rows.iter().filter(|row| row.counted.is_some());
        heard.map(|row| row.age).max()
    }
}

/// How far an agent has come, by what it said last.
fn reading(beat: &Beat) -> Progress {
    Progress {
        elapsed: Duration::from_nanos(beat.elapsed_ns),
        // An agent does not repeat what the schedule says.
        planned: Duration::ZERO,
        warm_up: Duration::ZERO,
        due: beat.due,
        sent: beat.sent,
        answered: beat.answered,
        failed: beat.failed,
    }
}

impl AgentRow {
    fn free(slot: usize) -> Self {
        Self {
            slot,
            host: String::new(),
            in_place_of: None,
            standing: Standing::Absent,
            counted: None,
            failed: 0,
            messages: 0,
            age: Duration::ZERO,
            wall_offset_ns: 0,
        }
    }

    /// Is something wrong with it?
    #[must_use]
    pub fn is_in_trouble(&self) -> bool {
        self.state() <= State::Silent || self.is_clock_off()
    }

    /// Is its wall clock so far off that assertions may be refused?
    #[must_use]
    pub fn is_clock_off(&self) -> bool {
        u128::from(self.wall_offset_ns.unsigned_abs()) > MOST_WALL_OFFSET.as_nanos()
    }

    /// Returns what it does, as far as anybody knows.
    #[must_use]
    pub fn state(&self) -> State {
        match self.standing {
            Standing::Failed => State::Failed,
            Standing::Lost => State::Lost,
            Standing::Running | Standing::Told if self.age >= UNHEARD => State::Silent,
            Standing::Absent => State::Awaited,
            Standing::Joined => State::Joined,
            Standing::Ready => State::Ready,
            Standing::Running => State::Running,
            Standing::Told => State::Told,
            Standing::Ended => State::Ended,
        }
    }
}

/// What an agent does, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It could not go on.
    Failed,
    /// It has been silent for so long that it counts as lost.
    Lost,
    /// It was not heard of for a while, and is waited for.
    Silent,
    /// Nobody has taken the place.
    Awaited,
    /// It has taken its place.
    Joined,
    /// It waits for the beginning.
    Ready,
    /// It sends.
    Running,
    /// It says that it has told all.
    Told,
    /// All that it told is there.
    Ended,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [Self; 9] = [
        Self::Failed,
        Self::Lost,
        Self::Silent,
        Self::Awaited,
        Self::Joined,
        Self::Ready,
        Self::Running,
        Self::Told,
        Self::Ended,
    ];

    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Awaited => "awaited",
            Self::Joined => "joined",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Told => "told",
            Self::Ended => "ended",
        }
    }
}

/// Counts agents by what they do, the worst first; parts of shares that they
/// took over are not agents.
#[must_use]
pub fn census<'a>(rows: impl Iterator<Item = &'a AgentRow>) -> BTreeMap<State, usize> {
    let mut counts = BTreeMap::new();
    for row in rows.filter(|row| row.in_place_of.is_none()) {
        *counts.entry(row.state()).or_default() += 1;
    }
    counts
}

/// Says how many agents do what.
#[must_use]
pub fn in_words<'a>(rows: impl Iterator<Item = &'a AgentRow> + Clone) -> String {
    let parts = rows.clone().filter(|row| row.in_place_of.is_some()).count();
    let states = census(rows)
        .into_iter()
        .map(|(state, count)| format!("{count} {}", state.word()));
    let parts = match parts {
        0 => None,
        1 => Some("1 part of a lost share".to_owned()),
        parts => Some(format!("{parts} parts of lost shares")),
    };
    states.chain(parts).collect::<Vec<_>>().join(", ")
}
