//! How is the highest sustained rate found without fooling oneself?
//!
//! *Bracket*: double from a low rate; a rung that fails is asked once more,
//! longer, before it counts. *Narrow* in the logarithm of the rate; each rung
//! is a sequential test that looks at 20, 40, 80 and 160 seconds, and a rung
//! that is still undecided then is decided by its estimate and marked as
//! forced. *Soak*: independent evidence at the rate that is to be promised; if
//! it disagrees, the promise steps down.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::{Answer, Confidence, Decision, Offered, Rung, Stage, Trial};
use crate::load::objective::Objective;
use crate::load::open::OpenError;
use crate::record::{Histogram, Packed};

/// How long a rung of the bracket is tried. Half as long, and a p99 rests on
/// too few slow requests at the rates where a search begins.
const BRACKET: Duration = Duration::from_secs(10);

/// The chance of deciding wrongly about a rung, shared over its looks.
const RISK: f64 = 0.05;

/// How far apart the two rates of an answer may be.
const RESOLUTION: f64 = 1.03;

/// How far the promise steps down when a soak disagrees.
const STEP_DOWN: f64 = 0.97;

/// How often the bracket may double: from one request per second to more than
/// any machine sends.
const MOST_DOUBLINGS: u32 = 24;

/// What is searched for, and how thoroughly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is wanted of the endpoint.
    pub objective: Objective,
    /// Where the bracket begins, in requests per second.
    pub start_per_s: f64,
    /// The highest rate that is tried.
    pub limit_per_s: f64,
    /// When each rung is looked at, as time at its rate.
    pub looks: Vec<Duration>,
    /// How long the promise is soaked.
    pub soak: Duration,
    /// Is the answer an estimate, for the sake of speed?
    pub is_quick: bool,
}

impl Search {
    /// Makes a search with looks at 20, 40, 80 and 160 seconds.
    #[must_use]
    pub fn new(objective: Objective) -> Self {
        Self {
            objective,
            start_per_s: 50.0,
            limit_per_s: 1e6,
            looks: [20, 40, 80, 160].map(Duration::from_secs).to_vec(),
            soak: Duration::from_secs(160),
            is_quick: false,
        }
    }

    /// Looks at half of the times; the answer is an estimate.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.looks = [10, 20, 40, 80].map(Duration::from_secs).to_vec();
        self.soak = Duration::from_secs(60);
        self.is_quick = true;
        self
    }

    /// Shrinks all times by a factor, for tests against real targets.
    #[must_use]
    pub fn shortened(mut self, factor: f64) -> Self {
        for look in &mut self.looks {
            *look = look.mul_f64(factor);
        }
        self.soak = self.soak.mul_f64(factor);
        self
    }
}

/// Searches with `trial`; `tell` hears of each rung.
///
/// # Errors
///
/// A trial could not be made, or the user stopped it.
pub fn find(
    search: &Search,
    trial: &mut dyn Trial,
    tell: &mut dyn FnMut(&Rung),
) -> Result<Answer, CapacityError> {
    let mut climb = Climb {
        search,
        trial,
        tell,
        rungs: Vec::new(),
    };
    let (mut lower, mut upper) = climb.bracket()?;
    while let (Some(low), Some(high)) = (lower, upper)
        && high / low > RESOLUTION
    {
        let middle = (low * high).sqrt();
        let rung = climb.narrow(middle)?;
        if rung.is_generator_limited {
            // What lies beyond cannot be measured from here.
            upper = None;
            break;
        }
        match rung.decision {
            Decision::Pass => lower = Some(middle),
            _ => upper = Some(middle),
        }
    }
    while let Some(low) = lower {
        let rung = climb.soak(low)?;
        if rung.decision == Decision::Pass {
            break;
        }
        upper = Some(low);
        lower = Some(low * STEP_DOWN).filter(|next| *next >= search.start_per_s / 2.0);
    }
    let rungs = climb.rungs;
    Ok(Answer {
        sustains_per_s: lower,
        refuses_per_s: upper,
        confidence: confidence(search, &rungs, lower, upper),
        rungs,
    })
}

fn confidence(
    search: &Search,
    rungs: &[Rung],
    lower: Option<f64>,
    upper: Option<f64>,
) -> Confidence {
    if upper.is_none() {
        return Confidence::BoundedBelow;
    }
    let rests_on_force = [lower, upper].into_iter().flatten().any(|end| {
        rungs
            .iter()
            .filter(|rung| (rung.per_s - end).abs() < 1e-9)
            .all(|rung| rung.is_forced)
    });
    if search.is_quick || rests_on_force {
        Confidence::Estimated
    } else {
        Confidence::Confirmed
    }
}

/// A search under way.
struct Climb<'a> {
    search: &'a Search,
    trial: &'a mut dyn Trial,
    tell: &'a mut dyn FnMut(&Rung),
    rungs: Vec<Rung>,
}

