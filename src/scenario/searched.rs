//! What document does a search for the highest rate leave behind?
//!
//! The same as a run's, with the search in place of steps.

use super::open_step::Prepared;
use super::plan::Plan;
use super::run_error::RunError;
use super::runner::{conditions, key_facts};
use crate::record::document::SCHEMA_VERSION;
use crate::record::host::QualityWatch;
use crate::record::{Host, RunDocument, SearchRecord, Tool};
use crate::signer::Registry;

/// A search under way: when it began, and under what conditions.
#[derive(Debug)]
pub struct SearchWatch {
    started_at: jiff::Timestamp,
    quality: QualityWatch,
}

impl SearchWatch {
    /// Begins to watch the conditions.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started_at: jiff::Timestamp::now(),
            quality: QualityWatch::start(),
        }
    }

    /// Makes the document of what was found; `run` is the run's own name.
    /// The endpoint, if it is embedded, is stopped.
    ///
    /// # Errors
    ///
    /// The plan cannot be encoded.
    pub fn finish(
        self,
        plan: &Plan,
        run: &str,
        prepared: Prepared,
        found: SearchRecord,
    ) -> Result<RunDocument, RunError> {
        let host = Host::detect();
        let quality = self.quality.finish();
        let stage = prepared.stage;
        let mut warnings = stage.warnings.clone();
        warnings.extend(conditions(plan, &host, &quality, None));
        Ok(RunDocument {
            schema_version: SCHEMA_VERSION,
            run: run.to_owned(),
            tool: Tool::this(),
            started_at: self.started_at.to_string(),
            elapsed_ns: quality.measured_ns,
            partial: None,
            scenario: serde_json::to_value(plan).map_err(RunError::Encode)?,
            host,
            quality,
            backends: Registry::compiled()
                .iter()
                .map(|backend| backend.facts())
                .filter(|facts| facts.name == prepared.signed_by)
                .collect(),
            refused: Vec::new(),
            signed_by: prepared.signed_by,
            signed_singly_by: None,
            gathered: None,
            key: key_facts(&stage, plan),
            signing: None,
            steps: Vec::new(),
            capacity: Some(found),
            fleet: None,
            broker: stage.finish(),
            warnings,
        })
    }
}
