//! By TLS, a proxy, a socket or a name: the same outcomes with each transport.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mintmark::load::open::{OpenMeasured, OpenPlan};
use mintmark::load::transport::{Kind, Limits, Proxy, Tls};
use mintmark::record::{Packed, Stages};

use super::secure::{SecureTarget, certificate, trust};
use super::target::{Act, Target, ok, request_length};
use super::{all, counts, plan, run};

const KINDS: [Kind; 3] = [Kind::Lean, Kind::Hyper, Kind::Reqwest];

/// Twenty requests over one connection at a time.
fn twenty(kind: Kind) -> OpenPlan {
    OpenPlan {
        transport: kind,
        connections: 1,
        ..plan(200.0, Duration::from_millis(100))
    }
}

fn only(outcome: &str, measured: &OpenMeasured) {
    let found = counts(measured);
    assert_eq!(found.get(outcome), Some(&20), "{found:?}");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn an_authority_of_ones_own_is_trusted_and_each_part_is_timed() {
    for kind in KINDS {
        let target = SecureTarget::new(false);
        let plan = OpenPlan {
            tls: trust(false),
            ..twenty(kind)
        };
        let measured = run(&plan, &target.url());
        only("answered", &measured);
        assert_eq!(target.seen.full.load(Ordering::Relaxed), 1, "{kind:?}");
        if kind == Kind::Reqwest {
            continue;
        }
        assert_eq!(measured.opened.connections, 1);
        assert_eq!(measured.opened.tls_full, 1);
        let count = |of: fn(&Stages) -> &Packed| all(&measured, of).count();
        assert_eq!(count(|stages| &stages.dns), 1);
        assert_eq!(count(|stages| &stages.connect), 1);
        assert_eq!(count(|stages| &stages.tls), 1);
        assert_eq!(count(|stages| &stages.first_byte), 20);
        assert_eq!(count(|stages| &stages.body), 20);
        // A handshake takes longer than knowing one's own name.
        let tls = all(&measured, |stages| &stages.tls).max().unwrap();
        assert!(tls > Duration::from_micros(100), "{tls:?}");
    }
}

#[test]
fn a_client_shows_its_certificate_or_is_turned_away() {
    for kind in KINDS {
        for has_client in [true, false] {
            let target = SecureTarget::new(true);
            let plan = OpenPlan {
                tls: trust(has_client),
                ..twenty(kind)
            };
            let measured = run(&plan, &target.url());
            only(
                if has_client { "answered" } else { "tls_failed" },
                &measured,
            );
            let shown = target.seen.clients.load(Ordering::Relaxed);
            assert_eq!(shown, usize::from(has_client), "{kind:?}");
        }
    }
}

#[test]
fn sessions_are_resumed_or_not_as_the_plan_says() {
    for kind in KINDS {
        for resumes in [true, false] {
            let target = SecureTarget::new(false);
            let plan = OpenPlan {
                is_kept: false,
                tls: Tls {
                    is_full_handshake_only: !resumes,
                    ..trust(false)
                },
                ..twenty(kind)
            };
            let measured = run(&plan, &target.url());
            only("answered", &measured);
            let resumed = target.seen.resumed.load(Ordering::Relaxed);
            let full = target.seen.full.load(Ordering::Relaxed);
            let expected = if resumes { (19, 1) } else { (0, 20) };
            assert_eq!((resumed, full), expected, "{kind:?}");
            if kind != Kind::Reqwest {
                let opened = measured.opened;
                assert_eq!(opened.connections, 20);
                assert_eq!(
                    (opened.tls_resumed, opened.tls_full),
                    (resumed as u64, full as u64)
                );
            }
        }
    }
}

#[test]
fn a_certificate_that_is_wrong_is_a_failure_of_tls() {
    let expired = || {
        (
            SecureTarget::with(certificate("localhost", true), false),
            trust(false),
        )
    };
    let other_name = || {
        (
            SecureTarget::with(certificate("elsewhere", false), false),
            trust(false),
        )
    };
    let unknown = || {
        let stranger = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        let tls = Tls {
            trusted_pem: Some(stranger.cert.pem().into_bytes()),
            ..Tls::default()
        };
        (SecureTarget::new(false), tls)
    };
    let cases: [&dyn Fn() -> (SecureTarget, Tls); 3] = [&expired, &other_name, &unknown];
    for (number, case) in cases.into_iter().enumerate() {
        for kind in KINDS {
            let (target, tls) = case();
            let plan = OpenPlan {
                tls,
                ..twenty(kind)
            };
            let measured = run(&plan, &target.url());
            let found = counts(&measured);
            assert_eq!(
                found.get("tls_failed"),
                Some(&20),
                "{number} {kind:?}: {found:?}"
            );
        }
    }
}

/// A proxy that notes the heads that it reads. It lets through whoever says
/// `login`, if that is given.
struct ProxyServer {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ProxyServer {
    fn new(login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let heads = Arc::clone(&kept);
                thread::spawn(move || drop(pass(stream.unwrap(), login, &heads)));
            }
        });
        Self { url, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn pass(
    mut client: TcpStream,
    login: Option<&str>,
    heads: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        input.extend_from_slice(&chunk[..count]);
        while let Some(length) = request_length(&input) {
            let request: Vec<u8> = input.drain(..length).collect();
            let text = String::from_utf8_lossy(&request).into_owned();
            let head = text.split("\r\n\r\n").next().unwrap().to_owned();
            heads.lock().unwrap().push(head.clone());
            let is_known = login.is_none_or(|login| {
                head.to_ascii_lowercase().contains(&format!(
                    "proxy-authorization: {}",
                    login.to_ascii_lowercase()
                ))
            });
            if !is_known {
                client.write_all(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
                )?;
                continue;
            }
            let mut words = head.split(' ');
            if words.next() != Some("CONNECT") {
                client.write_all(&ok())?;
                continue;
            }
            let to = words.next().unwrap().replace("localhost", "127.0.0.1");
            let mut server = TcpStream::connect(to)?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let (mut from, mut back) = (server.try_clone()?, client.try_clone()?);
            thread::spawn(move || std::io::copy(&mut from, &mut back));
            std::io::copy(&mut client, &mut server)?;
            return server.shutdown(std::net::Shutdown::Write);
        }
    }
}

/// `name:s3cret`.
const LOGIN: &str = "Basic bmFtZTpzM2NyZXQ=";

#[test]
fn a_proxy_is_told_the_whole_url_or_asked_for_a_tunnel() {
    for kind in KINDS {
        for login in [None, Some(LOGIN)] {
            let way = |proxy: &ProxyServer| {
                let to = Proxy::of(&proxy.url).unwrap();
                Some(if login.is_some() {
                    to.with_login("name:s3cret")
                } else {
                    to
                })
            };
            let proxy = ProxyServer::new(login);
            let plain = OpenPlan {
                proxy: way(&proxy),
                ..twenty(kind)
            };
            only(
                "answered",
                &run(&plain, "http://endpoint.test/oauth2/token"),
            );
            assert!(
                proxy.heads()[0].starts_with("POST http://endpoint.test/oauth2/token HTTP/1.1"),
                "{kind:?}: {:?}",
                proxy.heads()[0]
            );
            let (proxy, target) = (ProxyServer::new(login), SecureTarget::new(false));
            let tunnelled = OpenPlan {
                proxy: way(&proxy),
                tls: trust(false),
                ..twenty(kind)
            };
            only("answered", &run(&tunnelled, &target.url()));
            let heads = proxy.heads();
            assert_eq!(heads.len(), 1, "{kind:?}: nothing but the tunnel is seen");
            let asked = format!("CONNECT localhost:{} HTTP/1.1", target.address.port());
            assert!(heads[0].starts_with(&asked), "{kind:?}: {:?}", heads[0]);
            assert!(!format!("{tunnelled:?}").contains("s3cret"));
        }
    }
}

#[test]
fn a_proxy_that_refuses_is_no_fault_of_the_endpoint() {
    for kind in KINDS {
        let proxy = ProxyServer::new(Some(LOGIN));
        let way = Some(Proxy::of(&proxy.url).unwrap());
        let tunnelled = OpenPlan {
            proxy: way.clone(),
            tls: trust(false),
            ..twenty(kind)
        };
        only("proxy_refused", &run(&tunnelled, "https://localhost:1/t"));
        let plain = OpenPlan {
            proxy: way,
            ..twenty(kind)
        };
        only("http_407", &run(&plain, "http://localhost:1/t"));
    }
}

#[test]
fn a_unix_socket_stands_for_the_host() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoint.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut input = Vec::new();
                    let mut chunk = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut chunk) {
                        input.extend_from_slice(&chunk[..count]);
                        while let Some(length) = request_length(&input) {
                            input.drain(..length);
                            stream.write_all(&ok()).unwrap();
                        }
                    }
                });
            }
        });
        let plan = OpenPlan {
            socket: Some(path),
            ..twenty(kind)
        };
        only("answered", &run(&plan, "http://endpoint.test/oauth2/token"));
    }
}

