//! Are defaults resolved, and contradictions refused with their field?

use std::path::Path;

use super::*;
use crate::error::Chain;
use crate::scenario::plan::CredentialPlan;

#[test]
fn a_rate_is_given_in_exactly_one_way() {
    let open = |text: &str| {
        let closed = "closed = { workers = 2 }";
        let steps = MINIMAL.find("[[step]]").unwrap();
        plan(&MINIMAL[..steps].replace(closed, text))
    };
    let found = open("open = { per_s = 20 }\nconnections = 3").unwrap();
    let load = found.load.open.unwrap();
    assert_eq!((load.connections, load.threads), (3, 1));
    assert!(open("open = { ramp = { from = 1, to = 9 }, arrival = \"even\" }").is_ok());
    assert!(open("closed = { workers = 4, think = \"5ms\" }").is_ok());
    for (text, field) in [
        ("open = {}", "load.open"),
        ("open = { per_s = 1, steps = [2] }", "load.open"),
        ("open = { per_s = -1 }", "load.open.per_s"),
        ("open = { per_s = 0 }", "load.open"),
        ("open = { steps = [] }", "load.open.steps"),
        (
            "open = { spike = { base = 1, peak = 2, at = \"1s\", length = \"1s\" } }",
            "load.open.spike",
        ),
        ("open = { per_s = 1 }\nthreads = 65", "load.threads"),
        ("open = { per_s = 1 }\nclosed = { workers = 1 }", "load"),
        ("", "load"),
    ] {
        match open(text) {
            Err(ScenarioError::Field { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_schema_knows_every_field_that_a_scenario_may_have() {
    let schema = Scenario::schema().to_string();
    for field in [
        "objective",
        "per_s",
        "zipf",
        "keep_alive",
        "calibrate",
        "step",
        "behaviour",
        "service_time",
        "spare_refused_jti",
    ] {
        assert!(schema.contains(&format!("\"{field}\"")), "{field}");
    }
}

const MINIMAL: &str = r#"
name = "x"
[load]
closed = { workers = 2 }
measure = "1s"
[[step]]
name = "only"
key = "reuse"
token = "fetch-per-call"
"#;

fn plan(text: &str) -> Result<Plan, ScenarioError> {
    Scenario::from_toml(text, Path::new("mine.toml"))?.plan()
}

#[test]
fn a_minimal_scenario_has_every_default() {
    let plan = plan(MINIMAL).unwrap();
    assert_eq!(plan.profile, "box");
    assert_eq!(plan.algorithm, Algorithm::Rs256);
    assert_eq!(
        plan.credentials,
        CredentialPlan::Generate {
            bits: 2048,
            apps: 1,
            weights: Vec::new(),
            rotate: None
        }
    );
    assert_eq!(plan.backend, None);
    assert_eq!(plan.load.drain, plan.load.timeout);
    assert!(matches!(plan.target, TargetPlan::Broker { users: 100, .. }));
}

#[test]
fn an_unknown_field_names_the_file_the_field_and_what_is_accepted() {
    for (wrong, right) in [
        ("wrokers", "workers"),
        ("mesure", "measure"),
        ("[lode]", "load"),
    ] {
        let text = MINIMAL.replace(
            right.trim_matches(['[', ']']),
            wrong.trim_matches(['[', ']']),
        );
        let error = plan(&text).unwrap_err();
        let chain = Chain(&error).to_string();
        for part in ["mine.toml", wrong.trim_matches(['[', ']']), right] {
            assert!(chain.contains(part), "{part} is not in {chain}");
        }
    }
}

#[test]
fn contradictions_are_refused_with_the_field() {
    for (added, field) in [
        ("[target]\nurl = \"http://x\"\nbroker = {}\n", "target"),
        ("[target]\nurl = \"http://x\"\n", "credentials.config"),
        (
            "[credentials]\nconfig = \"app.json\"\n",
            "credentials.config",
        ),
        (
            "[credentials]\nconfig = \"app.json\"\ngenerate = {}\n",
            "credentials",
        ),
        (
            "[credentials]\ngenerate = { bits = 1024 }\n",
            "credentials.generate.bits",
        ),
        ("[target]\nbroker = { users = 0 }\n", "target.broker.users"),
        (
            "[target]\nbroker = { token_life = \"1500ms\" }\n",
            "target.broker.token_life",
        ),
        ("[target]\nbroker = { tls = true }\n", "target.broker.tls"),
        (
            "[target.broker.behaviour]\nerror_share = 2.0\n",
            "target.broker.behaviour.error_share",
        ),
        (
            "[target.broker.behaviour]\nqueue = true\n",
            "target.broker.behaviour.queue",
        ),
        (
            "[target.broker]\nrate_limit = { per_s = 1, burst = 1 }\n\
             behaviour = { rate_limit = { per_s = 2, burst = 1 } }\n",
            "target.broker.behaviour.rate_limit",
        ),
    ] {
        let text = format!("{MINIMAL}{added}");
        match plan(&text) {
            Err(ScenarioError::Field { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{added}: {other:?}"),
        }
    }
    for (from, to) in [
        ("workers = 2", "workers = 0"),
        ("measure = \"1s\"", "measure = \"0s\""),
        ("name = \"x\"", "name = \"../x\""),
    ] {
        assert!(
            matches!(
                plan(&MINIMAL.replacen(from, to, 1)),
                Err(ScenarioError::Field { .. })
            ),
            "{to}"
        );
    }
}
