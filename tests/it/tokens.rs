//! Tokens: obtained with every key container, and from a server that errs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mintmark::assertion::Subject;
use mintmark::broker::{AppRegistration, Broker, BrokerConfig};
use mintmark::clock::{Clock, ManualClock, SystemClock};
use mintmark::credential::{AppConfig, PassphraseSource, Source, load};
use mintmark::oauth::Profile;
use mintmark::signer::{Algorithm, Registry};
use mintmark::token::{App, Client, Exchange, FetchError, Retry, Token};

use crate::stage::{USER, broker_for, fixture, generated_app, mintmark, text};

/// Every container of the RSA key in the fixtures that can be read.
const CONTAINERS: [&str; 16] = [
    "rsa-2048.pem",
    "rsa-2048.pkcs1.pem",
    "rsa-2048.pkcs1.der",
    "rsa-2048.pkcs8.der",
    "rsa-2048.des3-sha1.pem",
    "rsa-2048.des3-sha256.pem",
    "rsa-2048.aes128-sha512.pem",
    "rsa-2048.aes192-sha384.pem",
    "rsa-2048.aes256-sha256.pem",
    "rsa-2048.aes256-sha256-100000.pem",
    "rsa-2048.aes256-sha256.der",
    "rsa-2048.scrypt.pem",
    "rsa-2048.dek-des3.pem",
    "rsa-2048.dek-aes128.pem",
    "rsa-2048.dek-aes192.pem",
    "rsa-2048.dek-aes256.pem",
];

fn client(app: &AppConfig, url: &str, clock: Arc<dyn Clock>, retry: Retry) -> Client {
    let credential = app.credential().unwrap();
    let profile = Profile::built_in("box").unwrap();
    let bound = App::new(
        &credential,
        &profile,
        &BTreeMap::new(),
        Algorithm::Rs256,
        url,
    )
    .unwrap();
    let exchange = Exchange::new(url, bound.form().clone(), Duration::from_secs(10)).unwrap();
    let signer = Registry::compiled()
        .get("aws-lc-rs")
        .unwrap()
        .load(&credential.key.open().unwrap(), Algorithm::Rs256)
        .unwrap();
    Client::new(bound, exchange, signer, clock, retry)
}

async fn works(broker: &Broker, token: &Token) -> bool {
    reqwest::Client::new()
        .get(format!("{}/2.0/users/me", broker.url()))
        .bearer_auth(token.expose())
        .send()
        .await
        .unwrap()
        .status()
        .is_success()
}

