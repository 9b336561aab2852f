//! Who does not come in, and what every answer binds the browser to.

use mintmark::broker::BrokerError;
use rustix::process::Signal;

use super::*;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Every page that is there to be looked at.
fn pages(house: &House) -> Vec<String> {
    let app = house.client_id();
    let pages = [
        "/apps",
        "/apps/new",
        "/apps/new?kind=custom",
        "/apps/new?kind=custom&authentication=jwt",
        &format!("/apps/{app}"),
        &format!("/apps/{app}/configuration"),
        &format!("/apps/{app}/users"),
        "/approvals",
        "/users",
        "/tokens",
        "/tokens/feed",
        "/outbox",
        "/enterprises",
        "/role",
    ];
    pages.map(str::to_owned).to_vec()
}

/// Every address that changes something.
fn changes(house: &House) -> Vec<String> {
    let app = house.client_id();
    let steps = [
        "submit",
        "authorize",
        "reauthorize",
        "decline",
        "disable",
        "enable",
    ];
    let of_app = [
        "configuration",
        "keys",
        "keys/generate",
        "keys/x/remove",
        "users",
        "handouts/x",
    ];
    let others = [
        "/apps",
        "/users",
        "/enterprises",
        "/role",
        "/sign-out",
        "/sign-in",
    ];
    steps
        .iter()
        .map(|step| format!("/apps/{app}/review/{step}"))
        .chain(of_app.iter().map(|part| format!("/apps/{app}/{part}")))
        .chain(others.map(str::to_owned))
        .chain([format!("/enterprises/{ENTERPRISE}/administrators")])
        .collect()
}

#[tokio::test]
async fn nothing_is_shown_or_done_without_a_secret() {
    let house = House::new();
    let before = house.directory.apps().unwrap();
    let mut stranger = Visitor::new(&house.url());
    for page in pages(&house)
        .into_iter()
        .filter(|page| page != "/tokens/feed")
    {
        let answer = stranger.get(&page).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/sign-in")
        );
        assert!(!answer.text.contains("Loader"), "{page}");
    }
    assert_eq!(stranger.get("/tokens/feed").await.status, 401);
    for change in changes(&house).into_iter().filter(|to| to != "/sign-in") {
        let answer = stranger.post(&change, &[("name", "x")]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/sign-in")
        );
    }
    assert_eq!(house.directory.apps().unwrap(), before);
}

#[tokio::test]
async fn a_developer_decides_nothing() {
    let house = House::new();
    let mut developer = house.visitor(DEVELOPER).await;
    let app = house.client_id();
    developer
        .post(&format!("/apps/{app}/review/submit"), &[])
        .await;
    for step in ["authorize", "reauthorize", "decline", "disable", "enable"] {
        let answer = developer
            .post(&format!("/apps/{app}/review/{step}"), &[])
            .await;
        assert_eq!(answer.status, 403, "{step}");
    }
    for (path, fields) in [
        ("/users", &[("id", "5"), ("enterprise", ENTERPRISE)][..]),
        (
            "/enterprises",
            &[("name", "Other"), ("login", "me@other.example")],
        ),
        (
            &format!("/enterprises/{ENTERPRISE}/administrators"),
            &[("login", "me@acme.example")],
        ),
    ] {
        assert_eq!(developer.post(path, fields).await.status, 403, "{path}");
    }
    assert_eq!(developer.get("/approvals").await.status, 403);
    let fields = [("to", "administrator"), ("secret", DEVELOPER)];
    assert_eq!(developer.post("/role", &fields).await.status, 403);

    let told = house.directory.app(&app).unwrap();
    assert_eq!(told.status, mintmark::broker::directory::Status::Submitted);
    assert!(told.is_enabled && house.directory.users().unwrap().is_empty());
    assert_eq!(house.directory.enterprises().unwrap().len(), 1);
    assert_eq!(house.directory.administrators().unwrap().len(), 1);

    let fields = [("to", "administrator"), ("secret", ADMINISTRATOR)];
    assert_eq!(developer.post("/role", &fields).await.status, 303);
    let answer = developer
        .post(&format!("/apps/{app}/review/authorize"), &[])
        .await;
    assert_eq!(answer.status, 303);
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_session() {
    let house = House::new();
    let mut administrator = house.visitor(ADMINISTRATOR).await;
    let mut other = house.visitor(ADMINISTRATOR).await;
    let of_other = other.get("/role").await.csrf();
    let before = house.directory.apps().unwrap();
    let own = administrator.get("/role").await.csrf();
    let cut = own[..own.len() - 1].to_owned();
    for change in changes(&house) {
        for csrf in ["", "x", &of_other, &cut] {
            let body = form(&[("csrf", csrf), ("name", "Another"), ("to", "developer")]);
            let headers = administrator.headers();
            let answer = administrator.send(&change, headers, body).await;
            assert_eq!(answer.status, 403, "{change} with {csrf:?}");
            assert!(
                answer.text.contains("out of date"),
                "{change} with {csrf:?}"
            );
        }
    }
    assert_eq!(house.directory.apps().unwrap(), before);
    assert_eq!(administrator.get("/apps").await.status, 200);
}

#[tokio::test]
async fn a_form_comes_from_the_consoles_own_pages() {
    let house = House::new();
    let mut administrator = house.visitor(ADMINISTRATOR).await;
    let csrf = administrator.get("/role").await.csrf();
    let path = format!("/apps/{}/review/disable", house.client_id());
    let body = form(&[("csrf", &csrf)]);
    let other_port = format!("{}0", house.url());
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", &other_port),
        ("origin", &house.url().replace("http:", "https:")),
        ("origin", &house.broker.url()),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let mut headers = administrator.headers();
        if value.is_empty() {
            headers.remove(name);
        } else {
            headers.insert(
                reqwest::header::HeaderName::from_static(name),
                value.parse().unwrap(),
            );
        }
        let answer = administrator.send(&path, headers, body.clone()).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
    }
    let mut headers = administrator.headers();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    let answer = administrator.send(&path, headers, body.clone()).await;
    assert_eq!(answer.status, 415);
    assert!(house.directory.app("Loader").unwrap().is_enabled);
    let headers = administrator.headers();
    assert_eq!(administrator.send(&path, headers, body).await.status, 303);
    assert!(!house.directory.app("Loader").unwrap().is_enabled);
}

