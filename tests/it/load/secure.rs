//! An endpoint behind TLS, with an authority of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mintmark::load::transport::Tls;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{HandshakeKind, RootCertStore, ServerConfig};

use super::target::{BODY, answer, request_length};

/// Signs the certificates of tests.
pub fn authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    })
}

/// A certificate for `name` and its key.
pub fn certificate(name: &str, is_expired: bool) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if is_expired {
        params.not_after = date_time_ymd(2001, 1, 1);
    }
    (params.signed_by(&key, authority()).unwrap(), key)
}

/// Trust in the authority, and a client's certificate if there is to be one.
pub fn trust(has_client: bool) -> Tls {
    Tls {
        trusted_pem: Some(authority().pem().into_bytes()),
        client_pem: has_client.then(|| {
            let (certificate, key) = certificate("client", false);
            (certificate.pem() + &key.serialize_pem())
                .into_bytes()
                .into()
        }),
        is_full_handshake_only: false,
    }
}

/// What the endpoint saw.
#[derive(Default)]
pub struct Seen {
    pub full: AtomicUsize,
    pub resumed: AtomicUsize,
    pub clients: AtomicUsize,
    pub refused: AtomicUsize,
}

/// A running endpoint.
pub struct SecureTarget {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    runtime: Option<Runtime>,
}

impl SecureTarget {
    /// Serves with a certificate for `localhost`.
    pub fn new(asks_for_client: bool) -> Self {
        Self::with(certificate("localhost", false), asks_for_client)
    }

    pub fn with((certificate, key): (Certificate, KeyPair), asks_for_client: bool) -> Self {
        let builder = ServerConfig::builder();
        let builder = if asks_for_client {
            let mut roots = RootCertStore::empty();
            roots.add(authority().der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let kept = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&kept));
                tokio::spawn(async move {
                    if serve(stream, &acceptor, &seen).await.is_err() {
                        seen.refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self {
            address,
            seen,
            runtime: Some(runtime),
        }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}/oauth2/token", self.address.port())
    }
}

impl Drop for SecureTarget {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

async fn serve(stream: TcpStream, acceptor: &TlsAcceptor, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let session = stream.get_ref().1;
    match session.handshake_kind() {
        Some(HandshakeKind::Resumed) => seen.resumed.fetch_add(1, Ordering::Relaxed),
        _ => seen.full.fetch_add(1, Ordering::Relaxed),
    };
    if session.peer_certificates().is_some() {
        seen.clients.fetch_add(1, Ordering::Relaxed);
    }
    let mut input = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut input).await {
        while let Some(length) = request_length(&input) {
            let is_last = String::from_utf8_lossy(&input[..length])
                .to_ascii_lowercase()
                .contains("connection: close");
            input.drain(..length);
            stream.write_all(&answer("200 OK", "", BODY)).await?;
            stream.flush().await?;
            if is_last {
                return stream.shutdown().await;
            }
        }
    }
    Ok(())
}
