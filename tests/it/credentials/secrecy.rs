//! Secrets are in no `Debug` form and in no error.

use std::error::Error;
use std::fmt::{Debug, Write as _};
use std::path::PathBuf;

use mintmark::credential::{
    AppConfig, PassphraseSource, SealedKey, Secret, ServiceAccount, Source,
};
use mintmark::error::Chain;
use zeroize::Zeroizing;

use super::fixtures::{PASSPHRASE, bytes, open, open_bytes, text};

const CLIENT_SECRET: &str = "k0u5h3z8s1e7d2m4x9r6v0t8b5n3w7qj";

#[test]
fn no_debug_form_shows_a_secret() {
    let config = AppConfig::from_json(text("app-config.json").as_bytes()).unwrap();
    let account = ServiceAccount::from_json(text("service-account.json").as_bytes()).unwrap();
    let bare = SealedKey::new(
        Zeroizing::new(bytes("rsa-2048.pkcs8.der")),
        Some(Secret::from(PASSPHRASE)),
    )
    .unwrap();
    let source = Source::Key {
        path: PathBuf::from("key.pem"),
        passphrase: PassphraseSource::Env("PASSPHRASE".into()),
        client_id: "client".into(),
        client_secret: Some(Secret::from(CLIENT_SECRET)),
        key_id: None,
        enterprise_id: None,
        user_id: None,
    };
    let key = bare.open().unwrap();
    let shown = [
        debug(&config),
        debug(&config.credential().unwrap()),
        debug(&config.credential().unwrap().key),
        debug(&config.client_secret),
        debug(&account),
        debug(&account.credential().unwrap()),
        debug(&bare),
        debug(&source),
        debug(&source.path()),
        debug(&key),
        debug(&key.public_key()),
        debug(&bare.describe()),
    ];
    for shown in shown {
        assert_shows_no_secret(&shown);
    }
}

#[test]
fn no_error_shows_a_secret() {
    let config = text("app-config.json");
    let mut shown = Vec::new();
    // Cut off anywhere, also within a secret.
    for len in (0..config.len() - 2).step_by(7) {
        let error = AppConfig::from_json(&config.as_bytes()[..len]).unwrap_err();
        shown.push(everything(&error));
    }
    // A secret where none belongs.
    for (from, to) in [
        ("\"clientSecret\": \"k", "\"clientSecret\": [\"k"),
        ("qj\",", "qj\"],"),
    ] {
        assert!(config.contains(from));
        let error = AppConfig::from_json(config.replace(from, to).as_bytes()).unwrap_err();
        shown.push(everything(&error));
    }
    for (from, to) in [("MII", "M!I"), ("-----END", "-----ENT"), ("\n", "\\n")] {
        for name in [
            "rsa-2048.pem",
            "rsa-2048.pkcs1.pem",
            "rsa-2048.des3-sha1.pem",
        ] {
            let broken = text(name).replacen(from, to, 1);
            let error = open_bytes(broken, Some(PASSPHRASE)).unwrap_err();
            shown.push(everything(&error));
        }
    }
    for name in ["rsa-2048.des3-sha1.pem", "rsa-2048.dek-des3.pem"] {
        // The passphrase of another key, mistyped.
        let error = open_bytes(bytes(name), Some(&format!("{PASSPHRASE} "))).unwrap_err();
        shown.push(everything(&error));
    }
    // A header in the place of which the key's first line stands.
    let no_header =
        text("rsa-2048.pkcs1.pem").replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: ", 1);
    shown.push(everything(
        &open_bytes(no_header, Some(PASSPHRASE)).unwrap_err(),
    ));
    for shown in shown {
        assert_shows_no_secret(&shown);
    }
}

fn assert_shows_no_secret(shown: &str) {
    let key = open("rsa-2048.pem").unwrap();
    let rsa = key.rsa_components().unwrap();
    for secret in [CLIENT_SECRET, PASSPHRASE] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // Any eight digits of a secret line would do an attacker a service.
    for name in [
        "rsa-2048.pem",
        "rsa-2048.pkcs1.pem",
        "rsa-2048.des3-sha1.pem",
    ] {
        for line in text(name).lines().filter(|line| !line.starts_with("---")) {
            for at in (0..line.len().saturating_sub(8)).step_by(8) {
                assert!(!shown.contains(&line[at..at + 8]), "{shown}");
            }
        }
    }
    for number in [rsa.private_exponent, rsa.prime1, rsa.prime2] {
        let start = &number.as_bytes()[..4];
        let mut hex = String::new();
        for byte in start {
            write!(hex, "{byte:02x}").unwrap();
        }
        let list = format!("{}, {}, {}, {}", start[0], start[1], start[2], start[3]);
        assert!(!shown.to_lowercase().contains(&hex), "{shown}");
        assert!(!shown.replace(",\n", ", ").contains(&list), "{shown}");
    }
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}")
}

fn everything(error: &(impl Error + 'static)) -> String {
    format!("{}\n{}", Chain(error), debug(error))
}
