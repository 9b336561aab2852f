//! Who takes part in a run, and who is still alive?
//!
//! An agent is alive as long as it is heard of: by a beat or by what it tells.
//! Silence counts only while the coordinator itself is connected; a server
//! that is away is no agent's fault. Who was silent for too long is lost for
//! now, and not any more once heard of again.

use std::time::Duration;

use super::message::{Beat, Card, State};

/// The agents of one run.
pub struct Roster {
    places: Vec<Option<Place>>,
    lost_after: Duration,
}

/// An agent that takes part.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is.
    pub card: Card,
    /// The slot of the agent whose starts it makes, if that one was lost.
    pub in_place_of: Option<usize>,
    /// What it said last.
    pub beat: Option<Beat>,
    /// Connected time since it was heard of.
    pub silence: Duration,
    /// The longest silence after which it was heard of again.
    pub longest_silence: Duration,
}

impl Roster {
    /// Makes a roster of `agents` free places.
    #[must_use]
    pub fn new(agents: usize, lost_after: Duration) -> Self {
        Self {
            places: vec![None; agents],
            lost_after,
        }
    }

    /// Writes an agent in; says whether the place was free or held by another.
    pub fn admit(&mut self, slot: usize, card: Card) -> bool {
        let Some(place) = self.places.get_mut(slot) else {
            return false;
        };
        if place
            .as_ref()
            .is_some_and(|place| place.card.incarnation == card.incarnation)
        {
            return false;
        }
        *place = Some(Place::of(card, None));
        true
    }

    /// Writes an agent in under the slot of a part of a lost one's share.
    pub fn admit_heir(&mut self, slot: usize, by: usize, lost: usize) {
        if slot >= self.places.len() {
            self.places.resize(slot + 1, None);
        }
        self.places[slot] = self.places[by]
            .as_ref()
            .map(|place| Place::of(place.card.heir(slot), Some(lost)));
    }

    /// Notes a beat of the agent that has the place.
    pub fn heard(&mut self, beat: Beat) {
        if let Some(Some(place)) = self.places.get_mut(beat.slot)
            && place.card.incarnation == beat.incarnation
        {
            place.longest_silence = place.longest_silence.max(place.silence);
            place.silence = Duration::ZERO;
            place.beat = Some(beat);
        }
    }

    /// Lets time pass, in which the coordinator was connected.
    pub fn pass(&mut self, connected: Duration) {
        for place in self.places.iter_mut().flatten() {
            place.silence += connected;
        }
    }

    /// Returns the places in order.
    #[must_use]
    pub fn places(&self) -> &[Option<Place>] {
        &self.places
    }

    /// Returns how many agents have joined.
    #[must_use]
    pub fn joined(&self) -> usize {
        let places = self.places.iter().flatten();
        places.filter(|place| place.in_place_of.is_none()).count()
    }

    /// Is the agent of a place silent for too long, or is there none?
    #[must_use]
    pub fn is_lost(&self, slot: usize) -> bool {
        self.places
            .get(slot)
            .and_then(Option::as_ref)
            .is_none_or(|place| place.silence > self.lost_after)
    }

    /// Does the agent of a place say that it has told all?
    #[must_use]
    pub fn has_told(&self, slot: usize) -> bool {
        self.places
            .get(slot)
            .and_then(|place| place.as_ref()?.beat.as_ref())
            .is_some_and(|beat| beat.state == State::Told)
    }

    /// Was an agent lost for a time?
    #[must_use]
    pub fn was_lost(&self, slot: usize) -> bool {
        self.places
            .get(slot)
            .and_then(Option::as_ref)
            .is_some_and(|place| place.longest_silence > self.lost_after)
    }

    /// Finds two agents that cannot be in one run.
    #[must_use]
    pub fn unlike(&self) -> Option<(usize, usize, &'static str)> {
        let cards = || {
            self.places
                .iter()
                .enumerate()
                .filter_map(|(slot, place)| Some((slot, &place.as_ref()?.card)))
        };
        for (first, card) in cards() {
            for (second, other) in cards().filter(|(second, _)| *second > first) {
                if card.key.spki_sha256 != other.key.spki_sha256 {
                    return Some((first, second, "sign with different keys"));
                }
                if card.jti_space == other.jti_space {
                    return Some((
                        first,
                        second,
                        "would use the same jti values, as copies of one process do",
                    ));
                }
            }
        }
        None
    }

