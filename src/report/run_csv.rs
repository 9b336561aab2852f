//! How do results look to a spreadsheet?
//!
//! [`run_csv`] has one row a run, step and part of a call's time;
//! [`slices_csv`] one row a slice, for figures over time. Units are in the
//! headings, numbers have a full stop, an absent figure is an empty field
//! (RFC 4180).

use super::bench_csv::quoted;
use super::summary::Summary;
use super::summary::slices::slices;
use crate::record::RunDocument;

const HEADINGS: &str = "run,started_at,scenario,standing,step,model,offered_per_s,goodput_per_s,\
calls,failed,part,count,mean_ns,p50_ns,p90_ns,p99_ns,p999_ns,max_ns";

const SLICE_HEADINGS: &str = "run,step,start_ns,length_ns,scheduled,answered,failed,p50_ns,p90_ns,\
p99_ns,max_ns";

/// Renders the parts of each step's times as CSV.
#[must_use]
pub fn run_csv(summaries: &[Summary]) -> String {
    let mut out = format!("{HEADINGS}\r\n");
    for summary in summaries {
        for step in &summary.steps {
            for part in &step.parts {
                let times = &part.times;
                let fields = [
                    cell(&summary.run),
                    cell(&summary.started_at),
                    cell(&summary.scenario),
                    summary.standing().name().to_owned(),
                    cell(&step.name),
                    step.model.to_owned(),
                    step.offered_per_s
                        .map(|rate| rate.to_string())
                        .unwrap_or_default(),
                    step.goodput_per_s.to_string(),
                    step.calls.to_string(),
                    step.failed.to_string(),
                    cell(part.name),
                    times.count.to_string(),
                    times.mean_ns.to_string(),
                    maybe(times.p50_ns),
                    maybe(times.p90_ns),
                    maybe(times.p99_ns),
                    maybe(times.p999_ns),
                    times.max_ns.to_string(),
                ];
                out.push_str(&fields.join(","));
                out.push_str("\r\n");
            }
        }
    }
    out
}

/// Renders the slices of each step as CSV.
#[must_use]
pub fn slices_csv(documents: &[RunDocument]) -> String {
    let mut out = format!("{SLICE_HEADINGS}\r\n");
    for document in documents {
        for step in &document.steps {
            for slice in slices(step) {
                let at = |q: f64| {
                    slice
                        .response
                        .quantile(q)
                        .map(|time| time.as_nanos().to_string())
                        .unwrap_or_default()
                };
                let fields = [
                    cell(&document.run),
                    cell(&step.name),
                    slice.start_ns.to_string(),
                    slice.length_ns.to_string(),
                    maybe(slice.scheduled),
                    slice.answered.to_string(),
                    slice.failed.to_string(),
                    at(0.5),
                    at(0.9),
                    at(0.99),
                    at(1.0),
                ];
                out.push_str(&fields.join(","));
                out.push_str("\r\n");
            }
        }
    }
    out
}

/// Quotes a text, and keeps spreadsheets from taking it for a formula.
pub(super) fn cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return quoted(&format!("'{text}"));
    }
    quoted(text)
}

fn maybe(number: Option<u64>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn every_row_has_every_field() {
        let document = sample::document();
        let parts = run_csv(&[Summary::of(&document)]);
        let over_time = slices_csv(&[document]);
        for (text, headings, least) in [(parts, HEADINGS, 8), (over_time, SLICE_HEADINGS, 16)] {
            let rows: Vec<_> = text.trim_end().split("\r\n").collect();
            assert!(rows.len() >= least, "{}", rows.len());
            for row in rows {
                // The one name with a comma is quoted.
                let bare = row.replace("\"response, from the intended start\"", "");
                let bare = bare.replace("\"service, from sending\"", "");
                assert_eq!(
                    bare.split(',').count(),
                    headings.split(',').count(),
                    "{row}"
                );
            }
        }
    }

    #[test]
    fn a_name_is_no_formula() {
        assert_eq!(cell("=1+1"), "'=1+1");
        assert_eq!(cell("a,b"), "\"a,b\"");
    }
}
