//! PKCS#11 against a real module, SoftHSM, where it is installed.
//!
//! The module reads its configuration from the environment of the process,
//! so that each arrangement runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use mintmark::signer::{Algorithm, Registry, Signer};
use tempfile::TempDir;

use crate::{keys, vectors};

const CHILD: &str = "MINTMARK_TEST_PKCS11_CHILD";

#[test]
fn a_key_in_the_token_is_found_by_its_label() {
    with_token(|token| {
        token.import("rsa-2048-e-3", "signer");
        token
            .run(&[("MINTMARK_PKCS11_KEY", "signer")])
            .expect_success();
    });
}

#[test]
fn a_key_in_the_token_is_found_by_its_modulus() {
    with_token(|token| {
        token.import("rsa-2048-e-3", "some name");
        token.run(&[]).expect_success();
    });
}

#[test]
fn a_key_is_copied_in_only_if_that_is_allowed() {
    with_token(|token| {
        token
            .run(&[])
            .expect_failure("MINTMARK_PKCS11_IMPORT=1 to copy it in");
        token
            .run(&[("MINTMARK_PKCS11_IMPORT", "1")])
            .expect_success();
    });
}

#[test]
fn another_key_of_that_label_is_refused() {
    with_token(|token| {
        token.import("rsa-2056", "signer");
        token
            .run(&[("MINTMARK_PKCS11_KEY", "signer")])
            .expect_failure("is another key");
        token
            .run(&[("MINTMARK_PKCS11_KEY", "nobody")])
            .expect_failure("no RSA key labelled");
    });
}

#[test]
fn a_wrong_pin_is_told_and_not_shown() {
    with_token(|token| {
        let output = token.run(&[("MINTMARK_PKCS11_PIN", "987654")]);
        output.expect_failure("cannot log in with the PIN");
        assert!(!output.text.contains("987654"), "{}", output.text);
    });
}

/// What a child process does: the key signs as ring does, from many threads.
#[test]
#[ignore = "runs in a process of its own, started by the other tests"]
fn in_a_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let key = keys::fixture("rsa-2048-e-3");
    let registry = Registry::compiled();
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
    ] {
        let (loaded, refused) =
            registry.agreeing(&["aws-lc-rs".into(), "pkcs11".into()], &key, algorithm);
        assert!(refused.is_empty(), "{refused:?}");
        if algorithm.is_deterministic() {
            let (reference, token) = (&*loaded[0].signer, &*loaded[1].signer);
            std::thread::scope(|scope| {
                for thread in 0..6 {
                    scope.spawn(move || {
                        for round in 0..10 {
                            let message = vectors::message(100 * thread + round);
                            assert_eq!(signed(token, &message), signed(reference, &message));
                        }
                    });
                }
            });
        }
    }
    let facts = registry.get("pkcs11").unwrap().facts();
    assert!(facts.library.contains("SoftHSM"), "{}", facts.library);
}

fn signed(signer: &dyn Signer, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; signer.signature_len()];
    signer.sign(message, &mut signature).unwrap();
    signature
}

struct Token {
    folder: TempDir,
    module: PathBuf,
}

fn with_token(test: impl FnOnce(&Token)) {
    let module = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists());
    let Some(module) = module else {
        println!("skipped: SoftHSM is not installed (package softhsm2)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tokens")).unwrap();
    let config = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        folder.path().join("tokens").display()
    );
    std::fs::write(folder.path().join("softhsm2.conf"), config).unwrap();
    let token = Token { folder, module };
    token.util(&[
        "--init-token",
        "--free",
        "--label",
        "mintmark",
        "--so-pin",
        "1234",
        "--pin",
        "5678",
    ]);
    test(&token);
}

struct Output {
    is_success: bool,
    text: String,
}

impl Output {
    fn expect_success(&self) {
        assert!(self.is_success, "{}", self.text);
    }

    fn expect_failure(&self, reason: &str) {
        assert!(
            !self.is_success && self.text.contains(reason),
            "expected {reason:?} in {}",
            self.text
        );
    }
}

impl Token {
    fn conf(&self) -> PathBuf {
        self.folder.path().join("softhsm2.conf")
    }

    fn util(&self, arguments: &[&str]) {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn import(&self, fixture: &str, label: &str) {
        let key = keys::fixture(fixture);
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", key.pkcs8_der()));
        let path = self.folder.path().join("key.pem");
        std::fs::write(&path, pem).unwrap();
        let path: &Path = &path;
        self.util(&[
            "--import",
            path.to_str().unwrap(),
            "--token",
            "mintmark",
            "--label",
            label,
            "--id",
            "a1",
            "--pin",
            "5678",
        ]);
    }

    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pkcs11::in_a_child", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .env("SOFTHSM2_CONF", self.conf())
            .env("MINTMARK_PKCS11_MODULE", &self.module)
            .env("MINTMARK_PKCS11_TOKEN", "mintmark")
            .env("MINTMARK_PKCS11_PIN", "5678")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Output {
            is_success: output.status.success(),
            text: String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        }
    }
}
