//! What does one provider of the flow expect, as data?
//!
//! A profile is a TOML file: the members of header and claims, the fields of
//! the form, the lifetime and the endpoint. A provider of the same shape is
//! such a file, not code. The placeholders are those of
//! [`crate::assertion::template`]; a form may hold `{client_secret}` and
//! `{assertion}` besides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::assertion::{Bindings, Template, TemplateError};
use crate::signer::Algorithm;
use crate::units::Span;

const BUILT_IN: [(&str, &str); 10] = [
    ("box", include_str!("profiles/box.toml")),
    ("google", include_str!("profiles/google.toml")),
    ("salesforce", include_str!("profiles/salesforce.toml")),
    ("docusign", include_str!("profiles/docusign.toml")),
    ("okta", include_str!("profiles/okta.toml")),
    ("auth0", include_str!("profiles/auth0.toml")),
    ("entra", include_str!("profiles/entra.toml")),
    ("github", include_str!("profiles/github.toml")),
    ("rfc7523", include_str!("profiles/rfc7523.toml")),
    (
        "private_key_jwt",
        include_str!("profiles/private_key_jwt.toml"),
    ),
];

/// A provider of token endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name by which flags and scenarios call it.
    pub name: String,
    /// The token endpoint, where the provider's clients all have the same one
    /// but for variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// How the assertion is delivered.
    #[serde(default)]
    pub delivery: Delivery,
    /// The lifetime of an assertion unless told otherwise.
    pub lifetime: Span,
    /// The longest lifetime that the provider accepts.
    pub longest_lifetime: Span,
    /// The algorithms that the provider accepts, the usual one first.
    pub algorithms: Vec<Algorithm>,
    /// The members of the header.
    pub header: Map<String, Value>,
    /// The members of the claims set.
    pub claims: Map<String, Value>,
    /// Variables and the values that they have unless told otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The fields of the token request, in order.
    pub form: Map<String, Value>,
    /// Where the answer holds what.
    #[serde(default)]
    pub response: Response,
}

/// How an assertion is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// In a form, as a grant or as client authentication (RFC 7523 §2).
    #[default]
    Form,
    /// In the `Authorization` header (RFC 6750 §2.1); there is no form.
    Bearer,
}

/// Where an answer holds what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The member that is the token.
    pub token: String,
    /// The member that is its lifetime in seconds, if the answer tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
    /// The member that is the end of its life, RFC 3339, if the answer tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl Default for Response {
    /// The answer of RFC 6749 §5.1.
    fn default() -> Self {
        Self {
            token: "access_token".to_owned(),
            expires_in: Some("expires_in".to_owned()),
            expires_at: None,
        }
    }
}

impl Profile {
    /// Returns the profile that a flag or a scenario names: one that is
    /// compiled in, or the file of that path.
    ///
    /// A name with a dot or a slash is a path.
    ///
    /// # Errors
    ///
    /// There is none of that name, or the file cannot be read or used.
    pub fn find(name: &str) -> Result<Self, ProfileError> {
        if !name.contains(['/', '.']) {
            return Self::built_in(name);
        }
        let text = std::fs::read_to_string(name).map_err(|source| ProfileError::Read {
            path: name.to_owned(),
            source,
        })?;
        Self::from_toml(&text, name)
    }

    /// Returns a profile that is compiled in.
    ///
    /// # Errors
    ///
    /// There is none of that name; the error lists those that there are.
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        let (_, text) = BUILT_IN
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| ProfileError::Unknown {
                name: name.to_owned(),
                known: BUILT_IN.map(|(name, _)| name).join(", "),
            })?;
        Self::from_toml(text, name)
    }

    /// Reads a profile; `origin` names the file in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or a field is missing or unknown.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, ProfileError> {
        toml::from_str(text).map_err(|source| ProfileError::Syntax {
            origin: origin.to_owned(),
            source: Box::new(source),
        })
    }

    /// Returns the template of the assertion.
    #[must_use]
    pub fn template(&self) -> Template {
        Template {
            header: self.header.clone(),
            claims: self.claims.clone(),
        }
    }

    /// Returns the profile's variables with `over` set on top.
    #[must_use]
    pub fn bindings(&self, over: &BTreeMap<String, String>) -> Bindings {
        let mut bindings = Bindings::new();
        for (name, value) in self.variables.iter().chain(over) {
            bindings = bindings.with(name, value);
        }
        bindings
    }

    /// Returns the provider's token endpoint with `over` set on top of its
    /// variables, if it has one of its own.
    ///
    /// # Errors
    ///
    /// The endpoint holds a variable that is not set.
    pub fn endpoint(
        &self,
        over: &BTreeMap<String, String>,
    ) -> Result<Option<String>, ProfileError> {
        match &self.token_url {
            Some(text) => Ok(self.bindings(over).fill(text)?),
            None => Ok(None),
        }
    }

    /// Lays the form out for an app.
    ///
    /// # Errors
    ///
    /// A variable is not set, a value is no text, the form asks for a secret
    /// that the app lacks, or it does not hold `{assertion}` exactly once.
    pub fn form(
        &self,
        bindings: &Bindings,
        client_secret: Option<&str>,
    ) -> Result<Form, ProfileError> {
        // Room for everything: growing would leave copies of the secret behind.
        let room = 3 * (4096 + client_secret.map_or(0, str::len));
        let mut before = Zeroizing::new(String::with_capacity(room));
        let mut after = Zeroizing::new(String::with_capacity(room));
        if self.delivery == Delivery::Bearer {
            return match self.form.keys().next() {
                None => Ok(Form {
                    before,
                    after,
                    delivery: self.delivery,
                }),
                Some(field) => Err(ProfileError::BearerForm(field.clone())),
            };
        }
        let mut is_behind = false;
        for (name, value) in &self.form {
            let text = value
                .as_str()
                .ok_or_else(|| ProfileError::FormValue(name.clone()))?;
            let filled = match text {
                "{assertion}" | "{client_secret}" => None,
                text => match bindings.fill(text)? {
                    Some(filled) => Some(filled),
                    // An optional variable that is not set.
                    None => continue,
                },
            };
            let half = if is_behind { &mut after } else { &mut before };
            if is_behind || !half.is_empty() {
                half.push('&');
            }
            half.extend(form_urlencoded::byte_serialize(name.as_bytes()));
            half.push('=');
            match text {
                "{assertion}" if is_behind => return Err(ProfileError::Assertion),
                "{assertion}" => is_behind = true,
                "{client_secret}" => {
                    let secret = client_secret.ok_or(ProfileError::NoSecret)?;
                    half.extend(form_urlencoded::byte_serialize(secret.as_bytes()));
                }
                _ => half.extend(form_urlencoded::byte_serialize(
                    filled.unwrap_or_default().as_bytes(),
                )),
            }
        }
        if is_behind {
            Ok(Form {
                before,
                after,
                delivery: self.delivery,
            })
        } else {
            Err(ProfileError::Assertion)
        }
    }
}

