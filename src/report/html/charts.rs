//! Which points do the charts of a page draw?
//!
//! Plain numbers for the page's script: milliseconds, seconds, rates. Bins of
//! heat maps are wide enough to see, twelve a decade; the histograms behind
//! them are finer.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::load::objective::Objective;
use crate::record::{Histogram, RunDocument, StepRecord};
use crate::report::summary::Summary;
use crate::report::summary::slices::slices;
use crate::report::summary::{response_of, service_of};

/// Points of a curve of percentiles for each factor of ten in rarity.
const POINTS_A_DECADE: i32 = 24;

/// Points of a curve at most: a share of one in 10^18 is beyond any count.
const MOST_POINTS: i32 = 18 * POINTS_A_DECADE;

/// Bins of a heat map for each factor of ten in time.
const BINS_A_DECADE: f64 = 12.0;

/// Calls beyond a percentile that make it a point of a curve.
const BEYOND: f64 = 10.0;

/// Calls of a slice from which on its 99th percentile is drawn.
const ENOUGH_FOR_P99: u64 = 200;

/// Collects the charts of some results by their names.
pub(super) fn charts(documents: &[RunDocument]) -> Value {
    let mut charts = Map::new();
    let mut beside = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let mut curves = Vec::new();
        for (number, step) in document.steps.iter().enumerate() {
            curves.push((
                format!("{} response", step.name),
                response_of(step),
                number,
                0,
            ));
            if let Some(service) = service_of(step) {
                curves.push((format!("{} service", step.name), service, number, 1));
            }
            beside.push((
                format!("{} {}", document.run, step.name),
                response_of(step),
                at,
                number,
            ));
            over_time(&mut charts, &format!("r{at}-s{number}"), step);
        }
        if !curves.is_empty() {
            charts.insert(format!("r{at}-percentiles"), percentiles(&curves));
        }
        if document.capacity.is_some() {
            charts.insert(format!("r{at}-curve"), curve(document));
        }
    }
    if documents.len() > 1 && !beside.is_empty() {
        charts.insert("beside".into(), percentiles(&beside));
    }
    Value::Object(charts)
}

fn percentiles(curves: &[(String, Histogram, usize, usize)]) -> Value {
    let last = |histogram: &Histogram| (histogram.count() as f64 / BEYOND).max(2.0);
    let top = curves
        .iter()
        .map(|(_, histogram, ..)| last(histogram))
        .fold(2.0, f64::max);
    let mut x: Vec<f64> = (0..=MOST_POINTS)
        .map(|point| 10_f64.powf(f64::from(point) / f64::from(POINTS_A_DECADE)))
        .take_while(|rarity| *rarity <= top)
        .collect();
    // Where the axis has its marks, the curve has points.
    x.push(2.0);
    x.sort_by(f64::total_cmp);
    let series: Vec<Value> = curves
        .iter()
        .map(|(name, histogram, colour, dash)| {
            let y: Vec<Option<f64>> = x
                .iter()
                .map(|rarity| {
                    histogram
                        .quantile(1.0 - 1.0 / rarity)
                        .filter(|_| *rarity <= last(histogram))
                        .map(ms)
                })
                .collect();
            json!({ "name": name, "colour": colour, "dash": dash, "y": y })
        })
        .collect();
    json!({ "kind": "percentiles", "x": x, "series": series })
}

