//! Keys that travel: only on request, only sealed, and to named agents alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use mintmark::credential::AppConfig;
use mintmark::fleet::bus::Bus;
use mintmark::fleet::message::{Leader, Sealed, Spec};
use mintmark::scenario::many::key_digest;
use sha2::{Digest, Sha256};

use super::strangers::leader_run;
use super::{CONFIG, Process, Stage, fleet_of, is_whole, open_of};
use crate::stage::{program, text};

/// Makes an identity as a user does, and returns its file and public key.
pub(super) fn identity(stage: &Stage, name: &str) -> (PathBuf, String) {
    let path = stage.path().join(name);
    let made = program()
        .args(["agent", "--new-identity"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    (path, text(&made.stdout).trim().to_owned())
}

/// Moves the app into the stage's folder, its passphrase into a file of its own.
pub(super) fn move_the_app(stage: &Stage, scenario: &Path) -> (AppConfig, [PathBuf; 2]) {
    let mut config = AppConfig::from_json(&fs::read(CONFIG).unwrap()).unwrap();
    let whole = config.clone();
    let passphrase = config.passphrase.take().unwrap();
    let files = ["app.json", "passphrase"].map(|name| stage.path().join(name));
    config.write(&files[0]).unwrap();
    fs::write(&files[1], passphrase.expose()).unwrap();
    let old = format!("config = \"{CONFIG}\"");
    let [app, secret] = files.each_ref().map(|path| path.display());
    let new = format!("config = \"{app}\"\npassphrase_file = \"{secret}\"");
    let toml = fs::read_to_string(scenario).unwrap();
    assert!(toml.contains(&old));
    fs::write(scenario, toml.replace(&old, &new)).unwrap();
    (whole, files)
}

/// Writes bytes in hexadecimal.
fn hex_of(bytes: &[u8]) -> Vec<u8> {
    let digit = |four: u8| b"0123456789abcdef"[usize::from(four)];
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// Returns the forms in which a secret could lie somewhere.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex = hex_of(secret);
    let mut forms = vec![secret.to_vec(), hex.to_ascii_uppercase(), hex];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // In base64 a text looks different by where it begins; its first and
        // last characters depend on what is beside it.
        for before in 0..3 {
            let encoded = engine.encode([&[0; 3][..before], secret].concat());
            forms.push(encoded.as_bytes()[4..encoded.len() - 2].to_vec());
        }
    }
    forms
}

/// Finds the files below a folder, but for `except`, that hold some bytes.
fn found_in(folder: &Path, bytes: &[u8], except: &[&Path]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_in(&path, bytes, except));
        } else if !except.contains(&&*path)
            && memchr::memmem::find(&fs::read(&path).unwrap(), bytes).is_some()
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn agents_without_any_file_sign_with_a_key_that_nothing_between_can_read() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "3s");
    let (app, files) = move_the_app(&stage, &scenario);
    let named = [
        identity(&stage, "identity-0"),
        identity(&stage, "identity-1"),
    ];
    let (stranger, of_stranger) = identity(&stage, "identity-2");
    let list = stage.path().join("agents.txt");
    fs::write(&list, format!("{}\n{} # both\n", named[0].1, named[1].1)).unwrap();
    let flags = ["--send-keys-to", list.to_str().unwrap()];
    let mut coordinator = stage.coordinator(&scenario, 2, &flags);
    let (runtime, bus) = stage.bus();
    let (run, spec) = wait_for_run(&runtime, &bus);
    let entry = format!("{run}.sealed.{}", named[0].1);
    // The agents are on this machine, and have to do without what it has.
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    let sealed = runtime.block_on(bus.get::<Sealed>(&entry)).unwrap();
    let (sealed, _) = sealed.unwrap();
    let of_another = runtime.block_on(bus.get::<Sealed>(&format!("{run}.sealed.{of_stranger}")));
    assert!(of_another.unwrap().is_none());
    let refused = |name: &str, flags: &[&str]| {
        let mut agent = stage.agent(name, flags);
        assert_eq!(agent.end(), 3);
        assert!(
            agent.said().contains("this is none of them"),
            "{}",
            agent.said()
        );
    };
    refused("nobody", &[]);
    refused("stranger", &["--identity", stranger.to_str().unwrap()]);
    let mut agents: Vec<Process> = (0..2)
        .map(|slot| {
            let identity = named[slot].0.to_str().unwrap();
            stage.agent(&format!("agent-{slot}"), &["--identity", identity])
        })
        .collect();
    coordinator.wait_to_say("2 of 2 agents send");
    let withdrawn = runtime.block_on(bus.get::<Sealed>(&entry)).unwrap();
    assert!(withdrawn.is_none(), "it is purged once both have joined");
    let (document, _) = stage.outcome(&mut coordinator);
    for agent in &mut agents {
        assert_eq!(agent.end(), 0, "{}", agent.said());
    }
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(open_of(&document).accounts.scheduled, 300);
    let digest = key_digest(&app.credential().unwrap()).unwrap();
    assert_eq!(document.key.spki_sha256, digest);

    // Only the owner's identity opens the entry, and only for this run.
    let sealed = URL_SAFE_NO_PAD.decode(sealed.sealed).unwrap();
    let digest = Sha256::digest(serde_json::to_vec(&spec).unwrap());
    let digest = text(&hex_of(&digest));
    let open = |path: &Path, run: &str| {
        let identity = mintmark::fleet::identity::Identity::read(path).unwrap();
        identity.open(&format!("mintmark/{run}/{digest}"), &sealed)
    };
    let opened = open(&named[0].0, &run).unwrap();
    assert!(open(&named[1].0, &run).is_err());
    assert!(open(&named[0].0, "another").is_err());
    nothing_is_found(stage.path(), &app, &opened);
    // The search reaches the server's store.
    let found = found_in(stage.path(), named[0].1.as_bytes(), &[&list]);
    let store = stage.path().join("store");
    assert!(
        found.iter().any(|path| path.starts_with(&store)),
        "{found:?}"
    );
}

