//! How are durations kept so that nothing but their last digits is lost?
//!
//! An HDR histogram of nanoseconds from 1 ns to one hour with three
//! significant digits: a quantile is off by at most 0.1 %, and histograms of
//! threads, slices or machines add up exactly. Percentiles are never merged.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::encoded::scan;

/// The longest duration that is kept apart; longer ones count as this one.
///
/// An hour is far beyond any request time-out. Ten times as much would cost a
/// tenth more memory.
pub(super) const HIGHEST_NS: u64 = 3_600_000_000_000;

/// Three significant digits: errors of at most 0.1 %, 270 KB in memory.
pub(super) const DIGITS: u8 = 3;

/// A histogram of durations.
#[derive(Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Histogram {
    /// Makes an empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self(
            hdrhistogram::Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS)
                .expect("the bounds are constants that the crate accepts"),
        )
    }

    /// Counts one duration; zero counts as one nanosecond.
    pub fn record(&mut self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(HIGHEST_NS));
    }

    /// Counts one duration in nanoseconds, as [`Self::record`] does.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns.clamp(1, HIGHEST_NS));
    }

    /// Counts `count` durations of `ns` nanoseconds each.
    pub fn record_several_ns(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns.clamp(1, HIGHEST_NS), count);
    }

    /// Adds the counts of another histogram. No count is lost or moved.
    pub fn add(&mut self, other: &Self) {
        // The most there is of: an empty one is as large as a full one.
        if other.count() == 0 {
            return;
        }
        self.0
            .add(&other.0)
            .expect("every histogram here has the same bounds");
    }

    /// Counts `count` durations of `ns` nanoseconds.
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns.clamp(1, HIGHEST_NS), count);
    }

    /// Adds the counts of a histogram in its written form.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`]; the beginning of the text may have been added.
    pub fn add_written(&mut self, text: &str) -> Result<(), EncodingError> {
        scan(text, |value, count| self.record_many(value, count))
    }

    /// Empties the histogram and keeps its memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the duration below or at which a share `q` (0 to 1) lies, or
    /// `None` if nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.0.value_at_quantile(q)))
    }

    /// Counts the durations above `limit`, as far as three digits tell.
    #[must_use]
    pub fn count_above(&self, limit: Duration) -> u64 {
        let ns = u64::try_from(limit.as_nanos()).unwrap_or(HIGHEST_NS);
        if ns >= HIGHEST_NS {
            return 0;
        }
        self.count() - self.0.count_between(0, ns)
    }

    /// Returns the mean, or `None` if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_secs_f64(self.0.mean() / 1e9))
    }

    /// Returns the longest duration, or `None` if nothing was counted.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count() > 0).then(|| Duration::from_nanos(self.0.max()))
    }

    /// Returns the distinct durations, ascending, and how often each was
    /// counted; durations within 0.1 % of each other are one.
    pub fn recorded(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.0.iter_recorded().map(|step| {
            (
                Duration::from_nanos(step.value_iterated_to()),
                step.count_at_value(),
            )
        })
    }

    /// Returns the histogram as the library has it, for its own formats.
    pub(super) fn inner(&self) -> &hdrhistogram::Histogram<u64> {
        &self.0
    }

    /// Encodes the histogram in the HdrHistogram V2 format, deflated and in
    /// base64, which the ecosystem's tools read.
    ///
    /// # Errors
    ///
    /// The encoder refuses; no histogram of this module makes it do so.
    pub fn encode(&self) -> Result<String, EncodingError> {
        thread_local! {
            // Its buffer is as large as a histogram, and a run packs thousands.
            static SERIALIZER: RefCell<V2DeflateSerializer> =
                RefCell::new(V2DeflateSerializer::new());
        }
        let mut bytes = Vec::new();
        SERIALIZER
            .with_borrow_mut(|serializer| serializer.serialize(&self.0, &mut bytes))
            .map_err(|error| EncodingError(error.to_string()))?;
        Ok(STANDARD.encode(bytes))
    }

    /// Decodes what [`Self::encode`] wrote, here or in another program.
    ///
    /// # Errors
    ///
    /// The text is not base64 of such a histogram, or its bounds differ.
    pub fn decode(text: &str) -> Result<Self, EncodingError> {
        let mut histogram = Self::new();
        histogram.add_written(text)?;
        Ok(histogram)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("max", &self.max())
            .finish()
    }
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode()
            .map_err(S::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Histogram {
    fn schema_name() -> Cow<'static, str> {
        "Histogram".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^[A-Za-z0-9+/]+={0,2}$",
            "description": "An HdrHistogram of nanoseconds, V2 deflated, in base64.",
        })
    }
}

/// A histogram could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error("not an HDR histogram in V2-deflate and base64: {0}")]
pub struct EncodingError(String);

impl EncodingError {
    /// Makes one of what a format's own library said.
    pub(super) fn new(error: &dyn fmt::Display) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole_bit_for_bit() {
        let mut whole = Histogram::new();
        let mut parts = vec![Histogram::new(); 4];
        let mut ns: u64 = 1;
        for i in 0..20_000_usize {
            ns = ns
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let duration = Duration::from_nanos(ns >> 30);
            whole.record(duration);
            parts[i % 4].record(duration);
        }
        let mut merged = Histogram::new();
        for part in &parts {
            merged.add(&Histogram::decode(&part.encode().unwrap()).unwrap());
        }
        assert_eq!(merged, whole);
        assert_eq!(merged.encode().unwrap(), whole.encode().unwrap());
    }

    #[test]
    fn quantiles_are_within_a_thousandth() {
        let mut histogram = Histogram::new();
        for us in 1..=10_000 {
            histogram.record(Duration::from_micros(us));
        }
        for (q, us) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let found = histogram.quantile(q).unwrap().as_nanos() as f64 / 1e3;
            assert!(
                (found / us - 1.0).abs() < 0.001_1,
                "{q}: {found} instead of {us}"
            );
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantiles() {
        let empty = Histogram::new();
        assert_eq!(empty.quantile(0.5), None);
        assert_eq!(empty.mean(), None);
        assert_eq!(empty.max(), None);
    }

    #[test]
    fn durations_beyond_the_bounds_are_counted_at_the_bounds() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::ZERO);
        histogram.record(Duration::from_secs(100_000));
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.quantile(0.0), Some(Duration::from_nanos(1)));
        assert!(histogram.max().unwrap() >= Duration::from_secs(3_590));
    }

    #[test]
    fn foreign_text_is_refused() {
        for text in ["", "!", "AAAA"] {
            assert!(Histogram::decode(text).is_err(), "{text:?}");
        }
    }
}
