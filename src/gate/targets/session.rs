//! In which order are two endpoints loaded, and what follows?

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::judge::{CHANNELS, Effects, LoadTolerance};
use super::record::{
    Figures, LoadAttempt, LoadResult, ObjectiveResult, Segment, SegmentRecord, counts,
};
use crate::capacity::{Evidence, Offered};
use crate::clock::Clock;
use crate::gate::session::whole_ns;
use crate::gate::{GateError, GateVerdict, Watched};
use crate::load::objective::Objective;
use crate::record::Validity;
use crate::record::search::Decision;
use crate::stats::sliced::{Slice, Sliced};
use crate::stats::{Looks, Random, Verdict};

/// The quads after which an endpoint is judged.
const LOOKS: [usize; 3] = [2, 4, 8];

/// Quads that may be set aside before the generator is too poor a witness; one
/// more for each three that count.
const MOST_SPOILED: usize = 1;

/// Loads that can be put on either side.
pub trait Segments {
    /// Describes the baseline.
    fn baseline(&self) -> String;

    /// Describes the candidate.
    fn candidate(&self) -> String;

    /// Returns how long a segment lasts, its warm-up included.
    fn lasts(&self) -> Duration;

    /// Puts a load on a side, 0 being the baseline; `None` if it was stopped.
    ///
    /// # Errors
    ///
    /// The load could not begin; the text says why.
    fn segment(
        &mut self,
        side: usize,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<Option<Segment>, String>;
}

/// What is compared, and how surely.
#[derive(Clone, Debug)]
pub struct LoadGate {
    /// The scenario's name.
    pub scenario: String,
    /// The smallest changes that are told.
    pub tolerance: LoadTolerance,
    /// What the candidate is to achieve.
    pub objective: Option<Objective>,
    /// The longest that an attempt may take; [`GateError::TooShort`] if no
    /// look fits.
    pub most: Duration,
    /// The chance that any verdict on a side is wrong.
    pub alpha: f64,
    /// The seed of arrivals and order.
    pub seed: u64,
}

/// Compares two endpoints.
///
/// # Errors
///
/// Too little time is allowed for the first look.
pub fn compare(
    segments: &mut dyn Segments,
    gate: &LoadGate,
    clock: &dyn Clock,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Watched<'_>),
) -> Result<LoadResult, GateError> {
    let quad = 4 * segments.lasts();
    let looks: Vec<usize> = LOOKS
        .into_iter()
        .filter(|quads| quad * u32::try_from(*quads).unwrap_or(u32::MAX) <= gate.most)
        .collect();
    if looks.is_empty() {
        return Err(GateError::TooShort {
            most: gate.most,
            least: quad * 2,
        });
    }
    let shared = Looks::new(vec![Duration::ZERO; looks.len()], gate.alpha, CHANNELS, 1);
    let mut session = Session {
        segments,
        gate,
        looks,
        tail: shared.tail(),
        clock,
        stop,
        watch,
    };
    let mut result = LoadResult {
        scenario: gate.scenario.clone(),
        verdict: GateVerdict::NotComparable,
        reason: None,
        tolerance: gate.tolerance,
        attempt: None,
        confirmation: None,
    };
    match session.attempt(1) {
        Ok(attempt) => {
            result.verdict = attempt.verdict.into();
            result.attempt = Some(attempt);
        }
        Err(reason) => result.reason = Some(reason),
    }
    if result.verdict == GateVerdict::Regressed {
        session.confirm(&mut result);
    }
    distrust(&mut result);
    Ok(result)
}

struct Session<'a> {
    segments: &'a mut dyn Segments,
    gate: &'a LoadGate,
    looks: Vec<usize>,
    tail: f64,
    clock: &'a dyn Clock,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(&Watched<'_>),
}

