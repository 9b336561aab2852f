//! What does a push look like on the wire?
//!
//! The messages of OpenTelemetry's `metrics.proto`, version 1, as far as they
//! are sent here; fields have the numbers of that file. Written by hand, since
//! the figures are counted already: an SDK would want each request for itself.

use prost::{Message, Oneof};

use super::super::instrument::{Instrument, Labels, Unit, Value};
use crate::record::Buckets;

/// Counts are those since the start.
const CUMULATIVE: i32 = 2;

/// From when to when figures are counted, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub started_ns: u64,
    pub now_ns: u64,
}

/// `ExportMetricsServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Push {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    string_value: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    as_double: Option<f64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

impl Push {
    /// Writes instruments down.
    pub fn of(instruments: &[Instrument], span: Span) -> Self {
        let attribute = |key: &str, value: &str| attribute(key, value.to_owned());
        Self {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(Resource {
                    attributes: vec![
                        attribute("service.name", env!("CARGO_PKG_NAME")),
                        attribute("service.version", env!("CARGO_PKG_VERSION")),
                    ],
                }),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(Scope {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    metrics: instruments
                        .iter()
                        .filter_map(|instrument| metric(instrument, span))
                        .collect(),
                }],
            }],
        }
    }
}

/// Writes one instrument down; its figures are of one kind.
fn metric(instrument: &Instrument, span: Span) -> Option<Metric> {
    let (_, first) = instrument.points.first()?;
    let points = instrument.points.iter();
    let numbers = || {
        points.clone().filter_map(|(labels, value)| match value {
            Value::Counter(number) | Value::Gauge(number) => {
                Some(number_point(labels, *number, span))
            }
            Value::Histogram(_) => None,
        })
    };
    let data = match first {
        Value::Gauge(_) => Data::Gauge(Gauge {
            data_points: numbers().collect(),
        }),
        Value::Counter(_) => Data::Sum(Sum {
            data_points: numbers().collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Value::Histogram(_) => Data::Histogram(Histogram {
            data_points: points
                .clone()
                .filter_map(|(labels, value)| match value {
                    Value::Histogram(buckets) => Some(histogram_point(labels, buckets, span)),
                    Value::Counter(_) | Value::Gauge(_) => None,
                })
                .collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Some(Metric {
        name: instrument.name.to_owned(),
        description: instrument.help.to_owned(),
        unit: match instrument.unit {
            Unit::Number => "1",
            Unit::Seconds => "s",
            Unit::Bytes => "By",
        }
        .to_owned(),
        data: Some(data),
    })
}

fn number_point(labels: &Labels, number: f64, span: Span) -> NumberPoint {
    NumberPoint {
        start_time_unix_nano: span.started_ns,
        time_unix_nano: span.now_ns,
        as_double: Some(number),
        attributes: attributes(labels),
    }
}

fn histogram_point(labels: &Labels, buckets: &Buckets, span: Span) -> HistogramPoint {
    HistogramPoint {
        start_time_unix_nano: span.started_ns,
        time_unix_nano: span.now_ns,
        count: buckets.count(),
        sum: Some(buckets.sum().as_secs_f64()),
        bucket_counts: buckets.parts().map(|(_, count)| count).collect(),
        explicit_bounds: buckets
            .parts()
            .filter_map(|(bound, _)| bound.map(|bound| bound.as_secs_f64()))
            .collect(),
        attributes: attributes(labels),
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels
        .iter()
        .map(|(key, value)| attribute(key, value.clone()))
        .collect()
}

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            string_value: Some(value),
        }),
    }
}
