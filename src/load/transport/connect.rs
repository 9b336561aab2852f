//! How is a connection to the endpoint opened, and what did each part take?
//!
//! Finding the address, connecting and the TLS handshake are timed apart and
//! have time-outs of their own. A failure is an [`Outcome`].

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_platform_verifier::ConfigVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::stamped::Stamped;
use super::{Limits, Opened};
use crate::load::pacer::now_ns;
use crate::record::Outcome;
use crate::record::outcome::Stage;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    is_tls: bool,
    host: String,
    port: u16,
    /// The path and the query of the request line.
    pub target: String,
    /// A Unix socket to connect to in place of the host.
    pub socket: Option<PathBuf>,
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

    /// Returns the host without the brackets of an IPv6 address.
    fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// How TLS is spoken.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates to trust in place of the system's, as PEM.
    pub trusted_pem: Option<Vec<u8>>,
    /// The client's certificate chain and its private key, as PEM.
    pub client_pem: Option<zeroize::Zeroizing<Vec<u8>>>,
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
    fn config(&self, protocols: &[&[u8]]) -> Result<ClientConfig, ConnectorError> {
        let mut config = match (&self.trusted_pem, &self.client_pem) {
            (None, None) => ClientConfig::with_platform_verifier().map_err(ConnectorError::Tls)?,
            (trusted, client) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(trusted.as_deref().unwrap_or(&[]))
                {
                    let certificate = certificate.map_err(|_| ConnectorError::Pem)?;
                    roots.add(certificate).map_err(ConnectorError::Tls)?;
                }
                if roots.is_empty() {
                    return Err(ConnectorError::NoTrust);
                }
                let builder = ClientConfig::builder().with_root_certificates(roots);
                match client {
                    None => builder.with_no_client_auth(),
                    Some(pem) => {
                        let chain = CertificateDer::pem_slice_iter(pem)
                            .collect::<Result<Vec<_>, _>>()
                            .map_err(|_| ConnectorError::Pem)?;
                        let key =
                            PrivateKeyDer::from_pem_slice(pem).map_err(|_| ConnectorError::Pem)?;
                        builder
                            .with_client_auth_cert(chain, key)
                            .map_err(ConnectorError::Tls)?
                    }
                }
            }
        };
        if self.is_full_handshake_only {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

/// Opens connections of one thread to one endpoint.
pub struct Connector {
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limits: Limits,
    resolves_each_time: bool,
    /// The addresses that were found, and whose turn it is.
    addresses: RefCell<(Vec<SocketAddr>, usize)>,
}

impl Connector {
    /// Makes a connector; `protocols` are offered in the TLS handshake.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn new(
        endpoint: Endpoint,
        tls: &Tls,
        protocols: &[&[u8]],
        limits: Limits,
        resolves_each_time: bool,
    ) -> Result<Self, ConnectorError> {
        let tls = if endpoint.is_tls {
            let name = ServerName::try_from(endpoint.bare_host().to_owned())
                .map_err(|_| ConnectorError::Url(endpoint.host.clone()))?;
            let config = tls.config(protocols)?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Self {
            endpoint,
            tls,
            limits,
            resolves_each_time,
            addresses: RefCell::default(),
        })
    }

    /// Returns the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns the time-outs.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// How the attempt failed, as a request's outcome.
    pub async fn open(&self) -> Result<(Stream, Opened), Outcome> {
        let mut opened = Opened::default();
        let stamped = within(
            self.limits.connect,
            Stage::Connect,
            self.connect(&mut opened),
        )
        .await?
        .map_err(|error| outcome_of(&error, Stage::Connect))?;
        let Some((connector, name)) = &self.tls else {
            return Ok((Stream::Plain(stamped), opened));
        };
        let begun = now_ns();
        let stream = within(
            self.limits.tls,
            Stage::Tls,
            connector.connect(name.clone(), stamped),
        )
        .await?
        .map_err(|error| outcome_of(&error, Stage::Tls))?;
        opened.tls_ns = Some(now_ns() - begun);
        Ok((Stream::Tls(Box::new(stream)), opened))
    }

    async fn connect(&self, opened: &mut Opened) -> io::Result<Stamped> {
        let begun = now_ns();
        if let Some(path) = &self.endpoint.socket {
            let stream = UnixStream::connect(path).await?;
            opened.connect_ns = now_ns() - begun;
            return Ok(Stamped::unix(stream));
        }
        let address = self.address().await?;
        opened.dns_ns = now_ns() - begun;
        let begun = now_ns();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        opened.connect_ns = now_ns() - begun;
        Ok(Stamped::tcp(stream))
    }

    /// Returns the next address of the host, in turn.
    async fn address(&self) -> io::Result<SocketAddr> {
        let port = self.endpoint.port;
        if let Ok(ip) = self.endpoint.bare_host().parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let must_ask = self.resolves_each_time || self.addresses.borrow().0.is_empty();
        if must_ask {
            let found: Vec<_> = tokio::net::lookup_host((self.endpoint.bare_host(), port))
                .await?
                .collect();
            self.addresses.borrow_mut().0 = found;
        }
        let mut addresses = self.addresses.borrow_mut();
        addresses.1 = addresses.1.wrapping_add(1);
        let turn = addresses.1;
        let count = addresses.0.len().max(1);
        addresses
            .0
            .get(turn % count)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(Stamped),
    /// With TLS.
    Tls(Box<TlsStream<Stamped>>),
}

impl Stream {
    /// Returns how long the bytes that were read last had lain in the kernel,
    /// where it tells.
    #[must_use]
    pub fn lag_ns(&self) -> Option<u64> {
        match self {
            Self::Plain(stamped) => stamped.lag_ns(),
            Self::Tls(tls) => tls.get_ref().0.lag_ns(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

async fn within<T>(
    limit: Duration,
    stage: Stage,
    work: impl Future<Output = T>,
) -> Result<T, Outcome> {
    timeout(limit, work)
        .await
        .map_err(|_| Outcome::TimedOutWhile(stage))
}

/// Says what an error of the system means for a request.
#[must_use]
pub fn outcome_of(error: &io::Error, stage: Stage) -> Outcome {
    // rustls wraps its errors in those of the system.
    if error
        .get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    {
        return Outcome::Tls;
    }
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => return Outcome::NoDescriptor,
        Some(rustix::io::Errno::ADDRNOTAVAIL) => return Outcome::NoPort,
        _ => {}
    }
    match (error.kind(), stage) {
        (io::ErrorKind::ConnectionRefused, _) => Outcome::ConnectRefused,
        (io::ErrorKind::TimedOut, stage) => Outcome::TimedOutWhile(stage),
        // A peer that ends a handshake without a word does not speak TLS.
        (io::ErrorKind::UnexpectedEof, Stage::Tls) => Outcome::Tls,
        (_, Stage::Connect) => Outcome::Connect,
        _ => Outcome::Reset,
    }
}

/// Why no connector could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The URL cannot be used.
    #[error("{0:?} is not the URL of a token endpoint, expected http://… or https://…")]
    Url(String),
    /// TLS refuses what it was given.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// A file of certificates or keys cannot be read.
    #[error("the certificates or the key are not PEM")]
    Pem,
    /// A client certificate needs to be told whom to trust.
    #[error("there is no certificate to trust, expected a file of the server's authority")]
    NoTrust,
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
    fn an_exhausted_system_is_told_apart_from_an_absent_server() {
        let of = |errno: rustix::io::Errno| outcome_of(&errno.into(), Stage::Connect);
        assert_eq!(of(rustix::io::Errno::MFILE), Outcome::NoDescriptor);
        assert_eq!(of(rustix::io::Errno::ADDRNOTAVAIL), Outcome::NoPort);
        assert_eq!(of(rustix::io::Errno::CONNREFUSED), Outcome::ConnectRefused);
        assert_eq!(of(rustix::io::Errno::HOSTUNREACH), Outcome::Connect);
    }
}
