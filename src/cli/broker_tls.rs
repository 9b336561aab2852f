//! Which flags make the broker speak TLS?

use std::path::PathBuf;

use clap::Args;

use crate::broker::Certificate;

/// TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsFlags {
    /// Speak TLS, HTTP/2 included, with a certificate for loopback names that
    /// is made at the start.
    #[arg(long)]
    tls: bool,

    /// Speak TLS with the certificate in this PEM file, followed by those
    /// that it was issued by.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM and not encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Write the certificate to this file, for clients to trust.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(super) write_certificate: Option<PathBuf>,
}

impl TlsFlags {
    /// Returns the certificate that was asked for.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some(Certificate::Files {
                chain: chain.clone(),
                key: key.clone(),
            }),
            _ => self.tls.then_some(Certificate::SelfSigned),
        }
    }
}
