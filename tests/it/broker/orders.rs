//! A broker that is slow, full or broken as it was told.

use std::num::NonZeroUsize;
use std::time::Instant;

use mintmark::broker::orders::{Failure, ServiceTime};

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
