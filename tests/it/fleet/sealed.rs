//! Credentials that were sealed: who may read, write and remove them, and that
//! none are left behind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use mintmark::fleet::bus::Bus;
use mintmark::fleet::message::{Leader, Sealed};
use tokio::runtime::Runtime;

use super::access::Guard;
use super::coordinators::resume;
use super::keys::{identity, move_the_app, wait_for_run};
use super::{LONGEST, Process, Stage, fleet_of, is_whole};
use crate::stage::program;

/// What lies in the bucket, by subject.
async fn kept(client: async_nats::Client) -> Vec<(String, Vec<u8>)> {
    let stream = jetstream::new(client).get_stream("KV_mintmark").await;
    let stream = stream.unwrap();
    let state = &stream.cached_info().state;
    let mut found = Vec::new();
    for number in state.first_sequence..=state.last_sequence {
        // Others have been replaced or removed.
        if let Ok(message) = stream.direct_get(number).await {
            found.push((message.subject.to_string(), message.payload.to_vec()));
        }
    }
    assert_eq!(found.len() as u64, state.messages);
    found
}

fn is_anywhere(kept: &[(String, Vec<u8>)], sealed: &Sealed) -> bool {
    let finder = memchr::memmem::Finder::new(sealed.sealed.as_bytes());
    kept.iter()
        .any(|(subject, bytes)| subject.contains(".sealed.") || finder.find(bytes).is_some())
}

/// A run of which nobody knows but a coordinator that was killed.
struct Left {
    stage: Stage,
    scenario: PathBuf,
    runtime: Runtime,
    bus: Bus,
    run: String,
    sealed: Sealed,
}

impl Left {
    fn new() -> Option<Self> {
        let stage = Stage::new()?;
        let scenario = stage.scenario(100, "1s");
        let (_, public) = identity(&stage, "identity-0");
        let list = stage.path().join("agents.txt");
        fs::write(&list, &public).unwrap();
        let flags = ["--send-keys-to", list.to_str().unwrap()];
        let mut coordinator = stage.coordinator(&scenario, 1, &flags);
        let (runtime, bus) = stage.bus();
        let (run, _) = wait_for_run(&runtime, &bus);
        coordinator.kill();
        let key = format!("{run}.sealed.{public}");
        let sealed = runtime.block_on(bus.get(&key)).unwrap().unwrap().0;
        let left = Self {
            stage,
            scenario,
            runtime,
            bus,
            run,
            sealed,
        };
        assert!(left.is_there());
        Some(left)
    }

    fn is_there(&self) -> bool {
        let kept = self.runtime.block_on(async {
            let client = async_nats::connect(self.stage.url()).await.unwrap();
            kept(client).await
        });
        is_anywhere(&kept, &self.sealed)
    }

    /// Asks for a new run, for which there are no agents.
    fn run(&self, flags: &[&str]) {
        let flags = [&["--join-timeout", "100ms"], flags].concat();
        let mut next = self.stage.coordinator(&self.scenario, 1, &flags);
        assert_eq!(next.end(), 3);
        assert!(
            next.said().contains("0 of 1 agents joined"),
            "{}",
            next.said()
        );
    }
}

#[test]
fn what_a_killed_coordinator_left_sealed_is_removed_by_who_takes_over() {
    let Some(left) = Left::new() else { return };
    let mut second = resume(&left.stage, "second", &["--join-timeout", "100ms"]);
    assert_eq!(second.end(), 3);
    let words = second.said();
    assert!(words.contains("0 of 1 agents joined"), "{words}");
    assert!(!left.is_there());
}

#[test]
fn what_a_killed_coordinator_left_sealed_is_removed_by_who_forgets_it() {
    let Some(left) = Left::new() else { return };
    left.run(&["--discard"]);
    assert!(!left.is_there());
}

#[test]
fn what_was_sealed_for_a_run_that_was_never_laid_down_is_removed_by_the_next() {
    let Some(left) = Left::new() else { return };
    // It was killed between the one and the other.
    let spec = format!("{}.spec", left.run);
    left.runtime.block_on(left.bus.remove(&spec)).unwrap();
    assert!(left.is_there());
    left.run(&[]);
    assert!(!left.is_there());
}

