//! The same strictness over HTTP/1.1 and HTTP/2, with TLS and without.

use mintmark::broker::orders::ServiceTime;
use reqwest::{Method, Version};

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_token_is_had_over_every_protocol() {
    for speaks in Speaks::ALL {
        let stage = Stage::speaking(speaks);
        let scheme = if speaks == Speaks::Plain {
            "http://"
        } else {
            "https://"
        };
        assert!(stage.broker.url().starts_with(scheme));
        let response = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", FORM)
            .body(grant_form(&Draft::enterprise().sign()))
            .send()
            .await
            .unwrap();
        let version = match speaks {
            Speaks::Http2 => Version::HTTP_2,
            _ => Version::HTTP_11,
        };
        assert_eq!(response.version(), version, "{speaks:?}");
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(stage.me(token).await.status, 200);
    }
}

#[tokio::test]
async fn the_audience_may_be_the_address_with_tls() {
    let stage = Stage::speaking(Speaks::Http2);
    let draft = Draft::enterprise().claim("aud", stage.broker.token_url());
    stage.present(&draft.sign()).await.token();
    let plain = stage.broker.token_url().replace("https", "http");
    let draft = Draft::enterprise().claim("aud", plain);
    stage
        .present(&draft.sign())
        .await
        .is(Refusal::InvalidAudience);
}

#[tokio::test]
async fn many_streams_of_one_connection_are_answered() {
    let stage = Stage::speaking(Speaks::Http2);
    stage.present(&Draft::enterprise().sign()).await.token();
    let drafts: Vec<_> = (0..64).map(|_| Draft::enterprise().sign()).collect();
    let stage = Arc::new(stage);
    let asked: Vec<_> = drafts
        .into_iter()
        .map(|draft| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move { stage.present(&draft).await.status })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.unwrap(), 200);
    }
    assert_eq!(stage.broker.stats().connections, 1);
    assert_eq!(stage.broker.stats().granted, 65);
}

#[tokio::test]
async fn every_protocol_is_as_strict_about_what_is_posted() {
    for speaks in Speaks::ALL {
        let stage = Stage::speaking(speaks);
        let good = grant_form(&Draft::enterprise().sign());
        let too_large = format!("{good}&pad={}", "x".repeat(17_000));
        for (content_type, query, body, refusal) in [
            (
                "text/plain",
                "",
                good.as_str(),
                Refusal::UnsupportedContentType,
            ),
            ("", "", &good, Refusal::UnsupportedContentType),
            (FORM, "?a=b", &good, Refusal::ParameterInQuery),
            (FORM, "", "a=1&a=2", Refusal::DuplicateParameter),
            (FORM, "", "a=%zz", Refusal::MalformedForm),
            (FORM, "", "", Refusal::InvalidGrantType),
            (FORM, "", &too_large, Refusal::BodyTooLarge),
        ] {
            let url = format!("{}{query}", stage.broker.token_url());
            let request = stage
                .http
                .post(url)
                .header("content-type", content_type)
                .body(body.to_owned());
            Answer::of(request).await.is(refusal);
        }
        let got = stage.http.request(Method::PUT, stage.broker.token_url());
        Answer::of(got).await.is(Refusal::MethodNotAllowed);
        stage.post(&good).await.token();
        assert_eq!(stage.broker.stats().granted, 1, "{speaks:?}");
    }
}

#[tokio::test]
async fn heads_are_bounded_in_number_and_size() {
    for speaks in Speaks::ALL {
        let stage = Stage::speaking(speaks);
        let health = format!("{}/healthz", stage.broker.url());
        let mut many = stage.http.get(&health);
        for i in 0..60 {
            many = many.header(format!("x-{i}"), "1");
        }
        let refused = |sent: Result<reqwest::Response, _>| match sent {
            // Some are ended in place of being answered.
            Err(_) => true,
            Ok(response) => response.status().is_client_error(),
        };
        assert!(refused(many.send().await), "{speaks:?}");
        let long = stage.http.get(&health).header("x", "a".repeat(20_000));
        assert!(refused(long.send().await), "{speaks:?}");
        assert_eq!(Answer::of(stage.http.get(&health)).await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_is_reset_on_order_over_every_protocol() {
    for speaks in Speaks::ALL {
        let stage = Stage::with(Setting {
            speaks,
            orders: Orders {
                reset_share: 1.0,
                ..Orders::default()
            },
            ..Setting::default()
        });
        let body = grant_form(&Draft::enterprise().sign());
        let sent = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", FORM)
            .body(body)
            .send()
            .await;
        assert!(sent.is_err(), "{speaks:?}");
        stage.broker.order(Orders::default());
        // A client may not have noticed yet that its connection is gone.
        let stage = Stage {
            http: speaks.client(&stage.broker),
            ..stage
        };
        stage.present(&Draft::enterprise().sign()).await.token();
        assert!(stage.broker.stats().connections >= 2, "{speaks:?}");
    }
}

#[tokio::test]
async fn requests_under_way_are_answered_before_a_stop() {
    for speaks in Speaks::ALL {
        let stage = Stage::with(Setting {
            speaks,
            orders: Orders {
                service_time: Some(ServiceTime::Constant(Duration::from_millis(300))),
                ..Orders::default()
            },
            ..Setting::default()
        });
        let body = grant_form(&Draft::enterprise().sign());
        let request = stage
            .http
            .post(stage.broker.token_url())
            .header("content-type", FORM)
            .body(body);
        let asking = tokio::spawn(request.send());
        while stage.broker.stats().requests == 0 {
            tokio::task::yield_now().await;
        }
        let broker = stage.broker;
        let stopping = tokio::task::spawn_blocking(|| broker.stop(Duration::from_secs(20)));
        assert_eq!(asking.await.unwrap().unwrap().status(), 200, "{speaks:?}");
        assert_eq!(stopping.await.unwrap().open_connections, 0);
    }
}
