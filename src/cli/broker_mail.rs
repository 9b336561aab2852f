//! Which flags make the broker send notices by mail?

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::broker::MailConfig;
use crate::credential::PassphraseSource;

/// Notices by mail.
#[derive(Debug, Args)]
#[command(next_help_heading = "Notices by mail")]
pub(super) struct MailFlags {
    /// Deliver notices to administrators by this server:
    /// smtps://user@host, smtp://user@host?tls=required or smtp://host.
    #[arg(long, value_name = "URL", requires = "smtp_from")]
    smtp: Option<String>,

    /// The sender of notices.
    #[arg(long, value_name = "ADDRESS", requires = "smtp")]
    smtp_from: Option<String>,

    /// The environment variable that holds the password of the server's user.
    #[arg(
        long,
        value_name = "NAME",
        requires = "smtp",
        conflicts_with = "smtp_password_file"
    )]
    smtp_password_env: Option<String>,

    /// The file that holds the password of the server's user.
    #[arg(long, value_name = "FILE", requires = "smtp")]
    smtp_password_file: Option<PathBuf>,
}

impl MailFlags {
    /// Reads the flags and the password.
    pub(super) fn config(&self) -> Result<Option<MailConfig>, Failure> {
        let (Some(server), Some(from)) = (&self.smtp, &self.smtp_from) else {
            return Ok(None);
        };
        let source = match (&self.smtp_password_env, &self.smtp_password_file) {
            (Some(name), _) => PassphraseSource::Env(name.clone()),
            (_, Some(path)) => PassphraseSource::Path(path.clone()),
            _ => PassphraseSource::None,
        };
        let mut warnings = Vec::new();
        let password = source
            .read(Path::new(""), &mut warnings)
            .map_err(Failure::usage)?;
        for warning in warnings {
            eprintln!("mintmark: note: {warning}; {}", warning.hint());
        }
        Ok(Some(MailConfig {
            server: server.clone(),
            from: from.clone(),
            password,
        }))
    }
}
