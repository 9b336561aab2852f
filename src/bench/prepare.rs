//! How does a cell of the matrix become something that signs?
//!
//! Signers are made and proven against each other before anything is timed.
//! What cannot be made is left out with its reason. The key policies are
//! signers around backends: nothing that measures knows of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arm::{Arm, PooledArm, SignerArm};
use super::case::{Case, KeyPolicy};
use super::message::signing_inputs;
use super::record::RefusedCase;
use super::session::Request;
use super::{BenchError, SigningKey};
use crate::credential::SealedKey;
use crate::signer::registry::Loaded;
use crate::signer::{Algorithm, Backend, PrivateKey, SignError, Signer};

/// The time in which loading a key is repeated to find its least time.
const LOADING: Duration = Duration::from_millis(40);

/// The fewest repetitions of a loading, however long it takes.
const FEWEST_LOADS: usize = 3;

/// A case with the signer that was made for it.
pub struct Ready {
    /// The case.
    pub case: Case,
    pub(super) signer: Arc<dyn Signer>,
    pub(super) messages: Arc<[Vec<u8>]>,
    pub(super) load_times: LoadTimes,
    pub(super) has_hidden_threads: bool,
}

impl Ready {
    /// Does the library sign on threads of its own, so that CPU time of the
    /// calling thread says nothing?
    #[must_use]
    pub fn has_hidden_threads(&self) -> bool {
        self.has_hidden_threads
    }
}

/// What it takes to make a signer, at least; unknown where it fails.
#[derive(Clone, Copy, Default)]
pub(super) struct LoadTimes {
    pub(super) load: Option<Duration>,
    pub(super) decrypt_and_load: Option<Duration>,
}

impl Ready {
    /// Makes an arm that signs as the case says; several may share the signer.
    ///
    /// # Errors
    ///
    /// The system starts no more threads.
    pub fn arm(&self) -> Result<Box<dyn Arm>, BenchError> {
        Ok(if self.case.threads == 1 {
            Box::new(SignerArm::new(
                Arc::clone(&self.signer),
                Arc::clone(&self.messages),
            ))
        } else {
            Box::new(PooledArm::new(
                &self.signer,
                &self.messages,
                self.case.threads,
            )?)
        })
    }
}

/// Makes the signers of every cell, and says of which cells none was made.
///
/// Times and seeds of the request do not matter here.
#[must_use]
pub fn prepare(request: &Request<'_>) -> (Vec<Ready>, Vec<RefusedCase>) {
    let mut ready = Vec::new();
    let mut refused = Vec::new();
    for algorithm in request.algorithms {
        for key in request
            .keys
            .iter()
            .filter(|key| key.key.kind() == algorithm.key_kind())
        {
            prepare_key(request, key, *algorithm, &mut ready, &mut refused);
        }
    }
    (ready, refused)
}

fn prepare_key(
    request: &Request<'_>,
    key: &SigningKey,
    algorithm: Algorithm,
    ready: &mut Vec<Ready>,
    refused: &mut Vec<RefusedCase>,
) {
    let (loaded, left_out) = request
        .registry
        .agreeing(request.backends, &key.key, algorithm);
    let backends: Vec<Option<Arc<dyn Backend>>> = loaded
        .iter()
        .map(|loaded| request.registry.get(&loaded.name).ok().cloned())
        .collect();
    let load_times: Vec<LoadTimes> = backends
        .iter()
        .map(|backend| {
            backend
                .as_deref()
                .map(|backend| load_times(backend, key, algorithm))
                .unwrap_or_default()
        })
        .collect();
    for (policy, threads, claims_bytes) in cells(request) {
        let case = |backend: &str| Case {
            backend: backend.to_owned(),
            algorithm,
            key_bits: key.key.bits(),
            threads,
            key_policy: policy,
            claims_bytes,
        };
        let messages = signing_inputs(algorithm, claims_bytes);
        for ((loaded, backend), load_times) in loaded.iter().zip(&backends).zip(&load_times) {
            let case = case(&loaded.name);
            match under_policy(loaded, backend.as_ref(), key, algorithm, policy) {
                Ok(signer) => ready.push(Ready {
                    case,
                    signer,
                    messages: Arc::clone(&messages),
                    load_times: *load_times,
                    has_hidden_threads: backend
                        .as_ref()
                        .is_some_and(|backend| backend.facts().hidden_threads.is_some()),
                }),
                Err(reason) => refused.push(RefusedCase {
                    case,
                    reason: reason.into(),
                }),
            }
        }
        refused.extend(left_out.iter().map(|left_out| RefusedCase {
            case: case(&left_out.name),
            reason: left_out.reason.clone(),
        }));
    }
}

