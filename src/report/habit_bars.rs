//! How do habits compare at a glance?
//!
//! A picture in two panels for a run whose workers kept tokens that expired:
//! what a call costs the client, on a scale in which each mark is ten times
//! the one before, since habits differ by orders of magnitude; and how many
//! asked for one token when it expired. It stays within 80 columns.

use std::fmt::Write;
use std::time::Duration;

use crate::record::{Herds, StepRecord};
use crate::units::{Grouped, Shown};

/// Columns for a tenfold cost.
const DECADE: usize = 9;

/// The most blocks of a herd.
const MOST: f64 = 30.0;

/// A cost below which a call did nothing that is worth a clock.
const CHEAP: Duration = Duration::from_micros(10);

/// Did tokens expire while workers kept them?
pub(super) fn has_herds(steps: &[StepRecord]) -> bool {
    let mut herds = steps.iter().filter_map(|step| step.herds);
    herds.any(|herds| herds.later > 0)
}

/// Draws both panels.
pub(super) fn habit_bars(steps: &[StepRecord]) -> String {
    let mut out = String::new();
    let names = steps.iter().map(|step| step.name.chars().count());
    let width = names.max().unwrap_or_default();
    costs(&mut out, steps, width);
    expiries(&mut out, steps, width);
    out
}

fn costs(out: &mut String, steps: &[StepRecord], width: usize) {
    let costs: Vec<(&str, Duration)> = steps
        .iter()
        .filter_map(|step| Some((step.name.as_str(), step.client_cpu_per_call()?)))
        .filter(|(_, cost)| !cost.is_zero())
        .collect();
    let Some(least) = costs.iter().map(|(_, cost)| *cost).min() else {
        return;
    };
    let floor = least.as_secs_f64().log10().floor();
    let _ = writeln!(out, "\nCPU time of a call, ten times as much at each mark");
    for (name, cost) in &costs {
        let decades = cost.as_secs_f64().log10() - floor;
        let bar = bar(columns(decades * DECADE as f64));
        let ratio = costs[0].1.as_secs_f64() / cost.as_secs_f64();
        let than_first = if *name == costs[0].0 {
            String::new()
        } else if ratio >= 1.0 {
            format!(", {} × less", Grouped(ratio))
        } else {
            format!(", {} × more", Grouped(1.0 / ratio))
        };
        let _ = writeln!(out, "  {name:<width$} {bar} {}{than_first}", Shown(*cost));
    }
    let is_apart = steps.iter().any(|step| step.cpu.calls_ns.is_some());
    if is_apart && least < CHEAP {
        let _ = writeln!(
            out,
            "  at a few µs it is a worker that just woke and reads its clock, not the cache"
        );
    }
}

fn expiries(out: &mut String, steps: &[StepRecord], width: usize) {
    let herds: Vec<(&str, Herds, f64)> = steps
        .iter()
        .filter_map(|step| {
            let herds = step.herds?;
            Some((step.name.as_str(), herds, herds.later_mean()?))
        })
        .collect();
    let largest = herds.iter().map(|(.., mean)| *mean).fold(0.0, f64::max);
    let unit = (largest / MOST).ceil().max(1.0);
    let _ = writeln!(
        out,
        "\nRequests when one subject's token expires, a block for {}",
        if unit > 1.0 {
            Grouped(unit).to_string()
        } else {
            "each".to_owned()
        }
    );
    for (name, herds, mean) in herds {
        let blocks = "■".repeat(columns(mean / unit).max(1));
        let _ = write!(out, "  {name:<width$} {blocks} {}", Grouped(mean));
        if herds.later_largest > 1 {
            let _ = write!(out, ", {} at most", herds.later_largest);
        }
        if herds.first_largest > 1 {
            let _ = write!(out, ", {} at the start", herds.first_largest);
        }
        if herds.refreshes > 0 {
            let _ = write!(out, ", in the background");
        }
        if herds.waits > 0 {
            let _ = write!(out, ", {} calls waited", Grouped(herds.waits as f64));
        }
        let _ = writeln!(out);
    }
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
    fn herds_beyond_the_panel_share_blocks() {
        let herds = |fetches| {
            Some(Herds {
                later: 1,
                later_fetches: fetches,
                ..Herds::default()
            })
        };
        let drawn = habit_bars(&[step("huge", 100, herds(300)), step("half", 100, herds(150))]);
        let blocks: Vec<usize> = drawn
            .lines()
            .map(|line| line.matches('■').count())
            .filter(|count| *count > 0)
            .collect();
        assert_eq!(blocks, [30, 15]);
        assert!(drawn.contains("a block for 10"), "{drawn}");
    }

    #[test]
    fn a_run_whose_tokens_did_not_expire_has_no_picture() {
        let steps = [step("x", 10, None), step("y", 10, Some(Herds::default()))];
        assert!(!has_herds(&steps));
    }
}
