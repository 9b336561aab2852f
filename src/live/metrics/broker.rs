//! What does a monitoring system get of a broker?

use serde_json::Value as Json;

use super::instrument::{Instrument, Value};
use super::process;
use crate::broker::replay::ENTRY_BYTES;
use crate::broker::traffic::Reading;
use crate::oauth::Refusal;

/// Returns the instruments of a broker.
#[must_use]
pub fn of_broker(reading: Reading) -> Vec<Instrument> {
    let Reading {
        requests,
        token_times,
        replay_entries,
        stats,
    } = reading;
    let requests = requests
        .into_iter()
        .map(|(place, ending, count)| {
            let labels = vec![
                ("endpoint", place.name().to_owned()),
                ("outcome", ending.name().to_owned()),
            ];
            (labels, Value::count(count))
        })
        .collect();
    let reasons: Vec<(String, u64)> = stats
        .refused
        .iter()
        .map(|(refusal, count)| (name_of(*refusal), *count))
        .collect();
    let mut all = vec![
        Instrument::of(
            "mintmark_broker_requests",
            "Requests that were answered, by endpoint and how.",
            requests,
        ),
        Instrument::counters(
            "mintmark_broker_refusals",
            "Requests that were refused, by reason.",
            "reason",
            reasons.iter().map(|(name, count)| (name.as_str(), *count)),
        ),
        Instrument::single(
            "mintmark_broker_replay_entries",
            "Assertions that the replay cache remembers.",
            Value::Gauge(replay_entries as f64),
        ),
        Instrument::single(
            "mintmark_broker_replay_bytes",
            "What the replay cache takes, reckoned from its entries.",
            Value::Gauge((replay_entries * ENTRY_BYTES) as f64),
        ),
        Instrument::single(
            "mintmark_broker_connections",
            "Connections that were accepted.",
            Value::count(stats.connections),
        ),
        Instrument::single(
            "mintmark_broker_open_connections",
            "Connections that are open.",
            Value::Gauge(stats.open_connections as f64),
        ),
        Instrument::counters(
            "mintmark_broker_connection_errors",
            "Connections that could not be accepted, or agreed on no TLS.",
            "stage",
            [
                ("accept", stats.accept_errors),
                ("handshake", stats.handshake_errors),
            ]
            .into_iter(),
        ),
    ];
    if let Some(times) = token_times {
        all.push(Instrument::single(
            "mintmark_broker_token_duration_seconds",
            "From the head of a token request to its answer.",
            Value::Histogram(Box::new(times)),
        ));
    }
    all.extend(process::instruments());
    all
}

/// Returns a reason's name, as records have it.
fn name_of(refusal: Refusal) -> String {
    match serde_json::to_value(refusal) {
        Ok(Json::String(name)) => name,
        _ => String::new(),
    }
}
