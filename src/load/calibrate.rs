//! What does this machine do against a target that does nothing?
//!
//! A thread of this process answers every request with the same bytes. The
//! highest rate against it is the machine's *ceiling*, and the response time at
//! a tenth of that rate its *floor*: no endpoint can be measured to do better
//! from here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::arrival::{Arrival, Rate, Spacing};
use super::assertions::Mode;
use super::open::{Model, OpenError, OpenPlan, run_open};
use super::population::Population;
use super::share::Share;
use crate::record::{Calibration, Validity};
use crate::signer::{SignError, Signer};

/// What a token endpoint answers, with a token of the usual size.
const ANSWER_BODY_BYTES: usize = 690;

/// The part of the ceiling at which the floor is taken.
const FLOOR_SHARE: f64 = 0.1;

/// Measures ceiling and floor within about `budget`, with the connections,
/// the threads and the transport of `plan`. Nothing is signed for it.
///
/// # Errors
///
/// The target could not listen, or the load could not begin.
pub fn calibrate(
    plan: &OpenPlan,
    population: &Population,
    budget: Duration,
    stop: &AtomicBool,
) -> Result<Calibration, OpenError> {
    let target = NullTarget::start().map_err(OpenError::Runtime)?;
    let unsigned = Arc::new(unsigned(population));
    let half = budget / 2;
    let run = |model| {
        let plan = OpenPlan {
            share: Share::whole(),
            begins_ns: None,
            warm_up: half / 5,
            measure: half * 4 / 5,
            drain: Duration::from_millis(200),
            slice: half,
            count: None,
            drop_after: None,
            retries: None,
            cache: None,
            socket: None,
            proxy: None,
            signing: Mode::Inline,
            token_field: "access_token".to_owned(),
            ..plan.clone()
        };
        let plan = OpenPlan { model, ..plan };
        run_open(&plan, &target.url(), &unsigned, &[], stop, |_| ())
    };
    let at_most = run(Model::Closed {
        think: Duration::ZERO,
    })?;
    let seconds = at_most.phases.measured_ns.max(1) as f64 / 1e9;
    let ceiling_per_s = at_most.accounts.answered as f64 / seconds;
    let at_ease = run(Model::Open(Arrival::Drawn {
        rate: Rate::constant((ceiling_per_s * FLOOR_SHARE).max(1.0), half),
        spacing: Spacing::Poisson,
        seed: 1,
    }))?;
    let quantile = |q| {
        at_ease.latencies.response.quantile(q).map_or(0, |found| {
            u64::try_from(found.as_nanos()).unwrap_or(u64::MAX)
        })
    };
    Ok(Calibration {
        ceiling_per_s,
        floor_p50_ns: quantile(0.5),
        floor_p99_ns: quantile(0.99),
    })
}

/// Is there room between an offered rate and the ceiling?
#[must_use]
pub fn headroom(calibration: &Calibration, offered_per_s: f64) -> Validity {
    if offered_per_s > calibration.ceiling_per_s * 0.6 {
        Validity::Suspect
    } else {
        Validity::Valid
    }
}

/// The same population, whose signatures are zeros.
fn unsigned(population: &Population) -> Population {
    struct Zeros(usize);
    impl Signer for Zeros {
        fn signature_len(&self) -> usize {
            self.0
        }

        fn sign(&self, _message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
            signature.fill(0);
            Ok(())
        }
    }
    let members = population
        .members()
        .iter()
        .map(|member| super::population::Member {
            signer: Arc::new(Zeros(member.signer.signature_len())),
            ..member.clone()
        })
        .collect();
    Population::new(members, None, 0)
}

/// A target that answers every request alike, on a thread of its own.
pub struct NullTarget {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl NullTarget {
    /// Starts one on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// The system gives no port or no thread.
    pub fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let thread = thread::Builder::new()
            .name("null-target".into())
            .spawn(move || {
                runtime.block_on(async {
                    let Ok(listener) = TcpListener::from_std(listener) else {
                        return;
                    };
                    tokio::select! {
                        () = accept(listener) => {}
                        _ = ended => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Returns the URL of its token endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/oauth2/token", self.address)
    }
}

impl Drop for NullTarget {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It answers constant bytes and has nothing that could panic.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener) {
    let answer: Arc<[u8]> = answer().into();
    while let Ok((mut stream, _)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut input = Vec::with_capacity(4096);
            while let Ok(count) = stream.read_buf(&mut input).await {
                if count == 0 {
                    return;
                }
                while let Some(length) = request_length(&input) {
                    input.drain(..length);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Returns the length of the first request, once it is there as a whole.
fn request_length(input: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(input).ok()? else {
        return None;
    };
    let body: usize = request
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok())
        .unwrap_or_default();
    (input.len() >= head + body).then_some(head + body)
}

fn answer() -> Vec<u8> {
    let around =
        r#"{"access_token":"","expires_in":3600,"restricted_to":[],"token_type":"bearer"}"#;
    let token = "t".repeat(ANSWER_BODY_BYTES - around.len());
    let body = around.replacen(":\"\"", &format!(":\"{token}\""), 1);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::population::fake;

    #[test]
    fn a_machine_has_a_ceiling_and_a_floor() {
        let population = Population::new(vec![fake::member(3, 1.0)], None, 1);
        let plan = OpenPlan {
            connections: 4,
            ..OpenPlan::new(Model::Closed {
                think: Duration::ZERO,
            })
        };
        let stop = AtomicBool::new(false);
        let calibration = calibrate(&plan, &population, Duration::from_millis(600), &stop).unwrap();
        assert!(calibration.ceiling_per_s > 100.0, "{calibration:?}");
        assert!(calibration.floor_p50_ns > 1_000);
        assert!(calibration.floor_p50_ns <= calibration.floor_p99_ns);
        assert_eq!(headroom(&calibration, 1.0), Validity::Valid);
        assert_eq!(
            headroom(&calibration, calibration.ceiling_per_s),
            Validity::Suspect
        );
    }
}
