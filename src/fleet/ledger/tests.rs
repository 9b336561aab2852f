//! Is every request counted once, whatever happens to the messages?

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fleet::message::{Sender, Totals};
use crate::fleet::spool::Spool;
use crate::load::open::account;
use crate::record::{
    Blame, ConnectionFacts, CpuTime, Culprit, GeneratorHealth, Histogram, Packed, Phases,
    SigningFacts, Soundness, Stages, Validity,
};

const RUN: &str = "run";
const SLICE: u64 = 1_000_000_000;
const SLICES: u64 = 12;

fn sender(slot: usize) -> Sender {
    Sender {
        run: RUN.into(),
        slot,
        incarnation: format!("agent-{slot}"),
    }
}

fn empty(agents: usize) -> Ledger {
    let mut ledger = Ledger::new(RUN, agents, SLICE, SLICE * SLICES);
    for slot in 0..agents {
        ledger.expect(slot, &sender(slot).incarnation);
    }
    ledger
}

fn sets(response_ns: &[u64]) -> Sets {
    let mut sets = Sets::default();
    for ns in response_ns {
        for (part, histogram) in sets.parts_mut().into_iter().enumerate() {
            histogram.record(Duration::from_nanos(ns / (part as u64 + 1)));
        }
    }
    sets
}

/// What an agent measures: response times by slice, for two outcomes.
type Measured = Vec<(Vec<u64>, Vec<u64>)>;

fn slice(index: usize, (answered, failed): &(Vec<u64>, Vec<u64>)) -> Slice {
    let part = |name: &str, times: &[u64]| {
        (!times.is_empty()).then(|| Part::of(name, times.len() as u64, &sets(times).pack()))
    };
    Slice {
        start_ns: index as u64 * SLICE,
        length_ns: SLICE,
        scheduled: (answered.len() + failed.len()) as u64,
        outcomes: [part("answered", answered), part("timed_out", failed)]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn totals_of(measured: &Measured) -> Totals {
    let mut sums = BTreeMap::new();
    for (answered, failed) in measured {
        for (name, times) in [("answered", answered), ("timed_out", failed)] {
            if !times.is_empty() {
                let sum: &mut Sets = sums.entry(name.to_owned()).or_default();
                sum.add(&sets(times));
            }
        }
    }
    let scheduled = measured
        .iter()
        .map(|(a, f)| (a.len() + f.len()) as u64)
        .sum();
    let mut tls = Histogram::new();
    tls.record(Duration::from_millis(3));
    // A part that only the whole load knows.
    let account = account(&sums, scheduled, |stages: &mut Stages| {
        stages.tls = Packed::of(&tls);
    });
    Totals {
        phases: Phases::default(),
        scheduled,
        outcomes: account.outcomes.iter().map(Into::into).collect(),
        blame: Blame::default(),
        blamed_ns: 1,
        sent_per_s: 1.0,
        opened: ConnectionFacts::default(),
        signing: SigningFacts::default(),
        retries: None,
        cache: None,
        health: GeneratorHealth::default(),
        cpu: CpuTime::default(),
        began_late_ns: 0,
        calibration: None,
        soundness: Soundness {
            validity: Validity::Valid,
            culprit: Culprit::Target,
            findings: Vec::new(),
        },
        was_stopped: false,
        heard_late_ns: 0,
        changes_heard: 0,
        planned: None,
    }
}

fn end(slot: usize, spool: &Spool, measured: &Measured) -> Vec<u8> {
    Told::End(End {
        of: sender(slot),
        last_seq: spool.last_seq(),
        resent: spool.resent(),
        failed: None,
        totals: Some(Box::new(totals_of(measured))),
    })
    .to_frame()
}

fn measured() -> impl Strategy<Value = Measured> {
    let times = || prop::collection::vec(1_u64..2_000_000_000, 0..12);
    prop::collection::vec((times(), times()), 1..12)
}

/// What a way does to a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    ArrivesTwice,
    IsLost,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Arrives),
        1 => Just(Fate::ArrivesTwice),
        1 => Just(Fate::IsLost),
    ];
    prop::collection::vec(fate, 64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_merge_equals_one_histogram_fed_with_the_same_samples(
        agents in prop::collection::vec(measured(), 1..4),
        fates in fates(),
        order in any::<u64>(),
        gathers in 2_usize..14,
        is_restarted: bool,
    ) {
        let mut stored: Vec<Vec<u8>> = Vec::new();
        let mut spools = Vec::new();
        let mut fates = fates.into_iter().cycle();
        for (slot, of_agent) in agents.iter().enumerate() {
            let mut spool = Spool::new(sender(slot), gathers);
            for (index, times) in of_agent.iter().enumerate() {
                spool.keep(slice(index, times)).unwrap();
            }
            while let Some(message) = spool.next_message() {
                // Acknowledged in any case: a server may lose its store after.
                spool.acknowledged(message.seq);
                let copies = match fates.next().unwrap() {
                    Fate::Arrives => 1,
                    Fate::ArrivesTwice => 2,
                    Fate::IsLost => 0,
                };
                stored.extend((0..copies).map(|_| message.frame.to_vec()));
            }
            prop_assert!(spool.is_told());
            stored.push(end(slot, &spool, of_agent));
            spools.push(spool);
        }
        crate::stats::Random::new(order).shuffle(&mut stored);

        let mut ledger = empty(agents.len());
        let half = stored.len() / 2;
        for frame in &stored[..half] {
            ledger.take(frame);
        }
        if is_restarted {
            // A coordinator that takes over reads everything from the first.
            ledger = empty(agents.len());
        }
        for frame in &stored {
            ledger.take(frame);
        }
        for (slot, spool) in spools.iter_mut().enumerate() {
            let missing = ledger.slots()[slot].missing().unwrap();
            for message in spool.again(&missing) {
                prop_assert_eq!(ledger.take(&message.frame), Taken::Merged);
                prop_assert_eq!(ledger.take(&message.frame), Taken::Duplicate);
            }
            prop_assert!(ledger.slots()[slot].is_whole());
            prop_assert_eq!(ledger.slots()[slot].is_exact(), Some(true));
        }
        prop_assert_eq!(ledger.facts.rejected + ledger.facts.stale, 0);

        let mut one = BTreeMap::new();
        for (answered, failed) in agents.iter().flatten() {
            for (name, times) in [("answered", answered), ("timed_out", failed)] {
                let sum: &mut Sets = one.entry(name).or_default();
                sum.add(&sets(times));
            }
        }
        let (timeline, totals) = ledger.finish();
        for (name, expected) in &one {
            let found = totals.get(*name).cloned().unwrap_or_default();
            prop_assert_eq!(&found, expected);
            prop_assert_eq!(found.response.encode().unwrap(), expected.response.encode().unwrap());
            for q in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(found.response.quantile(q), expected.response.quantile(q));
            }
        }
        // The slices hold the same, and none overlaps another.
        let slices = timeline.finish();
        let are_apart = slices
            .windows(2)
            .all(|pair| pair[0].start_ns + pair[0].length_ns <= pair[1].start_ns);
        prop_assert!(are_apart);
        let mut of_slices = BTreeMap::new();
        for of in slices.iter().flat_map(|slice| &slice.outcomes) {
            let sum: &mut Sets = of_slices.entry(of.outcome.as_str()).or_default();
            sum.add(&Sets::unpack(&of.stages));
        }
        for (name, expected) in &one {
            let found = of_slices.remove(*name).unwrap_or_default();
            prop_assert_eq!(&found, expected);
        }
    }
}

