//! Under which conditions was it measured?

use std::time::Duration;

use serde::Serialize;

use super::verdicts::share;
use crate::record::RunDocument;
use crate::units::{Grouped, Shown};

/// One condition, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What it was.
    pub value: String,
}

pub(super) fn fact(name: &str, value: impl Into<String>) -> Fact {
    Fact {
        name: name.to_owned(),
        value: value.into(),
    }
}

/// Lists what was run, against what, with which key and which program.
pub(super) fn conditions(document: &RunDocument) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(target(document).map(|target| fact("target", target)));
    // A search may be for another objective than its scenario's.
    let searched = document.capacity.as_ref();
    let objective = searched
        .map(|search| search.objective.as_str())
        .or_else(|| document.scenario["objective"].as_str());
    facts.extend(objective.map(|objective| fact("objective", objective)));
    let key = &document.key;
    facts.push(fact(
        "key",
        format!(
            "{} bits, {}, kept as {}",
            key.bits, key.algorithm, key.container
        ),
    ));
    let version = document
        .backends
        .iter()
        .find(|facts| facts.name == document.signed_by)
        .map_or("", |facts| facts.version.as_str());
    facts.push(fact(
        "signed by",
        format!("{} {version}", document.signed_by).trim_end(),
    ));
    if let Some(gathered) = &document.gathered {
        let requests: u64 = (0_u64..)
            .zip(&gathered.batches)
            .map(|(size, count)| size * count)
            .sum();
        let batches: u64 = gathered.batches.iter().sum();
        facts.push(fact(
            "batches",
            format!(
                "{} signatures at once on average, on {} {}",
                Grouped(requests as f64 / batches.max(1) as f64),
                gathered.threads,
                if gathered.threads == 1 {
                    "thread"
                } else {
                    "threads"
                },
            ),
        ));
    }
    for open in document.steps.iter().filter_map(|step| step.open.as_ref()) {
        facts.push(fact(
            "load",
            format!(
                "open model, {} connections, transport {}, assertions {}",
                open.connections, open.transport, open.signing.mode
            ),
        ));
    }
    if let Some(step) = document.steps.iter().find(|step| step.open.is_none()) {
        facts.push(fact(
            "load",
            format!("closed model, {} workers", step.workers),
        ));
    }
    facts.push(fact(
        "program",
        format!(
            "{} {}{}",
            document.tool.name,
            document.tool.version,
            if document.host.is_optimised {
                ""
            } else {
                ", built without optimisation"
            }
        ),
    ));
    facts.push(fact(
        "took",
        Shown(Duration::from_nanos(document.elapsed_ns)).to_string(),
    ));
    facts
}

fn target(document: &RunDocument) -> Option<String> {
    if document.broker.is_some() {
        return Some("the embedded broker, in the same process".to_owned());
    }
    if document.steps.is_empty() && document.capacity.is_none() {
        return None;
    }
    let url = document.scenario["target"]["url"]["url"].as_str();
    Some(url.unwrap_or("a token endpoint").to_owned())
}

/// Lists what the machine was and how quiet.
pub(super) fn host(document: &RunDocument) -> Vec<Fact> {
    let host = &document.host;
    let quality = &document.quality;
    vec![
        fact(
            "processor",
            format!(
                "{}, {} logical{} ({})",
                host.cpu_model,
                host.cpus,
                if host.is_virtual {
                    ", virtual machine"
                } else {
                    ""
                },
                host.cpu_signature
            ),
        ),
        fact("extensions", host.cpu_features.join(" ")),
        fact(
            "memory",
            format!("{:.1} GiB", host.memory_bytes as f64 / f64::from(1 << 30)),
        ),
        fact(
            "system",
            format!("{}, kernel {}, {}", host.os, host.kernel, host.arch),
        ),
        fact(
            "load average at the start",
            format!("{:.1}", quality.load_average),
        ),
        fact("stolen processor time", share(quality.steal_share)),
        fact("idle processor time", share(quality.idle_share)),
        fact(
            "involuntary switches",
            Grouped(quality.involuntary_switches as f64).to_string(),
        ),
    ]
}