#[tokio::test]
async fn a_token_is_obtained_with_each_key_container() {
    let passphrase = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(passphrase.path(), "for tests alone\n").unwrap();
    let open = |name: &str| {
        load(&Source::Key {
            path: fixture(name),
            passphrase: PassphraseSource::Path(passphrase.path().to_owned()),
            client_id: "aclient0000000000000000000000001".into(),
            client_secret: Some("asecret0000000000000000000000001".into()),
            key_id: Some("key00001".into()),
            enterprise_id: Some("4711".into()),
            user_id: None,
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"))
        .0
    };
    let public = open(CONTAINERS[0]).key.open().unwrap();
    let broker = Broker::start(BrokerConfig {
        apps: vec![
            AppRegistration::new(
                "aclient0000000000000000000000001",
                "asecret0000000000000000000000001",
                "4711",
            )
            .with_key("key00001", public.public_key().unwrap().clone()),
        ],
        ..BrokerConfig::default()
    })
    .unwrap();
    for name in CONTAINERS {
        let credential = open(name);
        let profile = Profile::built_in("box").unwrap();
        let app = App::new(
            &credential,
            &profile,
            &BTreeMap::new(),
            Algorithm::Rs256,
            &broker.token_url(),
        )
        .unwrap();
        let exchange = Exchange::new(
            &broker.token_url(),
            app.form().clone(),
            Duration::from_secs(10),
        )
        .unwrap();
        let signer = Registry::compiled()
            .get("ring")
            .unwrap()
            .load(&credential.key.open().unwrap(), Algorithm::Rs256)
            .unwrap();
        let subject = app.default_subject().unwrap().clone();
        let client = Client::new(
            app,
            exchange,
            signer,
            Arc::new(SystemClock::new()),
            Retry::NEVER,
        );
        let token = client
            .fetch(&subject)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(works(&broker, &token).await, "{name}");
    }
    assert_eq!(broker.stats().granted, CONTAINERS.len() as u64);
}

#[tokio::test]
async fn enterprise_and_user_tokens_are_obtained_and_work() {
    let app = generated_app();
    let broker = broker_for(&app);
    let client = client(
        &app,
        &broker.token_url(),
        Arc::new(SystemClock::new()),
        Retry::NEVER,
    );
    let enterprise = app.enterprise_id.clone().unwrap();
    for subject in [Subject::enterprise(enterprise), Subject::user(USER)] {
        let token = client.fetch(&subject).await.unwrap();
        assert_eq!(token.token_type(), "bearer");
        assert!((3_600..=4_300).contains(&token.lifetime().as_secs()));
        assert!(works(&broker, &token).await);
    }
}

#[tokio::test]
async fn a_client_whose_clock_is_wrong_learns_the_servers_time() {
    let app = generated_app();
    let broker = broker_for(&app);
    let now = SystemClock::new().unix();
    for (clock, retry) in [
        (
            now.saturating_sub(Duration::from_secs(600)),
            Retry::default(),
        ),
        (now + Duration::from_secs(600), Retry::AT_ONCE),
    ] {
        let client = client(
            &app,
            &broker.token_url(),
            Arc::new(ManualClock::at(clock)),
            retry,
        );
        client.fetch(&Subject::user(USER)).await.unwrap();
        let offset = client.clock_offset_ms();
        assert!((offset.abs() - 600_000).abs() < 5_000, "{offset}");
        // What has been learnt is kept: no further attempt is needed.
        let refused = broker.stats().refused_total();
        client.fetch(&Subject::user(USER)).await.unwrap();
        assert_eq!(broker.stats().refused_total(), refused);
    }
}

#[tokio::test]
async fn a_refusal_for_good_is_not_repeated() {
    let app = generated_app();
    let broker = broker_for(&app);
    let client = client(
        &app,
        &broker.token_url(),
        Arc::new(SystemClock::new()),
        Retry::default(),
    );
    let error = client.fetch(&Subject::user("999")).await.unwrap_err();
    let FetchError::Refused {
        attempts,
        description,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(attempts, 1);
    assert!(description.unwrap().contains("'sub'"));
}

#[tokio::test]
async fn many_callers_obtain_thousands_of_tokens_without_an_error() {
    let app = generated_app();
    let broker = broker_for(&app);
    let client = Arc::new(client(
        &app,
        &broker.token_url(),
        Arc::new(SystemClock::new()),
        Retry::NEVER,
    ));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                for _ in 0..300 {
                    client.fetch(&Subject::user(USER)).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let stats = broker.stats();
    assert_eq!(stats.granted, 2_400);
    assert_eq!(stats.refused_total(), 0);
}

/// Answers the requests of one listener with the given texts, in order.
fn scripted(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/oauth2/token", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                let read = stream.read(&mut chunk).unwrap();
                request.extend_from_slice(&chunk[..read]);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length: usize = head
                    .lines()
                    .find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse().unwrap())
                    })
                    .unwrap();
                if body.len() >= length {
                    bodies.push(body.to_owned());
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
        }
        bodies
    });
    (url, thread)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn every_attempt_is_signed_anew() {
    let granted =
        r#"{"access_token":"abc","expires_in":3600,"restricted_to":[],"token_type":"bearer"}"#;
    let burnt = r#"{"error":"invalid_grant","error_description":"Please check the 'jti' claim. A unique 'jti' value is required."}"#;
    let (url, server) = scripted(vec![
        answer("429 Too Many Requests", "Retry-After: 0\r\n", "{}"),
        answer("503 Service Unavailable", "", "<html>"),
        answer("400 Bad Request", "", burnt),
        answer("200 OK", "", granted),
    ]);
    let client = client(
        &generated_app(),
        &url,
        Arc::new(SystemClock::new()),
        Retry {
            first_pause: Duration::from_millis(1),
            ..Retry::default()
        },
    );
    let token = client.fetch(&Subject::user("1")).await.unwrap();
    assert_eq!(token.expose(), "abc");
    let bodies = server.join().unwrap();
    let unique: std::collections::BTreeSet<_> = bodies.iter().collect();
    assert_eq!(unique.len(), 4, "an assertion was sent twice");
}

