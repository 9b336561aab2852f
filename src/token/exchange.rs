//! How does one assertion become one answer?
//!
//! An [`Exchange`] sends a token request over `reqwest` and reads the answer,
//! whatever it is. It never repeats a request: the endpoint may have burnt
//! the `jti` already, and only a new assertion is worth another try.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use zeroize::Zeroizing;

use crate::oauth::{ErrorBody, Form, TokenResponse};
use crate::record::Outcome;

/// The largest answer that is read; a token answer is below 2 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long a token is taken to live where the answer does not say.
///
/// One provider leaves `expires_in` out; its sessions live for hours, so five
/// minutes err towards fetching too often.
const UNTOLD_LIFETIME: Duration = Duration::from_secs(300);

/// Sends token requests to one endpoint.
///
/// Its connections belong to the runtime on which requests are awaited; make
/// one for each single-threaded runtime.
#[derive(Clone)]
pub struct Exchange {
    http: reqwest::Client,
    url: reqwest::Url,
    form: Form,
}

impl Exchange {
    /// Makes an exchange with the endpoint `url`; a request and its answer
    /// take at most `timeout`.
    ///
    /// # Errors
    ///
    /// The URL is not one of HTTP, or TLS cannot be set up.
    pub fn new(url: &str, form: Form, timeout: Duration) -> Result<Self, ExchangeError> {
        let url = reqwest::Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| ExchangeError::Url(url.to_owned()))?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("mintmark/", env!("CARGO_PKG_VERSION")))
            .timeout(timeout)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| ExchangeError::Client(error.without_url()))?;
        Ok(Self { http, url, form })
    }

    /// Returns the endpoint's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Sends `assertion`, a compact JWS, and reads the answer.
    pub async fn send(&self, assertion: &[u8]) -> Answer {
        let mut body = Vec::with_capacity(assertion.len() + 512);
        self.form.begin(&mut body);
        body.extend_from_slice(assertion);
        self.form.end(&mut body);
        let sent = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body)
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer::failed(outcome_of(&error), words_of(&error)),
        };
        let status = response.status();
        let mut answer = Answer {
            outcome: Outcome::Malformed,
            token: None,
            server_time: date_of(response.headers()),
            retry_after: retry_after_of(response.headers()),
            description: None,
        };
        let mut text = Zeroizing::new(Vec::new());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if text.len() + chunk.len() <= MAX_ANSWER_BYTES => {
                    text.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    answer.description = Some(format!(
                        "the answer is longer than {MAX_ANSWER_BYTES} bytes"
                    ));
                    return answer;
                }
                Ok(None) => break,
                Err(error) => {
                    answer.outcome = outcome_of(&error);
                    answer.description = Some(words_of(&error));
                    return answer;
                }
            }
        }
        answer.read(status, &text);
        answer
    }
}

/// How a token request ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How it ended, as a record counts it.
    pub outcome: Outcome,
    /// The token, if there was one.
    pub token: Option<Arc<Token>>,
    /// The server's time from the `Date` header, since the Unix epoch.
    pub server_time: Option<Duration>,
    /// How long the server asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What the server, or the network, said about a failure.
    pub description: Option<String>,
}

impl Answer {
    fn failed(outcome: Outcome, description: String) -> Self {
        Self {
            outcome,
            token: None,
            server_time: None,
            retry_after: None,
            description: Some(description),
        }
    }

    fn read(&mut self, status: StatusCode, text: &[u8]) {
        if status.is_success() {
            match serde_json::from_slice::<TokenResponse>(text) {
                Ok(response) if !response.access_token.is_empty() => {
                    let lifetime = response
                        .expires_in
                        .map_or(UNTOLD_LIFETIME, Duration::from_secs);
                    self.outcome = Outcome::Answered;
                    self.token = Some(Arc::new(Token {
                        text: response.access_token,
                        kind: response.token_type,
                        lifetime,
                    }));
                }
                _ => {
                    self.description =
                        Some("the answer is not a token response (RFC 6749 section 5.1)".into());
                }
            }
            return;
        }
        match serde_json::from_slice::<ErrorBody>(text) {
            Ok(body) => {
                self.description = Some(body.error_description.unwrap_or_default());
                self.outcome = Outcome::OAuth {
                    status: status.as_u16(),
                    error: body.error,
                };
            }
            Err(_) => self.outcome = Outcome::Status(status.as_u16()),
        }
    }
}

