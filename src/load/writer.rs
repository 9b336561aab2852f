//! How is an assertion written for a start, and by which key?
//!
//! Each is dated with the moment for which its request is scheduled, and signed
//! by the key that its app has at the moment of signing. An assertion holds its
//! key until it has served, so that whoever replaces a key learns when the last
//! user of the old one has gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::arrival::Start;
use super::assertions::Made;
use super::pacer::{now_ns, wall_ns};
use super::population::Population;
use crate::assertion::{AssertionError, Builder, append_signature};
use crate::signer::Job;
use crate::token::SigningKey;

/// Writes assertions for the apps of a population.
pub(super) struct Writer {
    pens: Vec<Pen>,
}

/// What writes the assertions of one app.
struct Pen {
    builder: Builder,
    /// The key that the builder names, without keeping it alive.
    key: Weak<SigningKey>,
}

impl Writer {
    pub fn new(population: &Population) -> Result<Self, AssertionError> {
        let pens = population.members().iter().enumerate();
        Ok(Self {
            pens: pens
                .map(|(number, member)| {
                    let key = population.key(number);
                    Ok(Pen {
                        builder: member.app.builder_for(key.kid(), key.algorithm())?,
                        key: Arc::downgrade(&key),
                    })
                })
                .collect::<Result<_, AssertionError>>()?,
        })
    }

    pub fn write(&mut self, start: &Start, origin_ns: u64, population: &Population) -> Made {
        let (member, subject) = population.pick(start.index);
        let mut text = Vec::with_capacity(1024);
        let begun = now_ns();
        let date = date_of(start, origin_ns);
        let (builder, key) = self.pen(member, population);
        if builder
            .write(date, subject, key.signer(), &mut text)
            .is_err()
        {
            text.clear();
        }
        Made {
            index: start.index,
            text: text.into(),
            signing_ns: now_ns() - begun,
            due_ns: Some(start.due_ns),
            key: Some(key),
        }
    }

    /// Writes what has to be signed for `start`.
    pub fn input(
        &mut self,
        track: usize,
        start: &Start,
        origin_ns: u64,
        population: &Population,
    ) -> Input {
        let (member, subject) = population.pick(start.index);
        let mut text = Vec::with_capacity(1024);
        let (builder, key) = self.pen(member, population);
        builder.write_signing_input(date_of(start, origin_ns), subject, &mut text);
        Input {
            track,
            index: start.index,
            due_ns: start.due_ns,
            key,
            text,
        }
    }

    /// Returns what lays an app's assertions out, and its current key.
    fn pen(&mut self, member: usize, population: &Population) -> (&mut Builder, Arc<SigningKey>) {
        let pen = &mut self.pens[member];
        let key = population.key(member);
        if !std::ptr::eq(pen.key.as_ptr(), Arc::as_ptr(&key)) {
            let app = &population.members()[member].app;
            // A layout that was accepted for one key is for another as well.
            if let Ok(builder) = app.builder_for(key.kid(), key.algorithm()) {
                *pen = Pen {
                    builder,
                    key: Arc::downgrade(&key),
                };
            }
        }
        (&mut pen.builder, key)
    }
}

/// Returns the wall time of a start, or now if it should have begun already:
/// an assertion for a request that is late must not have expired.
///
/// Both clocks are asked anew each time, so that a step of the wall clock
/// moves later assertions with it.
fn date_of(start: &Start, origin_ns: u64) -> Duration {
    let until_due = (origin_ns + start.due_ns).saturating_sub(now_ns());
    Duration::from_nanos(wall_ns() + until_due)
}

/// Something to sign.
pub(super) struct Input {
    pub track: usize,
    pub index: u64,
    pub due_ns: u64,
    pub key: Arc<SigningKey>,
    pub text: Vec<u8>,
}

/// Signs inputs, each by its own key, and keeps their order.
pub(super) fn sign(inputs: Vec<Input>) -> Vec<(usize, Made)> {
    let mut signatures: Vec<Vec<u8>> = inputs
        .iter()
        .map(|input| vec![0; input.key.signer().signature_len()])
        .collect();
    let mut failed: Vec<*const SigningKey> = Vec::new();
    let mut keys: Vec<&Arc<SigningKey>> = Vec::new();
    for input in &inputs {
        if !keys.iter().any(|key| Arc::ptr_eq(key, &input.key)) {
            keys.push(&input.key);
        }
    }
    let begun = now_ns();
    for key in keys {
        let mut jobs: Vec<Job<'_>> = inputs
            .iter()
            .zip(&mut signatures)
            .filter(|(input, _)| Arc::ptr_eq(&input.key, key))
            .map(|(input, signature)| Job {
                message: &input.text,
                signature,
            })
            .collect();
        if key.signer().sign_batch(&mut jobs).is_err() {
            failed.push(Arc::as_ptr(key));
        }
    }
    let signing_ns = (now_ns() - begun) / inputs.len().max(1) as u64;
    inputs
        .into_iter()
        .zip(signatures)
        .map(|(mut input, signature)| {
            if failed.contains(&Arc::as_ptr(&input.key)) {
                input.text.clear();
            } else {
                append_signature(&mut input.text, &signature);
            }
            let made = Made {
                index: input.index,
                text: input.text.into(),
                signing_ns,
                due_ns: Some(input.due_ns),
                key: Some(input.key),
            };
            (input.track, made)
        })
        .collect()
}