impl Climb<'_> {
    /// Doubles until a rate fails; returns the last that passed and the first
    /// that failed.
    fn bracket(&mut self) -> Result<(Option<f64>, Option<f64>), CapacityError> {
        let mut lower = None;
        let mut rate = self.search.start_per_s;
        for _ in 0..MOST_DOUBLINGS {
            let rate_now = rate.min(self.search.limit_per_s);
            // A first rung may be short; one that fails is asked again, longer.
            let scale = self.scale();
            let looks = [BRACKET.mul_f64(scale), BRACKET.mul_f64(3.0 * scale)];
            let rung = self.rung(rate_now, Stage::Bracket, &looks)?;
            if rung.is_generator_limited {
                return Ok((lower, None));
            }
            if rung.decision == Decision::Fail {
                if lower.is_none() {
                    // Even the lowest is too much: look below it.
                    return self.descend(rate_now);
                }
                return Ok((lower, Some(rate_now)));
            }
            lower = Some(rate_now);
            if rate_now >= self.search.limit_per_s {
                return Ok((lower, None));
            }
            rate *= 2.0;
        }
        Ok((lower, None))
    }

    fn descend(&mut self, from: f64) -> Result<(Option<f64>, Option<f64>), CapacityError> {
        let mut upper = from;
        for _ in 0..6 {
            let rate = upper / 2.0;
            let scale = self.scale();
            let looks = [BRACKET.mul_f64(scale), BRACKET.mul_f64(3.0 * scale)];
            if self.rung(rate, Stage::Bracket, &looks)?.decision == Decision::Pass {
                return Ok((Some(rate), Some(upper)));
            }
            upper = rate;
        }
        Ok((None, Some(upper)))
    }

    fn narrow(&mut self, per_s: f64) -> Result<Rung, CapacityError> {
        let looks = self.search.looks.clone();
        self.rung(per_s, Stage::Narrow, &looks)
    }

    /// Asks once, for as long as the promise is soaked: it has to hold by its
    /// estimate, and the test must not refuse it.
    fn soak(&mut self, per_s: f64) -> Result<Rung, CapacityError> {
        let soak = [self.search.soak];
        self.rung(per_s, Stage::Soak, &soak)
    }

    /// The bracket's times shrink with the looks.
    fn scale(&self) -> f64 {
        let first = self.search.looks.first().copied().unwrap_or(BRACKET * 2);
        (first.as_secs_f64() / 20.0).min(1.0)
    }

    /// Tests one rate, looking at the given times.
    fn rung(
        &mut self,
        per_s: f64,
        stage: Stage,
        looks: &[Duration],
    ) -> Result<Rung, CapacityError> {
        let tail = RISK / looks.len().max(1) as f64;
        let mut evidence = Evidence::default();
        let mut tried = Duration::ZERO;
        let mut is_generator_limited = false;
        let mut decision = Decision::Undecided;
        let mut response: Option<Histogram> = None;
        for look in looks {
            let offered: Offered = self.trial.offer(per_s, *look - tried)?;
            if offered.was_stopped {
                return Err(CapacityError::Stopped);
            }
            tried = *look;
            is_generator_limited |= offered.is_generator_limited;
            evidence.add(&offered);
            if !offered.response.is_empty() {
                response
                    .get_or_insert_default()
                    .add(&offered.response.open());
            }
            decision = evidence.decide(&self.search.objective, tail);
            // The bracket takes an early pass by the estimate as well.
            let is_enough = match stage {
                Stage::Bracket => evidence.force(&self.search.objective) == Decision::Pass,
                _ => decision != Decision::Undecided,
            };
            if is_enough || is_generator_limited {
                break;
            }
        }
        let is_forced = decision == Decision::Undecided;
        // What the slices that are left decide is decided.
        is_generator_limited |= is_forced && evidence.is_spoiled();
        if is_forced {
            decision = evidence.force(&self.search.objective);
        }
        let rung = Rung {
            per_s,
            stage,
            decision,
            is_forced,
            tried_ns: u64::try_from(tried.as_nanos()).unwrap_or(u64::MAX),
            requests: evidence.slices().iter().map(|slice| slice.requests).sum(),
            share_over: evidence.share_over(),
            share_failed: evidence.share_failed(),
            slices: evidence.slices().to_vec(),
            spoiled: evidence.spoiled(),
            is_generator_limited,
            response: response.as_ref().map(Packed::of).unwrap_or_default(),
        };
        (self.tell)(&rung);
        self.rungs.push(rung.clone());
        Ok(rung)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// A load could not begin.
    #[error("a load could not begin")]
    Load(#[from] OpenError),
    /// The user stopped the search.
    #[error("the search was stopped before it had an answer")]
    Stopped,
}
