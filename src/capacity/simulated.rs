//! Does the search find a capacity that is known?
//!
//! A single server with a fixed service time and Poisson arrivals (M/D/1) has
//! a closed form for the distribution of its response time. Hundreds of
//! searches run against a simulation of it, by the code that runs against an
//! endpoint; time is a number here.

use std::time::Duration;

use super::{Answer, CapacityError, Confidence, Decision, Offered, Search, Trial, find};
use crate::load::objective::{Counts, Objective};
use crate::stats::Random;

/// A queue before one server.
struct Queue {
    service_s: f64,
    objective: Objective,
    random: Random,
    /// A rate that the generator does not reach.
    ceiling_per_s: f64,
    /// Time at rates, for the report of a test.
    spent: Duration,
}

const WARM_UP: f64 = 2.0;
const SLICE: f64 = 1.0;

impl Queue {
    fn new(service_s: f64, objective: Objective, seed: u64) -> Self {
        Self {
            service_s,
            objective,
            random: Random::new(seed),
            ceiling_per_s: f64::INFINITY,
            spent: Duration::ZERO,
        }
    }
}

impl Trial for Queue {
    fn offer(&mut self, per_s: f64, length: Duration) -> Result<Offered, CapacityError> {
        self.spent += length;
        let length = length.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = (length / SLICE).round().max(1.0) as usize;
        let mut slices = vec![Counts::default(); count];
        let mut now = 0.0;
        let mut free_at = 0.0;
        loop {
            now -= (1.0 - self.random.unit()).ln() / per_s;
            let since = now - WARM_UP;
            if since >= length {
                break;
            }
            free_at = f64::max(free_at, now) + self.service_s;
            if since < 0.0 {
                continue;
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let slice = &mut slices[((since / SLICE) as usize).min(count - 1)];
            slice.requests += 1;
            slice.over += u64::from(free_at - now > self.objective.limit.as_secs_f64());
        }
        Ok(Offered {
            slices,
            spoiled: 0,
            sent_share: 1.0,
            // An overloaded queue has grown by its excess.
            backlog_grows: free_at - now > length / 20.0,
            is_generator_limited: per_s > self.ceiling_per_s,
            response: crate::record::Packed::default(),
            was_stopped: false,
        })
    }
}

/// The chance that a request of an M/D/1 queue waits for at most `t` seconds
/// (Erlang 1909, in the form of Franx 2001 that does not cancel: here the
/// classical sum, which is exact enough for the loads of these tests).
fn waits_at_most(t: f64, per_s: f64, service_s: f64) -> f64 {
    let load = per_s * service_s;
    let mut sum = 0.0;
    let mut k = 0.0;
    while k * service_s <= t {
        let x = per_s * (t - k * service_s);
        // (-x)^k / k! * e^x, by logarithms.
        let mut ln_factorial = 0.0;
        let mut i = 2.0;
        while i <= k {
            ln_factorial += f64::ln(i);
            i += 1.0;
        }
        let size = if x > 0.0 {
            (k * x.ln() - ln_factorial + x).exp()
        } else if k < 0.5 {
            1.0
        } else {
            0.0
        };
        sum += if k % 2.0 < 0.5 { size } else { -size };
        k += 1.0;
    }
    (1.0 - load) * sum
}

/// The rate at which a share of `1 - q` takes longer than the limit.
fn capacity(objective: &Objective, service_s: f64) -> f64 {
    let wait = objective.limit.as_secs_f64() - service_s;
    let (mut low, mut high) = (0.01 / service_s, 0.999 / service_s);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if waits_at_most(wait, middle, service_s) >= objective.quantile {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

fn objective() -> Objective {
    Objective::new(0.99, Duration::from_millis(10))
}

fn search(seed: u64, quick: bool) -> (Answer, Duration) {
    let mut queue = Queue::new(0.001, objective(), seed);
    let search = if quick {
        Search::new(objective()).quick()
    } else {
        Search::new(objective())
    };
    let answer = find(&search, &mut queue, &mut |_| ()).unwrap();
    (answer, queue.spent)
}

#[test]
fn the_closed_form_is_that_of_the_simulation() {
    // A known value: at a load of 0.7735, 1 % wait for nine services or more.
    let known = capacity(&objective(), 0.001);
    assert!((known - 773.5).abs() < 0.5, "{known}");
    let mut queue = Queue::new(0.001, objective(), 1);
    let mut over = 0;
    let mut requests = 0;
    for _ in 0..20 {
        let offered = queue.offer(known, Duration::from_secs(200)).unwrap();
        over += offered.slices.iter().map(|slice| slice.over).sum::<u64>();
        requests += offered
            .slices
            .iter()
            .map(|slice| slice.requests)
            .sum::<u64>();
    }
    let share = over as f64 / requests as f64;
    assert!((share / 0.01 - 1.0).abs() < 0.1, "{share}");
}

#[test]
fn the_answer_is_within_minus_four_and_plus_one_percent_of_theory() {
    let theory = capacity(&objective(), 0.001);
    let searches = 200;
    let mut within = 0;
    let mut far_over = 0;
    let mut ratios = Vec::new();
    for seed in 0..searches {
        let (answer, _) = search(seed, false);
        let ratio = answer.sustains_per_s.unwrap() / theory;
        within += u32::from((0.96..=1.01).contains(&ratio));
        far_over += u32::from(ratio > 1.02);
        assert!(answer.refuses_per_s.unwrap() > answer.sustains_per_s.unwrap());
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    // The goals are 95 % and 1 %.
    assert!(
        within >= 190 && far_over <= 2,
        "{within} of {searches} within, {far_over} far over, from {} to {}",
        ratios[0],
        ratios[ratios.len() - 1]
    );
}

#[test]
fn a_quick_answer_is_called_an_estimate() {
    let (answer, spent) = search(1, true);
    assert_eq!(answer.confidence, Confidence::Estimated);
    let (_, thorough) = search(1, false);
    assert!(spent < thorough);
}

#[test]
fn a_generator_that_gives_up_first_bounds_the_answer_from_below() {
    let mut queue = Queue::new(0.001, objective(), 1);
    queue.ceiling_per_s = 300.0;
    let answer = find(&Search::new(objective()), &mut queue, &mut |_| ()).unwrap();
    assert_eq!(answer.confidence, Confidence::BoundedBelow);
    assert_eq!(answer.refuses_per_s, None);
    assert!(answer.sustains_per_s.unwrap() <= 300.0);
}

#[test]
fn an_endpoint_that_sustains_nothing_is_told_so() {
    let mut queue = Queue::new(0.02, objective(), 1);
    let answer = find(&Search::new(objective()), &mut queue, &mut |_| ()).unwrap();
    assert_eq!(answer.sustains_per_s, None);
    assert!(
        answer
            .rungs
            .iter()
            .all(|rung| rung.decision == Decision::Fail)
    );
}
