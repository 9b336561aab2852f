//! Which texts and widths does the page of a result show?

use std::time::Duration;

use crate::bench::Question;
use crate::record::{Outcome, RunDocument, StepRecord, Warning};
use crate::report::summary::slices::slices;
use crate::report::summary::{
    AGENT_HEADINGS, Fact, Percentiles, Share, Standing, StepSummary, Summary, agent_rows,
    fleet_facts, share,
};
use crate::units::{Grouped, Shown};

/// Everything that the page shows of one result.
pub(super) struct ResultView {
    pub id: String,
    pub run: String,
    pub scenario: String,
    pub verdicts: Vec<VerdictView>,
    pub conditions: Vec<Fact>,
    pub host: Vec<Fact>,
    pub warnings: Vec<Warning>,
    pub has_open: bool,
    pub steps: Vec<StepView>,
    pub capacity: String,
    pub rates: Vec<RateView>,
    pub backends: Vec<BackendView>,
    pub costs: Vec<CostView>,
    pub cost_factor: String,
    pub coverage: Vec<Fact>,
    pub agents: Vec<[String; AGENT_HEADINGS.len()]>,
}

pub(super) struct VerdictView {
    pub standing: &'static str,
    pub sign: &'static str,
    pub subject: String,
    pub word: String,
    pub sentence: String,
}

pub(super) struct StepView {
    pub id: String,
    pub name: String,
    pub habits: String,
    pub offered: String,
    pub goodput: String,
    pub failed: String,
    pub response: [String; 5],
    pub service: [String; 5],
    pub mean: String,
    pub has_slices: bool,
    pub over_time: Vec<[String; 8]>,
    pub failures: Vec<(String, String)>,
    pub shares: Vec<ShareView>,
    pub blame: Vec<ShareView>,
    pub parts: Vec<PartView>,
}

pub(super) struct ShareView {
    pub at: usize,
    pub name: &'static str,
    pub from: String,
    pub width: String,
    pub percent: String,
}

pub(super) struct PartView {
    pub name: &'static str,
    pub count: String,
    pub mean: String,
    pub times: [String; 5],
}

pub(super) struct RateView {
    pub per_s: String,
    pub met: &'static str,
    pub over: String,
    pub failed: String,
    pub times: [String; 5],
}

pub(super) struct BackendView {
    pub name: String,
    pub version: String,
    pub rank: usize,
    pub per_s: String,
    pub speed: String,
    pub bounds: String,
    pub width: String,
    pub has_bounds: bool,
    pub lower_at: String,
    pub upper_at: String,
}

pub(super) struct CostView {
    pub name: String,
    pub cost: String,
    pub width: String,
    pub ratio: String,
}

impl ResultView {
    pub(super) fn of(at: usize, document: &RunDocument, summary: &Summary) -> Self {
        let (costs, cost_factor) = costs(document, summary);
        Self {
            id: format!("r{at}"),
            run: summary.run.clone(),
            scenario: summary.scenario.clone(),
            verdicts: summary
                .verdicts
                .iter()
                .map(|verdict| VerdictView {
                    standing: verdict.standing.name(),
                    sign: match verdict.standing {
                        Standing::Good => "✓",
                        Standing::Doubtful => "?",
                        Standing::Bad => "✗",
                    },
                    subject: verdict.subject.clone(),
                    word: verdict.word.clone(),
                    sentence: verdict.sentence.clone(),
                })
                .collect(),
            conditions: summary.conditions.clone(),
            host: summary.host.clone(),
            warnings: summary.warnings.clone(),
            has_open: summary.steps.iter().any(|step| step.model == "open"),
            steps: document
                .steps
                .iter()
                .zip(&summary.steps)
                .enumerate()
                .map(|(number, (step, summary))| {
                    step_view(format!("r{at}-s{number}"), step, summary)
                })
                .collect(),
            capacity: summary.capacity.clone().unwrap_or_default(),
            rates: summary
                .rates
                .iter()
                .map(|line| RateView {
                    per_s: per_s(line.per_s),
                    met: if line.is_met { "met" } else { "missed" },
                    over: share(line.share_over),
                    failed: share(line.share_failed),
                    times: times(line.response.as_ref()),
                })
                .collect(),
            backends: backends(summary),
            costs,
            cost_factor,
            coverage: document.fleet.as_ref().map(fleet_facts).unwrap_or_default(),
            agents: document.fleet.as_ref().map(agent_rows).unwrap_or_default(),
        }
    }
}

