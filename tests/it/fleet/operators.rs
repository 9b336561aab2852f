//! A server that trusts an operator, and lets in who has a JWT of its account.

use std::fs;
use std::path::PathBuf;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::access::base32;
use super::{Process, Stage, fleet_of, is_whole, open_of, serve};
use crate::stage::program;

/// The first byte of the public keys of operators, accounts and users, and of
/// seeds (NATS ADR-14).
const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;
const SEED: u8 = 18 << 3;

/// Somebody who signs.
struct Signer {
    kind: u8,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(kind: u8, number: u8) -> Self {
        let seed = [number; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self { kind, seed, pair }
    }

    fn name(&self) -> String {
        base32(&[&[self.kind], self.pair.public_key().as_ref()].concat())
    }

    fn seed(&self) -> String {
        let head = [SEED | self.kind >> 5, (self.kind & 31) << 3];
        base32(&[&head[..], &self.seed].concat())
    }

    /// Says who `subject` is and what it may do (NATS JWT, version 2).
    fn says(&self, subject: &Signer, nats: &Value) -> String {
        let claims = json!({
            "jti": "AAAA", "iat": 1_700_000_000, "name": "test",
            "iss": self.name(), "sub": subject.name(), "nats": nats,
        });
        let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Writes a file as `nsc` does.
fn credentials(stage: &Stage, name: &str, jwt: &str, seed: &str) -> PathBuf {
    let path = stage.path().join(name);
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn credentials_of_an_account_open_the_door_and_a_wrong_seed_does_not() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let operator = Signer::new(OPERATOR, 1);
    let [system, account] = [2, 3].map(|number| Signer::new(ACCOUNT, number));
    let [user, other] = [4, 5].map(|number| Signer::new(USER, number));
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let of_account = json!({ "limits": limits, "type": "account", "version": 2 });
    let of_system = json!({
        "limits": { "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                    "wildcards": true, "conn": -1, "leaf": -1 },
        "type": "account", "version": 2,
    });
    let of_user = json!({
        "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
    });
    let of_operator = json!({
        "type": "operator", "version": 2, "system_account": system.name(),
    });
    let config = stage.path().join("nats.conf");
    let rules = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}: {}\n{}: {}\n}}\n",
        operator.says(&operator, &of_operator),
        system.name(),
        system.name(),
        operator.says(&system, &of_system),
        account.name(),
        operator.says(&account, &of_account),
    );
    stage.server.kill();
    fs::write(&config, fs::read_to_string(&config).unwrap() + &rules).unwrap();
    stage.server = serve(stage.path(), "nats-operator");
    stage.wait_for_server();

    let jwt = account.says(&user, &of_user);
    let right = credentials(&stage, "right.creds", &jwt, &user.seed());
    let refused = [
        // The JWT is public; without its seed it opens nothing.
        credentials(&stage, "wrong.creds", &jwt, &other.seed()),
        // Nor does one that no account of the operator signed.
        credentials(
            &stage,
            "self.creds",
            &other.says(&user, &of_user),
            &user.seed(),
        ),
    ];
    for (number, path) in refused.iter().enumerate() {
        let flags = ["--creds", path.to_str().unwrap()];
        let mut stranger = stage.agent(&format!("stranger-{number}"), &flags);
        assert_eq!(stranger.end(), 3);
        let words = stranger.said();
        assert!(words.contains("authorization violation"), "{words}");
        for seed in [user.seed(), other.seed()] {
            assert!(!words.contains(&seed));
        }
    }
    let scenario = stage.scenario(100, "2s");
    let mut agent = stage.agent("agent-0", &["--creds", right.to_str().unwrap()]);
    // The coordinator finds the file by the variable.
    let mut command = program();
    command
        .env("MINTMARK_NATS_CREDS", &right)
        .args(["fleet", "run", scenario.to_str().unwrap()])
        .args(["--agents", "1", "--nats", &stage.url(), "--json"])
        .arg("--results")
        .arg(stage.path().join("results"));
    let mut coordinator = Process::start(&mut command, stage.path(), "coordinator");
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(open_of(&document).accounts.scheduled, 200);
    assert_eq!(agent.end(), 0, "{}", agent.said());
}
