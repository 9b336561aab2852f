//! Is the picture of a fleet what its agents told?

use serde_json::Value;

use super::sample::{Fleet, PER_S};
use super::*;
use crate::fleet::event::Standing;

fn picture(fleet: &Fleet, ms: u64) -> FleetPicture {
    let now = fleet.begun + Duration::from_millis(ms);
    fleet.model.picture(now, false)
}

fn change(fleet: &mut Fleet, from_ms: u64, factor_ppm: u64) {
    let change = RateChange {
        from_ns: from_ms * 1_000_000,
        factor_ppm,
    };
    let now = fleet.begun;
    fleet.model.hear(&Event::Changed(change), now);
}

#[test]
fn before_the_beginning_it_says_who_has_joined() {
    let mut fleet = Fleet::of(3);
    fleet.join(0);
    fleet.join(1);
    let early = picture(&fleet, 0);
    assert_eq!(early.run.phase.word(), "waiting for agents, 2 of 3 joined");
    let standings: Vec<_> = early.agents.iter().map(|row| row.standing).collect();
    let joined = [Standing::Joined, Standing::Joined, Standing::Absent];
    assert_eq!(standings, joined);
    assert_eq!((early.text(), early.json()), (None, None));
}

#[test]
fn rates_are_sums_over_agents_and_the_schedule_says_what_is_offered() {
    let mut fleet = Fleet::of(3);
    fleet.begin();
    fleet.pass(0, 10_000);
    fleet.silence(1, Standing::Running, 10_000);
    fleet.pass(10_500, 11_500);
    let rates = |picture: &FleetPicture| picture.run.counted.rates.unwrap();
    let now = rates(&picture(&fleet, 11_500));
    let all = (3 * PER_S) as f64;
    assert!((now.offered_per_s - all).abs() < 1e-6, "{now:?}");
    assert!((now.achieved_per_s - all).abs() < 4.0, "{now:?}");
    assert!((now.goodput_per_s - 0.99 * all).abs() < 4.0, "{now:?}");
    // Four beats later nobody knows what the silent agent does.
    fleet.pass(12_000, 13_000);
    let silent = picture(&fleet, 13_000);
    let now = rates(&silent);
    assert!((now.offered_per_s - all).abs() < 1e-6, "{now:?}");
    assert!((now.achieved_per_s - 200.0).abs() < 3.0, "{now:?}");
    assert!(silent.agents[1].counted.is_none() && silent.agents[1].is_in_trouble());
    assert_eq!(silent.run.counted.in_flight, 2, "one at each of the others");
}

#[test]
fn latencies_are_those_of_merged_slices_and_say_how_old_they_are() {
    let mut fleet = Fleet::of(30);
    fleet.begin();
    fleet.pass(0, 12_000);
    let now = picture(&fleet, 12_300);
    let recent = now.run.recent.as_ref().unwrap();
    assert_eq!(recent.answered, 2_970);
    assert!(recent.response.p99.is_some() && recent.response.p999.is_none());
    // The tenth slice of the measured phase was told two seconds after it.
    assert_eq!(now.so_far.count, 10 * 2_970 - 2_970);
    assert!(now.so_far.p999.is_some());
    assert_eq!(now.slices_age, Some(Duration::from_millis(1_300)));
    assert_eq!(now.beats_age, Some(Duration::from_millis(500)));
    assert_eq!(now.run.failures["http_503"], 270);
    assert_eq!(now.run.elapsed, Duration::from_millis(12_300));
}

