//! Who signs the assertions of a run, and for whom?
//!
//! The backends are compared if the scenario wants it; the fastest signs, or
//! the one that is named. A backend that signs in batches gets a mint where
//! workers ask one by one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::plan::{CredentialPlan, Plan};
use super::run_error::RunError;
use super::runner::Event;
use super::stage::Stage;
use crate::bench::{self, BenchRecord, KeyPolicy};
use crate::clock::{Clock, SystemClock};
use crate::load::caller::Shared;
use crate::load::population::{Member, Population};
use crate::record::Gathered;
use crate::signer::{Backend, Mint, MintConfig, Registry};
use crate::token::{App, SigningKey};

/// The backend that signs where nothing was compared: the fastest library on
/// processors with wide multiplication, and as fast as others elsewhere.
const DEFAULT_BACKEND: &str = "aws-lc-rs";

/// Who signs the assertions of a closed loop.
pub(super) struct SignedBy {
    /// The backend of a key that is kept.
    pub backend: String,
    /// The backend of a key that is opened for every assertion.
    pub singly: String,
    /// The mint that gathers for the first, if that signs in batches.
    pub mint: Option<Arc<Mint>>,
}

impl Stage {
    /// Makes what the workers share, and the mint that gathers for them if
    /// the backend signs in batches.
    pub fn share(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
    ) -> Result<(Shared, SignedBy), RunError> {
        let registry = Registry::compiled();
        let name = backend_name(plan, signing);
        let backend = registry.get(&name)?;
        let kid = self.credential.key_id.as_deref();
        let mut kept_key = SigningKey::load(&self.key, kid, &**backend, plan.algorithm)?;
        let mut signed_by = SignedBy {
            backend: name.clone(),
            singly: name,
            mint: None,
        };
        let mut single = Arc::clone(backend);
        if kept_key.signer().batch_width() > 1 {
            kept_key = kept_key.minted(mint_config()).map_err(RunError::Mint)?;
            signed_by.mint = kept_key.mint().cloned();
            // A key that is opened for one assertion fills no batch: whoever
            // does that takes a library for single signatures.
            if plan.backend.is_none()
                && let Some((name, backend)) = self.best_single(plan, signing, &registry)
            {
                signed_by.singly = name;
                single = backend;
            }
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let app = App::new(
            &self.credential,
            &self.profile,
            &plan.variables,
            plan.algorithm,
            &self.url,
        )?;
        Ok((
            Shared {
                app,
                sealed: self.credential.key.clone(),
                key: Arc::clone(&self.key),
                backend: single,
                kept_key,
                url: self.url.clone(),
                timeout: plan.load.timeout.0,
                subjects: self.subjects.clone(),
                clock,
            },
            signed_by,
        ))
    }

    /// Finds the fastest of the compared backends that signs one by one.
    fn best_single(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
        registry: &Registry,
    ) -> Option<(String, Arc<dyn Backend>)> {
        let mut cases: Vec<_> = signing?.cases.iter().collect();
        cases.sort_by(|a, b| b.per_core_per_s.total_cmp(&a.per_core_per_s));
        cases.iter().find_map(|case| {
            let name = &case.case.backend;
            let backend = registry.get(name).ok()?;
            let signer = backend.load(&self.key, plan.algorithm).ok()?;
            (signer.batch_width() == 1).then(|| (name.clone(), Arc::clone(backend)))
        })
    }

    /// Makes the population of the open model; the name is that of the signing
    /// backend.
    pub fn population(
        &self,
        plan: &Plan,
        signing: Option<&BenchRecord>,
    ) -> Result<(Population, String), RunError> {
        let name = backend_name(plan, signing);
        let registry = Registry::compiled();
        let backend = registry.get(&name)?;
        let weights: Vec<f64> = match &plan.credentials {
            CredentialPlan::Generate { weights, .. } => weights.clone(),
            CredentialPlan::Config { .. } => Vec::new(),
            CredentialPlan::Several(apps) => {
                apps.iter().map(|app| app.weight.unwrap_or(1.0)).collect()
            }
        };
        let first = (&self.credential, &self.key, &self.subjects);
        let all = std::iter::once(first).chain(
            self.others
                .iter()
                .map(|other| (&other.credential, &other.key, &other.subjects)),
        );
        let members = all
            .enumerate()
            .map(|(number, (credential, key, subjects))| {
                Ok(Member {
                    app: App::new(
                        credential,
                        &self.profile,
                        &plan.variables,
                        plan.algorithm,
                        &self.url,
                    )?,
                    signer: backend.load(key, plan.algorithm)?,
                    subjects: subjects.clone().into(),
                    weight: weights.get(number).copied().unwrap_or(1.0),
                })
            })
            .collect::<Result<Vec<_>, RunError>>()?;
        let (zipf, seed) = plan
            .load
            .open
            .as_ref()
            .map_or((None, 1), |open| (open.zipf, open.seed));
        Ok((Population::new(members, zipf, seed), name))
    }
}

pub(super) fn compare(
    plan: &Plan,
    stage: &Stage,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Option<BenchRecord>, RunError> {
    let Some(compare) = &plan.compare else {
        return Ok(None);
    };
    let registry = Registry::compiled();
    // Whoever names a backend hears why it cannot run; the others are left
    // out in silence, as `mintmark backends` tells.
    let names = compare.backends.clone().unwrap_or_else(|| {
        registry
            .iter()
            .filter(|backend| backend.unavailable().is_none())
            .map(|backend| backend.facts().name)
            .collect()
    });
    for name in &names {
        registry.get(name)?;
    }
    let budget = compare.budget.0;
    let begun = Instant::now();
    tell(Event::Comparing {
        elapsed: Duration::ZERO,
        budget,
    });
    let request = bench::Request {
        registry: &registry,
        keys: &[Arc::clone(&stage.key).into()],
        backends: &names,
        algorithms: &[plan.algorithm],
        threads: &[1],
        key_policies: &[KeyPolicy::Reused],
        claims_bytes: &[bench::USUAL_CLAIMS_BYTES],
        reference: bench::REFERENCE,
        budget,
        seed: 1,
        has_null_control: false,
    };
    let record = bench::run(&request, &SystemClock::new(), stop, &mut |_| {
        tell(Event::Comparing {
            elapsed: begun.elapsed(),
            budget,
        });
    })?;
    tell(Event::Compared);
    Ok(Some(record))
}

pub(super) fn gathered(mint: &Mint) -> Gathered {
    let stats = mint.stats();
    Gathered {
        threads: mint.thread_ids().len(),
        batches: stats.batches.clone(),
        lent: stats.lent,
        mean_gathering_ns: stats
            .mean_gathering()
            .map(|mean| u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX)),
    }
}

fn backend_name(plan: &Plan, signing: Option<&BenchRecord>) -> String {
    plan.backend
        .clone()
        .or_else(|| Some((*signing?.fastest().first()?).to_owned()))
        .unwrap_or_else(|| DEFAULT_BACKEND.to_owned())
}

/// Sets a mint up for workers that share the machine with it: a thread for
/// every other processor, since what it saves is processor time.
fn mint_config() -> MintConfig {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    MintConfig::with_threads((cpus / 2).max(1))
}