fn cells(request: &Request<'_>) -> Vec<(KeyPolicy, usize, usize)> {
    let mut cells = Vec::new();
    for policy in request.key_policies {
        for threads in request.threads {
            for claims_bytes in request.claims_bytes {
                cells.push((*policy, (*threads).max(1), *claims_bytes));
            }
        }
    }
    cells
}

fn under_policy(
    loaded: &Loaded,
    backend: Option<&Arc<dyn Backend>>,
    key: &SigningKey,
    algorithm: Algorithm,
    policy: KeyPolicy,
) -> Result<Arc<dyn Signer>, &'static str> {
    if policy == KeyPolicy::Reused {
        return Ok(Arc::clone(&loaded.signer));
    }
    let backend = Arc::clone(backend.ok_or("the backend is gone")?);
    if backend.facts().parses_key_per_signature {
        return Err("it parses the key for every signature whatever is asked for");
    }
    let len = loaded.signer.signature_len();
    Ok(match policy {
        KeyPolicy::Reused | KeyPolicy::ParsedPerCall => Arc::new(ParsedPerCall {
            backend,
            key: Arc::clone(&key.key),
            algorithm,
            len,
        }),
        KeyPolicy::DecryptedPerCall => {
            let sealed = key.sealed.clone().filter(SealedKey::is_encrypted);
            Arc::new(DecryptedPerCall {
                backend,
                sealed: sealed.ok_or("the key is not kept encrypted")?,
                algorithm,
                len,
            })
        }
    })
}

const FAILED: SignError = SignError::Backend { backend: "bench" };

/// Makes a signer of the DER for every signature.
struct ParsedPerCall {
    backend: Arc<dyn Backend>,
    key: Arc<PrivateKey>,
    algorithm: Algorithm,
    len: usize,
}

impl Signer for ParsedPerCall {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        self.backend
            .load(&self.key, self.algorithm)
            .map_err(|_| FAILED)?
            .sign(message, signature)
    }
}

/// Decrypts the container and makes a signer of it for every signature.
struct DecryptedPerCall {
    backend: Arc<dyn Backend>,
    sealed: SealedKey,
    algorithm: Algorithm,
    len: usize,
}

impl Signer for DecryptedPerCall {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        let key = self.sealed.open().map_err(|_| FAILED)?;
        self.backend
            .load(&key, self.algorithm)
            .map_err(|_| FAILED)?
            .sign(message, signature)
    }
}

fn load_times(backend: &dyn Backend, key: &SigningKey, algorithm: Algorithm) -> LoadTimes {
    if backend.facts().parses_key_per_signature {
        // Nothing is paid beforehand; what loading does is a proof of ours.
        return LoadTimes::default();
    }
    let sealed = key.sealed.as_ref().filter(|sealed| sealed.is_encrypted());
    LoadTimes {
        load: least(|| backend.load(&key.key, algorithm).is_ok()),
        decrypt_and_load: sealed.and_then(|sealed| {
            least(|| {
                sealed
                    .open()
                    .is_ok_and(|key| backend.load(&key, algorithm).is_ok())
            })
        }),
    }
}

/// Returns the least time of some attempts, or `None` if one fails.
fn least(mut attempt: impl FnMut() -> bool) -> Option<Duration> {
    let begun = Instant::now();
    let mut least = Duration::MAX;
    let mut count = 0;
    while count < FEWEST_LOADS || begun.elapsed() < LOADING {
        let started = Instant::now();
        if !attempt() {
            return None;
        }
        least = least.min(started.elapsed());
        count += 1;
    }
    Some(least)
}
