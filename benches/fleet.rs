//! How many agents does one coordinator keep up with?
//!
//! Simulated agents publish a slice a second through a real server; a thread
//! of its own fetches and merges as a coordinator does, and its processor time
//! is read apart, as is that of the screen. The merge is held against one
//! histogram fed with the same samples. `AGENTS` and `LENGTH`, in seconds, set
//! the size; without a `nats-server` nothing goes through one.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::clock::thread_cpu;
use mintmark::fleet::bus::Bus;
use mintmark::fleet::event::{AgentNow, Event, Live, Standing};
use mintmark::fleet::ledger::{Ledger, Taken};
use mintmark::fleet::local::LocalServer;
use mintmark::fleet::message::{Beat, Delta, Part, Sender, Slice, State, Told};
use mintmark::fleet::roster::Progress;
use mintmark::fleet::schedule::Schedule;
use mintmark::live::fleet::FleetModel;
use mintmark::live::screen::Palette;
use mintmark::live::{Pictured, Subject};
use mintmark::load::arrival::{Arrival, Rate, Spacing};
use mintmark::load::observe::{PassedSlice, Sets};
use mintmark::record::fleet::DeltaFacts;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const SECOND: u64 = 1_000_000_000;

/// Requests of an agent in a second.
const REQUESTS: u64 = 1_000;

fn main() {
    let number = |name: &str, usual: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    let (agents, seconds) = (number("AGENTS", 100), number("LENGTH", 10));
    let cost = merging(seconds.max(20));
    println!(
        "merging: {:.3} ms of processor time for the slice of an agent; one core merges {:.0} agents",
        cost.as_secs_f64() * 1e3,
        1.0 / cost.as_secs_f64()
    );
    let share = looking(agents, seconds.max(20));
    println!(
        "looking on: the screen of {agents} agents, 200 by 50, takes {:.2} % of a core",
        100.0 * share
    );
    match LocalServer::start("scale") {
        Ok(server) => through_a_server(&server, agents, seconds),
        Err(error) => println!("through a server: not measured, {error}"),
    }
}

fn sender(slot: u64) -> Sender {
    Sender {
        run: "scale".into(),
        slot: usize::try_from(slot).unwrap(),
        incarnation: format!("agent-{slot}"),
    }
}

/// Makes the slice of an agent: response times of some shape, all parts.
fn slice(slot: u64, second: u64) -> Slice {
    let mut sets = Sets::default();
    let mut random = mintmark::stats::Random::new(slot << 20 | second);
    for _ in 0..REQUESTS {
        let time = Duration::from_secs_f64((0.5 * random.normal() - 8.0).exp());
        for (part, histogram) in sets.parts_mut().into_iter().enumerate() {
            histogram.record(time / (u32::try_from(part).unwrap() + 1));
        }
    }
    Slice {
        start_ns: second * SECOND,
        length_ns: SECOND,
        scheduled: REQUESTS,
        outcomes: vec![Part::of("answered", REQUESTS, &sets.pack())],
    }
}

fn frame(slot: u64, second: u64) -> Vec<u8> {
    Told::Delta(Delta {
        of: sender(slot),
        seq: second + 1,
        slices: vec![slice(slot, second)],
    })
    .to_frame()
}

fn ledger(agents: u64, seconds: u64) -> Ledger {
    let agents = usize::try_from(agents).unwrap();
    let mut ledger = Ledger::new("scale", agents, SECOND, seconds * SECOND);
    for slot in 0..agents {
        ledger.expect(slot, &sender(slot as u64).incarnation);
    }
    ledger
}

/// Measures what merging the slice of one agent takes.
fn merging(seconds: u64) -> Duration {
    const AGENTS: u64 = 20;
    let frames: Vec<_> = (0..seconds)
        .flat_map(|second| (0..AGENTS).map(move |slot| frame(slot, second)))
        .collect();
    let mut ledger = ledger(AGENTS, seconds);
    let before = thread_cpu();
    for frame in &frames {
        assert_eq!(ledger.take(frame), Taken::Merged);
    }
    (thread_cpu() - before) / u32::try_from(frames.len()).unwrap()
}

