//! Who is let in by the server, and to what.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use mintmark::fleet::bus::{Access, Bus};
use mintmark::fleet::local::find_server;
use mintmark::fleet::message::{Control, PROTOCOL};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer};

use super::{Process, Stage, fleet_of, is_whole};
use crate::stage::program;

/// The configuration that is given to users.
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nats/fleet.conf");

#[test]
fn wrong_credentials_are_an_error_at_once() {
    let rules = "authorization { user: fleet, password: right }";
    let Some(stage) = Stage::with(rules) else {
        return;
    };
    let login = stage.path().join("login");
    fs::write(&login, "fleet:wrong").unwrap();
    let flags = ["--login", login.to_str().unwrap()];
    let mut agent = stage.agent("agent-0", &flags);
    assert_eq!(agent.end(), 3);
    let words = agent.said();
    assert!(words.contains("authorization violation"), "{words}");
    let mut nobody = stage.agent("agent-1", &[]);
    assert_eq!(nobody.end(), 3);
    fs::write(&login, "no colon").unwrap();
    let mut faulty = stage.agent("agent-2", &flags);
    assert_eq!(faulty.end(), 3);
    let words = faulty.said();
    assert!(words.contains("user:password"), "{words}");
}

/// Starts a server by the given rules in place of the stage's own.
fn serve(stage: &mut Stage, rules: &str) {
    stage.server.kill();
    let path = stage.path().join("rules.conf");
    let store = stage.path().join("store-of-rules");
    let rules = rules.replace("/var/lib/nats", store.to_str().unwrap());
    fs::write(&path, rules).unwrap();
    let mut command = Command::new(find_server().unwrap());
    command
        .arg("-c")
        .arg(path)
        .args(["-a", "127.0.0.1", "-p", &stage.port.to_string()])
        .env("COORDINATOR_PASSWORD", "leads")
        .env("OPERATOR_PASSWORD", "steers")
        .env("AGENT_PASSWORD", "works");
    stage.server = Process::start(&mut command, stage.path(), "ruled");
    stage.wait_for_server();
}

/// Makes a certificate authority, and certificates of a server and a client.
fn certificates(folder: &std::path::Path) -> [PathBuf; 5] {
    let key = |name: &str| {
        let pair = rcgen::KeyPair::generate().unwrap();
        let path = folder.join(name);
        fs::write(&path, pair.serialize_pem()).unwrap();
        (pair, path)
    };
    let (ca_key, _) = key("ca-key.pem");
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let ca_path = folder.join("ca.pem");
    fs::write(&ca_path, ca.pem()).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let signed = |name: &str| {
        let (own, key_path) = key(&format!("{name}-key.pem"));
        let params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&own, &issuer).unwrap();
        let path = folder.join(format!("{name}.pem"));
        fs::write(&path, certificate.pem()).unwrap();
        (path, key_path)
    };
    let (server, server_key) = signed("server");
    let (client, client_key) = signed("client");
    [ca_path, server, server_key, client, client_key]
}

