//! What does a build say when another one asks it to sign?
//!
//! A worker is this program, started by a gate, which signs blocks when it is
//! told to and answers with what they cost. It reads a line of JSON from its
//! input and writes a line of JSON to its output, and ends with its input. Two
//! builds that speak the same version of these lines can be compared.
//!
//! The key comes over the pipe, since both sides must sign with the same one;
//! it is nowhere written down.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::backends::ready;
use crate::bench::arm::{Arm, Block};
use crate::bench::{Case, KeyPolicy, SigningKey};
use crate::credential::{SealedKey, Sealing, generate, seal};
use crate::signer::{PrivateKey, Registry};

/// The version of the lines.
pub const PROTOCOL: u32 = 2;

/// What a worker is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Make a signer.
    Start {
        /// The version that the asker speaks.
        protocol: u32,
        /// What to sign, and how.
        case: Case,
        /// The key, PKCS#8 in base64.
        key: Secret,
    },
    /// Make so many signatures in each timed operation.
    SignaturesPerOperation(usize),
    /// Time so many operations, on all threads of the case.
    Run(usize),
    /// Time so many operations on one thread.
    RunAlone(usize),
}

/// A secret on its way.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Wraps a key.
    #[must_use]
    pub fn of(key: &PrivateKey) -> Self {
        Self(Zeroizing::new(STANDARD.encode(key.pkcs8_der())))
    }

    fn key(&self) -> Result<PrivateKey, String> {
        let der = STANDARD
            .decode(self.0.as_bytes())
            .map(Zeroizing::new)
            .map_err(|error| format!("the key is no base64: {error}"))?;
        PrivateKey::from_pkcs8_der(&der).map_err(|error| error.to_string())
    }
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The signer is there.
    Ready {
        /// The version that the worker speaks.
        protocol: u32,
        /// The version of the worker's program.
        version: String,
        /// The version of the backend.
        backend_version: String,
        /// The fewest signatures that an operation can make.
        least_signatures: usize,
        /// Does the library sign on threads of its own?
        has_hidden_threads: bool,
    },
    /// It was done.
    Done,
    /// The block was timed.
    Block(Block),
    /// The block was timed on one thread, which gave its processor up by
    /// itself so often, where the system counts that.
    Alone(Block, Option<u64>),
    /// It could not be done, and why.
    Failed(String),
}

/// Answers every line of `input` until it ends.
///
/// # Errors
///
/// The pipe to the asker fails.
pub fn serve(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut arm: Option<Box<dyn Arm>> = None;
    let mut block = Block::default();
    for line in input.lines() {
        let line = Zeroizing::new(line?);
        let answer = match serde_json::from_str(&line) {
            Ok(Ask::Start {
                protocol,
                case,
                key,
            }) => start(protocol, &case, &key, &mut arm),
            Ok(ask) => match &mut arm {
                None => Answer::Failed("the first line did not start a case".into()),
                Some(arm) => run(&ask, &mut **arm, &mut block),
            },
            Err(error) => Answer::Failed(format!("the line is not understood: {error}")),
        };
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
    Ok(())
}

fn start(protocol: u32, case: &Case, key: &Secret, arm: &mut Option<Box<dyn Arm>>) -> Answer {
    if protocol != PROTOCOL {
        return Answer::Failed(format!(
            "the gate speaks version {protocol}, this build version {PROTOCOL}"
        ));
    }
    let registry = Registry::compiled();
    let made = signing_key(case, key)
        .and_then(|key| ready(&registry, &key, case))
        .and_then(|ready| {
            let arm = ready.arm().map_err(|error| error.to_string())?;
            Ok((arm, ready.has_hidden_threads()))
        });
    match made {
        Ok((made, has_hidden_threads)) => {
            let least_signatures = made.least_signatures();
            *arm = Some(made);
            Answer::Ready {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                backend_version: registry
                    .get(&case.backend)
                    .map(|backend| backend.facts().version)
                    .unwrap_or_default(),
                least_signatures,
                has_hidden_threads,
            }
        }
        Err(reason) => Answer::Failed(reason),
    }
}

/// Opens the key, and seals it where the case is to decrypt it every time.
fn signing_key(case: &Case, key: &Secret) -> Result<SigningKey, String> {
    let key = Arc::new(key.key()?);
    let mut signing = SigningKey::from(Arc::clone(&key));
    if case.key_policy == KeyPolicy::DecryptedPerCall {
        let failed = |error: &dyn std::fmt::Display| format!("the key cannot be sealed: {error}");
        let passphrase = generate::passphrase().map_err(|error| failed(&error))?;
        let text =
            seal(key.pkcs8_der(), Sealing::CONSOLE, &passphrase).map_err(|error| failed(&error))?;
        let bytes = Zeroizing::new(text.expose().as_bytes().to_vec());
        let sealed = SealedKey::new(bytes, Some(passphrase)).map_err(|error| failed(&error))?;
        signing.sealed = Some(sealed);
    }
    Ok(signing)
}

fn run(ask: &Ask, arm: &mut dyn Arm, block: &mut Block) -> Answer {
    block.clear();
    let outcome = match ask {
        Ask::Start { .. } => return Answer::Failed("a case was started already".into()),
        Ask::SignaturesPerOperation(signatures) => {
            arm.set_signatures_per_operation(*signatures);
            return Answer::Done;
        }
        Ask::Run(operations) => arm
            .run(*operations, block)
            .map(|()| Answer::Block(block.clone())),
        Ask::RunAlone(operations) => arm
            .run_alone_counted(*operations, block)
            .map(|given_up| Answer::Alone(block.clone(), given_up)),
    };
    outcome.unwrap_or_else(|error| Answer::Failed(error.to_string()))
}
