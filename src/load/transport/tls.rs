//! How is TLS spoken, and whom does it trust?

use std::fmt;

use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::connect::ConnectorError;

/// How TLS is spoken.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates to trust in place of the system's, as PEM.
    pub trusted_pem: Option<Vec<u8>>,
    /// The client's certificate chain and its private key, as PEM.
    pub client_pem: Option<Zeroizing<Vec<u8>>>,
    /// Are sessions not resumed?
    pub is_full_handshake_only: bool,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("has_trusted", &self.trusted_pem.is_some())
            .field("has_client", &self.client_pem.is_some())
            .field("is_full_handshake_only", &self.is_full_handshake_only)
            .finish()
    }
}

impl Tls {
    /// Makes the configuration of a client that offers `protocols`.
    pub(super) fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, ConnectorError> {
        let builder = ClientConfig::builder();
        let builder = match &self.trusted_pem {
            None => builder
                .with_platform_verifier()
                .map_err(ConnectorError::Tls)?,
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate = certificate.map_err(|_| ConnectorError::Pem)?;
                    roots.add(certificate).map_err(ConnectorError::Tls)?;
                }
                if roots.is_empty() {
                    return Err(ConnectorError::NoTrust);
                }
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match &self.client_pem {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| ConnectorError::Pem)?;
                let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| ConnectorError::Pem)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(ConnectorError::Tls)?
            }
        };
        if self.is_full_handshake_only {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}