#[tokio::test]
async fn other_methods_change_nothing() {
    let house = House::new();
    let mut administrator = house.visitor(ADMINISTRATOR).await;
    let csrf = administrator.get("/role").await.csrf();
    let path = format!("/apps/{}/review/disable", house.client_id());
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let request = administrator
            .http
            .request(method.clone(), format!("{}{path}", house.url()))
            .headers(administrator.headers())
            .body(form(&[("csrf", &csrf)]));
        assert_eq!(request.send().await.unwrap().status(), 405, "{method}");
    }
    // A link leads to no change either.
    assert_eq!(administrator.get(&path).await.status, 404);
    assert!(house.directory.app("Loader").unwrap().is_enabled);
}

#[tokio::test]
async fn the_console_answers_to_its_own_name_alone() {
    let house = House::new();
    let administrator = house.visitor(ADMINISTRATOR).await;
    let url = house.url();
    let port = url.rsplit(':').next().unwrap();
    let ask = async |host: String| {
        let request = administrator
            .http
            .get(format!("{url}/apps"))
            .headers(administrator.headers())
            .header("host", host);
        request.send().await.unwrap()
    };
    for host in [
        format!("rebound.example:{port}"),
        "rebound.example".to_owned(),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        format!("127.0.0.1.rebound.example:{port}"),
        format!("localhost.:{port}"),
    ] {
        let answer = ask(host.clone()).await;
        assert_eq!(answer.status(), 421, "{host}");
        assert!(!answer.text().await.unwrap().contains("Loader"), "{host}");
    }
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        assert_eq!(ask(host).await.status(), 200);
    }
}

