//! What stands in the pages, and what never does.

use mintmark::credential::AppConfig;

use super::super::cli::present;
use super::*;

/// Reads a file that was handed out.
fn file(page: &Page) -> AppConfig {
    AppConfig::from_json(page.text.as_bytes()).unwrap()
}

async fn generate(house: &House, visitor: &mut Visitor) -> Page {
    let app = house.client_id();
    let answer = visitor
        .post(&format!("/apps/{app}/keys/generate"), &[])
        .await;
    assert_eq!(answer.status, 303);
    visitor.get(answer.header("location")).await
}

#[tokio::test]
async fn a_key_pair_is_handed_out_once() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let page = generate(&house, &mut visitor).await;
    let handouts = page.handouts();
    let [handout] = handouts.as_slice() else {
        panic!("{handouts:?}");
    };
    // The address is of no use to others, nor as a link.
    let mut other = house.visitor(ADMINISTRATOR).await;
    assert_eq!(other.post(handout, &[]).await.status, 410);
    assert_eq!(visitor.get(handout).await.status, 404);

    let answer = visitor.post(handout, &[]).await;
    assert_eq!(answer.status, 200);
    let config = file(&answer);
    let kid = &config.public_key_id;
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"{ENTERPRISE}_{kid}_config.json\"")
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let app = house.directory.app("Loader").unwrap();
    assert_eq!(app.keys[0].kid, *kid);
    let key = config.credential().unwrap().key.open().unwrap();
    assert_eq!(key.public_key().unwrap().to_pem(), app.keys[0].public_key);

    assert_eq!(visitor.post(handout, &[]).await.status, 410);
    let page = visitor
        .get(&format!("/apps/{}/configuration", house.client_id()))
        .await;
    assert!(page.handouts().is_empty());
}

#[tokio::test]
async fn a_key_pair_that_nobody_took_is_removed() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let keys = || house.directory.app("Loader").unwrap().keys.len();
    let removed = async |count| {
        let soon = async {
            while keys() > count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), soon)
            .await
            .unwrap();
    };
    let handout = generate(&house, &mut visitor).await.handouts().remove(0);
    assert_eq!(keys(), 1);
    house.clock.advance(Duration::from_secs(600));
    removed(0).await;
    assert_eq!(visitor.post(&handout, &[]).await.status, 410);

    generate(&house, &mut visitor).await;
    visitor.post("/sign-out", &[]).await;
    assert_eq!(keys(), 0);

    // One that somebody took stays.
    let mut visitor = house.visitor(DEVELOPER).await;
    let handout = generate(&house, &mut visitor).await.handouts().remove(0);
    assert_eq!(visitor.post(&handout, &[]).await.status, 200);
    generate(&house, &mut visitor).await;
    assert_eq!(keys(), 2);
    house.clock.advance(Duration::from_secs(600));
    removed(1).await;
}

