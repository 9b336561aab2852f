//! The developer console: by hand in a real browser, and by requests that no
//! browser would send.

mod browser;
mod doors;
mod guide;
mod pages;

use std::collections::BTreeMap;

use mintmark::broker::directory::Directory;
use mintmark::broker::{Authentication, ConsoleConfig};
use mintmark::credential::Secret;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Method, Response};

use super::*;

const DEVELOPER: &str = "the developer's secret";
const ADMINISTRATOR: &str = "the administrator's secret";

/// A broker with a console, an enterprise and an app, and a clock that the
/// test turns.
struct House {
    broker: Broker,
    clock: Arc<ManualClock>,
    directory: Arc<Directory>,
}

impl House {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Duration::from_secs(NOW)));
        let directory = Arc::new(Directory::in_memory().unwrap());
        directory
            .found_enterprise(Some(ENTERPRISE), "Acme", "admin@acme.example")
            .unwrap();
        directory
            .create_app("Loader", ENTERPRISE, Authentication::Jwt)
            .unwrap();
        let broker = Broker::start(BrokerConfig {
            directory: Some(Arc::clone(&directory)),
            console: Some(ConsoleConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                developer_secret: Secret::from(DEVELOPER),
                admin_secret: Secret::from(ADMINISTRATOR),
            }),
            clock: Arc::clone(&clock) as _,
            ..BrokerConfig::default()
        })
        .unwrap();
        Self {
            broker,
            clock,
            directory,
        }
    }

    fn url(&self) -> String {
        self.broker.console_url().unwrap()
    }

    /// The client ID of the one app.
    fn client_id(&self) -> String {
        self.directory.app("Loader").unwrap().client_id
    }

    /// Somebody who has signed in.
    async fn visitor(&self, secret: &str) -> Visitor {
        let mut visitor = Visitor::new(&self.url());
        let answer = visitor.sign_in(secret).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        visitor
    }
}

/// A browser that does only what it is told.
#[derive(Clone)]
struct Visitor {
    http: reqwest::Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

/// An answer of the console.
struct Page {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Visitor {
    fn new(base: &str) -> Self {
        Self {
            http: reqwest::Client::builder()
                .redirect(Policy::none())
                .build()
                .unwrap(),
            base: base.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// The headers that a browser sends with a form of this console.
    fn headers(&self) -> HeaderMap {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("origin", self.base.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("cookie", &cookies.join("; ")),
            ("content-type", "application/x-www-form-urlencoded"),
        ] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    async fn get(&mut self, path: &str) -> Page {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .headers(self.headers());
        self.read(request.send().await.unwrap()).await
    }

    /// Posts a form, with the token of a page that was just loaded.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = if self.cookies.is_empty() {
            "/sign-in"
        } else {
            "/role"
        };
        let page = self.get(page).await;
        let page = match page.status {
            303 => self.get("/sign-in").await,
            _ => page,
        };
        let csrf = page.csrf();
        let fields: Vec<_> = [("csrf", csrf.as_str())]
            .iter()
            .chain(fields)
            .copied()
            .collect();
        self.send(path, self.headers(), form(&fields)).await
    }

    /// Posts anything.
    async fn send(&mut self, path: &str, headers: HeaderMap, body: String) -> Page {
        let request = self
            .http
            .request(Method::POST, format!("{}{path}", self.base))
            .headers(headers)
            .body(body);
        self.read(request.send().await.unwrap()).await
    }

    async fn sign_in(&mut self, secret: &str) -> Page {
        self.post("/sign-in", &[("secret", secret)]).await
    }

    async fn read(&mut self, response: Response) -> Page {
        let page = Page {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        };
        for cookie in page.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        page
    }
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"))
            .to_str()
            .unwrap()
    }

    /// The token that the forms of the page carry.
    fn csrf(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// The addresses of files that wait to be downloaded.
    fn handouts(&self) -> Vec<String> {
        let forms = self.text.split("action=\"").skip(1);
        let actions = forms.map(|rest| rest.split('"').next().unwrap());
        let waiting = actions.filter(|action| action.contains("/handouts/"));
        waiting.map(str::to_owned).collect()
    }
}
