//! How does a comparison of backends look to a spreadsheet?
//!
//! One row a case, units in the headings, a full stop in numbers; an absent
//! figure is an empty field (RFC 4180).

use std::fmt::Write;

use crate::bench::{BenchRecord, Bounded, CaseRecord};

const HEADINGS: [&str; 34] = [
    "backend",
    "version",
    "algorithm",
    "key_bits",
    "threads",
    "key_policy",
    "claims_bytes",
    "is_reference",
    "rank",
    "signatures",
    "per_core_per_s",
    "per_core_p10_per_s",
    "per_core_p90_per_s",
    "mean_per_core_per_s",
    "total_per_s",
    "achieved_per_s",
    "utilisation",
    "process_per_thread_cpu",
    "speed",
    "speed_lower",
    "speed_upper",
    "mean_speed",
    "mean_speed_lower",
    "mean_speed_upper",
    "p50_ns",
    "p90_ns",
    "p99_ns",
    "p999_ns",
    "max_ns",
    "load_ns",
    "decrypt_and_load_ns",
    "rust_allocations",
    "rust_allocated_bytes",
    "cycles",
];

/// Renders the cases of a comparison as CSV.
#[must_use]
pub fn bench_csv(record: &BenchRecord) -> String {
    let mut out = HEADINGS.join(",");
    out.push_str("\r\n");
    for case in &record.cases {
        let version = record
            .backends
            .iter()
            .find(|facts| facts.name == case.case.backend)
            .map_or("", |facts| facts.version.as_str());
        out.push_str(&fields(case, version).join(","));
        out.push_str("\r\n");
    }
    out
}

fn fields(case: &CaseRecord, version: &str) -> Vec<String> {
    let real = |value: f64| {
        let mut text = String::new();
        let _ = write!(text, "{value}");
        text
    };
    let maybe = |value: Option<f64>| value.map(real).unwrap_or_default();
    let ns = |value: Option<u64>| value.map(|ns| ns.to_string()).unwrap_or_default();
    let bounded = |value: Option<Bounded>| {
        [
            maybe(value.map(|bounded| bounded.ratio)),
            maybe(value.map(|bounded| bounded.lower)),
            maybe(value.map(|bounded| bounded.upper)),
        ]
    };
    let mut fields = vec![
        quoted(&case.case.backend),
        quoted(version),
        case.case.algorithm.to_string(),
        case.case.key_bits.to_string(),
        case.case.threads.to_string(),
        case.case.key_policy.to_string(),
        case.case.claims_bytes.to_string(),
        case.is_reference.to_string(),
        case.rank.to_string(),
        case.signatures.to_string(),
        real(case.per_core_per_s),
        real(case.per_core_spread_per_s.0),
        real(case.per_core_spread_per_s.1),
        real(case.mean_per_core_per_s),
        real(case.total_per_s),
        real(case.achieved_per_s),
        real(case.utilisation),
        real(case.process_per_thread_cpu),
    ];
    fields.extend(bounded(case.speed.map(|speed| speed.floor)));
    fields.extend(bounded(case.speed.map(|speed| speed.mean)));
    fields.extend([
        ns(case.latency.p50_ns),
        ns(case.latency.p90_ns),
        ns(case.latency.p99_ns),
        ns(case.latency.p999_ns),
        case.latency.max_ns.to_string(),
        ns(case.load_ns),
        ns(case.decrypt_and_load_ns),
        maybe(case.rust_allocations),
        maybe(case.rust_allocated_bytes),
        maybe(case.cycles),
    ]);
    fields
}

pub(super) fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::sample;

    #[test]
    fn every_row_has_every_field() {
        let record = sample();
        let text = bench_csv(&record);
        let rows: Vec<&str> = text.trim_end().split("\r\n").collect();
        assert_eq!(rows.len(), 1 + record.cases.len());
        for row in &rows {
            assert_eq!(row.split(',').count(), HEADINGS.len(), "{row}");
        }
        assert!(rows[1].starts_with("aws-lc-rs,1.19.0,RS256,2048,1,reused,286,false,1,"));
    }

    #[test]
    fn a_text_with_a_comma_is_quoted() {
        assert_eq!(quoted("a,b \"c\""), "\"a,b \"\"c\"\"\"");
        assert_eq!(quoted("plain"), "plain");
    }
}
