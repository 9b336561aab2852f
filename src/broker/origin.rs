//! From which web pages may an app be used?
//!
//! An app lists origins: scheme and host, a port where it is not the scheme's
//! own, no path, and `*.` as the left-most label if any subdomain will do. A
//! request that names an origin which is not listed is refused; one that
//! names none is not a page's and is never asked.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The most origins of one app.
pub const MAX_ORIGINS: usize = 100;

/// The origins of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

/// An origin, or all subdomains of one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// `scheme://`
    scheme: String,
    has_wildcard: bool,
    /// What follows scheme and wildcard: host and port.
    rest: String,
}

/// Why a list of origins cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// One of them is not an origin.
    #[error(
        "{0:?} is no origin, expected https://host, http://host:8080 or https://*.host, without a path"
    )]
    Form(String),
    /// A wildcard would match what nobody owns alone.
    #[error("the wildcard of {0:?} covers a whole top-level domain or an address")]
    Wildcard(String),
    /// There are too many.
    #[error("there are more than {MAX_ORIGINS} origins")]
    TooMany,
}

impl Origins {
    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is the value of an `Origin` header listed?
    #[must_use]
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(origin))
    }
}

impl FromStr for Origins {
    type Err = OriginError;

    /// Reads a list that is separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut origins = Vec::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let pattern: Pattern = one.parse()?;
            if !origins.contains(&pattern) {
                origins.push(pattern);
            }
        }
        if origins.len() > MAX_ORIGINS {
            return Err(OriginError::TooMany);
        }
        Ok(Self(origins))
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let star = if pattern.has_wildcard { "*." } else { "" };
            write!(f, "{comma}{}{star}{}", pattern.scheme, pattern.rest)?;
        }
        Ok(())
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        let Some(rest) = origin.strip_prefix(&self.scheme) else {
            return false;
        };
        if !self.has_wildcard {
            return rest == self.rest;
        }
        rest.strip_suffix(&self.rest)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| {
                let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                labels
                    .split('.')
                    .all(|label| !label.is_empty() && label.bytes().all(is_label))
            })
    }
}

impl FromStr for Pattern {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || OriginError::Form(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(form)?;
        let (has_wildcard, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/\\?#@*%".contains(&byte);
        if rest.is_empty() || !rest.bytes().all(is_plain) {
            return Err(form());
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| form())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(form());
        }
        let host = url.host().ok_or_else(form)?;
        if has_wildcard && !matches!(&host, Host::Domain(name) if name.contains('.')) {
            return Err(OriginError::Wildcard(text.to_owned()));
        }
        let port = url.port().map(|port| format!(":{port}"));
        Ok(Self {
            scheme: format!("{}://", url.scheme()),
            has_wildcard,
            rest: format!("{host}{}", port.unwrap_or_default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(text: &str) -> Origins {
        text.parse().unwrap()
    }

    #[test]
    fn an_origin_is_compared_whole() {
        let listed = origins("https://company.com, http://localhost:8080");
        assert!(listed.allow("https://company.com"));
        assert!(listed.allow("http://localhost:8080"));
        for other in [
            "http://company.com",
            "https://company.com:8443",
            "https://company.com.evil.example",
            "https://www.company.com",
            "http://localhost",
            "null",
            "",
        ] {
            assert!(!listed.allow(other), "{other}");
        }
    }

    #[test]
    fn a_wildcard_covers_subdomains_only() {
        let listed = origins("https://*.company.com");
        assert!(listed.allow("https://a.company.com"));
        assert!(listed.allow("https://a.b.company.com"));
        for other in [
            "https://company.com",
            "https://.company.com",
            "https://evilcompany.com",
            "http://a.company.com",
            "https://evil.example/.company.com",
            "https://evil.example:443.company.com",
            "https://a.company.com:8443",
        ] {
            assert!(!listed.allow(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "company.com",
            "ftp://company.com",
            "https://",
            "https://company.com/",
            "https://company.com/app",
            "https://user@company.com",
            "https://a.*.company.com",
            "https://*company.com",
            "https://company.com:99999",
        ] {
            let refused = text.parse::<Origins>();
            assert!(matches!(refused, Err(OriginError::Form(_))), "{text}");
        }
        for text in ["https://*.com", "https://*.127.0.0.1"] {
            let refused = text.parse::<Origins>();
            assert!(matches!(refused, Err(OriginError::Wildcard(_))), "{text}");
        }
    }

    #[test]
    fn a_list_is_written_in_its_plainest_form() {
        let listed =
            origins(" HTTPS://Company.com:443 ,https://*.company.com:8443,https://company.com");
        assert_eq!(
            listed.to_string(),
            "https://company.com,https://*.company.com:8443"
        );
        assert_eq!(origins(&listed.to_string()), listed);
        assert!(origins("").is_empty());
    }
}