#[tokio::test]
async fn no_secret_stands_in_any_page() {
    let house = House::new();
    let mut visitor = house.visitor(ADMINISTRATOR).await;
    let app = house.client_id();
    let page = generate(&house, &mut visitor).await;
    let config = file(&visitor.post(&page.handouts()[0], &[]).await);
    visitor
        .post(&format!("/apps/{app}/review/submit"), &[])
        .await;
    visitor
        .post(&format!("/apps/{app}/review/authorize"), &[])
        .await;
    let draft = Draft::enterprise().claim("sub", ENTERPRISE);
    let draft = draft.claim("exp", NOW + 30);
    let key = config.credential().unwrap().key.open().unwrap();
    let assertion = draft
        .header("kid", config.public_key_id.as_str())
        .claim("iss", app.as_str())
        .sign_with(&key);
    let body = form(&[
        ("grant_type", JWT_BEARER),
        ("client_id", &app),
        ("client_secret", config.client_secret.expose()),
        ("assertion", &assertion),
    ]);
    let request = reqwest::Client::new()
        .post(house.broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    let answer = Answer::of(request).await;
    let line = config.private_key.expose().lines().nth(4).unwrap();
    let secrets = [
        ("client secret", config.client_secret.expose()),
        ("passphrase", config.passphrase.as_ref().unwrap().expose()),
        ("sealed key", line),
        ("token", answer.token()),
        ("assertion", &assertion[..40]),
        ("developer's secret", DEVELOPER),
        ("administrator's secret", ADMINISTRATOR),
        ("session", visitor.cookies.values().next().unwrap()),
    ];
    let secrets = secrets.map(|(what, secret)| (what, secret.to_owned()));
    for path in [
        "/apps",
        "/approvals",
        "/users",
        "/tokens",
        "/tokens/feed?after=0",
        "/outbox",
        "/enterprises",
        "/role",
        "/nowhere",
        &format!("/apps/{app}"),
        &format!("/apps/{app}/configuration"),
        &format!("/apps/{app}/users"),
        &format!("/apps/{app}/keys/{}/remove", config.public_key_id),
    ] {
        let page = visitor.get(path).await;
        assert!(page.text.contains("</"), "{path}");
        for (what, secret) in &secrets {
            assert!(
                !page.text.contains(secret.as_str()),
                "{path} holds the {what}"
            );
        }
    }
    // What somebody pastes by mistake does not come back either.
    let private = config.private_key.expose();
    let answer = visitor
        .post(&format!("/apps/{app}/keys"), &[("public_key", private)])
        .await;
    assert_eq!(answer.status, 422);
    assert!(answer.text.contains("This is a private key"));
    assert!(!answer.text.contains(line));
}

#[tokio::test]
async fn what_was_typed_is_text_and_nothing_else() {
    let house = House::new();
    let mut visitor = house.visitor(ADMINISTRATOR).await;
    let hostile = "<img src=x onerror=alert(1)>\"'&amp;{{7*7}}";
    let create = [
        ("name", hostile),
        ("enterprise", ENTERPRISE),
        ("authentication", "jwt"),
    ];
    let made = visitor.post("/apps", &create).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let again = visitor.post("/apps", &create).await;
    assert_eq!(again.status, 422);
    let app = house.directory.app(hostile).unwrap().client_id;
    visitor
        .post(&format!("/apps/{app}/review/submit"), &[])
        .await;
    let user = [
        ("name", hostile),
        ("login", hostile),
        ("enterprise", ENTERPRISE),
    ];
    visitor.post("/users", &user).await;
    let mut texts = vec![again.text];
    for path in [
        "/apps",
        "/approvals",
        "/outbox",
        "/users",
        &format!("/apps/{app}"),
    ] {
        texts.push(visitor.get(path).await.text);
    }
    for text in texts {
        assert!(!text.contains("<img src=x"), "{text}");
        assert!(text.contains("{{7*7}}"));
    }
}

#[tokio::test]
async fn errors_stand_beside_their_fields() {
    let house = House::new();
    let mut visitor = house.visitor(ADMINISTRATOR).await;
    let app = house.client_id();
    let key = key_a().public_key().unwrap().to_pem();
    let small = "-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----";
    let configuration = format!("/apps/{app}/configuration");
    let keys = format!("/apps/{app}/keys");
    assert_eq!(
        visitor.post(&keys, &[("public_key", &key)]).await.status,
        303
    );
    for (path, fields, id, said) in [
        (
            "/apps",
            &[
                ("name", "loader"),
                ("enterprise", ENTERPRISE),
                ("authentication", "jwt"),
            ][..],
            "name-error",
            "is taken",
        ),
        (
            &configuration,
            &[("cors", "acme.example/x")],
            "cors-error",
            "is no origin",
        ),
        (
            &configuration,
            &[("scope.manage_groups", "on")],
            "scopes-error",
            "needs the access level",
        ),
        (&keys, &[("public_key", small)], "pem-error", "."),
        (&keys, &[("public_key", &key)], "pem-error", "is taken"),
        (
            "/users",
            &[("id", "x"), ("enterprise", ENTERPRISE)],
            "person-error",
            "is not a number",
        ),
    ] {
        let page = visitor.post(path, fields).await;
        assert_eq!(page.status, 422, "{path}");
        let beginning = format!("id=\"{id}\" role=\"alert\"");
        let Some((_, rest)) = page.text.split_once(&beginning) else {
            panic!("{path}: no {id} in {}", page.text);
        };
        let error = rest
            .split_once('>')
            .unwrap()
            .1
            .split("</p>")
            .next()
            .unwrap();
        assert!(error.contains(said), "{path}: {error}");
    }
    // What was typed is still there to be mended.
    let page = visitor
        .post(&configuration, &[("cors", "acme.example/x")])
        .await;
    assert!(page.text.contains(">acme.example/x</textarea>"));
}

#[tokio::test]
async fn an_app_of_the_other_kind_gets_its_secret_in_a_file() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let fields = [
        ("name", "Poller"),
        ("enterprise", ENTERPRISE),
        ("authentication", "client_credentials"),
    ];
    let made = visitor.post("/apps", &fields).await;
    let page = visitor.get(made.header("location")).await;
    assert!(!page.text.contains("Public/Private Keypair"));
    let answer = visitor.post(&page.handouts()[0], &[]).await;
    let settings: Value = serde_json::from_str(&answer.text).unwrap();
    let client_id = settings["boxAppSettings"]["clientID"].as_str().unwrap();
    let secret = settings["boxAppSettings"]["clientSecret"].as_str().unwrap();
    house.directory.authorize("Poller").unwrap();
    house.broker.refresh().unwrap();
    let body = form(&[
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret),
        ("box_subject_type", "enterprise"),
        ("box_subject_id", ENTERPRISE),
    ]);
    let request = reqwest::Client::new()
        .post(house.broker.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    Answer::of(request).await.token();
}

