//! Where do requests go, and by which way?
//!
//! An [`Endpoint`] is the URL of a token endpoint taken apart; a [`Proxy`] is
//! a machine in between that is told where to go (RFC 9110 §9.3.6 for TLS,
//! RFC 9112 §3.2.2 without). A proxy's password appears in no error and no
//! `Debug`.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::connect::ConnectorError;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// The path and the query of the request line.
    pub target: String,
    /// A Unix socket to connect to in place of the host.
    pub socket: Option<PathBuf>,
    /// A proxy to connect to in place of the host.
    pub proxy: Option<Proxy>,
}

impl Endpoint {
    /// Reads the URL of a token endpoint.
    ///
    /// # Errors
    ///
    /// It is not a URL of HTTP with a host.
    pub fn of(url: &str) -> Result<Self, ConnectorError> {
        let wrong = || ConnectorError::Url(url.to_owned());
        let parsed = url::Url::parse(url).map_err(|_| wrong())?;
        let is_tls = match parsed.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let host = parsed.host_str().ok_or_else(wrong)?;
        let mut target = parsed.path().to_owned();
        if let Some(query) = parsed.query() {
            target.push('?');
            target.push_str(query);
        }
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: parsed.port_or_known_default().ok_or_else(wrong)?,
            target,
            socket: None,
            proxy: None,
        })
    }

    /// Does the endpoint speak TLS?
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the host with its port, unless that is the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.is_tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Returns the URL without what came before its host.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.target)
    }

    /// Returns what the request line asks for: a proxy that is not tunnelled
    /// through wants to know the whole URL.
    #[must_use]
    pub fn request_target(&self) -> String {
        match &self.proxy {
            Some(_) if !self.is_tls => self.url(),
            _ => self.target.clone(),
        }
    }

    /// Returns what a request has to prove to a proxy that reads it.
    #[must_use]
    pub fn proxy_authorization(&self) -> Option<&Zeroizing<String>> {
        let proxy = self.proxy.as_ref().filter(|_| !self.is_tls)?;
        proxy.authorization.as_ref()
    }

    /// Returns the host without the brackets of an IPv6 address.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// A proxy of HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `proxy-authorization`.
    pub(super) authorization: Option<Zeroizing<String>>,
}

impl Proxy {
    /// Reads the URL of a proxy, such as `http://proxy.example:3128`.
    ///
    /// # Errors
    ///
    /// It is no such URL; or it holds a name or a password, which would end up
    /// in records: [`Self::with_login`] takes them.
    pub fn of(url: &str) -> Result<Self, ConnectorError> {
        let parsed = url::Url::parse(url)
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host())
            .ok_or(ConnectorError::Proxy)?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(ConnectorError::ProxyLogin);
        }
        Ok(Self {
            host: parsed.host_str().unwrap_or_default().to_owned(),
            port: parsed
                .port_or_known_default()
                .ok_or(ConnectorError::Proxy)?,
            authorization: None,
        })
    }

    /// Adds a name and a password, as `name:password` (RFC 7617).
    #[must_use]
    pub fn with_login(mut self, login: &str) -> Self {
        self.authorization = Some(Zeroizing::new(format!("Basic {}", STANDARD.encode(login))));
        self
    }

    /// Returns the URL, without a password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("has_login", &self.authorization.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let endpoint = Endpoint::of("http://localhost:81/oauth2/token?x=1").unwrap();
        assert_eq!(endpoint.authority(), "localhost:81");
        assert_eq!(endpoint.target, "/oauth2/token?x=1");
        let endpoint = Endpoint::of("https://[::1]/t").unwrap();
        assert!(endpoint.is_tls());
        assert_eq!(endpoint.authority(), "[::1]");
        assert_eq!(endpoint.bare_host(), "::1");
        for url in ["", "ftp://x/", "localhost"] {
            assert!(Endpoint::of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_proxy_reads_whole_urls_or_is_tunnelled_through() {
        let proxy = Proxy::of("http://127.0.0.1:3128")
            .unwrap()
            .with_login("n:s3cret");
        for (url, target, is_told) in [
            ("http://h/t?q", "http://h/t?q", true),
            ("https://h/t?q", "/t?q", false),
        ] {
            let mut endpoint = Endpoint::of(url).unwrap();
            endpoint.proxy = Some(proxy.clone());
            assert_eq!(endpoint.request_target(), target);
            assert_eq!(endpoint.proxy_authorization().is_some(), is_told);
        }
        assert!(!format!("{proxy:?}").contains("s3cret"));
    }

    #[test]
    fn a_proxy_with_a_password_in_its_url_is_refused_without_repeating_it() {
        for (url, is_login) in [
            ("http://name:s3cret@proxy:3128", true),
            ("socks5://proxy:1080", false),
            ("proxy:3128", false),
        ] {
            let error = Proxy::of(url).unwrap_err();
            assert_eq!(matches!(error, ConnectorError::ProxyLogin), is_login);
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
