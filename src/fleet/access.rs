//! How is a server of the fleet reached, and by whose credentials?
//!
//! Secrets are read from files when a connection is made, never from flags. A
//! server that cannot be reached yet is waited for; one that does not let this
//! program in is an error at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use parking_lot::Mutex;

use super::bus::{BusError, PATIENCE};

/// How a server is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Addresses of servers, such as `nats://127.0.0.1:4222`.
    pub servers: Vec<String>,
    /// The name of the fleet, by which subjects and streams are named.
    pub fleet: String,
    /// A file of credentials: a JWT and its nkey seed.
    pub credentials: Option<PathBuf>,
    /// A file that holds an nkey seed.
    pub nkey: Option<PathBuf>,
    /// A file that holds `user:password`.
    pub login: Option<PathBuf>,
    /// Certificates to trust, in a PEM file.
    pub trusted: Option<PathBuf>,
    /// The client's certificate and its key, in PEM files.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How long to wait for a server that cannot be reached.
    pub wait: Duration,
}

/// Connects, and waits for a server as long as `access` says. What a server says
/// unasked is kept in `complaint`.
pub(super) async fn connect(
    access: &Access,
    who: &str,
    complaint: &Arc<Mutex<Option<String>>>,
) -> Result<Client, BusError> {
    let give_up = Instant::now() + access.wait;
    let addresses = addresses(access)?;
    loop {
        let options = options(access, who, complaint).await?;
        match options.connect(&addresses[..]).await {
            Ok(client) => return Ok(client),
            Err(error) => {
                let is_final = matches!(
                    error.kind(),
                    ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
                );
                if is_final || Instant::now() >= give_up {
                    return Err(BusError::Connect {
                        servers: access.servers.join(", "),
                        source: Box::new(error),
                    });
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
}

fn addresses(access: &Access) -> Result<Vec<ServerAddr>, BusError> {
    access
        .servers
        .iter()
        .map(|address| {
            address.parse().map_err(|source| BusError::Address {
                address: address.clone(),
                source,
            })
        })
        .collect()
}

async fn options(
    access: &Access,
    who: &str,
    complaint: &Arc<Mutex<Option<String>>>,
) -> Result<ConnectOptions, BusError> {
    let unreadable = |path: &PathBuf| {
        let path = path.clone();
        move |source| BusError::File { path, source }
    };
    let mut options = ConnectOptions::new()
        .name(format!("mintmark {who}"))
        // What a server answers comes to subjects that its rules can keep from
        // others.
        .custom_inbox_prefix(format!("_INBOX.{}.{who}", access.fleet))
        .ping_interval(Duration::from_secs(2))
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| Duration::from_millis(50 * tries.min(10) as u64))
        .event_callback({
            let complaint = Arc::clone(complaint);
            move |event| {
                let complaint = Arc::clone(&complaint);
                async move {
                    if let Event::ServerError(error) = event {
                        *complaint.lock() = Some(error.to_string());
                    }
                }
            }
        });
    if let Some(path) = &access.credentials {
        options = options
            .credentials_file(path)
            .await
            .map_err(unreadable(path))?;
    }
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path)
            .map(|text| zeroize::Zeroizing::new(text.trim().to_owned()))
            .map_err(unreadable(path))
    };
    if let Some(path) = &access.nkey {
        options = options.nkey(read(path)?.to_string());
    }
    if let Some(path) = &access.login {
        let login = read(path)?;
        let (user, password) = login
            .split_once(':')
            .ok_or_else(|| BusError::Login { path: path.clone() })?;
        options = options.user_and_password(user.to_owned(), password.to_owned());
    }
    if let Some(path) = &access.trusted {
        options = options
            .add_root_certificates(path.clone())
            .require_tls(true);
    }
    if let Some((certificate, key)) = &access.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}
