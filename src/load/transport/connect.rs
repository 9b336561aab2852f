//! How is a connection to the endpoint opened, and what did each part take?
//!
//! Finding the address, connecting and the TLS handshake are timed apart and
//! have time-outs of their own. A failure is an [`Outcome`].

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::HandshakeKind;
use tokio_rustls::rustls::pki_types::ServerName;

use super::answer::MAX_HEAD_BYTES;
use super::endpoint::{Endpoint, Proxy};
use super::stamped::Stamped;
use super::tls::Tls;
use super::{Limits, Opened};
use crate::load::pacer::now_ns;
use crate::record::Outcome;
use crate::record::outcome::Stage;

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
    /// TLS cannot be set up, or there are two ways at once.
    pub fn new(
        endpoint: Endpoint,
        tls: &Tls,
        protocols: &[&[u8]],
        limits: Limits,
        resolves_each_time: bool,
    ) -> Result<Self, ConnectorError> {
        if endpoint.socket.is_some() && endpoint.proxy.is_some() {
            return Err(ConnectorError::TwoWays);
        }
        let tls = if endpoint.is_tls() {
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

    /// Opens a connection by `whole_at`, when the request's whole time is up.
    ///
    /// # Errors
    ///
    /// How the attempt failed, as a request's outcome.
    pub async fn open(&self, whole_at: Instant) -> Result<(Stream, Opened), Outcome> {
        let mut opened = Opened::default();
        let stamped = self.connect(&mut opened, whole_at).await?;
        let Some((connector, name)) = &self.tls else {
            return Ok((Stream::Plain(stamped), opened));
        };
        let begun = now_ns();
        let shaking = connector.connect(name.clone(), stamped);
        let stream = within(self.limits.tls, whole_at, Stage::Tls, shaking)
            .await?
            .map_err(|error| outcome_of(&error, Stage::Tls))?;
        opened.tls_ns = Some(now_ns() - begun);
        opened.is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok((Stream::Tls(Box::new(stream)), opened))
    }

    /// Connects to the socket, the proxy or the host; through a proxy that is
    /// not to read requests, to the host behind it.
    async fn connect(&self, opened: &mut Opened, whole_at: Instant) -> Result<Stamped, Outcome> {
        let limits = &self.limits;
        let failed = |error: io::Error| outcome_of(&error, Stage::Connect);
        if let Some(path) = &self.endpoint.socket {
            let begun = now_ns();
            let connecting = UnixStream::connect(path);
            let stream = within(limits.connect, whole_at, Stage::Connect, connecting)
                .await?
                .map_err(failed)?;
            opened.connect_ns = now_ns() - begun;
            return Ok(Stamped::unix(stream));
        }
        let begun = now_ns();
        let addresses = within(limits.dns, whole_at, Stage::Dns, self.addresses())
            .await?
            .map_err(|_| Outcome::Dns)?;
        let found = now_ns();
        opened.dns_ns = found - begun;
        let connecting = async {
            let mut stream = connect_to_any(&addresses).await.map_err(failed)?;
            // Without it a request in two segments waits for an acknowledgement.
            stream.set_nodelay(true).map_err(failed)?;
            if let Some(proxy) = &self.endpoint.proxy
                && self.endpoint.is_tls()
            {
                tunnel(&mut stream, proxy, &self.endpoint).await?;
            }
            Ok(stream)
        };
        let stream = within(limits.connect, whole_at, Stage::Connect, connecting).await??;
        opened.connect_ns = now_ns() - found;
        Ok(Stamped::tcp(stream))
    }

    /// Returns the addresses of whom to connect to, another one first each
    /// time.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match &self.endpoint.proxy {
            Some(proxy) => (proxy.host.trim_matches(['[', ']']), proxy.port),
            None => (self.endpoint.bare_host(), self.endpoint.port),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let must_ask = self.resolves_each_time || self.addresses.borrow().0.is_empty();
        if must_ask {
            let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
            self.addresses.borrow_mut().0 = found;
        }
        let mut addresses = self.addresses.borrow_mut();
        let mut in_turn = addresses.0.clone();
        if in_turn.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let turn = addresses.1 % in_turn.len();
        addresses.1 = addresses.1.wrapping_add(1);
        in_turn.rotate_left(turn);
        Ok(in_turn)
    }
}

