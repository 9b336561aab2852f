//! Which flags say whose assertions are signed, for which provider?

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::assertion::Subject;
use crate::credential::{Credential, PassphraseSource, Secret, Source, load};
use crate::oauth::Profile;
use crate::signer::{Algorithm, PrivateKey, Registry, Signer};
use crate::token::App;
use crate::units::Span;

/// The app, its key and its provider.
#[derive(Debug, Args)]
pub(super) struct AppFlags {
    /// The app's configuration file, or a Google service account's.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "key",
        conflicts_with = "key"
    )]
    config: Option<PathBuf>,

    /// A bare private key in PEM or DER, in place of a configuration file.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    key: Option<PathBuf>,

    /// The client ID that goes with --key.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,

    /// The key ID that goes with --key.
    #[arg(long, value_name = "ID", requires = "key")]
    key_id: Option<String>,

    /// The enterprise that goes with --key.
    #[arg(long, value_name = "ID", requires = "key")]
    enterprise: Option<String>,

    /// The environment variable that holds the client secret for --key.
    #[arg(long, value_name = "NAME", requires = "key")]
    client_secret_env: Option<String>,

    /// The environment variable that holds the key's passphrase.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["passphrase_file", "passphrase_prompt"])]
    passphrase_env: Option<String>,

    /// The file that holds the key's passphrase.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_prompt")]
    passphrase_file: Option<PathBuf>,

    /// Ask for the key's passphrase at the terminal.
    #[arg(long)]
    passphrase_prompt: bool,

    /// Ask for this user in place of the enterprise.
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// The provider: box, google, salesforce, docusign, okta, auth0, entra,
    /// github, rfc7523, private_key_jwt, or a profile in a TOML file.
    #[arg(long, value_name = "NAME|FILE", default_value = "box")]
    profile: String,

    /// Set a variable of the profile, such as audience or scope.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// The signature algorithm.
    #[arg(long, value_name = "NAME", default_value = "RS256")]
    algorithm: Algorithm,

    /// The signing backend, in place of the fastest for the work; see
    /// `mintmark backends`.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,

    /// The lifetime of assertions, in place of the profile's.
    #[arg(long, value_name = "SPAN")]
    lifetime: Option<Span>,
}

/// The backend that signs single assertions: the fastest library that takes
/// every algorithm.
pub(super) const USUAL_BACKEND: &str = "aws-lc-rs";

/// The backend that signs many assertions at once.
pub(super) const BULK_BACKEND: &str = "batch";

/// What the flags stand for.
pub(super) struct Bound {
    /// The app, ready to write assertions and requests.
    pub app: App,
    /// The key in the backend's form.
    pub signer: Arc<dyn Signer>,
    /// Whom a token is asked for.
    pub subject: Subject,
    /// The endpoint of the credential or the profile, if they name one.
    pub token_url: Option<String>,
}

impl AppFlags {
    /// Reads the credential, opens its key and binds both to the provider.
    ///
    /// `url` is the endpoint that other flags give. `preferred` signs if no
    /// flag names a backend and if it takes the key; the usual library does
    /// otherwise. Remarks about files go to standard error.
    pub fn bind(&self, url: Option<&str>, preferred: &str) -> Result<Bound, Failure> {
        let profile = Profile::find(&self.profile).map_err(Failure::usage)?;
        if let Some(lifetime) = self.lifetime
            && lifetime > profile.longest_lifetime
        {
            eprintln!(
                "mintmark: note: {} refuses assertions that live longer than {}",
                profile.name, profile.longest_lifetime
            );
        }
        let credential = self.credential()?;
        let key = credential.key.open().map_err(Failure::usage)?;
        let variables: BTreeMap<_, _> = self.variables.iter().cloned().collect();
        let token_url = match url
            .map(str::to_owned)
            .or_else(|| credential.token_url.clone())
        {
            Some(url) => Some(url),
            None => profile.endpoint(&variables).map_err(Failure::usage)?,
        };
        let mut app = App::new(
            &credential,
            &profile,
            &variables,
            self.algorithm,
            token_url.as_deref().unwrap_or_default(),
        )
        .map_err(Failure::usage)?;
        if let Some(lifetime) = self.lifetime {
            app = app.with_lifetime(lifetime.0);
        }
        let subject = match &self.user {
            Some(user) => Subject::user(user),
            // A profile without `{subject}` never looks at it.
            None => app
                .default_subject()
                .cloned()
                .unwrap_or_else(|| Subject::user(&credential.client_id)),
        };
        Ok(Bound {
            signer: self.signer(&key, preferred)?,
            app,
            subject,
            token_url,
        })
    }

    fn signer(&self, key: &PrivateKey, preferred: &str) -> Result<Arc<dyn Signer>, Failure> {
        let registry = Registry::compiled();
        let load = |name: &str| {
            registry
                .get(name)
                .map_err(Failure::usage)?
                .load(key, self.algorithm)
                .map_err(Failure::usage)
        };
        match &self.backend {
            Some(name) => load(name),
            None => load(preferred).or_else(|_| load(USUAL_BACKEND)),
        }
    }

    fn credential(&self) -> Result<Credential, Failure> {
        let (credential, warnings) = load(&self.source()?).map_err(Failure::usage)?;
        for warning in warnings {
            eprintln!("mintmark: note: {warning}; {}", warning.hint());
        }
        Ok(credential)
    }

    fn source(&self) -> Result<Source, Failure> {
        let passphrase = match (&self.passphrase_env, &self.passphrase_file) {
            (Some(name), _) => PassphraseSource::Env(name.clone()),
            (_, Some(path)) => PassphraseSource::Path(path.clone()),
            _ if self.passphrase_prompt => PassphraseSource::Prompt,
            _ => PassphraseSource::Config,
        };
        Ok(match (&self.config, &self.key) {
            (Some(path), _) => Source::Config {
                path: path.clone(),
                passphrase,
            },
            (None, Some(path)) => Source::Key {
                path: path.clone(),
                passphrase,
                client_id: self.client_id.clone().unwrap_or_default(),
                client_secret: self
                    .client_secret_env
                    .as_deref()
                    .map(secret_from_env)
                    .transpose()?,
                key_id: self.key_id.clone(),
                enterprise_id: self.enterprise.clone(),
                user_id: None,
            },
            (None, None) => return Err(Failure::usage("give --config or --key")),
        })
    }
}

fn secret_from_env(name: &str) -> Result<Secret, Failure> {
    std::env::var(name)
        .map(Secret::new)
        .map_err(|error| Failure::usage(format!("the environment variable {name}: {error}")))
}

fn variable(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} has no =, expected NAME=VALUE"))
}
