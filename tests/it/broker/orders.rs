//! A broker that is slow, full or broken as it was told.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Instant;

use mintmark::broker::orders::{Failure, ServiceTime, Stall};
use mintmark::broker::{OrderSheet, RateLimit};

use super::*;

fn ordered(orders: Orders) -> Stage {
    Stage::with(Setting {
        orders,
        ..Setting::default()
    })
}

#[tokio::test]
async fn an_answer_takes_its_service_time() {
    let time = Duration::from_millis(30);
    let stage = ordered(Orders {
        service_time: Some(ServiceTime::Constant(time)),
        ..Orders::default()
    });
    let begun = Instant::now();
    stage.present(&Draft::enterprise().sign()).await.token();
    assert!(begun.elapsed() >= time);
    // Only token requests are slow on order.
    stage.broker.order(Orders::default());
    stage.present(&Draft::enterprise().sign()).await.token();
}

#[tokio::test]
async fn a_queue_makes_simultaneous_requests_wait() {
    let time = Duration::from_millis(20);
    let stage = ordered(Orders {
        service_time: Some(ServiceTime::Constant(time)),
        has_queue: true,
        ..Orders::default()
    });
    let drafts: Vec<_> = (0..4).map(|_| Draft::enterprise().sign()).collect();
    let begun = Instant::now();
    let [a, b, c, d] = drafts.as_slice() else {
        unreachable!()
    };
    let answers = tokio::join!(
        stage.present(a),
        stage.present(b),
        stage.present(c),
        stage.present(d)
    );
    answers.3.token();
    assert!(begun.elapsed() >= 4 * time);
}