/// An access token. It is secret.
pub struct Token {
    text: Zeroizing<String>,
    kind: String,
    lifetime: Duration,
}

impl Token {
    /// Makes a token of its parts, as tests and other transports do.
    #[must_use]
    pub fn new(text: String, token_type: String, lifetime: Duration) -> Self {
        Self {
            text: Zeroizing::new(text),
            kind: token_type,
            lifetime,
        }
    }

    /// Returns the token. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the token's type, such as `bearer`.
    #[must_use]
    pub fn token_type(&self) -> &str {
        &self.kind
    }

    /// Returns how long the token lives from the answer on.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("kind", &self.kind)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// Why no exchange could be set up.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The URL cannot be used.
    #[error("{0:?} is not the URL of a token endpoint, expected http://… or https://…")]
    Url(String),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Reads the `Date` header (RFC 9110 §6.6.1).
fn date_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()
}

/// Reads `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    let text = header_text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    // The date is the server's; its own clock tells how far away it is.
    let now = header_text(headers, &DATE)
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Finds out what went wrong below HTTP.
fn outcome_of(error: &reqwest::Error) -> Outcome {
    if error.is_timeout() {
        return Outcome::TimedOut;
    }
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return Outcome::ConnectRefused,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return Outcome::Reset,
                io::ErrorKind::TimedOut => return Outcome::TimedOut,
                // rustls reports its errors as invalid data within `io::Error`.
                io::ErrorKind::InvalidData if error.is_connect() => return Outcome::Tls,
                _ => {}
            }
        }
        source = cause.source();
    }
    if error.is_connect() {
        Outcome::Connect
    } else {
        // What is left is a connection that was closed or spoke no HTTP.
        Outcome::Reset
    }
}

/// Puts an error into words without its URL, which may hold a user's name.
fn words_of(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push(cause.to_string());
        source = cause.source();
    }
    words
        .pop()
        .unwrap_or_else(|| "the request could not be sent".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(
            retry_after_of(&headers(&[("retry-after", "7")])),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            retry_after_of(&headers(&[
                ("date", "Tue, 24 Nov 2026 06:00:00 GMT"),
                ("retry-after", "Tue, 24 Nov 2026 06:01:30 GMT"),
            ])),
            Some(Duration::from_secs(90))
        );
        assert_eq!(retry_after_of(&headers(&[("retry-after", "soon")])), None);
        assert_eq!(retry_after_of(&headers(&[])), None);
    }

    #[test]
    fn the_server_tells_its_time() {
        assert_eq!(
            date_of(&headers(&[("date", "Thu, 01 Jan 1970 00:01:40 GMT")])),
            Some(Duration::from_secs(100))
        );
    }

    #[test]
    fn an_empty_token_and_a_strange_body_are_malformed() {
        for text in [
            "{\"access_token\":\"\",\"token_type\":\"bearer\"}",
            "{}",
            "<html>",
        ] {
            let mut answer = Answer::failed(Outcome::Malformed, String::new());
            answer.read(StatusCode::OK, text.as_bytes());
            assert_eq!(answer.outcome, Outcome::Malformed, "{text}");
            assert!(answer.token.is_none());
        }
    }

    #[test]
    fn a_url_of_another_scheme_is_refused() {
        let profile = crate::oauth::Profile::built_in("google").unwrap();
        let form = profile
            .form(&crate::assertion::Bindings::new(), None)
            .unwrap();
        for url in ["ftp://x/", "localhost:80", "", "http://"] {
            let error = Exchange::new(url, form.clone(), Duration::from_secs(1));
            assert!(matches!(error, Err(ExchangeError::Url(_))), "{url}");
        }
    }
}
