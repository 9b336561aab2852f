//! Which failing requests are worth a line in the log?
//!
//! A load can fail thousands of times a second, all for one reason. The first
//! slices in which a class of failure occurs are logged, each with its count;
//! then silence, and the whole at the end. Nothing is logged on a thread that
//! sends.

use std::collections::BTreeMap;

use super::observe::{PassedSlice, Told};
use crate::record::Outcome;

/// How many slices with the same class of failure are logged.
const LOGGED: u64 = 5;

/// Counts failures by class, for the log.
#[derive(Debug, Default)]
struct Failures(BTreeMap<String, Class>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Class {
    slices: u64,
    requests: u64,
}

/// Logs what fails of all that is told, and tells it to `tell`.
pub(super) fn logged(mut tell: impl FnMut(Told<'_>)) -> impl FnMut(Told<'_>) {
    let mut failures = Failures::default();
    move |told| {
        failures.hear(&told);
        tell(told);
    }
}

impl Failures {
    fn hear(&mut self, told: &Told<'_>) {
        let Told::Slice(slice) = told else {
            return;
        };
        for (class, requests) in self.count(slice) {
            tracing::warn!(class, requests, at_ns = slice.start_ns, "requests failed");
        }
    }

    /// Counts a slice; returns the classes that are to be logged for it.
    fn count<'a>(&mut self, slice: &PassedSlice<'a>) -> Vec<(&'a str, u64)> {
        let mut logged = Vec::new();
        let failed = slice
            .outcomes()
            .filter(|(name, _)| !Outcome::is_name_of_token(name));
        for (name, sets) in failed {
            let requests = sets.response.count();
            let class = match self.0.get_mut(name) {
                Some(class) => class,
                None => self.0.entry(name.to_owned()).or_default(),
            };
            class.slices += 1;
            class.requests += requests;
            if class.slices <= LOGGED {
                logged.push((name, requests));
            }
        }
        logged
    }

    /// Returns the classes of which not every slice was logged.
    fn silenced(&self) -> impl Iterator<Item = (&str, Class)> {
        self.0
            .iter()
            .filter(|(_, class)| class.slices > LOGGED)
            .map(|(name, class)| (name.as_str(), *class))
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        for (class, Class { slices, requests }) in self.silenced() {
            tracing::warn!(class, requests, slices, "requests failed in all");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::observe::Sets;

    fn sets(count: u64) -> Sets {
        let mut sets = Sets::default();
        for _ in 0..count {
            sets.response.record(Duration::from_millis(1));
        }
        sets
    }

    #[test]
    fn a_class_is_logged_for_its_first_slices_and_then_counted() {
        let mut failures = Failures::default();
        let mut outcomes = BTreeMap::from([
            ("answered".to_owned(), sets(90)),
            ("timed_out".to_owned(), sets(7)),
        ]);
        for _ in 0..LOGGED {
            let slice = PassedSlice::new(0, 1, 97, &outcomes);
            assert_eq!(failures.count(&slice), [("timed_out", 7)]);
        }
        assert_eq!(failures.silenced().count(), 0);
        outcomes.insert("http_503".to_owned(), sets(1));
        let slice = PassedSlice::new(0, 1, 98, &outcomes);
        assert_eq!(failures.count(&slice), [("http_503", 1)], "a class is new");
        let silenced: Vec<_> = failures.silenced().collect();
        let class = Class {
            slices: 6,
            requests: 42,
        };
        assert_eq!(silenced, [("timed_out", class)]);
    }
}