/// Looks for every secret of an app, which are all in `opened`, in each form.
fn nothing_is_found(folder: &Path, app: &AppConfig, opened: &[u8]) {
    let pem = app.private_key.expose();
    let passphrase = app.passphrase.as_ref().unwrap().expose();
    for secret in [pem, passphrase, app.client_secret.expose()] {
        assert!(memchr::memmem::find(opened, secret.as_bytes()).is_some());
    }
    let key = app.credential().unwrap().key.open().unwrap();
    let components = key.rsa_components().unwrap();
    let secrets = [
        components.private_exponent.as_bytes(),
        components.prime1.as_bytes(),
        passphrase.as_bytes(),
        app.client_secret.expose().as_bytes(),
        pem.lines().nth(3).unwrap().as_bytes(),
    ];
    for secret in secrets {
        for form in forms(secret) {
            assert!(form.len() > 8);
            let found = found_in(folder, &form, &[]);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

#[test]
fn keys_do_not_open_for_a_run_whose_endpoint_was_changed_on_the_way() {
    let Some(stage) = Stage::new() else { return };
    let scenario = stage.scenario(100, "2s");
    let (own, public) = identity(&stage, "identity-0");
    let list = stage.path().join("agents.txt");
    fs::write(&list, public).unwrap();
    let flags = ["--send-keys-to", list.to_str().unwrap()];
    let _coordinator = stage.coordinator(&scenario, 1, &flags);
    let (runtime, bus) = stage.bus();
    let (run, mut spec) = wait_for_run(&runtime, &bus);
    spec.scenario.target.url = Some("http://127.0.0.1:9/oauth2/token".into());
    let key = format!("{run}.spec");
    runtime.block_on(bus.put(&key, &spec)).unwrap();
    let mut agent = stage.agent("agent-0", &["--identity", own.to_str().unwrap()]);
    assert_eq!(agent.end(), 3);
    assert!(agent.said().contains("does not open"), "{}", agent.said());
}

/// Waits until a run is laid down.
pub(super) fn wait_for_run(runtime: &tokio::runtime::Runtime, bus: &Bus) -> (String, Spec) {
    runtime.block_on(async {
        loop {
            if let Ok(Some(_)) = bus.get::<Leader>("leader").await {
                let run = leader_run(bus).await;
                if let Some((spec, _)) = bus.get(&format!("{run}.spec")).await.unwrap() {
                    return (run, spec);
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}
