//! What may be remarked about a measurement, and what can be done about it?
//!
//! Warnings are values: a stable code, a sentence and a hint. They travel in
//! the document and appear in every output format.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A remark about the conditions of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// A stable identifier, for programs: lower case with hyphens.
    pub code: String,
    /// What was seen, with its figure.
    pub message: String,
    /// What the user can do.
    pub hint: String,
}

impl Warning {
    /// The broker and the generator share the machine's processors.
    #[must_use]
    pub fn shared_machine(broker_threads: usize, cpus: usize) -> Self {
        Self::new(
            "shared-machine",
            format!(
                "the broker's {broker_threads} and the workers' threads shared {cpus} processors"
            ),
            "throughput and latency are those of both together; target.url measures an endpoint alone",
        )
    }

    /// Other machines took processor time away.
    #[must_use]
    pub fn steal(share: f64) -> Self {
        Self::new(
            "steal",
            format!(
                "the hypervisor took {:.1} % of the processor time away",
                share * 100.0
            ),
            "compare only figures of one run, or use a machine of your own",
        )
    }

    /// Other programs were running.
    #[must_use]
    pub fn busy_host(load: f64, cpus: usize) -> Self {
        Self::new(
            "busy-host",
            format!("the load average was {load:.1} on {cpus} processors when the run began"),
            "stop other programs; CPU figures hold better than times of day, ratios better than both",
        )
    }

    /// The program was built without optimisation.
    #[must_use]
    pub fn debug_build() -> Self {
        Self::new(
            "debug-build",
            "mintmark itself was built without optimisation".to_owned(),
            "build it with --release; parsing, encoding and recording are several times slower without",
        )
    }

    /// A backend was left out.
    #[must_use]
    pub fn backend_refused(name: &str, reason: &str) -> Self {
        Self::new(
            "backend-refused",
            format!("{name} was left out of the comparison: {reason}"),
            "see `mintmark backends` for what each backend can sign",
        )
    }

    /// The run was stopped before its end.
    #[must_use]
    pub fn partial(reason: &str) -> Self {
        Self::new(
            "partial",
            format!("the run is partial: {reason}"),
            "the figures cover what was measured until then; run it again for the whole",
        )
    }

    /// Calls failed.
    #[must_use]
    pub fn errors(step: &str, failed: u64, calls: u64) -> Self {
        Self::new(
            "errors",
            format!("in the step {step:?}, {failed} of {calls} calls failed"),
            "the latencies are those of answered calls; see the errors by kind",
        )
    }

    /// Makes a warning of parts, as modules do that have remarks of their own.
    #[must_use]
    pub fn new(code: &str, message: String, hint: &str) -> Self {
        Self {
            code: code.to_owned(),
            message,
            hint: hint.to_owned(),
        }
    }
}