/// Connects to the first address that lets it.
async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks a proxy for a way to the endpoint (RFC 9110 §9.3.6).
async fn tunnel(stream: &mut TcpStream, proxy: &Proxy, endpoint: &Endpoint) -> Result<(), Outcome> {
    let failed = |error: io::Error| outcome_of(&error, Stage::Connect);
    let to = format!("{}:{}", endpoint.host, endpoint.port);
    let login = proxy
        .authorization
        .as_ref()
        .map_or_else(zeroize::Zeroizing::default, |value| {
            zeroize::Zeroizing::new(format!("proxy-authorization: {}\r\n", value.as_str()))
        });
    let request = zeroize::Zeroizing::new(format!(
        "CONNECT {to} HTTP/1.1\r\nhost: {to}\r\n{}\r\n",
        login.as_str()
    ));
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    while head.len() < MAX_HEAD_BYTES {
        if stream.read_buf(&mut head).await.map_err(failed)? == 0 {
            return Err(Outcome::ProxyRefused);
        }
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(&head) {
            Ok(httparse::Status::Partial) => {}
            // The endpoint does not speak first: nothing follows the head.
            Ok(httparse::Status::Complete(length))
                if length == head.len()
                    && response.code.is_some_and(|code| (200..300).contains(&code)) =>
            {
                return Ok(());
            }
            _ => return Err(Outcome::ProxyRefused),
        }
    }
    Err(Outcome::ProxyRefused)
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

impl Stream {
    /// Has nothing arrived on a connection that nobody uses?
    pub(super) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(stamped) => stamped.is_quiet(),
            // What the server says about sessions is for TLS alone.
            Self::Tls(tls) => {
                let mut room = [0];
                Pin::new(tls)
                    .poll_read(cx, &mut ReadBuf::new(&mut room))
                    .is_pending()
            }
        }
    }

    /// Writes what the kernel takes at once, and the rest later.
    pub(super) fn poll_write_some(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stamped) => match stamped.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Pin::new(stamped).poll_write(cx, bytes)
                }
                written => Poll::Ready(written),
            },
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    /// Reads what there is.
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stamped) => stamped.poll_read_into(cx, room),
            Self::Tls(tls) => {
                let mut buffer = ReadBuf::new(room);
                let read = Pin::new(tls).poll_read(cx, &mut buffer);
                read.map_ok(|()| buffer.filled().len())
            }
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

/// Lets `work` take as long as its stage may, and as the whole request may.
async fn within<T>(
    limit: Duration,
    whole_at: Instant,
    stage: Stage,
    work: impl Future<Output = T>,
) -> Result<T, Outcome> {
    let stage_at = Instant::now() + limit;
    let (at, outcome) = if stage_at <= whole_at {
        (stage_at, Outcome::TimedOutWhile(stage))
    } else {
        (whole_at, Outcome::TimedOut)
    };
    timeout_at(at, work).await.map_err(|_| outcome)
}

/// Says what an error of the system means for a request.
#[must_use]
pub fn outcome_of(error: &io::Error, stage: Stage) -> Outcome {
    if is_of_tls(error) {
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

/// rustls wraps its errors in those of the system, and clients those again.
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(is_of_tls)
    })
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
    /// The file of certificates to trust holds none.
    #[error("there is no certificate to trust, expected a file of the server's authority")]
    NoTrust,
    /// The URL of the proxy cannot be used.
    #[error("that is not the URL of a proxy, expected http://host:port")]
    Proxy,
    /// The URL of the proxy holds a secret.
    #[error(
        "the URL of the proxy holds a name or a password, which would be kept in records; expected \
         proxy_login_env, the name of an environment variable that holds name:password"
    )]
    ProxyLogin,
    /// The normal client refuses its configuration.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// A Unix socket has no proxy before it.
    #[error("there is a Unix socket and a proxy, expected one of them")]
    TwoWays,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exhausted_system_is_told_apart_from_an_absent_server() {
        let of = |errno: rustix::io::Errno| outcome_of(&errno.into(), Stage::Connect);
        assert_eq!(of(rustix::io::Errno::MFILE), Outcome::NoDescriptor);
        assert_eq!(of(rustix::io::Errno::ADDRNOTAVAIL), Outcome::NoPort);
        assert_eq!(of(rustix::io::Errno::CONNREFUSED), Outcome::ConnectRefused);
        assert_eq!(of(rustix::io::Errno::HOSTUNREACH), Outcome::Connect);
    }
}
