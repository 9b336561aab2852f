//! Notices that reach administrators by mail, and those that do not.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use mintmark::broker::directory::{Directory, Notice};
use mintmark::broker::mail::MailError;
use mintmark::broker::{Authentication, BrokerError, MailConfig};
use mintmark::credential::Secret;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a mail server took in.
#[derive(Debug)]
struct Mail {
    from: String,
    to: String,
    login: Option<String>,
    text: String,
}

/// A mail server that says `refusal` to every recipient, if it is given.
fn post_office(refusal: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<Mail>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that hangs up has nothing more to say.
            let _ = talk(&stream, refusal, &sender);
        }
    });
    (address, receiver)
}

fn talk(
    stream: &TcpStream,
    refusal: Option<&str>,
    taken: &mpsc::Sender<Mail>,
) -> std::io::Result<()> {
    let mut writer = stream;
    let mut lines = BufReader::new(stream).lines();
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes());
    say("220 post.example ESMTP")?;
    let (mut from, mut to, mut login) = (String::new(), String::new(), None);
    while let Some(line) = lines.next().transpose()? {
        let word = line
            .split([' ', ':'])
            .next()
            .unwrap_or_default()
            .to_uppercase();
        match word.as_str() {
            "EHLO" => say("250-post.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME")?,
            "AUTH" => {
                login = line.rsplit(' ').next().map(str::to_owned);
                say("235 welcome")?;
            }
            "MAIL" => {
                from = line;
                say("250 yes")?;
            }
            "RCPT" => {
                to = line;
                say(refusal.unwrap_or("250 yes"))?;
            }
            "DATA" => {
                say("354 go on")?;
                let mut text = String::new();
                for line in lines.by_ref() {
                    let line = line?;
                    if line == "." {
                        break;
                    }
                    text.push_str(&line);
                    text.push('\n');
                }
                let mail = Mail {
                    from: from.clone(),
                    to: to.clone(),
                    login: login.clone(),
                    text,
                };
                let _ = taken.send(mail);
                say("250 taken")?;
            }
            "QUIT" => return say("221 bye"),
            _ => say("250 yes")?,
        }
    }
    Ok(())
}

fn directory(administrator: &str) -> Arc<Directory> {
    let directory = Directory::in_memory().unwrap();
    directory.add_enterprise(Some(ENTERPRISE), "Acme").unwrap();
    directory
        .add_administrator(ENTERPRISE, administrator)
        .unwrap();
    directory
        .create_app("Löader", ENTERPRISE, Authentication::Jwt)
        .unwrap();
    Arc::new(directory)
}

fn start(directory: &Arc<Directory>, mail: MailConfig) -> Result<Broker, BrokerError> {
    Broker::start(BrokerConfig {
        directory: Some(Arc::clone(directory)),
        mail: Some(mail),
        ..BrokerConfig::default()
    })
}

fn by(server: String) -> MailConfig {
    MailConfig {
        server,
        from: "Broker <broker@example.com>".to_owned(),
        password: None,
    }
}

/// Waits until the only notice is as it should be.
fn wait_for(directory: &Directory, is_done: impl Fn(&Notice) -> bool) -> Notice {
    let begun = std::time::Instant::now();
    loop {
        let notice = directory.notices().unwrap().remove(0);
        if is_done(&notice) {
            return notice;
        }
        assert!(begun.elapsed() < PATIENCE, "{notice:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_submitted_app_is_told_of_by_mail() {
    let (address, taken) = post_office(None);
    let directory = directory("ann@example.com");
    let config = MailConfig {
        password: Some(Secret::from("s3cret")),
        ..by(format!("smtp://broker@{address}"))
    };
    let _broker = start(&directory, config).unwrap();
    directory.submit("Löader").unwrap();
    let mail = taken.recv_timeout(PATIENCE).unwrap();
    assert!(mail.from.contains("<broker@example.com>"), "{mail:?}");
    assert!(mail.to.contains("<ann@example.com>"), "{mail:?}");
    let plain = base64::engine::general_purpose::STANDARD.encode("\0broker\0s3cret");
    assert_eq!(mail.login, Some(plain));
    assert!(mail.text.contains("Subject: "), "{mail:?}");
    assert!(mail.text.contains("From: Broker <broker@example.com>"));
    assert!(mail.text.contains("root_readwrite"), "{}", mail.text);
    let notice = wait_for(&directory, |notice| notice.sent_at_s.is_some());
    assert_eq!((notice.attempts, notice.error), (1, None));
    // What was delivered is not delivered again.
    directory.decline("Löader").unwrap();
    directory.submit("Löader").unwrap();
    taken.recv_timeout(PATIENCE).unwrap();
    assert!(taken.recv_timeout(Duration::from_millis(1200)).is_err());
}

#[test]
fn a_refusal_stays_in_the_outbox_with_its_error() {
    let (address, _taken) = post_office(Some("550 nobody of that name"));
    let directory = directory("ann@example.com");
    let _broker = start(&directory, by(format!("smtp://{address}"))).unwrap();
    directory.submit("Löader").unwrap();
    let notice = wait_for(&directory, |notice| notice.error.is_some());
    assert_eq!(notice.sent_at_s, None);
    let error = notice.error.unwrap();
    assert!(error.contains("nobody of that name"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_keeps_nobody_waiting() {
    // It takes connections and never says a word.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = directory("ann@example.com");
    let config = by(format!("smtp://{}", mute.local_addr().unwrap()));
    let broker = start(&directory, config).unwrap();
    directory.submit("Löader").unwrap();
    let stream = mute.accept().unwrap();
    let health = format!("{}/healthz", broker.url());
    let answer = Answer::of(reqwest::Client::new().get(health)).await;
    assert_eq!(answer.status, 200);
    directory.authorize("Löader").unwrap();
    drop(stream);
    drop(mute);
    let notice = wait_for(&directory, |notice| notice.error.is_some());
    assert_eq!((notice.attempts, notice.sent_at_s), (1, None));
}

#[test]
fn who_has_no_address_gets_no_mail_and_is_shown_so() {
    let (address, _taken) = post_office(None);
    let directory = directory("the boss");
    let _broker = start(&directory, by(format!("smtp://{address}"))).unwrap();
    directory.submit("Löader").unwrap();
    let notice = wait_for(&directory, |notice| notice.error.is_some());
    assert!(notice.error.unwrap().contains("the boss"));
}

#[test]
fn two_brokers_deliver_a_notice_once() {
    let (address, taken) = post_office(None);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apps.db");
    let open = || Arc::new(Directory::open(&path).unwrap());
    let (one, other) = (open(), open());
    one.add_enterprise(Some(ENTERPRISE), "Acme").unwrap();
    one.add_administrator(ENTERPRISE, "ann@example.com")
        .unwrap();
    let brokers =
        [&one, &other].map(|directory| start(directory, by(format!("smtp://{address}"))).unwrap());
    for name in ["A", "B", "C", "D"] {
        one.create_app(name, ENTERPRISE, Authentication::Jwt)
            .unwrap();
        one.submit(name).unwrap();
    }
    for _ in 0..4 {
        taken.recv_timeout(PATIENCE).unwrap();
    }
    assert!(taken.recv_timeout(Duration::from_millis(1200)).is_err());
    drop(brokers);
}

#[test]
fn a_mail_server_that_cannot_be_one_is_refused_at_the_start() {
    let directory = directory("ann@example.com");
    let refused = start(&directory, by("mail.example.com".to_owned()));
    assert!(matches!(
        refused,
        Err(BrokerError::Mail(MailError::Server(_)))
    ));
}
