//! How is the server of a fleet named by flags?

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::fleet::bus::Access;
use crate::units::Span;

/// Flags of all verbs that speak to a NATS server.
#[derive(Clone, Debug, Args)]
pub(super) struct AccessFlags {
    /// The NATS servers, separated by commas, such as nats://127.0.0.1:4222.
    #[arg(long, value_name = "URL", env = "MINTMARK_NATS", value_delimiter = ',')]
    nats: Vec<String>,

    /// The fleet: subjects and streams are named after it.
    #[arg(long, value_name = "NAME", default_value = "mintmark", value_parser = name)]
    fleet: String,

    /// A credentials file with a JWT and its nkey seed.
    #[arg(long, value_name = "FILE", env = "MINTMARK_NATS_CREDS")]
    creds: Option<PathBuf>,

    /// A file that holds an nkey seed.
    #[arg(long, value_name = "FILE", conflicts_with = "creds")]
    nkey: Option<PathBuf>,

    /// A file that holds user:password.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["creds", "nkey"])]
    login: Option<PathBuf>,

    /// Certificates to trust in place of the system's, in a PEM file.
    #[arg(long, value_name = "FILE")]
    nats_trusted: Option<PathBuf>,

    /// The certificate to show the server, in a PEM file.
    #[arg(long, value_name = "FILE", requires = "nats_key")]
    nats_certificate: Option<PathBuf>,

    /// Its key, in a PEM file.
    #[arg(long, value_name = "FILE", requires = "nats_certificate")]
    nats_key: Option<PathBuf>,

    /// How long to wait for a server that cannot be reached.
    #[arg(long, value_name = "SPAN", default_value = "30s")]
    connect_wait: Span,
}

impl AccessFlags {
    /// Returns how the server is reached.
    ///
    /// # Errors
    ///
    /// None is named.
    pub(super) fn access(&self) -> Result<Access, Failure> {
        if self.nats.is_empty() {
            return Err(Failure::usage(NoNats));
        }
        Ok(Access {
            servers: self.nats.clone(),
            fleet: self.fleet.clone(),
            credentials: self.creds.clone(),
            nkey: self.nkey.clone(),
            login: self.login.clone(),
            trusted: self.nats_trusted.clone(),
            certificate: self.nats_certificate.clone().zip(self.nats_key.clone()),
            wait: self.connect_wait.0,
        })
    }
}

/// Nobody named a server.
#[derive(Debug, thiserror::Error)]
#[error("no NATS server is named, expected --nats URL or the variable MINTMARK_NATS")]
struct NoNats;

/// Checks the name of a fleet, which is part of subjects.
fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=32).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 32 letters, digits, hyphens or underscores".into())
    }
}