#[tokio::test]
async fn failures_burn_the_jti_unless_told_otherwise() {
    for (remembers, then) in [(true, Some(Refusal::ReplayedJti)), (false, None)] {
        let stage = Stage::with(Setting {
            behaviour: Behaviour {
                remembers_refused_jti: remembers,
                replay_capacity: 1000,
                ..Behaviour::default()
            },
            ..Setting::default()
        });
        for (error, refusal) in [
            (Failure::Internal, Refusal::ServerError),
            (Failure::BadGateway, Refusal::BadGateway),
            (Failure::Unavailable, Refusal::Overloaded),
        ] {
            stage.broker.order(Orders {
                error_share: 1.0,
                error,
                ..Orders::default()
            });
            let assertion = Draft::enterprise().sign();
            stage.present(&assertion).await.is(refusal);
            stage.broker.order(Orders::default());
            let again = stage.present(&assertion).await;
            match then {
                Some(refusal) => again.is(refusal),
                None => {
                    again.token();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_request_is_answered_by_the_failure_as_well() {
    let stage = ordered(Orders {
        error_share: 1.0,
        ..Orders::default()
    });
    let answer = stage.present("nonsense").await;
    answer.is(Refusal::Overloaded);
}

#[tokio::test]
async fn too_many_at_once_are_an_overload() {
    let stage = ordered(Orders {
        service_time: Some(ServiceTime::Constant(Duration::from_millis(300))),
        concurrency: NonZeroUsize::new(1),
        ..Orders::default()
    });
    let (first, second) = (Draft::enterprise().sign(), Draft::enterprise().sign());
    let (first, second) = tokio::join!(stage.present(&first), stage.present(&second));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    let refused = if first.status == 503 { first } else { second };
    refused.is(Refusal::Overloaded);
    assert_eq!(refused.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_connection_is_reset_on_order() {
    let stage = ordered(Orders {
        reset_share: 1.0,
        ..Orders::default()
    });
    let body = grant_form(&Draft::enterprise().sign());
    let failed = stage
        .http
        .post(stage.broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await
        .unwrap_err();
    let mut source = std::error::Error::source(&failed);
    let mut is_reset = false;
    while let Some(error) = source {
        is_reset |= error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        source = error.source();
    }
    assert!(is_reset, "{failed:?}");
    stage.broker.order(Orders::default());
    stage.present(&Draft::enterprise().sign()).await.token();
}

#[tokio::test]
async fn a_skewed_clock_judges_and_says_so() {
    let stage = ordered(Orders {
        skew_s: 120,
        ..Orders::default()
    });
    let answer = stage.present(&Draft::enterprise().sign()).await;
    answer.is(Refusal::Expired);
    let date = httpdate::parse_http_date(answer.header("date").unwrap()).unwrap();
    let shown = date.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(shown.as_secs(), NOW + 120);
    stage.broker.order(Orders {
        skew_s: -120,
        ..Orders::default()
    });
    let answer = stage.present(&Draft::enterprise().sign()).await;
    answer.is(Refusal::ExpiryTooFar);
    assert_eq!(stage.broker.orders().skew_s, -120);
}

/// Presents assertions one after the other; a reset is a status of 0.
async fn statuses(stage: &Stage, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let sent = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(grant_form(&Draft::enterprise().sign()))
            .send()
            .await;
        statuses.push(sent.map_or(0, |response| response.status().as_u16()));
    }
    statuses
}

#[tokio::test]
async fn shares_come_about_and_the_seed_decides_on_whom() {
    const REQUESTS: usize = 400;
    let ordered = |seed, speaks| {
        Stage::with(Setting {
            orders: Orders {
                seed,
                error_share: 0.25,
                error: Failure::BadGateway,
                reset_share: 0.1,
                ..Orders::default()
            },
            speaks,
            ..Setting::default()
        })
    };
    let found = statuses(&ordered(7, Speaks::Plain), REQUESTS).await;
    let count = |status| found.iter().filter(|found| **found == status).count();
    let (resets, failures, tokens) = (count(0), count(502), count(200));
    assert_eq!(resets + failures + tokens, REQUESTS);
    // Five deviations of a binomial count. A reset hides a failure.
    let is_near = |found: usize, share: f64| {
        let n = REQUESTS as f64;
        (found as f64 - n * share).abs() < 5.0 * (n * share * (1.0 - share)).sqrt()
    };
    assert!(is_near(resets, 0.1), "{resets}");
    assert!(is_near(failures, 0.25 * 0.9), "{failures}");
    // A client library may send what was reset once more, so that of the
    // same seed the first fates alone are compared.
    let again = statuses(&ordered(7, Speaks::Plain), 40).await;
    assert_eq!(again, found[..40]);
    let over_tls = statuses(&ordered(7, Speaks::Http1), 40).await;
    assert_eq!(over_tls, found[..40]);
    let other = statuses(&ordered(8, Speaks::Plain), 40).await;
    assert_ne!(other, found[..40]);
}

#[tokio::test]
async fn service_times_add_up_to_what_was_ordered() {
    const REQUESTS: u32 = 60;
    let (shortest, longest) = (Duration::from_millis(2), Duration::from_millis(10));
    let stage = ordered(Orders {
        seed: 3,
        service_time: Some(ServiceTime::Uniform(shortest, longest)),
        ..Orders::default()
    });
    let assertions: Vec<_> = (0..REQUESTS).map(|_| Draft::enterprise().sign()).collect();
    let begun = Instant::now();
    for assertion in &assertions {
        let asked = Instant::now();
        stage.present(assertion).await.token();
        assert!(asked.elapsed() >= shortest);
    }
    // The mean is 6 ms and its deviation 2.3 ms / sqrt(60); how much longer
    // a busy machine takes is not the broker's affair.
    let least = REQUESTS * Duration::from_micros(6000 - 5 * 300);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_queue_is_as_long_as_the_load_makes_it() {
    // Twenty requests at once and 10 ms for each: the last leaves after 200 ms,
    // and they leave one after the other.
    let time = Duration::from_millis(10);
    let stage = Arc::new(ordered(Orders {
        service_time: Some(ServiceTime::Constant(time)),
        has_queue: true,
        ..Orders::default()
    }));
    let begun = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (stage, assertion) = (Arc::clone(&stage), Draft::enterprise().sign());
            tokio::spawn(async move {
                stage.present(&assertion).await.token();
                begun.elapsed()
            })
        })
        .collect();
    let mut left = Vec::new();
    for one in asked {
        left.push(one.await.unwrap());
    }
    left.sort();
    for (place, at) in (1..).zip(&left) {
        assert!(*at >= time * place, "{left:?}");
    }
}

#[tokio::test]
async fn nothing_is_answered_during_a_stall() {
    // All of the time but the first thousandth of each hour.
    let stage = ordered(Orders {
        stall: Some(Stall {
            every: Duration::from_secs(3600),
            lasts: Duration::from_millis(3_600_000 - 1),
        }),
        ..Orders::default()
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let (first, second) = (Draft::enterprise().sign(), Draft::enterprise().sign());
    let waiting = tokio::time::timeout(Duration::from_millis(300), stage.present(&first));
    assert!(waiting.await.is_err());
    // Others than token requests are answered, and new orders count at once.
    let health = format!("{}/healthz", stage.broker.url());
    assert_eq!(Answer::of(stage.http.get(health)).await.status, 200);
    stage.broker.order(Orders::default());
    stage.present(&second).await.token();
}

#[tokio::test]
async fn a_sheet_is_followed_as_a_whole() {
    let stage = Stage::new();
    let limited = OrderSheet {
        rate_limit: Some(RateLimit {
            per_s: NonZeroU32::MIN,
            burst: NonZeroU32::MIN,
        }),
        spare_refused_jti: true,
        ..OrderSheet::default()
    };
    stage.broker.order_all(&limited).unwrap();
    stage.present(&Draft::enterprise().sign()).await.token();
    let assertion = Draft::enterprise().sign();
    let answer = stage.present(&assertion).await;
    answer.is(Refusal::RateLimited);
    assert!(answer.header("retry-after").is_some());
    // A limit that stays goes on as it was; one that is gone is gone.
    stage.broker.order_all(&limited).unwrap();
    stage.present(&assertion).await.is(Refusal::RateLimited);
    stage.broker.order_all(&OrderSheet::default()).unwrap();
    stage.present(&assertion).await.token();
    let wrong = OrderSheet {
        error_share: 2.0,
        skew_s: 1000,
        ..OrderSheet::default()
    };
    assert_eq!(
        stage.broker.order_all(&wrong).unwrap_err().field,
        "error_share"
    );
    stage.present(&Draft::enterprise().sign()).await.token();
}