#[tokio::test]
async fn every_answer_binds_the_browser() {
    let house = House::new();
    let mut administrator = house.visitor(ADMINISTRATOR).await;
    let mut paths = pages(&house);
    for more in [
        "/nowhere",
        "/assets/console.css",
        "/assets/nothing",
        "/sign-in",
    ] {
        paths.push(more.to_owned());
    }
    let mut answers = Vec::new();
    for path in paths {
        answers.push((administrator.get(&path).await, path));
    }
    let refused = administrator
        .post("/apps", &[("name", ""), ("authentication", "jwt")])
        .await;
    answers.push((refused, "POST /apps".into()));
    let headers = administrator.headers();
    let refused = administrator.send("/apps", headers, "csrf=x".into()).await;
    answers.push((refused, "POST /apps with another token".into()));
    for (answer, path) in answers {
        assert_eq!(answer.header("content-security-policy"), POLICY, "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        let is_asset = path.starts_with("/assets/");
        let cache = if is_asset { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
        assert!(answer.headers.get("access-control-allow-origin").is_none());
        // What the policy forbids would be dead anyway.
        for inline in [
            "<style",
            " style=",
            "<script>",
            " onclick=",
            "javascript:",
            "//cdn",
        ] {
            assert!(!answer.text.contains(inline), "{path} holds {inline}");
        }
    }
}

#[tokio::test]
async fn the_cookie_of_a_session_is_kept_from_scripts_and_other_sites() {
    let house = House::new();
    let mut visitor = Visitor::new(&house.url());
    let answer = visitor.sign_in(DEVELOPER).await;
    let cookies = answer.headers.get_all("set-cookie").iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    let port = house.url().rsplit(':').next().unwrap().to_owned();
    let session = cookies
        .iter()
        .find(|cookie| cookie.starts_with("mintmark_session_"))
        .unwrap();
    let (pair, attributes) = session.split_once(';').unwrap();
    let (name, id) = pair.split_once('=').unwrap();
    assert_eq!(name, format!("mintmark_session_{port}"));
    assert_eq!(id.len(), 43);
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict");
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_or_old() {
    let house = House::new();
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut visitor = house.visitor(DEVELOPER).await;
    house.clock.advance(minutes(29));
    assert_eq!(visitor.get("/apps").await.status, 200);
    house.clock.advance(minutes(29));
    // A page that watches by itself keeps no session alive.
    let feed = visitor.get("/tokens/feed?after=0");
    let feed = tokio::time::timeout(Duration::from_secs(30), feed)
        .await
        .unwrap();
    assert_eq!(feed.status, 200);
    house.clock.advance(minutes(1));
    assert_eq!(visitor.get("/apps").await.status, 303);

    let mut visitor = house.visitor(DEVELOPER).await;
    for _ in 0..23 {
        house.clock.advance(minutes(20));
        assert_eq!(visitor.get("/apps").await.status, 200);
    }
    house.clock.advance(minutes(20));
    assert_eq!(visitor.get("/apps").await.status, 303);
}

#[tokio::test]
async fn another_role_takes_another_session() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let mut thief = visitor.clone();
    let fields = [("to", "administrator"), ("secret", ADMINISTRATOR)];
    visitor.post("/role", &fields).await;
    assert_ne!(visitor.cookies, thief.cookies);
    assert_eq!(thief.get("/apps").await.status, 303);
    let mut thief = visitor.clone();
    visitor.post("/role", &[("to", "developer")]).await;
    assert_eq!(thief.get("/approvals").await.status, 303);
    assert_eq!(visitor.get("/approvals").await.status, 403);
    // Nobody chooses the ID of a session that begins.
    let mut fixed = Visitor::new(&house.url());
    let name = visitor.cookies.keys().next().unwrap().clone();
    fixed.cookies.insert(name.clone(), "A".repeat(43));
    fixed.sign_in(DEVELOPER).await;
    assert_ne!(fixed.cookies[&name], "A".repeat(43));
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let house = House::new();
    let mut visitor = house.visitor(DEVELOPER).await;
    let mut thief = visitor.clone();
    assert_eq!(visitor.post("/sign-out", &[]).await.status, 303);
    assert!(visitor.cookies.is_empty());
    assert_eq!(thief.get("/apps").await.status, 303);
}

#[tokio::test]
async fn secrets_cannot_be_tried_for_long() {
    let house = House::new();
    let mut guesser = Visitor::new(&house.url());
    for guess in 0..5 {
        let answer = guesser.sign_in(&format!("guess {guess}")).await;
        assert_eq!(answer.status, 403);
    }
    // Now not even the right one is heard, from anybody.
    assert_eq!(guesser.sign_in(DEVELOPER).await.status, 429);
    let mut other = Visitor::new(&house.url());
    let answer = other.sign_in(ADMINISTRATOR).await;
    assert_eq!(answer.status, 429);
    assert!(answer.text.contains("Try again in"));
    house.clock.advance(Duration::from_secs(60));
    assert_eq!(guesser.sign_in(DEVELOPER).await.status, 303);
    // The role is guarded by the same count.
    for _ in 0..5 {
        let fields = [("to", "administrator"), ("secret", "guess")];
        assert_eq!(guesser.post("/role", &fields).await.status, 403);
    }
    assert_eq!(other.sign_in(ADMINISTRATOR).await.status, 429);
}

#[test]
fn the_console_listens_on_loopback_alone() {
    let start = |listen: &str, directory: Option<Directory>| {
        Broker::start(BrokerConfig {
            directory: directory.map(Arc::new),
            console: Some(ConsoleConfig {
                listen: listen.parse().unwrap(),
                developer_secret: Secret::from(DEVELOPER),
                admin_secret: Secret::from(ADMINISTRATOR),
            }),
            allow_non_loopback: true,
            ..BrokerConfig::default()
        })
    };
    let directory = || Some(Directory::in_memory().unwrap());
    let refused = start("0.0.0.0:0", directory());
    assert!(matches!(refused, Err(BrokerError::ConsoleNotLoopback(_))));
    let refused = start("127.0.0.1:0", None);
    assert!(matches!(refused, Err(BrokerError::ConsoleWithoutDirectory)));
    let broker = start("[::1]:0", directory()).unwrap();
    assert!(broker.console_url().unwrap().starts_with("http://[::1]:"));
    // The port is free again once the broker has ended.
    let address = broker.console_url().unwrap();
    let address = address.strip_prefix("http://").unwrap().to_owned();
    broker.stop(Duration::from_secs(5));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn the_command_says_where_the_console_is_and_what_opens_it() {
    let process = cli::Process::start(&["--console"]);
    let (code, said) = process.end(Signal::TERM);
    assert_eq!(code, Some(0));
    let told = |what: &str| {
        let line = said.lines().find_map(|line| line.split_once(what));
        line.unwrap_or_else(|| panic!("{said}")).1.to_owned()
    };
    assert!(told("the console is at ").starts_with("http://127.0.0.1:"));
    let secrets = [told("developer secret is "), told("admin secret is ")];
    assert_ne!(secrets[0], secrets[1]);
    assert!(secrets.iter().all(|secret| secret.len() >= 32), "{said}");
    assert!(said.contains("lasts as long as the broker"));
}