#[test]
fn a_name_without_an_address_is_a_failure_of_its_own() {
    for kind in KINDS {
        only("dns_failed", &run(&twenty(kind), "http://nobody.invalid/t"));
    }
}

/// Accepts into its queue, which is full: nobody takes connections from it.
fn full_backlog() -> (TcpListener, Vec<TcpStream>, String) {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket,
    };
    let owned = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&owned);
    bind(fd, &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&owned, Backlog::new(0).unwrap()).unwrap();
    let listener = TcpListener::from(owned);
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    (listener, waiting, format!("http://{address}/t"))
}

#[test]
fn an_endpoint_that_takes_no_connection_is_given_up_in_time() {
    let (_listener, _waiting, url) = full_backlog();
    for kind in KINDS {
        let plan = OpenPlan {
            connections: 20,
            limits: Limits {
                connect: Duration::from_millis(60),
                ..Limits::each(Duration::from_secs(20))
            },
            ..twenty(kind)
        };
        only("timed_out_connect", &run(&plan, &url));
    }
}

#[test]
fn an_endpoint_that_says_nothing_about_tls_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/t",
        silent.local_addr().unwrap().port()
    );
    for kind in KINDS {
        let plan = OpenPlan {
            connections: 20,
            tls: trust(false),
            limits: Limits {
                connect: Duration::from_millis(200),
                tls: Duration::from_millis(60),
                ..Limits::each(Duration::from_secs(20))
            },
            ..twenty(kind)
        };
        let expected = match kind {
            // Its one time-out for connecting covers both.
            Kind::Reqwest => "timed_out_connect",
            _ => "timed_out_tls",
        };
        only(expected, &run(&plan, &url));
    }
}

#[test]
fn the_whole_request_has_a_time_out_over_those_of_its_parts() {
    for kind in KINDS {
        let target = Target::new(Act::Drip(ok(), Duration::from_millis(20)));
        let plan = OpenPlan {
            connections: 20,
            limits: Limits {
                whole: Duration::from_millis(80),
                ..Limits::each(Duration::from_secs(20))
            },
            ..twenty(kind)
        };
        only("timed_out", &run(&plan, &target.url()));
    }
}

#[test]
fn two_addresses_of_a_name_are_tried_until_one_answers() {
    // `localhost` is ::1 as well, where nobody listens.
    let target = Target::new(Act::Write(ok()));
    let url = target.url().replace("127.0.0.1", "localhost");
    for kind in KINDS {
        let plan = OpenPlan {
            is_kept: false,
            ..twenty(kind)
        };
        only("answered", &run(&plan, &url));
    }
}
