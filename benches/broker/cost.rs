//! What does a token cost, against what it cannot do without?

use std::fs;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mintmark::broker::admission::VerifyingKey;
use mintmark::broker::jose::{Compact, MAX_SIGNATURE};
use mintmark::broker::{Broker, BrokerConfig, KeyRegistration, Limits};
use mintmark::clock::thread_cpu;
use mintmark::signer::Algorithm;
use mintmark::stats::order;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::requests::{Client, Signing, now_s, request};

/// As many connections as the peers were measured with.
const CONNECTIONS: usize = 4;

/// Requests in a block.
const BLOCK: usize = 500;

/// How much of the bare handler's time a token may cost besides the
/// verification.
const SHARE: f64 = 1.25;

/// Two and a half per cent on either side.
const TAIL: f64 = 0.025;

/// Says what a token costs and whether that is little enough.
pub fn measure(is_quick: bool) -> bool {
    let rounds = if is_quick { 6 } else { 30 };
    let mut signing = Signing::new();
    let broker = Broker::start(BrokerConfig {
        apps: vec![signing.app()],
        ..BrokerConfig::default()
    })
    .expect("the broker starts");
    let broker_thread = broker.worker_threads()[0];
    let mut to_broker = Client::to(broker.addr(), CONNECTIONS);
    let answer = to_broker.ask_all(&sign(&mut signing, 1));
    let bare = Bare::start(&answer);
    let mut to_bare = Client::to(bare.address, CONNECTIONS);
    let same = to_bare.ask_all(&sign(&mut signing, 1));
    assert_eq!(same.len(), answer.len(), "the answers are equally long");
    let key = VerifyingKey::admit(&KeyRegistration::new("kid0000a", signing.key.clone()))
        .expect("the key is sound");

    // Warm caches, connections and branch predictors.
    to_broker.ask_all(&sign(&mut signing, BLOCK));
    to_bare.ask_all(&sign(&mut signing, BLOCK));
    let mut found = Found::default();
    let begun = Instant::now();
    let mut answered = 0;
    for round in 0..rounds {
        let mut costs = [0.0; 3];
        // A B C C B A: whatever drifts, drifts through all of them.
        let arms = [0, 1, 2, 2, 1, 0];
        for arm in arms {
            let assertions: Vec<_> = (0..BLOCK)
                .map(|_| signing.assertion(now_s() + 50))
                .collect();
            let requests: Vec<_> = assertions.iter().map(|one| request(one)).collect();
            let spent = match arm {
                0 => {
                    answered += BLOCK;
                    spent_by(broker_thread, || to_broker.ask_all(&requests))
                }
                1 => spent_by(bare.thread, || to_bare.ask_all(&requests)),
                _ => verify_all(&key, &assertions),
            };
            costs[arm] += spent.as_secs_f64() * 1e6 / (2 * BLOCK) as f64;
        }
        if round > 0 {
            found.add(costs);
        }
    }
    assert_eq!(broker.stats().granted, (answered + BLOCK + 1) as u64);
    println!(
        "\n{} rounds of 3 x {} requests over {CONNECTIONS} connections in {:.0} s",
        rounds - 1,
        2 * BLOCK,
        begun.elapsed().as_secs_f64()
    );
    found.tell()
}

/// What every round found, in microseconds of processor time.
#[derive(Default)]
struct Found {
    token: Vec<f64>,
    bare: Vec<f64>,
    verification: Vec<f64>,
    ratio: Vec<f64>,
    own: Vec<f64>,
}

impl Found {
    fn add(&mut self, [token, bare, verification]: [f64; 3]) {
        self.token.push(token);
        self.bare.push(bare);
        self.verification.push(verification);
        self.ratio.push(token / (verification + SHARE * bare));
        self.own.push(token - verification - bare);
    }