/// The body of a token request, but for the assertion. It holds a secret.
#[derive(Clone)]
pub struct Form {
    before: Zeroizing<String>,
    after: Zeroizing<String>,
    delivery: Delivery,
}

impl Form {
    /// Says how the assertion is delivered; a bearer has no body.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Returns what stands before the assertion and behind it. It holds a
    /// secret.
    #[must_use]
    pub fn around(&self) -> (&[u8], &[u8]) {
        (self.before.as_bytes(), self.after.as_bytes())
    }

    /// Returns the length of the body without the assertion, in bytes.
    #[must_use]
    pub fn len_around(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Appends the part that stands before the assertion.
    ///
    /// The assertion follows, and [`Self::end`] after it: base64url and dots
    /// stand for themselves in a form.
    pub fn begin(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self.before.as_bytes());
    }

    /// Appends the part that stands behind the assertion.
    pub fn end(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(self.after.as_bytes());
    }
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No profile has that name.
    #[error("unknown profile {name:?}, expected one of {known}")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read the profile {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is faulty.
    #[error("the profile {origin} cannot be used")]
    Syntax {
        /// The file, or the profile's name.
        origin: String,
        /// Where and what.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A variable of the form is not set.
    #[error("the form cannot be filled in")]
    Template(#[from] TemplateError),
    /// There is a form beside a bearer.
    #[error("the form has the field {0:?}, expected none where the assertion is the bearer")]
    BearerForm(String),
    /// A field of the form is no text.
    #[error("the form's field {0:?} is not a text, expected a value in quotes")]
    FormValue(String),
    /// The form sends a client secret, and the app has none.
    #[error("the form sends {{client_secret}}, and the credential has none")]
    NoSecret,
    /// The form does not send the assertion, or sends it twice.
    #[error("the form holds {{assertion}} not exactly once")]
    Assertion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_read() {
        for (name, _) in BUILT_IN {
            assert_eq!(Profile::built_in(name).unwrap().name, name);
        }
        let error = Profile::built_in("bix").unwrap_err().to_string();
        assert!(
            error.contains("\"bix\"") && error.contains("rfc7523"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_field_is_an_error_that_names_what_is_accepted() {
        let text = BUILT_IN[0]
            .1
            .replace("lifetime = \"30s\"", "lifetme = \"30s\"");
        let error = Profile::from_toml(&text, "mine.toml").unwrap_err();
        let chain = crate::error::Chain(&error).to_string();
        assert!(
            ["mine.toml", "lifetme", "longest_lifetime"]
                .iter()
                .all(|part| chain.contains(part)),
            "{chain}"
        );
    }

    #[test]
    fn the_form_is_encoded_around_the_assertion() {
        let profile = Profile::built_in("box").unwrap();
        let bindings = profile
            .bindings(&BTreeMap::new())
            .with("client_id", "a b&c");
        let form = profile.form(&bindings, Some("s=1")).unwrap();
        let mut body = Vec::new();
        form.begin(&mut body);
        body.extend_from_slice(b"x.y.z");
        form.end(&mut body);
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer\
             &client_id=a+b%26c&client_secret=s%3D1&assertion=x.y.z"
        );
        assert!(matches!(
            profile.form(&bindings, None),
            Err(ProfileError::NoSecret)
        ));
    }

    #[test]
    fn a_form_without_the_assertion_is_refused() {
        let mut profile = Profile::built_in("google").unwrap();
        profile.form.insert("assertion".into(), "fixed".into());
        assert!(matches!(
            profile.form(&Bindings::new(), None),
            Err(ProfileError::Assertion)
        ));
    }
}