#[test]
fn figures_of_a_server_that_stands_still_age() {
    let mut fleet = Fleet::of(2);
    fleet.begin();
    fleet.pass(0, 8_000);
    fleet.is_answering = false;
    for slot in 0..2 {
        // Their silence does not count; they may be well.
        fleet.silence(slot, Standing::Running, u64::MAX);
    }
    let what = Event::Trouble("no answer".into());
    let now = fleet.begun;
    fleet.model.hear(&what, now);
    fleet.pass(8_500, 14_000);
    let still = picture(&fleet, 14_000);
    assert_eq!(still.beats_age, None, "no beat is new enough");
    assert!(still.run.counted.rates.is_none());
    assert_eq!(still.agents[0].age, Duration::from_secs(6));
    let codes: Vec<_> = still.warnings().into_iter().map(|one| one.code).collect();
    assert!(codes.contains(&"fleet-server".to_owned()), "{codes:?}");
    fleet.is_answering = true;
    fleet.pass(14_500, 14_500);
    assert!(picture(&fleet, 14_500).trouble.is_none());
}

#[test]
fn a_change_is_pending_until_its_instant_and_then_in_force() {
    let mut fleet = Fleet::of(2);
    fleet.begin();
    fleet.pass(0, 5_000);
    change(&mut fleet, 5_600, 500_000);
    let before = picture(&fleet, 5_100);
    assert_eq!(before.factor_ppm(), WHOLE);
    let pending = (500_000, Duration::from_millis(500));
    assert_eq!(before.pending(), Some(pending));
    assert_eq!(before.pace(), "at its own rate, × 0.5 in 500 ms");
    let after = picture(&fleet, 5_600);
    assert_eq!((after.factor_ppm(), after.pending()), (500_000, None));
    fleet.pass(5_500, 7_000);
    let offered = picture(&fleet, 7_000).run.counted.rates.unwrap();
    assert!((offered.offered_per_s - PER_S as f64).abs() < 1e-6);
    change(&mut fleet, 7_500, 0);
    assert_eq!(picture(&fleet, 7_600).pace(), "paused");
}

#[test]
fn keys_pause_go_on_as_before_and_change_the_rate_by_a_tenth() {
    let mut fleet = Fleet::of(2);
    fleet.begin();
    let rate = |ppm| Ok(Some(Wish::Rate(ppm)));
    assert_eq!(fleet.model.press('c'), Ok(None), "it goes on already");
    assert_eq!(fleet.model.press('-'), rate(900_000));
    // Before the first was laid down the next counts from it.
    assert_eq!(fleet.model.press('-'), rate(800_000));
    change(&mut fleet, 1_000, 900_000);
    change(&mut fleet, 1_000, 800_000);
    assert_eq!(fleet.model.press('p'), rate(0));
    change(&mut fleet, 2_000, 0);
    assert!(fleet.model.press('+').unwrap_err().contains("c goes on"));
    assert_eq!(fleet.model.press('p'), rate(800_000));
    fleet.model.refused();
    assert_eq!(fleet.model.press('c'), rate(800_000));
    // An operator elsewhere is obeyed as well.
    change(&mut fleet, 3_000, 800_000);
    change(&mut fleet, 4_000, 50_000);
    assert!(fleet.model.press('-').unwrap_err().contains("p pauses"));
    assert_eq!(fleet.model.press('+'), rate(150_000));
    assert_eq!(fleet.model.press('x'), Ok(None));
}

#[test]
fn a_line_says_who_sends_and_json_has_what_the_screen_has() {
    let mut fleet = Fleet::of(2);
    fleet.begin();
    fleet.pass(0, 8_000);
    fleet.silence(1, Standing::Lost, 0);
    fleet.pass(8_500, 8_500);
    let now = picture(&fleet, 8_500);
    let text = now.text().unwrap();
    assert!(
        text.starts_with("mintmark:   8.5 s, 1 of 2 agents send, 200/s offered, 99/s answered"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&now.json().unwrap()).unwrap();
    assert_eq!(json["type"], "progress");
    assert_eq!(
        (&json["phase"], &json["step"]),
        (&"measure".into(), &"open".into())
    );
    assert_eq!(json["fleet"]["agents"]["lost"], 1);
    assert_eq!(json["fleet"]["messages"]["merged"], 1_234);
    assert_eq!(json["fleet"]["factor"], 1.0);
    assert!(json["fleet"]["pending"].is_null());
    assert_eq!(json["response"]["count"], 198);
}
