//! Messages that come twice, from the past or from nowhere.

use std::thread;
use std::time::Duration;

use mintmark::fleet::message::{Card, Delta, Sender, Told};

use super::{Stage, fleet_of, has_finding, is_whole, open_of};

#[test]
fn messages_that_are_delivered_twice_count_once() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(200, "4s");
    let _agents = stage.agents(2);
    let mut coordinator = stage.coordinator(&scenario, 2, &[]);
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_millis(2_000));
    let (runtime, bus) = stage.bus();
    let copies = runtime.block_on(async {
        let run = leader_run(&bus).await;
        let frames = bus.fetch(&mut bus.frames(&run)).await.unwrap();
        for (number, frame) in frames.iter().enumerate() {
            let slot = Told::of_frame(frame).unwrap().sender().slot;
            // Under another ID, so that the server does not see it.
            let id = format!("copy-{number}");
            bus.publish(&run, slot, &id, frame.clone()).await.unwrap();
        }
        frames.len() as u64
    });
    assert!(copies > 0);
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?}");
    assert_eq!(fleet.deltas.duplicate, copies);
    assert_eq!(open_of(&document).accounts.scheduled, 800);
}

pub(super) async fn leader_run(bus: &mintmark::fleet::bus::Bus) -> String {
    let leader = bus.get::<mintmark::fleet::message::Leader>("leader").await;
    leader.unwrap().unwrap().0.run
}

#[test]
fn agents_of_an_earlier_run_and_damaged_messages_are_left_out_and_named() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "3s");
    let _agents = stage.agents(1);
    let mut coordinator = stage.coordinator(&scenario, 1, &[]);
    coordinator.wait_to_say("1 of 1 agents send");
    let (runtime, bus) = stage.bus();
    runtime.block_on(async {
        let run = leader_run(&bus).await;
        let (card, _) = bus
            .get::<Card>(&format!("{run}.agent.0"))
            .await
            .unwrap()
            .unwrap();
        let delta = |of: Sender| {
            let slices = Vec::new();
            Told::Delta(Delta { of, seq: 1, slices }).to_frame()
        };
        let own = Sender {
            run: run.clone(),
            slot: 0,
            incarnation: card.incarnation,
        };
        let mut of_yesterday = own.clone();
        of_yesterday.run = "yesterday".into();
        let mut another = own.clone();
        another.incarnation = "0000000000000000".into();
        let mut damaged = delta(own);
        let last = damaged.len() - 2;
        damaged[last] ^= 1;
        for (id, frame) in [delta(of_yesterday), delta(another), damaged]
            .into_iter()
            .enumerate()
        {
            bus.publish(&run, 0, &format!("stranger-{id}"), frame.into())
                .await
                .unwrap();
        }
    });
    let (document, _) = stage.outcome(&mut coordinator);
    let fleet = fleet_of(&document);
    assert!(is_whole(&document), "{fleet:?}");
    assert_eq!((fleet.deltas.stale, fleet.deltas.rejected), (2, 1));
    assert!(has_finding(&document, "fleet-rejected"));
    assert_eq!(open_of(&document).accounts.scheduled, 300);
}