impl Session<'_> {
    fn attempt(&mut self, number: u64) -> Result<LoadAttempt, String> {
        let begun = self.clock.monotonic();
        let seed = self.gate.seed.wrapping_mul(1_000_003).wrapping_add(number);
        let mut random = Random::new(seed);
        let mut kept: Vec<[Segment; 4]> = Vec::new();
        let mut spoiled = 0;
        let mut judged: Option<(LoadAttempt, usize)> = None;
        let last = self.looks.last().copied().unwrap_or_default();
        while kept.len() < last {
            (self.watch)(&Watched {
                case: &self.gate.scenario,
                done: kept.len(),
                of: last,
            });
            let is_swapped = random.coin();
            let quad = self.quad(random.bits(), is_swapped)?;
            let Some(quad) = quad else {
                break;
            };
            if let Some(fault) = quad
                .iter()
                .find(|segment| segment.validity == Validity::Invalid)
            {
                spoiled += 1;
                if spoiled > MOST_SPOILED + kept.len() / 3 {
                    return Err(format!(
                        "the load is not to be believed by its own measure: {}",
                        fault.finding.as_deref().unwrap_or("the generator was late")
                    ));
                }
                continue;
            }
            kept.push(quad);
            let looks = self.looks.iter().filter(|at| **at <= kept.len()).count();
            if self.looks.contains(&kept.len()) {
                let mut attempt = self.judge(&kept);
                attempt.looks = looks;
                attempt.spoiled = spoiled;
                attempt.spent_ns = whole_ns(self.clock.monotonic() - begun);
                let is_settled = attempt.verdict != Verdict::Inconclusive;
                judged = Some((attempt, kept.len()));
                if is_settled {
                    break;
                }
            }
        }
        let (mut attempt, quads) = judged.ok_or("the gate was stopped before its first look")?;
        kept.truncate(quads);
        attempt.segments = kept.iter().flatten().map(SegmentRecord::from).collect();
        attempt.objective = self
            .gate
            .objective
            .map(|objective| met(&objective, &kept, self.gate.alpha));
        Ok(attempt)
    }

    /// Runs four segments; `None` if it was stopped.
    fn quad(&mut self, seed: u64, is_swapped: bool) -> Result<Option<[Segment; 4]>, String> {
        let mut done = Vec::with_capacity(4);
        for side in [0, 1, 1, 0] {
            let side = if is_swapped { 1 - side } else { side };
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let Some(segment) = self.segments.segment(side, seed, self.stop)? else {
                return Ok(None);
            };
            done.push(segment);
        }
        Ok(done.try_into().ok())
    }

    fn judge(&self, quads: &[[Segment; 4]]) -> LoadAttempt {
        let tolerance = &self.gate.tolerance;
        let sides = Sliced::new(&quads.iter().flat_map(both_sides).collect::<Vec<_>>());
        let same = quads.iter().enumerate().flat_map(|(at, quad)| {
            // Every other quad is turned round, so that a drift cancels.
            own_sides(quad, at % 2 == 1)
        });
        let same = Sliced::new(&same.collect::<Vec<_>>());
        let effects = Effects::of(&sides, self.tail, self.gate.seed);
        let control_effects = Effects::of(&same, self.tail, self.gate.seed);
        let slice_ns = quads.first().map_or(1, |quad| quad[0].slice_ns.max(1));
        // A pair of slices holds those of two segments.
        let per_s = 1e9 / (2 * slice_ns) as f64;
        LoadAttempt {
            verdict: effects.verdict(sides.len(), tolerance),
            effects,
            control: control_effects.verdict(same.len(), tolerance),
            control_effects,
            figures: [0, 1].map(|side| Figures {
                p50_ns: sides.quantile(side, 0.5),
                p99_ns: sides.quantile(side, 0.99),
                goodput_per_s: sides.good_per_slice(side) * per_s,
                failed_share: sides.failed_share(side),
            }),
            looks: 0,
            slices: sides.len(),
            spoiled: 0,
            spent_ns: 0,
            objective: None,
            segments: Vec::new(),
        }
    }

    /// Measures a regression once more.
    fn confirm(&mut self, result: &mut LoadResult) {
        match self.attempt(2) {
            Ok(attempt) => {
                if attempt.verdict != Verdict::Regressed {
                    result.verdict = GateVerdict::Inconclusive;
                    result.reason =
                        Some("a second attempt did not find the regression again".into());
                }
                result.confirmation = Some(attempt);
            }
            Err(reason) => {
                result.verdict = GateVerdict::Inconclusive;
                result.reason = Some(format!("the regression was not confirmed: {reason}"));
            }
        }
    }
}

/// The slices of a quad, those of both segments of a side together.
fn both_sides(quad: &[Segment; 4]) -> Vec<[Slice; 2]> {
    let of = |side: usize| {
        let [first, second] = segments_of(quad, side);
        let pairs = first.slices.iter().zip(&second.slices);
        pairs.map(|(first, second)| {
            let mut sum = first.clone();
            sum.add(second);
            sum
        })
    };
    of(0).zip(of(1)).map(Into::into).collect()
}

/// The slices of a quad's two segments of the baseline.
fn own_sides(quad: &[Segment; 4], is_turned: bool) -> Vec<[Slice; 2]> {
    let [mut first, mut second] = segments_of(quad, 0);
    if is_turned {
        std::mem::swap(&mut first, &mut second);
    }
    let pairs = first
        .slices
        .iter()
        .cloned()
        .zip(second.slices.iter().cloned());
    pairs.map(Into::into).collect()
}

/// Finds the two segments of a side: the outer ones, or the inner ones.
fn segments_of(quad: &[Segment; 4], side: usize) -> [&Segment; 2] {
    if quad[0].side == side {
        [&quad[0], &quad[3]]
    } else {
        [&quad[1], &quad[2]]
    }
}

/// Takes the verdict back if the baseline differed from itself.
fn distrust(result: &mut LoadResult) {
    let differs = [&result.attempt, &result.confirmation]
        .into_iter()
        .flatten()
        .any(|attempt| matches!(attempt.control, Verdict::Regressed | Verdict::Improved));
    if differs && result.verdict != GateVerdict::NotComparable {
        result.verdict = GateVerdict::Inconclusive;
        result.reason = Some("this time the baseline differed from itself".into());
    }
}

/// Tests the objective on the candidate's slices.
fn met(objective: &Objective, quads: &[[Segment; 4]], alpha: f64) -> ObjectiveResult {
    let mut evidence = Evidence::default();
    for segment in quads.iter().flatten().filter(|segment| segment.side == 1) {
        evidence.add(&Offered {
            slices: segment
                .slices
                .iter()
                .map(|slice| counts(slice, objective))
                .collect(),
            sent_share: segment.sent_share,
            ..Offered::default()
        });
    }
    ObjectiveResult {
        objective: *objective,
        decision: evidence.decide(objective, alpha / 2.0),
        share_over: evidence.share_over(),
        share_failed: evidence.share_failed(),
        slices: evidence.slices().len(),
    }
}

impl ObjectiveResult {
    /// Was the objective missed beyond doubt?
    #[must_use]
    pub fn is_missed(&self) -> bool {
        self.decision == Decision::Fail
    }
}