#[test]
fn strangers_and_the_past_are_counted_and_left_out() {
    let mut ledger = empty(2);
    let delta = |of: Sender| {
        let slices = vec![slice(0, &(vec![5], Vec::new()))];
        Told::Delta(Delta { of, seq: 1, slices }).to_frame()
    };
    let mut of_another_run = sender(0);
    of_another_run.run = "yesterday".into();
    let mut another_agent = sender(1);
    another_agent.incarnation = "somebody".into();
    for of in [of_another_run, another_agent, sender(2)] {
        assert_eq!(ledger.take(&delta(of)), Taken::Stale);
    }
    assert_eq!(ledger.take(&delta(sender(1))), Taken::Merged);
    assert_eq!(ledger.facts.stale, 3);
    assert_eq!(ledger.slots()[1].scheduled, 1);
    assert_eq!(ledger.finish().1["answered"].response.count(), 1);
}

#[test]
fn what_a_replaced_agent_tells_of_later_slices_is_in_no_sum_and_still_adds_up() {
    let measured: Measured = (0..4)
        .map(|index| (vec![100 + index; 3], vec![200 + index]))
        .collect();
    let mut ledger = empty(1);
    ledger.give_away(0, 2 * SLICE);
    ledger.expect(1, "agent-0-1");
    let mut heir = sender(1);
    heir.incarnation = "agent-0-1".into();
    // The part comes before what the replaced one has kept.
    for (of, seq, kept) in [(heir, 1, 2..4), (sender(0), 1, 0..3), (sender(0), 2, 3..4)] {
        let slices = kept.map(|at| slice(at, &measured[at])).collect();
        let frame = Told::Delta(Delta { of, seq, slices }).to_frame();
        assert_eq!(ledger.take(&frame), Taken::Merged);
        assert_eq!(ledger.take(&frame), Taken::Duplicate);
    }
    let end = Told::End(End {
        of: sender(0),
        last_seq: 2,
        resent: 0,
        failed: None,
        totals: Some(Box::new(totals_of(&measured))),
    });
    assert_eq!(ledger.take(&end.to_frame()), Taken::Merged);
    let replaced = &ledger.slots()[0];
    assert_eq!((replaced.scheduled, replaced.surplus), (8, 8));
    assert_eq!(replaced.covered_until_ns, 2 * SLICE);
    assert!(replaced.is_whole());
    assert_eq!(replaced.is_exact(), Some(true));
    assert_eq!(ledger.slots()[1].scheduled, 8);
    let (timeline, sums) = ledger.finish();
    assert_eq!(sums["answered"].response.count(), 12);
    for slice in timeline.finish() {
        assert_eq!(slice.scheduled, 4);
    }
}

