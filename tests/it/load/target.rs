//! A token endpoint that does what a test tells it to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the endpoint does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Writes these bytes.
    Write(Vec<u8>),
    /// Writes the first to every so-manieth request, and the second to others.
    Alternate(usize, Vec<u8>, Vec<u8>),
    /// Writes these bytes and closes the connection.
    WriteAndClose(Vec<u8>),
    /// Writes one byte after the other, with pauses.
    Drip(Vec<u8>, Duration),
    /// Writes the head at once and the body as [`Self::Drip`] does.
    DripBody(Vec<u8>, Duration),
    /// Closes without an answer, so that the peer sees a reset.
    Reset,
    /// Never answers.
    Silence,
    /// Writes the first bytes and then nothing.
    Begin(Vec<u8>),
}

pub const BODY: &str = r#"{"access_token":"t0ken","expires_in":3600,"token_type":"bearer"}"#;

pub fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn ok() -> Vec<u8> {
    answer("200 OK", "", BODY)
}

/// A running endpoint, on one thread of its own.
pub struct Target {
    pub address: SocketAddr,
    end: Arc<AtomicBool>,
    /// When the thread slept, and for how long.
    pub freezes: Arc<Mutex<Vec<(Instant, Duration)>>>,
    /// The first requests.
    pub requests: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The last request.
    pub last: Arc<Mutex<Option<Vec<u8>>>>,
    /// When each request was there as a whole.
    pub served: Arc<Mutex<Vec<Instant>>>,
    thread: Option<JoinHandle<()>>,
}

impl Target {
    pub fn new(act: Act) -> Self {
        Self::start("127.0.0.1:0".parse().unwrap(), act, None)
    }

    /// Answers, but for `length` in the middle of each `period`, when its whole
    /// thread sleeps.
    pub fn freezing(period: Duration, length: Duration) -> Self {
        Self::start(
            "127.0.0.1:0".parse().unwrap(),
            Act::Write(ok()),
            Some((period, length)),
        )
    }

    pub fn start(listen: SocketAddr, act: Act, freeze: Option<(Duration, Duration)>) -> Self {
        let socket = std::net::TcpListener::bind(listen).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let freezes = Arc::new(Mutex::new(Vec::new()));
        let kept = Kept::default();
        let Kept {
            requests,
            last,
            served,
        } = kept.clone();
        let (ending, log) = (Arc::clone(&end), Arc::clone(&freezes));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(socket).unwrap();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, act.clone(), kept.clone()));
                    }
                });
                let mut last = Instant::now();
                if let Some((period, length)) = freeze {
                    last -= (period - length) / 2;
                }
                while !ending.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    if let Some((period, length)) = freeze
                        && last.elapsed() >= period - length
                    {
                        let begun = Instant::now();
                        thread::sleep(length);
                        log.lock().unwrap().push((begun, begun.elapsed()));
                        last = Instant::now();
                    }
                }
            });
        });
        Self {
            address,
            end,
            freezes,
            requests,
            last,
            served,
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/oauth2/token", self.address)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an endpoint keeps of its requests.
#[derive(Clone, Default)]
struct Kept {
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    last: Arc<Mutex<Option<Vec<u8>>>>,
    served: Arc<Mutex<Vec<Instant>>>,
}

impl Kept {
    /// Keeps a request; returns its number, from 0.
    fn keep(&self, request: Vec<u8>) -> usize {
        let number = {
            let mut served = self.served.lock().unwrap();
            served.push(Instant::now());
            served.len() - 1
        };
        let mut requests = self.requests.lock().unwrap();
        if requests.len() < 10 {
            requests.push(request.clone());
        }
        *self.last.lock().unwrap() = Some(request);
        number
    }
}

async fn serve(mut stream: TcpStream, act: Act, kept: Kept) {
    stream.set_nodelay(true).unwrap();
    let mut input = Vec::new();
    while let Ok(count) = stream.read_buf(&mut input).await {
        if count == 0 {
            return;
        }
        while let Some(length) = request_length(&input) {
            let request: Vec<u8> = input.drain(..length).collect();
            let number = kept.keep(request);
            match &act {
                Act::Write(bytes) | Act::Begin(bytes) => {
                    stream.write_all(bytes).await.unwrap_or(());
                }
                Act::Alternate(each, first, others) => {
                    let bytes = if number.is_multiple_of(*each) {
                        first
                    } else {
                        others
                    };
                    stream.write_all(bytes).await.unwrap_or(());
                }
                Act::WriteAndClose(bytes) => {
                    stream.write_all(bytes).await.unwrap_or(());
                    return;
                }
                Act::Drip(bytes, pause) | Act::DripBody(bytes, pause) => {
                    let at_once = match act {
                        Act::DripBody(..) => bytes.len() - BODY.len(),
                        _ => 0,
                    };
                    stream.write_all(&bytes[..at_once]).await.unwrap_or(());
                    for byte in &bytes[at_once..] {
                        if stream.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                        if !pause.is_zero() {
                            tokio::time::sleep(*pause).await;
                        }
                    }
                }
                Act::Reset => return,
                Act::Silence => {}
            }
        }
    }
}

pub fn request_length(input: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(input).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")
                .map(str::to_owned)
        })
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_default();
    let whole = head.len() + 4 + length;
    (input.len() >= whole).then_some(whole)
}
