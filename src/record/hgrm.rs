//! How do plotters of percentiles read a histogram?
//!
//! As the percentile distribution that the HdrHistogram family prints
//! (`.hgrm`), in milliseconds.

use std::fmt::{self, Write};

use super::Histogram;

/// Lines for each halving of the distance to 100 %, as the family's tools have.
const TICKS_A_HALVING: u32 = 5;

/// Nanoseconds in the unit of the output.
const NS_PER_MS: f64 = 1e6;

/// Renders a histogram as a percentile distribution in milliseconds.
#[must_use]
pub fn hgrm(histogram: &Histogram) -> String {
    let mut out = String::new();
    write_all(&mut out, histogram).expect("writing to a string does not fail");
    out
}

fn write_all(out: &mut String, histogram: &Histogram) -> fmt::Result {
    let inner = histogram.inner();
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut total = 0;
    for step in inner.iter_quantiles(TICKS_A_HALVING) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to() as f64 / NS_PER_MS;
        let quantile = step.quantile_iterated_to();
        write!(out, "{value:>12.6} {quantile:>2.12} {total:>10}")?;
        if quantile < 1.0 {
            writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out)?;
        }
    }
    writeln!(
        out,
        "#[Mean    = {:>12.6}, StdDeviation   = {:>12.6}]",
        inner.mean() / NS_PER_MS,
        inner.stdev() / NS_PER_MS
    )?;
    writeln!(
        out,
        "#[Max     = {:>12.6}, Total count    = {:>12}]",
        inner.max() as f64 / NS_PER_MS,
        inner.len()
    )?;
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        inner.buckets(),
        inner.distinct_values() / usize::from(inner.buckets()).max(1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample;

    #[test]
    fn lines_ascend_and_the_last_holds_everything() {
        let text = hgrm(&sample::around(3, 10_000));
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|field| field.parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(rows.len() > 20);
        for pair in rows.windows(2) {
            assert!(pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1]);
            assert!(pair[0][2] <= pair[1][2]);
        }
        let last = rows.last().unwrap();
        assert!((last[1] - 1.0).abs() < 1e-12 && (last[2] - 10_000.0).abs() < 0.5);
        assert!(text.contains("Total count    =        10000]"));
    }

    #[test]
    fn an_empty_histogram_has_no_lines() {
        let text = hgrm(&Histogram::new());
        assert!(text.contains("Total count    =            0]"));
    }
}