#[tokio::test]
async fn the_first_enterprise_is_set_up_by_a_developer() {
    let house = House::new();
    let empty = Broker::start(BrokerConfig {
        directory: Some(Arc::new(Directory::in_memory().unwrap())),
        console: Some(ConsoleConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            developer_secret: Secret::from(DEVELOPER),
            admin_secret: Secret::from(ADMINISTRATOR),
        }),
        ..BrokerConfig::default()
    })
    .unwrap();
    let mut visitor = Visitor::new(&empty.console_url().unwrap());
    visitor.sign_in(DEVELOPER).await;
    let wizard = visitor.get("/apps/new").await;
    assert_eq!(
        (wizard.status, wizard.header("location")),
        (303, "/enterprises")
    );
    let nobody = [("name", "Acme"), ("login", ""), ("id", ENTERPRISE)];
    assert_eq!(visitor.post("/enterprises", &nobody).await.status, 422);
    let acme = [
        ("name", "Acme"),
        ("login", "a@acme.example"),
        ("id", ENTERPRISE),
    ];
    assert_eq!(visitor.post("/enterprises", &acme).await.status, 303);
    assert_eq!(visitor.get("/apps/new").await.status, 200);
    drop(house);
}

#[tokio::test]
async fn what_is_new_is_told_at_once_and_once() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let mut watcher = visitor.clone();
    let watching = tokio::spawn(async move { watcher.get("/tokens/feed?after=0").await });
    let ask = async || {
        let request = reqwest::Client::new()
            .post(house.broker.token_url())
            .header("content-type", "application/x-www-form-urlencoded")
            .body("grant_type=%3Cscript%3E&client_id=%3Cb%3E");
        assert_eq!(Answer::of(request).await.status, 400);
    };
    ask().await;
    let told = watching.await.unwrap();
    assert_eq!(told.header("x-latest"), "1");
    assert!(told.text.contains("Invalid grant_type") && !told.text.contains("<b>"));
    ask().await;
    let told = visitor.get("/tokens/feed?after=1").await;
    assert_eq!(told.header("x-latest"), "2");
    assert_eq!(told.text.matches("<tr").count(), 1);
}

#[tokio::test]
async fn a_load_test_is_counted_and_not_listed_whole() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let http = reqwest::Client::new();
    for _ in 0..150 {
        let request = http.post(house.broker.token_url());
        assert_eq!(request.send().await.unwrap().status(), 400);
    }
    let page = visitor.get("/tokens").await;
    // The clock stood still, so that all came within a second.
    assert_eq!(page.text.matches("<tr class=\"refused\"").count(), 100);
    assert!(page.text.contains("<dt>Not listed</dt><dd>50</dd>"));
    assert!(page.text.contains("<dt>Refused</dt><dd>150</dd>"));
}

#[tokio::test]
async fn an_app_by_its_configuration_alone_is_named_by_its_id() {
    let broker = Broker::start(BrokerConfig {
        apps: vec![app()],
        directory: Some(Arc::new(Directory::in_memory().unwrap())),
        console: Some(ConsoleConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            developer_secret: Secret::from(DEVELOPER),
            admin_secret: Secret::from(ADMINISTRATOR),
        }),
        ..BrokerConfig::default()
    })
    .unwrap();
    let config = AppConfig {
        client_id: CLIENT.to_owned(),
        client_secret: Secret::from(SECRET),
        public_key_id: KID.to_owned(),
        private_key: Secret::new(pem::encode(&pem::Pem::new(
            "PRIVATE KEY",
            key_a().pkcs8_der().to_vec(),
        ))),
        passphrase: None,
        enterprise_id: Some(ENTERPRISE.to_owned()),
        user_id: None,
    };
    present(&broker.url(), &config, Draft::enterprise())
        .await
        .token();
    let mut visitor = Visitor::new(&broker.console_url().unwrap());
    visitor.sign_in(DEVELOPER).await;
    let page = visitor.get("/tokens").await;
    assert!(page.text.contains(CLIENT) && !page.text.contains("href=\"/apps/client0a\""));
    assert!(page.text.contains(&format!("Enterprise {ENTERPRISE}")));
}