#[test]
fn with_tls_and_the_given_rules_a_fleet_runs_and_an_agent_may_do_no_more() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let [ca, server, server_key, client, client_key] = certificates(stage.path());
    let rules = fs::read_to_string(RULES).unwrap();
    let tls = format!(
        "tls {{ cert_file: {server:?}, key_file: {server_key:?}, ca_file: {ca:?}, verify: true }}\n"
    );
    serve(&mut stage, &format!("{rules}\n{tls}"));
    let login = |name: &str, text: &str| {
        let path = stage.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (leads, works) = (
        login("leads", "coordinator:leads"),
        login("works", "agent:works"),
    );
    let with = |command: &mut Command, login: &PathBuf| {
        command
            .args(["--nats", &stage.url(), "--login"])
            .arg(login)
            .arg("--nats-trusted")
            .arg(&ca)
            .arg("--nats-certificate")
            .arg(&client)
            .arg("--nats-key")
            .arg(&client_key);
    };
    // Without a certificate nobody is let in.
    let mut stranger = program();
    stranger
        .args(["agent", "--nats", &stage.url(), "--connect-wait", "1s"])
        .arg("--login")
        .arg(&works)
        .arg("--nats-trusted")
        .arg(&ca);
    let mut stranger = Process::start(&mut stranger, stage.path(), "stranger");
    assert_eq!(stranger.end(), 3);

    let mut agent = program();
    agent.arg("agent");
    with(&mut agent, &works);
    let mut agent = Process::start(&mut agent, stage.path(), "agent-0");
    let scenario = stage.scenario(100, "5s");
    let mut coordinator = program();
    coordinator
        .args(["fleet", "run", scenario.to_str().unwrap(), "--agents", "1"])
        .args(["--json", "--results"])
        .arg(stage.path().join("results"));
    with(&mut coordinator, &leads);
    let mut coordinator = Process::start(&mut coordinator, stage.path(), "coordinator");
    coordinator.wait_to_say("1 of 1 agents send");

    // Who steers may do that.
    let steers = login("steers", "operator:steers");
    let mut steering = program();
    steering.args(["fleet", "rate", "0.9"]);
    with(&mut steering, &steers);
    let mut steering = Process::start(&mut steering, stage.path(), "steering");
    assert_eq!(steering.end(), 0, "{}", steering.said());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let access = Access {
            servers: vec![stage.url()],
            fleet: "mintmark".into(),
            login: Some(works),
            trusted: Some(ca),
            certificate: Some((client, client_key)),
            wait: Duration::from_secs(5),
            ..Access::default()
        };
        let bus = Bus::connect(&access, "test").await.unwrap();
        let (leader, _) = bus
            .get::<mintmark::fleet::message::Leader>("leader")
            .await
            .unwrap()
            .unwrap();
        // An agent can neither stop the run, nor lead it, nor read what others
        // measured, nor make streams.
        let control = Control {
            protocol: PROTOCOL,
            stops: true,
            changes: Vec::new(),
            handovers: Vec::new(),
        };
        let key = format!("{}.control", leader.run);
        let refused = bus.put(&key, &control).await.unwrap_err();
        let words = mintmark::error::Chain(&refused).to_string();
        thread::sleep(Duration::from_millis(100));
        let again = bus.put("leader", &leader).await.unwrap_err();
        let words = words + &mintmark::error::Chain(&again).to_string();
        assert!(
            words.to_lowercase().contains("permissions violation"),
            "{words}"
        );
        assert!(bus.fetch(&mut bus.frames(&leader.run)).await.is_err());
        assert!(bus.forget_frames().await.is_err());
    });
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(fleet_of(&document).changes[0].factor_ppm, 900_000);
    assert_eq!(agent.end(), 0, "{}", agent.said());
}

#[test]
fn an_nkey_opens_the_door() {
    let seed = [7_u8; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    // The form of a user's seed and public key (NATS ADR-14).
    let (user, of_seed) = (20_u8 << 3, 18_u8 << 3);
    let mut secret = vec![of_seed | user >> 5, (user & 31) << 3];
    secret.extend(seed);
    let mut public = vec![user];
    public.extend(pair.public_key().as_ref());
    let rules = format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        base32(&public)
    );
    let Some(stage) = Stage::with(&rules) else {
        return;
    };
    let key = stage.path().join("nkey");
    fs::write(&key, base32(&secret)).unwrap();
    let flags = ["--nkey", key.to_str().unwrap()];
    let mut agent = stage.agent("agent-0", &flags);
    agent.wait_to_say("waits for a run");
    agent.kill();
    secret[5] ^= 1;
    fs::write(&key, base32(&secret)).unwrap();
    let mut stranger = stage.agent("agent-1", &flags);
    assert_eq!(stranger.end(), 3);
}

/// Writes bytes and their CRC-16 (XMODEM) in base32 (RFC 4648 §6).
pub(super) fn base32(bytes: &[u8]) -> String {
    let crc = bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    let mut all = bytes.to_vec();
    all.extend(crc.to_le_bytes());
    let bits: Vec<u8> = all
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    bits.chunks(5)
        .map(|five| {
            let value = (0..5).fold(0, |sum, at| sum * 2 + five.get(at).copied().unwrap_or(0));
            char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(value)])
        })
        .collect()
}
