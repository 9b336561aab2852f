//! What is one named figure, whoever takes it?

use crate::record::Buckets;

/// A figure with its name, or several that differ by their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Instrument {
    /// The name as Prometheus has it, without the ending of a counter.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Its unit, which its name ends with.
    pub unit: Unit,
    /// The figures.
    pub points: Vec<(Labels, Value)>,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// It counts something.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// What tells figures of one name apart.
pub type Labels = Vec<(&'static str, String)>;

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It only grows.
    Counter(f64),
    /// It goes up and down.
    Gauge(f64),
    /// Durations in buckets.
    Histogram(Box<Buckets>),
}

impl Instrument {
    /// Makes one without labels.
    #[must_use]
    pub fn single(name: &'static str, help: &'static str, value: Value) -> Self {
        Self::of(name, help, vec![(Labels::new(), value)])
    }

    /// Makes one of several figures. The unit is that of its name.
    #[must_use]
    pub fn of(name: &'static str, help: &'static str, points: Vec<(Labels, Value)>) -> Self {
        let unit = match name.rsplit('_').next() {
            Some("seconds") => Unit::Seconds,
            Some("bytes") => Unit::Bytes,
            _ => Unit::Number,
        };
        Self {
            name,
            help,
            unit,
            points,
        }
    }

    /// Makes a counter with one label, whose values are the first of each pair.
    #[must_use]
    pub fn counters<'a>(
        name: &'static str,
        help: &'static str,
        label: &'static str,
        counts: impl Iterator<Item = (&'a str, u64)>,
    ) -> Self {
        let points = counts
            .map(|(text, count)| (vec![(label, text.to_owned())], Value::count(count)))
            .collect();
        Self::of(name, help, points)
    }
}

impl Value {
    /// Makes a counter of a whole number, which is exact up to 2⁵³.
    #[must_use]
    pub fn count(count: u64) -> Self {
        Self::Counter(count as f64)
    }
}
