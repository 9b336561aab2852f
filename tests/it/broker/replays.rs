//! Assertions that are presented again, and limits that make clients do so.

use std::num::NonZeroU32;

use mintmark::broker::RateLimit;

use super::*;

#[tokio::test]
async fn a_jti_is_accepted_once() {
    let stage = Stage::new();
    let draft = Draft::enterprise();
    let assertion = draft.sign();
    stage.present(&assertion).await.token();
    stage.present(&assertion).await.is(Refusal::ReplayedJti);
    let later = draft.clone().claim("exp", NOW + 60);
    stage.present(&later.sign()).await.is(Refusal::ReplayedJti);
    let user = draft.claim("sub", MANAGED).claim("box_sub_type", "user");
    stage.present(&user.sign()).await.is(Refusal::ReplayedJti);
    stage.clock.advance(Duration::from_secs(30));
    stage.present(&assertion).await.is(Refusal::Expired);
}

#[tokio::test]
async fn a_refused_jti_is_burnt_only_by_a_registered_key() {
    let stage = Stage::new();
    let draft = Draft::enterprise();
    stage
        .present(&draft.sign_with(&key_b()))
        .await
        .is(Refusal::BadSignature);
    let wrong_audience = draft.clone().claim("aud", "https://evil.example");
    stage
        .present(&wrong_audience.sign())
        .await
        .is(Refusal::InvalidAudience);
    stage.present(&draft.sign()).await.token();
}

#[tokio::test]
async fn a_wrong_subject_burns_the_jti() {
    let stage = Stage::new();
    let draft = Draft::enterprise();
    let unknown = draft.clone().claim("sub", "1");
    stage
        .present(&unknown.sign())
        .await
        .is(Refusal::InvalidSubject);
    stage.present(&draft.sign()).await.is(Refusal::ReplayedJti);
}

fn one_per_second(remembers_refused_jti: bool) -> Stage {
    Stage::with(Setting {
        behaviour: Behaviour {
            remembers_refused_jti,
            rate_limit: Some(RateLimit {
                per_s: NonZeroU32::MIN,
                burst: NonZeroU32::MIN,
            }),
            ..Setting::default().behaviour
        },
        ..Setting::default()
    })
}

#[tokio::test]
async fn a_rate_limit_burns_the_jti_as_the_providers_does() {
    let stage = one_per_second(true);
    stage.present(&Draft::enterprise().sign()).await.token();
    let assertion = Draft::enterprise().sign();
    let limited = stage.present(&assertion).await;
    limited.is(Refusal::RateLimited);
    assert_eq!(limited.status, 429);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1);
    stage.clock.advance(Duration::from_secs(wait));
    stage.present(&assertion).await.is(Refusal::ReplayedJti);
    stage
        .present(&Draft::enterprise().claim("exp", NOW + wait + 30).sign())
        .await
        .token();
}

#[tokio::test]
async fn a_rate_limit_can_be_told_to_spare_the_jti() {
    let stage = one_per_second(false);
    stage.present(&Draft::enterprise().sign()).await.token();
    let assertion = Draft::enterprise().sign();
    let limited = stage.present(&assertion).await;
    limited.is(Refusal::RateLimited);
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    stage.clock.advance(Duration::from_secs(wait));
    stage.present(&assertion).await.token();
    stage.clock.advance(Duration::from_secs(wait));
    stage.present(&assertion).await.is(Refusal::ReplayedJti);
}

#[tokio::test]
async fn a_full_replay_cache_is_an_overload() {
    let stage = Stage::with(Setting {
        behaviour: Behaviour {
            replay_capacity: 1,
            ..Behaviour::default()
        },
        ..Setting::default()
    });
    let mut overloaded = 0;
    for _ in 0..256 {
        let answer = stage.present(&Draft::enterprise().sign()).await;
        if answer.status != 200 {
            answer.is(Refusal::Overloaded);
            assert_eq!(answer.status, 503);
            assert_eq!(answer.header("retry-after"), Some("1"));
            overloaded += 1;
        }
    }
    assert!(overloaded > 0);
    assert_eq!(
        stage.broker.stats().refused(Refusal::Overloaded),
        overloaded
    );
    stage.clock.advance(Duration::from_secs(31));
    let later = Draft::enterprise().claim("exp", NOW + 61);
    stage.present(&later.sign()).await.token();
}
