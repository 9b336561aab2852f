//! A real browser, driven as a person would use it: by labels and buttons.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use tempfile::TempDir;

use super::*;

/// How long a page may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless Chromium with a profile and a folder of downloads of its own.
pub(super) struct Browser {
    pub(super) client: Client,
    driver: Driver,
    downloads: TempDir,
    _profile: TempDir,
}

/// A `chromedriver`, which ends its browser when it is dropped.
struct Driver {
    child: Child,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts a browser, or says why there is none.
    pub(super) async fn start() -> Option<Self> {
        let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let (Some(chromium), Some(mut driver)) = (chromium, Driver::start()) else {
            println!("skipped: there is no chromium or no chromedriver");
            return None;
        };
        let downloads = tempfile::tempdir().unwrap();
        let profile = tempfile::tempdir().unwrap();
        let options = json!({
            "binary": chromium,
            "args": [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--window-size=1280,1024",
                format!("--user-data-dir={}", profile.path().display()),
            ],
            "prefs": {"download.default_directory": downloads.path()},
        });
        let mut capabilities = Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .unwrap();
        driver.session = client.session_id().await.unwrap().unwrap();
        Some(Self {
            client,
            driver,
            downloads,
            _profile: profile,
        })
    }

    pub(super) async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    /// Presses a button or follows a link that says `text`, and waits for the
    /// page that it leads to.
    pub(super) async fn press(&self, text: &str) {
        self.mark().await;
        self.click(text).await;
        self.wait_for_another_page().await;
    }

    /// Presses a button that leads to no page.
    pub(super) async fn click(&self, text: &str) {
        let path =
            format!("//button[normalize-space()=\"{text}\"] | //a[normalize-space()=\"{text}\"]");
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::XPath(&path))
            .await
            .unwrap_or_else(|error| panic!("{text:?}: {error}"));
        found.click().await.unwrap();
    }

    /// Fills in the field of a label.
    pub(super) async fn fill(&self, label: &str, text: &str) {
        let path = format!("//*[@id=//label[normalize-space()=\"{label}\"]/@for]");
        let field = self.client.find(Locator::XPath(&path)).await;
        let field = field.unwrap_or_else(|error| panic!("{label:?}: {error}"));
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Ticks, unticks or chooses what a label begins with.
    pub(super) async fn tick(&self, label: &str) {
        let path = format!("//label[starts-with(normalize-space(), \"{label}\")]/input");
        let field = self.client.find(Locator::XPath(&path)).await;
        let field = field.unwrap_or_else(|error| panic!("{label:?}: {error}"));
        field.click().await.unwrap();
    }

    /// Returns the text of the first element that a selector finds.
    pub(super) async fn text(&self, selector: &str) -> String {
        let found = self.client.find(Locator::Css(selector)).await;
        let found = found.unwrap_or_else(|error| panic!("{selector:?}: {error}"));
        found.text().await.unwrap()
    }

    /// Returns the texts of all elements that a selector finds.
    pub(super) async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for found in self.client.find_all(Locator::Css(selector)).await.unwrap() {
            texts.push(found.text().await.unwrap());
        }
        texts
    }

    /// Waits until a selector finds something that says `text`.
    pub(super) async fn wait_for_text(&self, selector: &str, text: &str) {
        let started = Instant::now();
        loop {
            // The page replaces elements while it is looked at.
            let script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent).join(\"\\n\")";
            let said = self
                .client
                .execute(script, vec![json!(selector)])
                .await
                .unwrap();
            let said = said.as_str().unwrap();
            if said.contains(text) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{text:?} is not in {said:?}");
        }
    }

    /// Waits for a file whose name ends so, and returns where it is.
    pub(super) async fn downloaded(&self, end: &str) -> PathBuf {
        let started = Instant::now();
        loop {
            let files = std::fs::read_dir(self.downloads.path()).unwrap();
            let mut paths = files.map(|file| file.unwrap().path());
            // The name is taken by an empty file, which the whole one replaces.
            let is_whole = |path: &PathBuf| path.metadata().is_ok_and(|of| of.len() > 0);
            let found = paths.find(|path| path.to_str().unwrap().ends_with(end) && is_whole(path));
            if let Some(found) = found {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{end} was not downloaded");
            tokio::task::yield_now().await;
        }
    }

    /// What the browser complains of: blocked by a policy, not found, …
    pub(super) async fn complaints(&self) -> Vec<String> {
        let url = format!(
            "http://127.0.0.1:{}/session/{}/se/log",
            self.driver.port, self.driver.session
        );
        let request = reqwest::Client::new()
            .post(url)
            .body("{\"type\":\"browser\"}");
        let answer = request.send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// Marks the page, so that the next one is told from it.
    async fn mark(&self) {
        let script = "window.isOld = true";
        self.client.execute(script, Vec::new()).await.unwrap();
    }

    async fn wait_for_another_page(&self) {
        let started = Instant::now();
        let script = "return window.isOld !== true && document.readyState === 'complete'";
        // A page that goes away fails the script.
        while !matches!(
            self.client.execute(script, Vec::new()).await,
            Ok(Value::Bool(true))
        ) {
            assert!(started.elapsed() < PATIENCE, "no other page came");
        }
    }
}

impl Driver {
    fn start() -> Option<Self> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut out = BufReader::new(child.stdout.take()?);
        let mut line = String::new();
        let port = loop {
            line.clear();
            if out.read_line(&mut line).ok()? == 0 {
                let _ = child.wait();
                return None;
            }
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim().trim_end_matches('.').parse().ok()?;
            }
        };
        // It goes on to say things.
        std::thread::spawn(move || out.read_to_end(&mut Vec::new()));
        Some(Self {
            child,
            port,
            session: String::new(),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser ends with its session, which a test that failed left open.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = write!(
                stream,
                "DELETE /session/{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
                self.session, self.port
            );
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