/// Measures what a screen takes, with two looks, one slice and four drawings a
/// second; returns the share of a core.
fn looking(agents: u64, seconds: u64) -> f64 {
    let begun = Instant::now();
    let mut model = FleetModel::new("scale");
    let leads = Event::Leads {
        name: "scale",
        agents: usize::try_from(agents).unwrap(),
    };
    model.hear(&leads, begun);
    let schedule = Schedule {
        arrival: Arrival::Drawn {
            rate: Rate::constant((REQUESTS * agents) as f64, Duration::from_secs(seconds)),
            spacing: Spacing::Poisson,
            seed: 1,
        },
        count: None,
        seed: 1,
        warm_up: Duration::ZERO,
        measure: Duration::from_secs(seconds),
        slice: Duration::from_secs(1),
        population: None,
    };
    let begins = Event::Begins {
        within: Duration::ZERO,
        schedule: &schedule,
    };
    model.hear(&begins, begun);
    let mut merged = Sets::default();
    for slot in 0..agents {
        for part in slice(slot, 0).outcomes {
            let stages = mintmark::record::Stages::try_from(&part).unwrap();
            merged.add(&Sets::unpack(&stages));
        }
    }
    let outcomes = BTreeMap::from([("answered".to_owned(), merged)]);
    let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
    let palette = Palette { has_colour: true };
    let before = thread_cpu();
    for quarter in 1..=4 * seconds {
        let elapsed = Duration::from_millis(250 * quarter);
        if quarter % 2 == 0 {
            let beats = beats(agents, elapsed);
            let agent = |beat| AgentNow {
                host: "load.example",
                in_place_of: None,
                standing: Standing::Running,
                beat: Some(beat),
                silence: Duration::ZERO,
                wall_offset_ns: 0,
            };
            let live = Live {
                elapsed,
                progress: Progress::default(),
                agents: beats.iter().map(agent).collect(),
                scheduled: 0,
                outcomes: &outcomes,
                deltas: DeltaFacts::default(),
                is_answering: true,
            };
            model.hear(&Event::Progress(live), begun + elapsed);
        }
        if quarter % 4 == 0 {
            let start_ns = (quarter / 4 - 1) * SECOND;
            let slice = PassedSlice::new(start_ns, SECOND, REQUESTS * agents, &outcomes);
            model.hear(&Event::Slice(slice), begun + elapsed);
        }
        let picture = model.picture(begun + elapsed, false);
        terminal
            .draw(|frame| picture.draw(frame, &[], palette))
            .unwrap();
    }
    (thread_cpu() - before).as_secs_f64() / seconds as f64
}

fn beats(agents: u64, elapsed: Duration) -> Vec<Beat> {
    let due = u64::try_from(elapsed.as_millis()).unwrap() * REQUESTS / 1_000;
    let beat = |slot| Beat {
        run: "scale".into(),
        slot: usize::try_from(slot).unwrap(),
        incarnation: String::new(),
        state: State::Running,
        elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap(),
        due,
        sent: due,
        answered: due,
        failed: 0,
        waiting: 0,
    };
    (0..agents).map(beat).collect()
}

fn through_a_server(server: &LocalServer, agents: u64, seconds: u64) {
    let access = server.access.clone();
    let published = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&published);
    let publisher = thread::spawn({
        let access = access.clone();
        move || publish(&access, agents, seconds, &counter)
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = Bus::connect(&access, "scale").await.unwrap();
        bus.prepare(1 << 30, 1).await.unwrap();
        let mut frames = bus.frames("scale");
        let mut ledger = ledger(agents, seconds);
        let (mut merged, mut bytes) = (0, 0);
        let until = Instant::now() + Duration::from_secs(seconds * 3 + 60);
        while published.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (begun, before) = (Instant::now(), thread_cpu());
        while merged < agents * seconds && Instant::now() < until {
            for frame in bus.fetch(&mut frames).await.unwrap_or_default() {
                bytes += frame.len();
                merged += u64::from(ledger.take(&frame) == Taken::Merged);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let used = thread_cpu() - before;
        let took = begun.elapsed();
        let (_, totals) = ledger.finish();
        let mut one = Sets::default();
        for slot in 0..agents {
            for second in 0..seconds {
                for part in slice(slot, second).outcomes {
                    let stages = mintmark::record::Stages::try_from(&part).unwrap();
                    one.add(&Sets::unpack(&stages));
                }
            }
        }
        println!(
            "through a server: {agents} agents for {:.1} s, {merged} of {} messages merged, {} bytes each, \
             exact: {}; the coordinator used {:.2} % of a core",
            took.as_secs_f64(),
            agents * seconds,
            bytes / usize::try_from(merged.max(1)).unwrap(),
            totals["answered"] == one,
            100.0 * used.as_secs_f64() / took.as_secs_f64()
        );
    });
    publisher.join().unwrap();
}

/// Publishes a slice of each agent a second, spread over it.
fn publish(
    access: &mintmark::fleet::bus::Access,
    agents: u64,
    seconds: u64,
    published: &AtomicU64,
) {
    let frames: Vec<Vec<Vec<u8>>> = (0..seconds)
        .map(|second| (0..agents).map(|slot| frame(slot, second)).collect())
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bus = Bus::connect(access, "agents").await.unwrap();
        let begun = Instant::now();
        for (second, of_second) in (0_u64..).zip(frames) {
            for (slot, frame) in (0_u64..).zip(of_second) {
                let due = Duration::from_secs(second)
                    + Duration::from_secs(slot) / u32::try_from(agents).unwrap();
                tokio::time::sleep_until((begun + due).into()).await;
                let id = format!("{slot}.{second}");
                let slot = usize::try_from(slot).unwrap();
                while bus
                    .publish("scale", slot, &id, frame.clone().into())
                    .await
                    .is_err()
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                published.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
}
