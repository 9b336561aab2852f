//! Every scenario of the library can be used, and runs, shortened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mintmark::record::RunDocument;
use mintmark::scenario::{Scenario, run};
use mintmark::units::Span;

fn library() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .collect();
    files.sort();
    files
}

/// Keeps a scenario's shape and shrinks its time.
fn shortened(path: &Path) -> Scenario {
    let mut scenario = Scenario::read(path).unwrap();
    let load = &mut scenario.load;
    load.measure = Span::from_millis(400);
    load.warm_up = Some(Span::from_millis(0));
    load.slice = Some(Span::from_millis(100));
    load.calibrate = Some(Span::from_millis(0));
    // Their parts shrink with the whole.
    if let Some(target) = scenario.target.broker.as_mut() {
        if target.token_life.is_some() {
            target.token_life = Some(Span::from_millis(1_000));
        }
        if let Some(behaviour) = target.behaviour.as_mut()
            && let Some(stall) = behaviour.stall.as_mut()
        {
            stall.every = Span::from_millis(200);
            stall.lasts = Span::from_millis(20);
        }
    }
    if let Some(generate) = scenario.credentials.generate.as_mut()
        && let Some(rotate) = generate.rotate.as_mut()
    {
        rotate.every = Span::from_millis(150);
    }
    if let Some(compare) = scenario.signing.compare.as_mut() {
        compare.budget = Some(Span::from_millis(300));
    }
    let load = &mut scenario.load;
    if let Some(spike) = load.open.as_mut().and_then(|open| open.spike.as_mut()) {
        spike.at = Span::from_millis(100);
        spike.length = Span::from_millis(100);
    }
    scenario
}

#[test]
fn every_scenario_has_its_file_s_name_and_a_description() {
    for file in library() {
        let plan = Scenario::read(&file).unwrap().plan().unwrap();
        assert_eq!(file.file_stem().unwrap(), plan.name.as_str());
        assert!(!plan.description.is_empty(), "{}", file.display());
    }
}

#[test]
fn every_scenario_runs_and_accounts_for_its_requests() {
    for file in library() {
        let scenario = shortened(&file);
        let steps = scenario.steps.len();
        let plan = scenario.plan().unwrap();
        let stop = AtomicBool::new(false);
        let document = run(&plan, "test", &stop, &mut |_| ()).unwrap();
        // What is written can be read again.
        let text = serde_json::to_string(&document).unwrap();
        let read: RunDocument = serde_json::from_str(&text).unwrap();
        assert_eq!(read, document);
        if steps > 0 {
            assert_eq!(document.steps.len(), steps);
            for step in &document.steps {
                assert!(step.answered() > 0, "{}, {}", plan.name, step.name);
            }
            continue;
        }
        let open = document.steps[0].open.as_ref().unwrap();
        assert!(
            open.accounts.balance(),
            "{}: {:?}",
            plan.name,
            open.accounts
        );
        assert!(
            open.accounts.answered > 0,
            "{}: {:?}",
            plan.name,
            open.counts()
        );
    }
}

#[test]
fn the_library_has_every_question_that_it_promises() {
    let names: Vec<String> = library()
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in [
        "quickstart",
        "backends",
        "steady",
        "ramp",
        "spike",
        "soak",
        "capacity",
        "herd",
        "rotation",
        "naive-clients",
        "rate-limited",
        "flaky",
        "many-apps",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}");
    }
}

#[test]
fn every_scenario_begins_with_its_question() {
    for file in library() {
        let text = std::fs::read_to_string(&file).unwrap();
        let comment: String = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .collect();
        assert!(comment.contains('?'), "{}", file.display());
    }
}

#[test]
fn apps_share_the_requests_by_their_weights() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scenarios/many-apps.toml"
    ));
    let mut scenario = shortened(path);
    scenario.load.measure = Span::from_millis(1_000);
    let plan = scenario.plan().unwrap();
    let stop = AtomicBool::new(false);
    let document = run(&plan, "test", &stop, &mut |_| ()).unwrap();
    let counts: BTreeMap<_, _> = document.steps[0].outcomes.clone();
    // Tokens for users of all apps were granted: none was asked for by another app.
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["answered"]);
}