    fn tell(&mut self) -> bool {
        let line = |name: &str, unit: &str, values: &mut Vec<f64>| {
            order::sort(values);
            let median = order::quantile(values, 0.5).unwrap_or(f64::NAN);
            let bounds = order::median_bounds(values, TAIL);
            let (low, high) = bounds.unwrap_or((f64::NAN, f64::NAN));
            println!("{name:<34} {median:8.3} {unit:<3} (95 %: {low:.3} to {high:.3})");
            high
        };
        line("a token", "us", &mut self.token);
        line("a bare handler", "us", &mut self.bare);
        line("one RSA-2048 verification", "us", &mut self.verification);
        line("beyond both", "us", &mut self.own);
        let highest = line("token / (verification + 1.25 bare)", "", &mut self.ratio);
        println!("goal: at most 1, with its upper bound");
        highest <= 1.0
    }
}

fn sign(signing: &mut Signing, count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| request(&signing.assertion(now_s() + 50)))
        .collect()
}

fn verify_all(key: &VerifyingKey, assertions: &[String]) -> Duration {
    let mut buffers = vec![[0; MAX_SIGNATURE]; assertions.len()];
    let split: Vec<_> = assertions
        .iter()
        .zip(&mut buffers)
        .map(|(assertion, buffer)| {
            let compact = Compact::split(assertion).expect("it is well formed");
            let signature = compact.signature(buffer).expect("it is well formed");
            (compact.signing_input(), signature)
        })
        .collect();
    let begun = thread_cpu();
    for (message, signature) in split {
        assert!(key.verifies(Algorithm::Rs256, black_box(message), black_box(signature)));
    }
    thread_cpu() - begun
}

/// Returns the processor time of another thread during `work`.
fn spent_by<T>(thread: i32, work: impl FnOnce() -> T) -> Duration {
    let before = cpu_of(thread);
    black_box(work());
    // What follows the last answer belongs to it: the thread goes to sleep.
    std::thread::sleep(Duration::from_millis(2));
    cpu_of(thread) - before
}

fn cpu_of(thread: i32) -> Duration {
    let path = format!("/proc/self/task/{thread}/schedstat");
    let text = fs::read_to_string(path).expect("the kernel tells what threads use");
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.expect("the first figure is nanoseconds"))
}

/// A handler that reads a body and answers with bytes that it has, on a
/// runtime with one thread, with the broker's limits.
struct Bare {
    address: SocketAddr,
    thread: i32,
    _runtime: Runtime,
}

struct Canned {
    headers: HeaderMap,
    body: Bytes,
}

impl Bare {
    fn start(answer: &[u8]) -> Self {
        let canned = Arc::new(Canned::of(answer));
        let (tell, told) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || {
                let id = rustix::thread::gettid().as_raw_nonzero().get();
                let _ = tell.send(id);
            })
            .enable_all()
            .build()
            .expect("the system gives a thread");
        let thread = told.recv().expect("the thread starts");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(serve(listener, canned));
        Self {
            address,
            thread,
            _runtime: runtime,
        }
    }
}

async fn serve(listener: TcpListener, canned: Arc<Canned>) {
    let limits = Limits::default();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_head_bytes)
        .max_buf_size(limits.max_head_bytes)
        .auto_date_header(false)
        .half_close(false);
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (http, canned) = (http.clone(), Arc::clone(&canned));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&canned)));
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    canned: Arc<Canned>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    black_box(request.into_body().collect().await?.to_bytes());
    let mut response = Response::new(Full::new(canned.body.clone()));
    *response.headers_mut() = canned.headers.clone();
    Ok(response)
}

impl Canned {
    fn of(answer: &[u8]) -> Self {
        let text = String::from_utf8(answer.to_vec()).expect("answers are text");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a head");
        let mut headers = HeaderMap::new();
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(": ").expect("it is a field");
            let name = header::HeaderName::try_from(name).expect("it is a name");
            // The library writes it by itself, as it does for the broker.
            if name != header::CONTENT_LENGTH {
                headers.insert(name, HeaderValue::try_from(value).expect("it is a value"));
            }
        }
        Self {
            headers,
            body: Bytes::from(body.to_owned()),
        }
    }
}