#[test]
fn a_message_that_contradicts_itself_is_rejected_whole() {
    let good = slice(0, &(vec![5, 6], Vec::new()));
    let mut miscounted = good.clone();
    miscounted.outcomes[0].count = 3;
    let mut beyond = good.clone();
    beyond.start_ns = SLICE * SLICES;
    let mut askew = good.clone();
    askew.start_ns = 7;
    let mut too_many = good.clone();
    too_many.scheduled = 1;
    let mut unreadable = good.clone();
    unreadable.outcomes[0].parts[4] = "AAAA".into();
    let mut unnamed = good.clone();
    unnamed.outcomes[0].outcome = "two words".into();
    let mut ledger = empty(1);
    for bad in [miscounted, beyond, askew, too_many, unreadable, unnamed] {
        // A good slice before a bad one is not counted either.
        let told = Told::Delta(Delta {
            of: sender(0),
            seq: 1,
            slices: vec![good.clone(), bad],
        });
        let taken = ledger.take(&told.to_frame());
        assert!(matches!(taken, Taken::Rejected(_)), "{taken:?}");
    }
    assert_eq!(ledger.facts.rejected, 6);
    assert_eq!(ledger.slots()[0].scheduled, 0);
    assert!(ledger.finish().1.is_empty());
}

#[test]
fn totals_that_differ_from_the_messages_are_found_out() {
    let told: Measured = vec![(vec![5_000, 80_000], vec![9])];
    // The same counts, and one sample that lies elsewhere.
    let says: Measured = vec![(vec![5_000, 90_000], vec![9])];
    for (says, is_exact) in [(&told, true), (&says, false)] {
        let mut ledger = empty(1);
        let mut spool = Spool::new(sender(0), 10);
        spool.keep(slice(0, &told[0])).unwrap();
        let message = spool.next_message().unwrap();
        assert_eq!(ledger.slots()[0].missing(), None);
        assert_eq!(ledger.take(&end(0, &spool, says)), Taken::Merged);
        assert_eq!(ledger.slots()[0].missing(), Some(vec![1]));
        assert_eq!(ledger.take(&message.frame), Taken::Merged);
        assert_eq!(ledger.slots()[0].is_exact(), Some(is_exact));
    }
}

#[test]
fn slices_that_gathered_while_nothing_could_be_sent_are_coarser_and_exact() {
    let mut spool = Spool::new(sender(0), 3);
    let all: Measured = (0..8)
        .map(|i| (vec![1_000 * (i + 1)], Vec::new()))
        .collect();
    for (index, times) in all.iter().enumerate() {
        spool.keep(slice(index, times)).unwrap();
    }
    let mut ledger = empty(1);
    while let Some(message) = spool.next_message() {
        assert_eq!(ledger.take(&message.frame), Taken::Merged);
        spool.acknowledged(message.seq);
    }
    let of = &ledger.slots()[0];
    assert_eq!((of.scheduled, of.slices.len()), (8, 8));
    assert!(of.coalesced >= 4, "{}", of.coalesced);
    let (timeline, totals) = ledger.finish();
    assert_eq!(totals["answered"].response.count(), 8);
    let slices = timeline.finish();
    assert_eq!(slices.iter().map(|slice| slice.scheduled).sum::<u64>(), 8);
    assert_eq!(
        slices.iter().map(|slice| slice.length_ns).sum::<u64>(),
        8 * SLICE
    );
    assert!(slices.len() < 8);
}
