//! Does a machine fit a run, and what has to be ready before its beginning?
//!
//! An agent of another version, or with another file where all have to have the
//! same, stays away. Everything that takes time happens here: keys are opened,
//! the machine is calibrated, and its signing rate measured.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::FleetError;
use super::bus::Bus;
use super::handing::receive;
use super::identity::Identity;
use super::message::{PROTOCOL, Spec};
use crate::load::calibrate::calibrate;
use crate::load::population::Population;
use crate::record::Calibration;
use crate::scenario::runner::hex_of;
use crate::scenario::{Plan, Prepared};
use crate::signer::Job;

/// For how long signing is measured.
const SIGNING: Duration = Duration::from_millis(100);

/// Is a run of this version of the program?
pub(super) fn check_version(version: &str, protocol: u32) -> Result<(), FleetError> {
    let own = env!("CARGO_PKG_VERSION");
    if version == own && protocol == PROTOCOL {
        return Ok(());
    }
    Err(FleetError::Version {
        theirs: format!("{version} (protocol {protocol})"),
        own: format!("{own} (protocol {PROTOCOL})"),
    })
}

/// Does this machine fit the run?
fn check(spec: &Spec) -> Result<(), FleetError> {
    check_version(&spec.version, spec.protocol)?;
    for file in &spec.files {
        if digest_of(&file.path)? != file.sha256 {
            return Err(FleetError::OtherFile {
                path: file.path.clone(),
                expected: file.sha256.clone(),
            });
        }
    }
    Ok(())
}

/// Returns the SHA-256 of a file in hexadecimal.
pub(super) fn digest_of(path: &str) -> Result<String, FleetError> {
    let bytes = std::fs::read(Path::new(path)).map_err(|source| FleetError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(hex_of(&Sha256::digest(bytes)))
}

/// A load that is ready to begin.
pub(super) struct Ready {
    pub plan: Plan,
    pub prepared: Prepared,
    pub calibration: Option<Calibration>,
    pub signs_per_s: f64,
}

/// Checks whether the machine fits, takes what is sent to it, and then opens the
/// keys and measures the machine on a thread that may block.
pub(super) async fn prepare(
    bus: &Bus,
    identity: Option<&Identity>,
    spec: &Spec,
    stop: &Arc<AtomicBool>,
) -> Result<Ready, FleetError> {
    check(spec)?;
    let given = receive(bus, identity, spec, stop).await?;
    let (scenario, stop) = (spec.scenario.clone(), Arc::clone(stop));
    tokio::task::spawn_blocking(move || {
        let plan = scenario.plan()?;
        let prepared = Prepared::set_with(&plan, &given, &mut |_| ())?;
        let budget = plan.load.open.as_ref().map(|open| open.calibrate.0);
        let calibration = match budget.filter(|budget| !budget.is_zero()) {
            Some(budget) => {
                let found = calibrate(&prepared.engine, &prepared.population, budget, &stop);
                Some(found.map_err(crate::scenario::RunError::from)?)
            }
            None => None,
        };
        Ok(Ready {
            signs_per_s: signing_rate(&prepared.population),
            plan,
            prepared,
            calibration,
        })
    })
    .await
    .map_err(|_| FleetError::Panic)?
}

/// Measures how often this thread signs within a second.
fn signing_rate(population: &Population) -> f64 {
    let signer = &population.members()[0].signer;
    let width = signer.batch_width().max(1);
    let mut signatures = vec![vec![0; signer.signature_len()]; width];
    let begun = Instant::now();
    let mut signed = 0_u32;
    while begun.elapsed() < SIGNING {
        let mut jobs: Vec<Job<'_>> = signatures
            .iter_mut()
            .map(|signature| Job {
                message: b"how many of these within a second?",
                signature,
            })
            .collect();
        if signer.sign_batch(&mut jobs).is_err() {
            return 0.0;
        }
        signed += u32::try_from(width).unwrap_or(1);
    }
    f64::from(signed) / begun.elapsed().as_secs_f64()
}