fn step_view(id: String, step: &StepRecord, summary: &StepSummary) -> StepView {
    let over_time: Vec<_> = slices(step)
        .iter()
        .map(|slice| {
            let at = |q: f64| {
                slice
                    .response
                    .quantile(q)
                    .map_or_else(dash, |time| Shown(time).to_string())
            };
            [
                shown(slice.start_ns),
                shown(slice.length_ns),
                slice
                    .scheduled
                    .map_or_else(dash, |count| Grouped(count as f64).to_string()),
                Grouped(slice.answered as f64).to_string(),
                Grouped(slice.failed as f64).to_string(),
                at(0.5),
                at(0.99),
                at(1.0),
            ]
        })
        .collect();
    StepView {
        id,
        name: summary.name.clone(),
        habits: summary.habits.clone(),
        offered: summary.offered_per_s.map_or_else(dash, per_s),
        goodput: per_s(summary.goodput_per_s),
        failed: Grouped(summary.failed as f64).to_string(),
        response: times(summary.response.as_ref()),
        service: times(summary.service.as_ref()),
        mean: summary
            .response
            .map(|times| shown(times.mean_ns))
            .unwrap_or_default(),
        has_slices: !over_time.is_empty(),
        over_time,
        failures: summary
            .outcomes
            .iter()
            .filter(|(name, _)| !Outcome::is_name_of_token(name))
            .map(|(name, count)| (name.clone(), Grouped(*count as f64).to_string()))
            .collect(),
        shares: shares(&summary.shares),
        blame: shares(&summary.blame),
        parts: summary
            .parts
            .iter()
            .map(|part| PartView {
                name: part.name,
                count: Grouped(part.times.count as f64).to_string(),
                mean: shown(part.times.mean_ns),
                times: times(Some(&part.times)),
            })
            .collect(),
    }
}

/// The parts in the order of their colours, so that a part has one colour in
/// every bar of every page.
const COLOURS: [&[&str]; 9] = [
    &["wait for the first byte", "request to answer", "target"],
    &["signing"],
    &["reading the answer"],
    &["queue for a connection", "connections"],
    &["connect"],
    &["TLS handshake"],
    &["generator lag", "generator"],
    &["rest"],
    &["address look-up"],
];

/// The place of what has no name of its own.
const REST: usize = 7;

fn shares(shares: &[Share]) -> Vec<ShareView> {
    let mut from = 0.0;
    shares
        .iter()
        .map(|part| {
            let begin = from;
            from += part.share * 100.0;
            ShareView {
                at: COLOURS
                    .iter()
                    .position(|names| names.contains(&part.name))
                    .unwrap_or(REST),
                name: part.name,
                from: format!("{begin:.3}"),
                width: format!("{:.3}", part.share * 100.0),
                percent: share(part.share),
            }
        })
        .collect()
}

