//! How does the broker prove who it is, before a request is sent?
//!
//! TLS 1.2 and 1.3 with a certificate that is given, or with one that is made
//! at the start and that nobody trusts who was not handed it. Which protocol
//! is spoken inside is agreed by ALPN: HTTP/2, or HTTP/1.1 with clients that
//! ask for nothing. Clients prove themselves by other means.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, ServerConfig};

/// HTTP/2, as ALPN calls it.
pub(super) const H2: &[u8] = b"h2";

/// HTTP/1.1, as ALPN calls it.
const HTTP_1: &[u8] = b"http/1.1";

/// With what the broker proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// A certificate and key for loopback names and the address that is
    /// listened on, made at the start.
    SelfSigned,
    /// Files in PEM.
    Files {
        /// The certificate and what it was issued by, in this order.
        chain: PathBuf,
        /// Its private key, not encrypted.
        key: PathBuf,
    },
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{} holds no {wanted} in PEM", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the certificate cannot be used with its key")]
    Unusable(#[from] rustls::Error),
    /// No certificate can be made.
    #[error("no certificate can be made")]
    Generate(#[from] rcgen::Error),
}

/// What a broker needs to speak TLS.
pub(super) struct Identity {
    pub(super) acceptor: TlsAcceptor,
    /// The certificates that clients are shown, in PEM.
    pub(super) chain_pem: String,
}

impl Identity {
    /// Loads or makes a certificate for a broker at `address`.
    pub(super) fn of(certificate: &Certificate, address: SocketAddr) -> Result<Self, TlsError> {
        let (chain, key, chain_pem) = match certificate {
            Certificate::SelfSigned => made_for(address)?,
            Certificate::Files { chain, key } => read(chain, key)?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1.to_vec()];
        // Tickets that the broker need not remember; rustls changes their
        // keys by itself.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            chain_pem,
        })
    }
}

type Loaded = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

fn made_for(address: SocketAddr) -> Result<Loaded, TlsError> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let own = address.ip();
    if !own.is_loopback() && !own.is_unspecified() {
        names.push(own.to_string());
    }
    let mut wanted = rcgen::CertificateParams::new(names)?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted
        .distinguished_name
        .push(rcgen::DnType::CommonName, "Mintmark broker");
    let key = rcgen::KeyPair::generate()?;
    let made = wanted.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((vec![made.der().clone()], key.into(), made.pem()))
}

fn read(chain: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let wrong = |path: &Path, wanted| {
        let path = path.to_owned();
        move |source| TlsError::File {
            path,
            wanted,
            source,
        }
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|found| {
            if found.is_empty() {
                return Err(pem::Error::NoItemsFound);
            }
            Ok(found)
        })
        .map_err(wrong(chain, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key, "private key"))?;
    let chain_pem = certificates
        .iter()
        .map(|der| ::pem::encode(&::pem::Pem::new("CERTIFICATE", der.as_ref())))
        .collect();
    Ok((certificates, key, chain_pem))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn every_start_makes_another_certificate() {
        let made = || {
            Identity::of(&Certificate::SelfSigned, ADDRESS)
                .unwrap()
                .chain_pem
        };
        let (one, other) = (made(), made());
        assert!(one.contains("BEGIN CERTIFICATE"));
        assert_ne!(one, other);
    }

    #[test]
    fn files_are_shown_as_they_are_and_have_to_fit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let chain = write("chain.pem", &one.cert.pem());
        let key = write("key.pem", &one.signing_key.serialize_pem());
        let foreign = write("foreign.pem", &other.signing_key.serialize_pem());
        let empty = write("empty.pem", "");
        let load = |chain: &Path, key: &Path| {
            let (chain, key) = (chain.to_owned(), key.to_owned());
            Identity::of(&Certificate::Files { chain, key }, ADDRESS)
        };
        let shown = load(&chain, &key).unwrap().chain_pem;
        let der = CertificateDer::from_pem_slice(shown.as_bytes()).unwrap();
        assert_eq!(&der, one.cert.der());
        assert!(matches!(load(&chain, &foreign), Err(TlsError::Unusable(_))));
        for (chain, key, culprit) in [
            (&empty, &key, &empty),
            (&chain, &empty, &empty),
            (
                &folder.path().join("none"),
                &key,
                &folder.path().join("none"),
            ),
        ] {
            match load(chain, key) {
                Err(TlsError::File { path, .. }) => assert_eq!(&path, culprit),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{} was accepted", culprit.display()),
            }
        }
    }
}
