//! What did all agents together measure, as if they were one machine?
//!
//! Times and counts come from the ledger, so that they hold whatever became of
//! an agent. What is told once, at the end of an agent's load, comes from
//! those that told it: blame, connections, processor time.

use std::time::Duration;

use super::as_ns;
use super::ledger::Ledger;
use super::message::Totals;
use super::schedule::Schedule;
use crate::load::observe::Sets;
use crate::load::open::{OpenMeasured, account};
use crate::record::stages::PARTS;
use crate::record::{
    Blame, CacheFacts, ConnectionFacts, CpuTime, GeneratorHealth, Histogram, Packed, Phases,
    SigningFacts, Stages,
};

/// Puts together what agents told and what those that ended know besides.
#[must_use]
pub(super) fn whole(
    ledger: Ledger,
    totals: &[Option<Totals>],
    schedule: &Schedule,
) -> OpenMeasured {
    let known = || totals.iter().flatten();
    let scheduled: u64 = ledger.slots().iter().map(|slot| slot.scheduled).sum();
    let untold: u64 = ledger
        .slots()
        .iter()
        .zip(totals)
        .filter(|(_, totals)| totals.is_none())
        .map(|(slot, _)| slot.scheduled)
        .sum();
    let longest = |of: fn(&Phases) -> u64| known().map(|one| of(&one.phases)).max();
    let phases = Phases {
        warm_up_ns: longest(|phases| phases.warm_up_ns).unwrap_or_else(|| as_ns(schedule.warm_up)),
        measured_ns: longest(|phases| phases.measured_ns)
            .unwrap_or_else(|| as_ns(schedule.measure)),
        drain_ns: longest(|phases| phases.drain_ns).unwrap_or_default(),
    };
    let seconds = Duration::from_nanos(phases.measured_ns.max(1)).as_secs_f64();
    let (timeline, sums) = ledger.finish();
    let account = account(&sums, scheduled, |stages| complete(stages, known()));
    OpenMeasured {
        phases,
        accounts: account.accounts,
        outcomes: account.outcomes,
        slices: timeline.finish(),
        blame: blame(known()),
        blamed_ns: known().map(|one| one.blamed_ns).sum(),
        began_late_ns: known().map(|one| one.began_late_ns).max().unwrap_or(0),
        opened: known().fold(ConnectionFacts::default(), |sum, one| ConnectionFacts {
            connections: sum.connections + one.opened.connections,
            tls_full: sum.tls_full + one.opened.tls_full,
            tls_resumed: sum.tls_resumed + one.opened.tls_resumed,
        }),
        signing: known().fold(SigningFacts::default(), |sum, one| SigningFacts {
            mode: one.signing.mode.clone(),
            threads: sum.threads + one.signing.threads,
            signed: sum.signed + one.signing.signed,
            under_runs: sum.under_runs + one.signing.under_runs,
        }),
        retries: known()
            .filter_map(|one| one.retries)
            .reduce(|mut sum, one| {
                sum.add(one);
                sum
            }),
        cache: known()
            .filter_map(|one| one.cache)
            .reduce(|sum, one| CacheFacts {
                wanted_hit_ratio: one.wanted_hit_ratio,
                found: sum.found + one.found,
                joined: sum.joined + one.joined,
                fetched: sum.fetched + one.fetched,
            }),
        health: known().fold(GeneratorHealth::default(), |worst, one| GeneratorHealth {
            run_queue_share: worst.run_queue_share.max(one.health.run_queue_share),
            busy_share: worst.busy_share.max(one.health.busy_share),
            steal_share: worst.steal_share.max(one.health.steal_share),
            throttled: worst.throttled + one.health.throttled,
            wall_step_ns: worst.wall_step_ns.max(one.health.wall_step_ns),
        }),
        latencies: account.latencies,
        cpu: known().fold(CpuTime::default(), |sum, one| CpuTime {
            client_ns: sum.client_ns + one.cpu.client_ns,
            calls_ns: None,
            broker_ns: None,
            process_ns: sum.process_ns + one.cpu.process_ns,
        }),
        offered_per_s: scheduled as f64 / seconds,
        // Whoever was lost told of what it had sent.
        sent_per_s: known().map(|one| one.sent_per_s).sum::<f64>() + untold as f64 / seconds,
        was_stopped: known().any(|one| one.was_stopped),
    }
}

/// Adds the parts up that are measured for whole loads alone.
fn complete<'a>(stages: &mut Stages, totals: impl Iterator<Item = &'a Totals>) {
    let mut sums: [Histogram; PARTS] = std::array::from_fn(|_| Histogram::new());
    for part in totals
        .flat_map(|one| &one.outcomes)
        .filter(|part| part.outcome == "answered")
    {
        for (sum, text) in sums.iter_mut().zip(&part.parts).skip(Sets::PARTS) {
            if !text.is_empty() {
                sum.add_written(text)
                    .expect("the ledger read it before it took it");
            }
        }
    }
    let own: Vec<Packed> = stages.parts().into_iter().cloned().collect();
    let parts = std::array::from_fn(|at| match at {
        at if at < Sets::PARTS => own[at].clone(),
        at => Packed::of(&sums[at]),
    });
    *stages = Stages::of_parts(parts);
}

/// Weighs the agents' shares by the time that they are shares of.
fn blame<'a>(totals: impl Iterator<Item = &'a Totals> + Clone) -> Blame {
    let whole: f64 = totals.clone().map(|one| one.blamed_ns as f64).sum();
    totals.fold(Blame::default(), |sum, one| {
        let weight = one.blamed_ns as f64 / whole.max(1.0);
        Blame {
            target: sum.target + weight * one.blame.target,
            connections: sum.connections + weight * one.blame.connections,
            signing: sum.signing + weight * one.blame.signing,
            generator: sum.generator + weight * one.blame.generator,
        }
    })
}