fn backends(summary: &Summary) -> Vec<BackendView> {
    let most = summary
        .backends
        .iter()
        .map(|line| line.per_core_per_s)
        .fold(f64::MIN_POSITIVE, f64::max);
    summary
        .backends
        .iter()
        .map(|line| {
            let width = line.per_core_per_s / most * 100.0;
            // Bounds are those of the ratio; on the bar they lie around its end.
            let place = |bound: Option<f64>| match (bound, line.speed) {
                (Some(bound), Some(speed)) => format!("{:.2}", (width * bound / speed).min(100.0)),
                _ => String::new(),
            };
            BackendView {
                name: line.name.clone(),
                version: line.version.clone(),
                rank: line.rank,
                per_s: Grouped(line.per_core_per_s).to_string(),
                speed: line
                    .speed
                    .map_or_else(|| "1".to_owned(), |speed| format!("{speed:.2}")),
                bounds: match (line.lower, line.upper) {
                    (Some(lower), Some(upper)) => format!("{lower:.2} … {upper:.2}"),
                    _ => "reference".to_owned(),
                },
                width: format!("{width:.2}"),
                has_bounds: line.lower.is_some(),
                lower_at: place(line.lower),
                upper_at: place(line.upper),
            }
        })
        .collect()
}

/// Compares what steps of different habits cost the client for a call, and
/// what policies about the key cost a signature.
fn costs(document: &RunDocument, summary: &Summary) -> (Vec<CostView>, String) {
    let mut lines: Vec<(String, f64, Option<f64>)> = Vec::new();
    let closed: Vec<_> = summary
        .steps
        .iter()
        .filter(|step| step.model == "closed")
        .collect();
    if closed.len() > 1 {
        let mut first = None;
        for step in closed {
            let Some(ns) = step.client_cpu_per_call_ns.filter(|ns| *ns > 0) else {
                continue;
            };
            let ns = ns as f64;
            lines.push((
                format!("{}: {}; client's CPU time a call", step.name, step.habits),
                ns,
                first.map(|first: f64| ns / first),
            ));
            first.get_or_insert(ns);
        }
    }
    if let Some(record) = &document.signing {
        for comparison in &record.comparisons {
            let (Some(first), Some(case), Some(change)) = (
                record.cases.get(comparison.baseline),
                record.cases.get(comparison.candidate),
                comparison.floor.or(comparison.mean),
            ) else {
                continue;
            };
            if comparison.question != Question::KeyPolicy {
                continue;
            }
            lines.push((
                format!(
                    "{}: key {}, against {}; CPU time a signature",
                    case.case.backend, case.case.key_policy, first.case.key_policy
                ),
                1e9 / case.per_core_per_s.max(f64::MIN_POSITIVE),
                Some(change.log_ratio.exp()),
            ));
        }
    }
    // A bar of every length between the cheapest and the dearest, by factors.
    let costs = || lines.iter().map(|(_, ns, _)| *ns);
    let (least, most) = (
        costs().fold(f64::INFINITY, f64::min),
        costs().fold(0.0, f64::max),
    );
    let decades = (most / least).log10().max(0.3);
    let views = lines
        .iter()
        .map(|(name, ns, ratio)| CostView {
            name: name.clone(),
            cost: Shown(Duration::from_secs_f64(ns / 1e9)).to_string(),
            // The cheapest has a tenth, as nothing would look like no cost.
            width: format!("{:.2}", 10.0 + 90.0 * (ns / least).log10() / decades),
            ratio: ratio.map_or_else(
                || "1".to_owned(),
                |ratio| {
                    if ratio < 0.5 {
                        format!("1/{}", Grouped(1.0 / ratio))
                    } else {
                        format!("{} ×", Grouped(ratio))
                    }
                },
            ),
        })
        .collect();
    (views, format!("{:.1}", 10_f64.powf(decades / 9.0)))
}

fn times(times: Option<&Percentiles>) -> [String; 5] {
    let pick = |of: fn(&Percentiles) -> Option<u64>| times.and_then(of).map_or_else(dash, shown);
    [
        pick(|times| times.p50_ns),
        pick(|times| times.p90_ns),
        pick(|times| times.p99_ns),
        pick(|times| times.p999_ns),
        pick(|times| Some(times.max_ns)),
    ]
}

fn shown(ns: u64) -> String {
    if ns == 0 {
        return "0 s".to_owned();
    }
    Shown(Duration::from_nanos(ns)).to_string()
}

fn per_s(rate: f64) -> String {
    format!("{}/s", Grouped(rate))
}

fn dash() -> String {
    "–".to_owned()
}