#[tokio::test]
async fn a_client_behind_a_cache_leaves_it_to_that_to_wait() {
    for headers in ["", "Retry-After: 0\r\n", "Retry-After: 1\r\n"] {
        let (url, server) = scripted(vec![answer("503 Service Unavailable", headers, "<html>")]);
        let clock = Arc::new(SystemClock::new());
        let client = client(&generated_app(), &url, clock, Retry::AT_ONCE);
        let error = client.fetch(&Subject::user("1")).await.unwrap_err();
        let FetchError::Refused { attempts, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(attempts, 1, "{headers}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_is_asked_to_stay_away_for_too_long_gives_up() {
    let (url, server) = scripted(vec![answer(
        "429 Too Many Requests",
        "Retry-After: 3600\r\n",
        r#"{"error":"rate_limit_exceeded","error_description":"Request rate limit exceeded, please try again later"}"#,
    )]);
    let client = client(
        &generated_app(),
        &url,
        Arc::new(SystemClock::new()),
        Retry::default(),
    );
    let error = client.fetch(&Subject::user("1")).await.unwrap_err();
    assert!(
        error.to_string().contains("oauth_429_rate_limit_exceeded"),
        "{error}"
    );
    server.join().unwrap();
}

#[test]
fn the_verb_obtains_a_token_from_a_configuration_file() {
    let app = generated_app();
    let broker = broker_for(&app);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    app.write(&path).unwrap();
    let config = path.to_str().unwrap();
    let as_user = ["--user", USER, "--json"];
    for extra in [&[][..], &as_user[..]] {
        let url = broker.url();
        let mut arguments = vec!["token", "--config", config, "--url", &url];
        arguments.extend(extra);
        let output = mintmark(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).trim().len() > 16);
    }
    assert_eq!(broker.stats().granted, 2);
}

#[test]
fn the_verb_says_what_is_wrong_and_exits_with_the_documented_code() {
    let app = generated_app();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    app.write(&path).unwrap();
    let config = path.to_str().unwrap();
    for (arguments, code, parts) in [
        (
            &["token", "--config", "missing.json"][..],
            2,
            &["missing.json"][..],
        ),
        (
            &["token", "--config", config, "--profile", "bx"][..],
            2,
            &["\"bx\"", "google"][..],
        ),
        (
            &["token", "--config", config, "--algorithm", "ES256"][..],
            2,
            &["ES256", "RS256"][..],
        ),
        (
            &["token", "--config", config, "--backend", "rng"][..],
            2,
            &["\"rng\"", "ring"][..],
        ),
        (
            // Port 1 is reserved, and nobody listens on it.
            &[
                "token",
                "--config",
                config,
                "--url",
                "http://127.0.0.1:1",
                "--attempts",
                "1",
            ][..],
            3,
            &["connect_refused"][..],
        ),
        (&["token"][..], 2, &["--config"][..]),
    ] {
        let output = mintmark(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{arguments:?}: {stderr}");
        }
    }
}

#[test]
fn the_verb_signs_as_many_assertions_as_asked() {
    let app = generated_app();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.json");
    app.write(&path).unwrap();
    let out = folder.path().join("assertions.txt");
    let output = mintmark(&[
        "sign",
        "--config",
        path.to_str().unwrap(),
        "--count",
        "50",
        "--out",
        out.to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<String> = std::fs::read_to_string(&out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let unique: std::collections::BTreeSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), unique.len()), (50, 50));
    assert!(lines.iter().all(|line| line.split('.').count() == 3));
}
