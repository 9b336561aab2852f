//! How does what all threads measured become one account?

use std::collections::BTreeMap;
use std::time::Duration;

use super::assertions::Mode;
use super::collect::Collector;
use super::crew::LaneResult;
use super::open::OpenMeasured;
use super::open_plan::{Model, OpenPlan};
use super::sets::{Sets, Sums};
use super::supervise::Watched;
use crate::record::{
    Accounts, Blame, CacheFacts, Histogram, Latencies, OpenSlice, Outcome, OutcomeStages, Packed,
    SigningFacts, Stages,
};

/// Puts together what all threads measured. The schedule was put off by
/// `put_off_ns`.
pub(super) fn measured(
    plan: &OpenPlan,
    collector: Collector,
    lanes: &LaneResult,
    watched: &Watched,
    put_off_ns: u64,
) -> OpenMeasured {
    let (slices, totals, scheduled) = collector.finish();
    let Account {
        accounts,
        latencies,
        outcomes,
    } = account(&totals, scheduled, |stages| lanes.journey.pack_into(stages));
    let seconds = (watched.phases.measured_ns.max(1)) as f64 / 1e9;
    let offered_per_s = match &plan.model {
        Model::Open(_) => scheduled as f64 / seconds,
        Model::Closed { .. } => 0.0,
    };
    OpenMeasured {
        phases: watched.phases,
        accounts,
        outcomes,
        sent_per_s: sent_in_time(&slices, &totals, scheduled) / seconds,
        slices,
        blame: blame(lanes.sums),
        blamed_ns: u64::try_from(blamed(lanes.sums)).unwrap_or(u64::MAX),
        began_late_ns: put_off_ns + lanes.woke_late_ns,
        opened: lanes.journey.opened,
        signing: SigningFacts {
            mode: match plan.signing {
                Mode::Inline => "inline",
                Mode::Mint => "mint",
                Mode::Preminted => "preminted",
                Mode::Repeat => "repeat",
            }
            .to_owned(),
            threads: if plan.signing == Mode::Mint {
                plan.signing_threads
            } else {
                0
            },
            signed: lanes.signed,
            under_runs: lanes.under_runs,
        },
        retries: plan.retries.map(|_| lanes.retries),
        cache: plan.cache.map(|cache| {
            let [found, joined, fetched] = lanes.ways;
            CacheFacts {
                wanted_hit_ratio: cache.hits,
                found,
                joined,
                fetched,
            }
        }),
        health: watched.health,
        latencies,
        cpu: watched.cpu,
        offered_per_s,
        was_stopped: watched.was_stopped,
    }
}

/// What became of all requests of a load.
pub struct Account {
    /// How many ended in which way.
    pub accounts: Accounts,
    /// Latencies as every step has them.
    pub latencies: Latencies,
    /// The parts of their time, by outcome.
    pub outcomes: Vec<OutcomeStages>,
}

/// Makes the account of a load of which `scheduled` requests were due. What is
/// measured for the whole load alone is put into the parts of answered ones by
/// `complete`.
pub fn account(
    totals: &BTreeMap<String, Sets>,
    scheduled: u64,
    complete: impl Fn(&mut Stages),
) -> Account {
    let mut accounts = Accounts {
        scheduled,
        ..Accounts::default()
    };
    let mut latencies = Latencies::default();
    let mut outcomes = Vec::new();
    for (name, sets) in totals {
        let count = sets.response.count();
        let mut stages = sets.pack();
        latencies.signing.add(&sets.signing);
        match name.as_str() {
            "answered" => {
                accounts.answered += count;
                latencies.response.add(&sets.response);
                latencies.exchange.add(&sets.service);
                complete(&mut stages);
            }
            name if Outcome::is_name_of_token(name) => {
                accounts.answered += count;
                latencies.response.add(&sets.response);
            }
            "dropped" => accounts.dropped += count,
            _ => {
                accounts.failed += count;
                latencies.failed.add(&sets.response);
            }
        }
        outcomes.push(OutcomeStages {
            outcome: name.clone(),
            count,
            stages,
        });
    }
    let ended = accounts.answered + accounts.failed + accounts.dropped;
    accounts.unfinished = scheduled.saturating_sub(ended);
    Account {
        accounts,
        latencies,
        outcomes,
    }
}

/// Counts the requests that were sent within the measured phase: all that
/// ended but those that had waited so long that they were sent after it.
///
/// The wait before sending is the response time less the service time; a
/// request of the last slice that waited for longer than half of it was,
/// on average, sent too late.
fn sent_in_time(slices: &[OpenSlice], totals: &BTreeMap<String, Sets>, scheduled: u64) -> f64 {
    let dropped = totals
        .get("dropped")
        .map_or(0, |sets| sets.response.count());
    let Some(last) = slices.last() else {
        return 0.0;
    };
    let late: u64 = last
        .outcomes
        .iter()
        .map(|of| {
            let waits = of.stages.connection_wait.open();
            waits.count_above(Duration::from_nanos(last.length_ns / 2))
        })
        .sum();
    (scheduled - dropped.min(scheduled)).saturating_sub(late) as f64
}

fn blame(sums: Sums) -> Blame {
    let whole = blamed(sums).max(1) as f64;
    Blame {
        target: sums.target as f64 / whole,
        connections: sums.connections as f64 / whole,
        signing: sums.signing as f64 / whole,
        generator: sums.generator as f64 / whole,
    }
}

fn blamed(sums: Sums) -> u128 {
    sums.target + sums.connections + sums.signing + sums.generator
}

/// Merges packed histograms.
#[must_use]
pub fn merged<'a>(parts: impl Iterator<Item = &'a Packed>) -> Histogram {
    let mut sum = Histogram::new();
    for part in parts.filter(|part| !part.is_empty()) {
        sum.add(&part.open());
    }
    sum
}