/// An agent of another fleet at the same server, with the same rights there,
/// and somebody who sees all.
fn users_beside() -> String {
    let rules = include_str!("../../../deploy/nats/fleet.conf");
    let (_, of_agent) = rules.split_once("user: agent").unwrap();
    let (of_agent, _) = of_agent.split_once("\n    }\n").unwrap();
    format!(
        "\n{{ user: other{}\n}}\n{{ user: auditor, password: $AGENT_PASSWORD }}",
        of_agent.replace("mintmark", "other")
    )
}

#[test]
fn by_the_given_rules_only_the_coordinator_writes_what_is_sealed_and_no_other_fleet_reads_it() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let guard = Guard::new(&mut stage, &users_beside());
    let scenario = stage.scenario(100, "2s");
    move_the_app(&stage, &scenario);
    let (own, public) = identity(&stage, "identity-0");
    let list = stage.path().join("agents.txt");
    fs::write(&list, &public).unwrap();
    let mut coordinator = program();
    coordinator
        .args(["fleet", "run", scenario.to_str().unwrap(), "--agents", "1"])
        .args(["--json", "--results"])
        .arg(stage.path().join("results"))
        .arg("--send-keys-to")
        .arg(&list);
    guard.lets(&mut coordinator, "coordinator:leads");
    let mut coordinator = Process::start(&mut coordinator, stage.path(), "coordinator");

    let runtime = Runtime::new().unwrap();
    let tries = async {
        let leads = Bus::connect(&guard.access("coordinator:leads"), "coordinator").await;
        let leads = leads.unwrap();
        let leader = loop {
            if let Ok(Some((leader, _))) = leads.get::<Leader>("leader").await {
                break leader;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let key = format!("{}.sealed.{public}", leader.run);
        let sealed = loop {
            if let Some((sealed, _)) = leads.get::<Sealed>(&key).await.unwrap() {
                break sealed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let agent = guard.client("agent:works", "_INBOX.mintmark.agent").await;
        let operator = guard
            .client("operator:steers", "_INBOX.mintmark.operator")
            .await;
        let other = guard.client("other:works", "_INBOX.other.agent").await;
        let subject = format!("$KV.mintmark.{key}");
        let read = format!("$JS.API.DIRECT.GET.KV_mintmark.{subject}");
        let answer = agent.request(read.clone(), "".into()).await.unwrap();
        assert!(!answer.payload.is_empty(), "agents read it");
        for (who, client) in [("operator", &operator), ("other", &other)] {
            assert!(
                client.request(read.clone(), "".into()).await.is_err(),
                "{who}"
            );
            let raw = "$JS.API.STREAM.MSG.GET.KV_mintmark";
            let question = format!("{{\"last_by_subj\":\"{subject}\"}}");
            assert!(client.request(raw, question.into()).await.is_err(), "{who}");
        }
        for (who, client) in [
            ("agent", &agent),
            ("operator", &operator),
            ("other", &other),
        ] {
            let written = client.request(subject.clone(), "{}".into()).await;
            assert!(written.is_err(), "{who} overwrites it");
            let purge = "$JS.API.STREAM.PURGE.KV_mintmark";
            assert!(
                client.request(purge, "".into()).await.is_err(),
                "{who} removes it"
            );
        }
        assert_eq!(leads.get::<Sealed>(&key).await.unwrap().unwrap().0, sealed);
        // Nobody listens to what others are answered.
        let mut overheard = Vec::new();
        for (client, subject) in [
            (&agent, "_INBOX.>"),
            (&agent, "_INBOX.mintmark.coordinator.>"),
            (&operator, "_INBOX.mintmark.agent.>"),
            (&other, "_INBOX.mintmark.>"),
            (&other, "mintmark.>"),
        ] {
            overheard.push((subject, client.subscribe(subject).await.unwrap()));
            client.flush().await.unwrap();
        }
        (sealed, overheard)
    };
    let tried = runtime.block_on(async { tokio::time::timeout(LONGEST, tries).await });
    let (sealed, mut overheard) = tried.expect("the run is laid down");
    let mut agent = program();
    agent.arg("agent").arg("--identity").arg(&own);
    guard.lets(&mut agent, "agent:works");
    let mut agent = Process::start(&mut agent, stage.path(), "agent-0");
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(agent.end(), 0, "{}", agent.said());
    runtime.block_on(async {
        for (subject, messages) in &mut overheard {
            let heard = tokio::time::timeout(Duration::from_millis(20), messages.next()).await;
            assert!(heard.is_err(), "{subject}: {heard:?}");
        }
        let client = guard.client("auditor:works", "_INBOX").await;
        assert!(!is_anywhere(&kept(client).await, &sealed));
    });
}
