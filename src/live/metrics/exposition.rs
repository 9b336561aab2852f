//! How are instruments written for Prometheus?
//!
//! In the text format of OpenMetrics 1.0, which Prometheus and its relatives
//! read. Histograms are classic ones.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::instrument::{Instrument, Value};
use crate::record::Buckets;

/// The media type of what [`exposition`] returns.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes instruments, those without a figure left out.
///
/// # Errors
///
/// The encoder refuses, which no text of this module makes it do.
pub fn exposition(instruments: Vec<Instrument>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Written(instruments)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Written(Vec<Instrument>);

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for instrument in &self.0 {
            let Some((_, first)) = instrument.points.first() else {
                continue;
            };
            let mut family =
                encoder.encode_descriptor(instrument.name, instrument.help, None, kind(first))?;
            for (labels, value) in &instrument.points {
                if labels.is_empty() {
                    write(&mut family, value)?;
                } else {
                    write(&mut family.encode_family(labels)?, value)?;
                }
            }
        }
        Ok(())
    }
}

fn kind(value: &Value) -> MetricType {
    match value {
        Value::Counter(_) => MetricType::Counter,
        Value::Gauge(_) => MetricType::Gauge,
        Value::Histogram(_) => MetricType::Histogram,
    }
}

fn write(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Counter(count) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram(buckets) => encoder.encode_histogram::<NoLabelSet>(
            buckets.sum().as_secs_f64(),
            buckets.count(),
            &parts(buckets),
            None,
        ),
    }
}

/// Returns the bounds in seconds, and how many lie between each and the one
/// before.
fn parts(buckets: &Buckets) -> Vec<(f64, u64)> {
    let seconds = |(bound, count): (Option<std::time::Duration>, u64)| {
        (
            bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()),
            count,
        )
    };
    buckets.parts().map(seconds).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Histogram;

    #[test]
    fn instruments_are_written_as_openmetrics_has_it() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_millis(40));
        histogram.record(Duration::from_secs(90));
        let mut buckets = Buckets::default();
        buckets.add(&histogram);
        let text = exposition(vec![
            Instrument::counters(
                "m_requests",
                "Requests.",
                "outcome",
                [("answered", 7)].into_iter(),
            ),
            Instrument::counters("m_none", "Never.", "event", std::iter::empty()),
            Instrument::single("m_lag_seconds", "Lag.", Value::Histogram(Box::new(buckets))),
            Instrument::single("m_in_flight", "Under way.", Value::Gauge(3.0)),
        ])
        .unwrap();
        for line in [
            "# TYPE m_requests counter",
            "m_requests_total{outcome=\"answered\"} 7.0",
            "m_lag_seconds_bucket{le=\"0.03\"} 0",
            "m_lag_seconds_bucket{le=\"0.05\"} 1",
            "m_lag_seconds_bucket{le=\"60.0\"} 1",
            "m_lag_seconds_bucket{le=\"+Inf\"} 2",
            "m_lag_seconds_count 2",
            "m_in_flight 3.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("m_none"));
        assert!(text.ends_with("# EOF\n"));
    }
}
