//! Does every source sign each start for its own moment and subject?

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::load::arrival::{Arrival, Rate, Spacing};
use crate::load::pacer::{now_ns, wall_ns};
use crate::load::population::fake;

fn starts(lanes: usize) -> Vec<Starts> {
    let arrival = Arrival::Drawn {
        rate: Rate::constant(100.0, Duration::from_secs(2)),
        spacing: Spacing::Even,
        seed: 1,
    };
    (0..lanes).map(|lane| arrival.starts(lane, lanes)).collect()
}

fn claims(made: &Made) -> serde_json::Value {
    let text = String::from_utf8(made.text.to_vec()).unwrap();
    let parts: Vec<_> = text.split('.').collect();
    assert_eq!(parts.len(), 3);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap()
}

#[tokio::test]
async fn every_mode_signs_each_start_for_its_own_moment_and_subject() {
    let population = Arc::new(Population::new(vec![fake::member(7, 1.0)], None, 1));
    let lanes = starts(2);
    // The load begins in an hour.
    let origin_ns = now_ns() + 3_600_000_000_000;
    let (_mint, minted) =
        Mint::start(&population, &lanes, origin_ns, 2, 16, None, &Warp::of(None)).unwrap();
    let preminted = premint(&population, &lanes, origin_ns).unwrap();
    let inline = lanes
        .iter()
        .map(|_| Source::Inline(Writer::new(&population).unwrap()))
        .collect();
    let began = wall_ns() / 1_000_000_000;
    for sources in [minted, preminted, inline] {
        for (mut source, starts) in sources.into_iter().zip(lanes.clone()) {
            for start in starts {
                let made = match source.take(&start, origin_ns, &population) {
                    Some(made) => made,
                    None => source.wait(&start).await,
                };
                assert_eq!(made.index, start.index);
                let claims = claims(&made);
                assert_eq!(claims["sub"], (1_000 + start.index % 7).to_string());
                let issued = claims["exp"].as_u64().unwrap() - 30;
                let expected = began + 3_600 + start.due_ns / 1_000_000_000;
                assert!(issued.abs_diff(expected) <= 2, "{issued}, {expected}");
            }
        }
    }
}

#[test]
fn a_repeated_assertion_is_the_same_one() {
    let population = Population::new(vec![fake::member(1, 1.0)], None, 1);
    let mut source = Source::Repeat {
        writer: Writer::new(&population).unwrap(),
        last: vec![None],
    };
    let mut texts = std::collections::BTreeSet::new();
    for start in starts(1).remove(0) {
        let made = source.take(&start, now_ns(), &population).unwrap();
        texts.insert(made.text);
    }
    assert_eq!(texts.len(), 1);
}