/// Draws rates and the heat map of a step's slices.
fn over_time(charts: &mut Map<String, Value>, id: &str, step: &StepRecord) {
    let slices = slices(step);
    let Some(last) = slices.last() else {
        return;
    };
    let end = seconds(last.start_ns + last.length_ns);
    let rates = |of: &dyn Fn(usize) -> u64| -> Vec<f64> {
        let mut rates: Vec<f64> = slices
            .iter()
            .enumerate()
            .map(|(at, slice)| slice.per_s(of(at)))
            .collect();
        // A step ends where its slice does.
        rates.extend(rates.last().copied());
        rates
    };
    let mut t: Vec<f64> = slices.iter().map(|slice| seconds(slice.start_ns)).collect();
    t.push(end);
    let offered = slices
        .iter()
        .all(|slice| slice.scheduled.is_some())
        .then(|| rates(&|at| slices[at].scheduled.unwrap_or_default()));
    charts.insert(
        format!("{id}-rates"),
        json!({
            "kind": "rates",
            "t": t,
            "offered": offered,
            "answered": rates(&|at| slices[at].answered),
            "failed": rates(&|at| slices[at].failed),
        }),
    );
    let mut cells: BTreeMap<(usize, i32), u64> = BTreeMap::new();
    for (column, slice) in slices.iter().enumerate() {
        for (time, count) in slice.response.recorded() {
            *cells.entry((column, bin_of(time))).or_default() += count;
        }
    }
    let lowest = cells.keys().map(|(_, bin)| *bin).min().unwrap_or(0);
    let highest = cells.keys().map(|(_, bin)| *bin).max().unwrap_or(0);
    let edges: Vec<f64> = (lowest..=highest + 1).map(edge_ms).collect();
    let cells: Vec<Value> = cells
        .into_iter()
        .map(|((column, bin), count)| json!([column, bin - lowest, count]))
        .collect();
    let quantiles = |q: f64, least: u64| -> Vec<Option<f64>> {
        slices
            .iter()
            .map(|slice| {
                slice
                    .response
                    .quantile(q)
                    .filter(|_| slice.response.count() >= least)
                    .map(ms)
            })
            .collect()
    };
    charts.insert(
        format!("{id}-heat"),
        json!({
            "kind": "heat",
            "t": t,
            "edges": edges,
            "cells": cells,
            "p50": quantiles(0.5, 1),
            "p99": quantiles(0.99, ENOUGH_FOR_P99),
        }),
    );
}

/// Draws the latency of a search by its rates.
fn curve(document: &RunDocument) -> Value {
    let rates = Summary::of(document).rates;
    let search = document.capacity.as_ref();
    let objective: Option<Objective> = search.and_then(|search| search.objective.parse().ok());
    let times =
        |pick: &dyn Fn(&crate::report::summary::Percentiles) -> Option<u64>| -> Vec<Option<f64>> {
            rates
                .iter()
                .map(|line| {
                    let ns = pick(line.response.as_ref()?)?;
                    Some(ms(Duration::from_nanos(ns)))
                })
                .collect()
        };
    json!({
        "kind": "curve",
        "rates": rates.iter().map(|line| line.per_s).collect::<Vec<_>>(),
        "p50": times(&|times| times.p50_ns),
        "p99": times(&|times| times.p99_ns),
        "limit_ms": objective.map(|objective| ms(objective.limit)),
        "sustains": search.and_then(|search| search.answer.sustains_per_s),
    })
}

fn ms(time: Duration) -> f64 {
    // Three significant digits are kept; more would only make the page longer.
    let ms = time.as_secs_f64() * 1e3;
    format!("{ms:.3e}").parse().unwrap_or(ms)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[allow(clippy::cast_possible_truncation)] // Eighteen decades of bins at most.
fn bin_of(time: Duration) -> i32 {
    ((time.as_nanos().max(1) as f64).log10() * BINS_A_DECADE).floor() as i32
}

fn edge_ms(bin: i32) -> f64 {
    10_f64.powf(f64::from(bin) / BINS_A_DECADE) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn a_heat_map_holds_every_answered_call() {
        let document = sample::document();
        let charts = charts(std::slice::from_ref(&document));
        let cells = charts["r0-s0-heat"]["cells"].as_array().unwrap();
        let sum: u64 = cells.iter().map(|cell| cell[2].as_u64().unwrap()).sum();
        assert_eq!(sum, document.steps[0].answered());
        let edges = charts["r0-s0-heat"]["edges"].as_array().unwrap();
        for cell in cells {
            assert!(cell[1].as_u64().unwrap() + 1 < edges.len() as u64);
        }
    }

    #[test]
    fn a_time_lies_within_the_edges_of_its_bin() {
        for ns in [1, 999, 1_000, 1_001, 123_456_789] {
            let time = Duration::from_nanos(ns);
            let (bin, ms) = (bin_of(time), ns as f64 / 1e6);
            assert!(edge_ms(bin) <= ms * (1.0 + 1e-9) && ms < edge_ms(bin + 1));
        }
    }

    #[test]
    fn a_curve_ends_where_ten_calls_are_left() {
        let curves = [("a".to_owned(), sample::around(1, 1_000), 0, 0)];
        let chart = percentiles(&curves);
        let x = chart["x"].as_array().unwrap();
        assert!((x.last().unwrap().as_f64().unwrap() - 100.0).abs() < 1e-6);
        let y = chart["series"][0]["y"].as_array().unwrap();
        assert!(y.iter().all(Value::is_number));
    }
}
