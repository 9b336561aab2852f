//! How do habits compare at a glance?
//!
//! Two pictures for a run whose workers kept tokens: what a call costs the
//! client, on a scale in which each mark is ten times the one before, since
//! habits differ by orders of magnitude; and how many asked for one token when
//! it expired, one block for each.

use std::fmt::Write;
use std::time::Duration;

use crate::record::StepRecord;
use crate::units::{Grouped, Shown};

/// Columns for a tenfold cost.
const DECADE: usize = 9;

/// The most blocks of a herd that are drawn one by one.
const MOST: usize = 64;

/// Draws both pictures; nothing for runs without herds.
pub(super) fn habit_bars(steps: &[StepRecord]) -> String {
    let mut out = String::new();
    if !steps
        .iter()
        .any(|step| step.herds.is_some_and(|herds| herds.later > 0))
    {
        return out;
    }
    let width = steps
        .iter()
        .map(|step| step.name.chars().count())
        .max()
        .unwrap_or_default();
    let costs: Vec<(&str, Duration)> = steps
        .iter()
        .filter_map(|step| Some((step.name.as_str(), step.client_cpu_per_call()?)))
        .filter(|(_, cost)| !cost.is_zero())
        .collect();
    if let Some(least) = costs.iter().map(|(_, cost)| *cost).min() {
        let floor = least.as_secs_f64().log10().floor();
        let _ = writeln!(out, "\nCPU time of a call, ten times as much at each mark");
        for (name, cost) in &costs {
            let decades = cost.as_secs_f64().log10() - floor;
            let bar = bar(columns(decades * DECADE as f64));
            let _ = writeln!(out, "  {name:<width$} {bar} {}", Shown(*cost));
        }
    }
    let _ = writeln!(out, "\nRequests when one token expires, on average");
    for step in steps {
        let Some((herds, mean)) = step
            .herds
            .and_then(|herds| Some((herds, herds.later_mean()?)))
        else {
            continue;
        };
        let blocks = "■".repeat(columns(mean.round()).clamp(1, MOST));
        let how = if herds.refreshes > 0 {
            ", in the background"
        } else {
            ""
        };
        let _ = writeln!(
            out,
            "  {:<width$} {blocks} {}{how}",
            step.name,
            Grouped(mean)
        );
    }
    out
}

/// Draws a bar with a mark at the end of each decade that it fills.
fn bar(length: usize) -> String {
    (1..=length.max(1))
        .map(|column| if column % DECADE == 0 { '┼' } else { '█' })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a negative or huge length saturates"
)]
fn columns(length: f64) -> usize {
    length.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        CpuTime, Habits, Herds, KeyHabit, Latencies, Phases, StepRecord, TokenHabit,
    };

    fn step(name: &str, calls_ns: u64, herds: Option<Herds>) -> StepRecord {
        StepRecord {
            name: name.into(),
            habits: Habits {
                key: KeyHabit::Reuse,
                token: TokenHabit::Cache,
            },
            workers: 8,
            threads: 8,
            phases: Phases::default(),
            outcomes: [("answered".to_owned(), 10)].into(),
            assertions_signed: 0,
            requests_sent: 0,
            abandoned: 0,
            latencies: Latencies::default(),
            cpu: CpuTime {
                calls_ns: Some(calls_ns),
                ..CpuTime::default()
            },
            slices: Vec::new(),
            herds,
            open: None,
        }
    }

    #[test]
    fn a_cost_ten_times_as_high_is_a_decade_longer_and_each_request_a_block() {
        let herds = |fetches| {
            Some(Herds {
                later: 2,
                later_fetches: fetches,
                ..Herds::default()
            })
        };
        let drawn = habit_bars(&[
            step("dear", 20_000, None),
            step("herd", 2_000, herds(10)),
            step("one", 200, herds(2)),
        ]);
        let lengths: Vec<usize> = drawn
            .lines()
            .filter(|line| line.contains('█'))
            .map(|line| line.matches(['█', '┼']).count())
            .collect();
        // 20 ns is 0.3 decades above 10 ns.
        assert_eq!(lengths, [21, 12, 3]);
        let blocks: Vec<usize> = drawn
            .lines()
            .filter(|line| line.contains('■'))
            .map(|line| line.matches('■').count())
            .collect();
        assert_eq!(blocks, [5, 1]);
    }

    #[test]
    fn a_run_whose_tokens_did_not_expire_has_no_picture() {
        assert!(
            habit_bars(&[step("x", 10, None), step("y", 10, Some(Herds::default()))]).is_empty()
        );
    }
}
