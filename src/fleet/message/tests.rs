//! Is what was written what is read, and everything else refused?

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::record::{Histogram, RateChange};
use crate::scenario::Scenario;

/// Makes the histograms of requests that took so many microseconds.
pub fn part(outcome: &str, response_us: &[u64]) -> Part {
    let mut histogram = Histogram::new();
    for us in response_us {
        histogram.record(Duration::from_micros(*us));
    }
    let stages = Stages {
        response: Packed::of(&histogram),
        service: Packed::of(&histogram),
        ..Stages::default()
    };
    Part::of(outcome, histogram.count(), &stages)
}

fn sender() -> Sender {
    Sender {
        run: "20261124T120000Z-short".into(),
        slot: 3,
        incarnation: "0123456789abcdef".into(),
    }
}

fn delta() -> Told {
    Told::Delta(Delta {
        of: sender(),
        seq: 7,
        slices: vec![Slice {
            start_ns: 2_000_000_000,
            length_ns: 1_000_000_000,
            scheduled: 5,
            outcomes: vec![part("answered", &[100, 250]), part("http_503", &[9])],
        }],
    })
}

#[test]
fn frames_are_read_as_they_were_written() {
    let end = Told::End(End {
        of: sender(),
        last_seq: 7,
        resent: 1,
        failed: Some("the key cannot be opened".into()),
        totals: None,
    });
    for told in [delta(), end] {
        assert_eq!(Told::of_frame(&told.to_frame()).unwrap(), told);
    }
}

#[test]
fn control_is_read_as_it_was_written() {
    let scenario = r#"
        name = "short"
        target = { url = "http://127.0.0.1:1/oauth2/token" }
        credentials = { config = "/etc/mintmark/app.json" }
        load = { open = { per_s = 100.0 }, measure = "5s" }
        objective = "p99<50ms"
    "#;
    let spec = Spec {
        protocol: PROTOCOL,
        run: sender().run,
        version: "0.1.0".into(),
        agents: 8,
        scenario: Scenario::from_toml(scenario, Path::new("s.toml")).unwrap(),
        files: vec![FileDigest {
            path: "starts.txt".into(),
            sha256: "00".repeat(32),
        }],
        recipients: vec!["A".repeat(43)],
    };
    assert_eq!(of_json::<Spec>(&to_json(&spec)).unwrap(), spec);
    let begin = Begin {
        at_ns: u64::MAX / 3,
        weights: vec![1.0, 2.5],
        dealt: Dealing::ByLot,
    };
    assert_eq!(of_json::<Begin>(&to_json(&begin)).unwrap(), begin);
    let want = Want {
        protocol: PROTOCOL,
        seqs: vec![1, 9],
        end: true,
    };
    assert_eq!(of_json::<Want>(&to_json(&want)).unwrap(), want);
    let control = Control {
        protocol: PROTOCOL,
        stops: false,
        changes: vec![RateChange {
            from_ns: 5,
            factor_ppm: 0,
        }],
        handovers: vec![Handover {
            lost: 2,
            from_ns: 9,
            planned_ns: 8,
            by: vec![0, 1],
            first: 3,
        }],
    };
    assert_eq!(of_json::<Control>(&to_json(&control)).unwrap(), control);
}

#[test]
fn another_version_is_named_and_an_unknown_field_refused() {
    let mut leader = serde_json::json!({
        "protocol": PROTOCOL, "run": "r", "coordinator": "c", "host": "h",
        "beat": 1, "takeovers": 0, "is_over": false,
    });
    of_json::<Leader>(&to_json(&leader)).unwrap();
    leader["colour"] = "red".into();
    let error = of_json::<Leader>(&to_json(&leader)).unwrap_err();
    assert!(matches!(error, MessageError::Json(_)), "{error}");
    leader["protocol"] = 9.into();
    let error = of_json::<Leader>(&to_json(&leader)).unwrap_err();
    assert!(matches!(error, MessageError::Version(9)), "{error}");
    let mut frame = delta().to_frame();
    frame[3] = b'2';
    let error = Told::of_frame(&frame).unwrap_err();
    assert!(matches!(error, MessageError::Frame), "{error}");
}

#[test]
fn a_frame_longer_than_a_server_carries_is_not_even_looked_at() {
    let error = Told::of_frame(&vec![b'M'; MOST_FRAME + 1]).unwrap_err();
    assert!(matches!(error, MessageError::Long(_)), "{error}");
}

proptest! {
    #[test]
    fn damage_of_any_byte_is_noticed(at in 0_usize..4_000, bit in 0_u8..8) {
        let mut frame = delta().to_frame();
        let at = at % frame.len();
        frame[at] ^= 1 << bit;
        prop_assert!(Told::of_frame(&frame).is_err());
        prop_assert!(Told::of_frame(&frame[..at]).is_err());
    }
}