    /// Returns the time since the beginning, by what was heard last and how
    /// long ago that was.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        let running = self.places.iter().flatten().filter_map(|place| {
            let beat = place.beat.as_ref()?;
            (beat.state == State::Running)
                .then(|| Duration::from_nanos(beat.elapsed_ns) + place.silence)
        });
        running.max().unwrap_or_default()
    }

    /// Adds up what agents said last: answered and failed so far, and how many
    /// run.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        for (slot, place) in self.places.iter().enumerate() {
            let Some(place) = place else { continue };
            let Some(beat) = &place.beat else { continue };
            sum.due += beat.due;
            sum.sent += beat.sent;
            sum.answered += beat.answered;
            sum.failed += beat.failed;
            sum.waiting += beat.waiting;
            sum.elapsed = sum.elapsed.max(Duration::from_nanos(beat.elapsed_ns));
            if place.in_place_of.is_some() {
                continue;
            }
            if self.is_lost(slot) {
                sum.lost += 1;
            } else if beat.state == State::Running {
                sum.running += 1;
            }
        }
        sum
    }
}

impl Place {
    fn of(card: Card, in_place_of: Option<usize>) -> Self {
        Self {
            card,
            in_place_of,
            beat: None,
            silence: Duration::ZERO,
            longest_silence: Duration::ZERO,
        }
    }
}

/// Where a fleet stands, by what its agents said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Agents that send.
    pub running: usize,
    /// Agents that have fallen silent.
    pub lost: usize,
    /// Time since the beginning.
    pub elapsed: Duration,
    /// Requests that were due, warm-up included.
    pub due: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that got a token.
    pub answered: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Messages that wait at agents.
    pub waiting: u64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::message::PROTOCOL;
    use super::*;
    use crate::record::KeyFacts;

    pub(in crate::fleet) fn card(name: &str) -> Card {
        Card {
            protocol: PROTOCOL,
            incarnation: name.to_owned(),
            host: "here".into(),
            version: "1".into(),
            cpus: 1,
            signs_per_s: 1.0,
            wall_offset_ns: 0,
            clock_bound_ns: 0,
            jti_space: name.to_owned(),
            key: KeyFacts {
                bits: 2048,
                algorithm: "RS256".into(),
                container: "plain".into(),
                spki_sha256: "aa".into(),
            },
            signed_by: "aws-lc-rs".into(),
        }
    }

    pub(in crate::fleet) fn beat(slot: usize, name: &str) -> Beat {
        Beat {
            run: "r".into(),
            slot,
            incarnation: name.to_owned(),
            state: State::Running,
            elapsed_ns: 5,
            due: 6,
            sent: 5,
            answered: 3,
            failed: 1,
            waiting: 0,
        }
    }

    #[test]
    fn silence_counts_in_connected_time_and_ends_with_a_word() {
        let mut roster = Roster::new(2, Duration::from_secs(8));
        assert!(roster.is_lost(0), "nobody is there");
        assert!(roster.admit(0, card("a")));
        assert!(!roster.admit(0, card("a")), "it is there already");
        roster.heard(beat(0, "a"));
        // The server was away for a minute: no time passed that counts.
        roster.pass(Duration::from_secs(8));
        assert!(!roster.is_lost(0));
        roster.pass(Duration::from_millis(1));
        assert!(roster.is_lost(0));
        assert_eq!(roster.progress().lost, 1);
        roster.heard(beat(0, "b"));
        assert!(roster.is_lost(0), "that was somebody else");
        roster.heard(beat(0, "a"));
        assert!(!roster.is_lost(0) && roster.was_lost(0));
        assert_eq!(roster.progress().running, 1);
    }

    #[test]
    fn other_keys_and_shared_jti_spaces_are_found() {
        let mut roster = Roster::new(3, Duration::from_secs(8));
        roster.admit(0, card("a"));
        roster.admit(2, card("c"));
        assert_eq!(roster.unlike(), None);
        let mut copy = card("b");
        copy.jti_space = "c".into();
        roster.admit(1, copy);
        let found = roster.unlike().unwrap();
        assert_eq!((found.0, found.1), (1, 2));
        let mut other = card("d");
        other.key.spki_sha256 = "bb".into();
        roster.admit(1, other);
        let found = roster.unlike().unwrap();
        assert_eq!((found.0, found.1), (0, 1));
    }
}
