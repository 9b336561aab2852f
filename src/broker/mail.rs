//! How do notices reach administrators who do not look into the outbox?
//!
//! A thread of its own, which serves no request, delivers what is due in the
//! directory's outbox by SMTP. Nobody waits for it: a server that is slow,
//! gone or refuses costs the notice a later attempt, and the outbox shows the
//! error. A password is sent over TLS alone, except on the machine itself.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{SmtpTransport, Transport};
use url::{Host, Url};

use super::directory::{Directory, Notice};
use crate::credential::Secret;
use crate::error::Chain;

/// How often the outbox is looked into.
const INTERVAL: Duration = Duration::from_millis(500);

/// How long the server may take for each step.
const PATIENCE: Duration = Duration::from_secs(10);

/// How notices are delivered.
#[derive(Clone)]
pub struct MailConfig {
    /// The server: `smtps://user@host`, or `smtp://user@host?tls=required`
    /// for STARTTLS, or `smtp://host` without TLS. The name, but no password.
    pub server: String,
    /// The sender's address, with or without a name.
    pub from: String,
    /// The password of the user in the server's address.
    pub password: Option<Secret>,
}

/// Why notices cannot be delivered at all.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The server's address is not one.
    #[error(
        "the mail server {0:?} cannot be used, expected smtps://user@host, smtp://user@host?tls=required or smtp://host"
    )]
    Server(String),
    /// The address holds a password, which others may read.
    #[error("the mail server's address holds a password, expected it in a file or a variable")]
    PasswordInAddress,
    /// There is a password and no user, or a user and no password.
    #[error("a user in the mail server's address and a password go together")]
    HalfOfCredentials,
    /// The password would cross a network in the clear.
    #[error("the password would cross the network in the clear, expected smtps or ?tls=required")]
    Cleartext,
    /// The sender is not one.
    #[error("the sender {0:?} is no address, expected one such as broker@example.com")]
    Sender(String),
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Delivers notices until it is dropped.
pub(super) struct Postman {
    /// Dropped to end the thread, which may be in the middle of a delivery
    /// and is not waited for.
    _running: mpsc::Sender<()>,
}

impl Postman {
    /// Starts to deliver what is in the outbox of `directory`.
    pub(super) fn start(directory: Arc<Directory>, config: &MailConfig) -> Result<Self, MailError> {
        let round = Round::new(config)?;
        let (running, ended) = mpsc::channel();
        thread::spawn(move || {
            loop {
                round.deliver(&directory);
                if ended.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Ok(Self { _running: running })
    }
}

/// What is needed to deliver.
struct Round {
    transport: SmtpTransport,
    from: Mailbox,
}

impl Round {
    fn new(config: &MailConfig) -> Result<Self, MailError> {
        let wrong = || MailError::Server(config.server.clone());
        let url = Url::parse(&config.server).map_err(|_| wrong())?;
        if url.password().is_some() {
            return Err(MailError::PasswordInAddress);
        }
        let mut transport = SmtpTransport::from_url(&config.server)
            .map_err(|_| wrong())?
            .timeout(Some(PATIENCE));
        match (url.username(), &config.password) {
            ("", None) => {}
            ("", Some(_)) | (_, None) => return Err(MailError::HalfOfCredentials),
            (user, Some(password)) => {
                let requires = url
                    .query_pairs()
                    .any(|pair| pair == ("tls".into(), "required".into()));
                if url.scheme() != "smtps" && !requires && !is_this_machine(&url) {
                    return Err(MailError::Cleartext);
                }
                let (user, password) = (user.to_owned(), password.expose().to_owned());
                transport = transport.credentials(Credentials::new(user, password));
            }
        }
        let sender = || MailError::Sender(config.from.clone());
        Ok(Self {
            transport: transport.build(),
            from: config.from.parse().map_err(|_| sender())?,
        })
    }

    /// Delivers whatever is due. If the directory fails, there is nothing to
    /// do but to look again.
    fn deliver(&self, directory: &Directory) {
        while let Ok(Some(notice)) = directory.claim_notice() {
            let recorded = match self.send(&notice) {
                Ok(()) => directory.notice_sent(notice.number),
                Err(error) => directory.notice_failed(&notice, &error),
            };
            if recorded.is_err() {
                return;
            }
        }
    }

    fn send(&self, notice: &Notice) -> Result<(), String> {
        let recipient: Mailbox = notice
            .recipient
            .parse()
            .map_err(|error| format!("{:?}: {}", notice.recipient, Chain(&error)))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(recipient)
            .subject(&notice.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(notice.body.clone())
            .map_err(|error| Chain(&error).to_string())?;
        self.transport
            .send(&message)
            .map(drop)
            .map_err(|error| Chain(&error).to_string())
    }
}

fn is_this_machine(url: &Url) -> bool {
    // The parser of addresses with an unknown scheme leaves hosts as text.
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(server: &str, password: Option<&str>) -> Option<MailError> {
        let config = MailConfig {
            server: server.to_owned(),
            from: "Broker <broker@example.com>".to_owned(),
            password: password.map(Secret::from),
        };
        Round::new(&config).err()
    }

    #[test]
    fn servers_are_understood() {
        for (server, password) in [
            ("smtp://127.0.0.1:2525", None),
            ("smtps://ann@mail.example.com", Some("x")),
            ("smtp://ann@mail.example.com:587?tls=required", Some("x")),
            ("smtp://ann@localhost", Some("x")),
            ("smtp://ann@127.0.0.1:25", Some("x")),
        ] {
            assert!(fault(server, password).is_none(), "{server}");
        }
    }

    #[test]
    fn a_password_is_neither_shown_nor_sent_in_the_clear() {
        assert!(matches!(
            fault("smtps://ann:x@mail.example.com", None),
            Some(MailError::PasswordInAddress)
        ));
        for server in [
            "smtp://ann@mail.example.com",
            "smtp://ann@mail.example.com?tls=opportunistic",
        ] {
            let found = fault(server, Some("x"));
            assert!(matches!(found, Some(MailError::Cleartext)), "{server}");
        }
        for (server, password) in [
            ("smtps://mail.example.com", Some("x")),
            ("smtps://ann@mail.example.com", None),
        ] {
            let found = fault(server, password);
            assert!(
                matches!(found, Some(MailError::HalfOfCredentials)),
                "{server}"
            );
        }
    }

    #[test]
    fn what_is_no_server_or_sender_is_told() {
        for server in ["mail.example.com", "http://mail.example.com", "smtp:", ""] {
            assert!(
                matches!(fault(server, None), Some(MailError::Server(_))),
                "{server}"
            );
        }
        let config = MailConfig {
            server: "smtp://localhost".to_owned(),
            from: "nobody".to_owned(),
            password: None,
        };
        assert!(matches!(
            Round::new(&config).err(),
            Some(MailError::Sender(_))
        ));
    }
}
