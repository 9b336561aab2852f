//! How are two builds of this program set against each other?
//!
//! Each build signs in a worker process. The workers of a pair are pinned to
//! the same processor: apart, they settle on processors with different
//! neighbours, and then pairing cancels nothing. Now and then both are
//! replaced by fresh ones on the next processor, always between two quads, so
//! that no verdict rests on the memory layout or the moment of one start.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::GateCase;
use super::backends::Keys;
use super::session::{Arms, Contest};
use super::worker::{Answer, Ask, PROTOCOL, Secret};
use crate::bench::Case;
use crate::bench::arm::{Arm, Block};
use crate::bench::quads::TimedBy;
use crate::signer::{PrivateKey, SignError};

/// The verb by which a build becomes a worker.
pub const VERB: &str = "gate-worker";

/// How long the first pairs of an attempt last: three of them fit before the
/// first usual look. Later pairs last twice as long as the one before.
const PAIR: Duration = Duration::from_millis(600);

/// How long a worker may take for one answer. A block lasts milliseconds; one
/// of the slowest backend, on a machine that swaps, not a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pairs that last [`PAIR`].
const SHORT_PAIRS: usize = 3;

/// Two builds.
pub struct Builds {
    keys: Arc<Keys>,
    paths: [PathBuf; 2],
    processors: Vec<usize>,
    next_processor: usize,
    stage: Option<Rc<RefCell<Stage>>>,
}

impl Builds {
    /// Sets the builds at two paths against each other.
    #[must_use]
    pub fn new(keys: Arc<Keys>, baseline: &Path, candidate: &Path) -> Self {
        let processors = sched_getaffinity(None).map_or_else(
            |_| Vec::new(),
            |set| {
                (0..CpuSet::MAX_CPU)
                    .filter(|cpu| set.is_set(*cpu))
                    .collect()
            },
        );
        Self {
            keys,
            paths: [baseline.to_owned(), candidate.to_owned()],
            processors,
            next_processor: 0,
            stage: None,
        }
    }
}

impl Contest for Builds {
    fn baseline(&self) -> String {
        self.paths[0].display().to_string()
    }

    fn candidate(&self) -> String {
        self.paths[1].display().to_string()
    }

    fn arms(&mut self, case: &GateCase, is_control: bool) -> Result<Arms<'_>, String> {
        let cases = [case.baseline.clone(), case.candidate.clone()];
        let key = self
            .keys
            .get(&cases[0])
            .ok_or("there is no key of this kind")?;
        let candidate = usize::from(!is_control);
        // Threads need processors of their own.
        let processors = if case.baseline.threads > 1 {
            Vec::new()
        } else {
            self.processors.clone()
        };
        self.next_processor += 1;
        let mut stage = Stage {
            sides: [
                Side::new(&self.paths[0], &cases[0]),
                Side::new(&self.paths[candidate], &cases[candidate]),
            ],
            key: Arc::clone(&key.key),
            processors,
            next_processor: self.next_processor,
            pairs: 0,
            until: Instant::now(),
            lasts: PAIR,
            is_measuring: false,
            failure: None,
        };
        stage.begin_pair()?;
        let hidden = stage.sides.iter().any(|side| side.has_hidden_threads);
        let stage = Rc::new(RefCell::new(stage));
        self.stage = Some(Rc::clone(&stage));
        let arm = |side| -> Box<dyn Arm> {
            Box::new(WorkerArm {
                side,
                threads: case.baseline.threads,
                stage: Rc::clone(&stage),
            })
        };
        Ok(Arms {
            arms: [arm(0), arm(1)],
            by: hidden.then_some(TimedBy::ProcessCpu),
        })
    }

    fn failure(&self) -> Option<String> {
        self.stage.as_ref()?.borrow().failure.clone()
    }

    fn pairs(&self) -> usize {
        self.stage.as_ref().map_or(0, |stage| stage.borrow().pairs)
    }
}

/// What the two arms of an attempt share.
struct Stage {
    sides: [Side; 2],
    key: Arc<PrivateKey>,
    processors: Vec<usize>,
    next_processor: usize,
    pairs: usize,
    until: Instant,
    lasts: Duration,
    /// Has the warm-up ended? Its blocks come one side after the other.
    is_measuring: bool,
    failure: Option<String>,
}

/// One build at work.
struct Side {
    path: PathBuf,
    case: Case,
    worker: Option<Worker>,
    signatures: Option<usize>,
    least_signatures: usize,
    has_hidden_threads: bool,
    /// Blocks of the present pair.
    blocks: usize,
}

impl Side {
    fn new(path: &Path, case: &Case) -> Self {
        Self {
            path: path.to_owned(),
            case: case.clone(),
            worker: None,
            signatures: None,
            least_signatures: 1,
            has_hidden_threads: false,
            blocks: 0,
        }
    }

    fn begin(&mut self, key: &PrivateKey, processor: Option<usize>) -> Result<(), String> {
        // The old one ends before the new one starts.
        self.worker = None;
        self.blocks = 0;
        let mut worker = Worker::start(&self.path, processor)?;
        let start = Ask::Start {
            protocol: PROTOCOL,
            case: self.case.clone(),
            key: Secret::of(key),
        };
        match worker.ask(&start)? {
            Answer::Ready {
                least_signatures,
                has_hidden_threads,
                ..
            } => {
                self.least_signatures = least_signatures;
                self.has_hidden_threads = has_hidden_threads;
            }
            other => return Err(unexpected(&other)),
        }
        if let Some(signatures) = self.signatures {
            worker.ask(&Ask::SignaturesPerOperation(signatures))?;
            // What a fresh process pays once is not compared.
            for _ in 0..2 {
                worker.ask(&Ask::Run(2))?;
            }
        }
        self.worker = Some(worker);
        Ok(())
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        let worker = self.worker.as_mut().ok_or("its worker has ended")?;
        worker
            .ask(ask)
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

impl Stage {
    /// Starts two fresh workers on the next processor.
    fn begin_pair(&mut self) -> Result<(), String> {
        let processor = (!self.processors.is_empty())
            .then(|| self.processors[self.next_processor % self.processors.len()]);
        self.next_processor += 1;
        for side in &mut self.sides {
            side.begin(&self.key, processor)
                .map_err(|error| format!("{}: {error}", side.path.display()))?;
        }
        if self.pairs >= SHORT_PAIRS {
            self.lasts *= 2;
        }
        self.pairs += 1;
        self.until = Instant::now() + self.lasts;
        Ok(())
    }

    fn run(&mut self, side: usize, ask: &Ask, block: &mut Block) -> Result<Option<u64>, String> {
        let [a, b] = [self.sides[0].blocks, self.sides[1].blocks];
        // Both sides have run the warm-up, which is the same for both.
        if !self.is_measuring && a == b && a > 0 {
            self.is_measuring = true;
            for side in &mut self.sides {
                side.blocks = 0;
            }
            self.until = Instant::now() + self.lasts;
        } else if self.is_measuring && a == b && a % 2 == 0 && Instant::now() >= self.until {
            self.begin_pair()?;
        }
        self.sides[side].blocks += 1;
        let (timed, given_up) = match self.sides[side].ask(ask)? {
            Answer::Block(timed) => (timed, None),
            Answer::Alone(timed, given_up) => (timed, given_up),
            other => return Err(unexpected(&other)),
        };
        *block = merged(std::mem::take(block), timed);
        Ok(given_up)
    }
}

/// Appends one block to another.
fn merged(mut all: Block, more: Block) -> Block {
    if all == Block::default() {
        return more;
    }
    all.cpu_ns.extend(more.cpu_ns);
    all.wall_ns.extend(more.wall_ns);
    all.latency_ns.extend(more.latency_ns);
    all.signatures += more.signatures;
    all.preempted += more.preempted;
    all.thread_cpu_ns += more.thread_cpu_ns;
    all.process_cpu_ns += more.process_cpu_ns;
    all.elapsed_ns += more.elapsed_ns;
    all
}

fn unexpected(answer: &Answer) -> String {
    match answer {
        Answer::Failed(reason) => reason.clone(),
        other => format!("it answered {other:?}, which was not asked"),
    }
}

/// One side, as the schedule of quads sees it.
struct WorkerArm {
    side: usize,
    threads: usize,
    stage: Rc<RefCell<Stage>>,
}

impl WorkerArm {
    fn ask(&mut self, ask: &Ask, block: &mut Block) -> Result<Option<u64>, SignError> {
        let mut stage = self.stage.borrow_mut();
        stage.run(self.side, ask, block).map_err(|reason| {
            stage.failure = Some(reason);
            SignError::Backend { backend: VERB }
        })
    }
}

impl Arm for WorkerArm {
    fn run(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        self.ask(&Ask::Run(operations), block).map(|_| ())
    }

    fn run_alone(&mut self, operations: usize, block: &mut Block) -> Result<(), SignError> {
        self.run_alone_counted(operations, block).map(|_| ())
    }

    // The worker's thread signs; this one only waits for it.
    fn run_alone_counted(
        &mut self,
        operations: usize,
        block: &mut Block,
    ) -> Result<Option<u64>, SignError> {
        self.ask(&Ask::RunAlone(operations), block)
    }

    fn set_signatures_per_operation(&mut self, signatures: usize) {
        let mut stage = self.stage.borrow_mut();
        let side = &mut stage.sides[self.side];
        side.signatures = Some(signatures);
        // If the pipe is broken, the next block says so.
        let _ = side.ask(&Ask::SignaturesPerOperation(signatures));
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn least_signatures(&self) -> usize {
        self.stage.borrow().sides[self.side].least_signatures
    }
}

/// A worker process and its pipes.
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(path: &Path, processor: Option<usize>) -> Result<Self, String> {
        let mut child = Command::new(path)
            .arg(VERB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("it has no pipes".into());
        };
        let worker = Self {
            child,
            input: Some(input),
            output: BufReader::new(output),
        };
        if let Some(processor) = processor {
            let mut set = CpuSet::new();
            set.set(processor);
            let pid = i32::try_from(worker.child.id())
                .ok()
                .and_then(Pid::from_raw);
            // Threads that it starts later inherit the processor.
            if let Some(pid) = pid
                && let Err(error) = sched_setaffinity(Some(pid), &set)
            {
                return Err(format!(
                    "cannot be pinned to processor {processor}: {error}"
                ));
            }
        }
        Ok(worker)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        let gone = "it ended without an answer; is it a mintmark that knows gate-worker?";
        let mut line =
            zeroize::Zeroizing::new(serde_json::to_string(ask).map_err(|error| error.to_string())?);
        line.push('\n');
        let input = self.input.as_mut().ok_or(gone)?;
        input.write_all(line.as_bytes()).map_err(|_| gone)?;
        self.wait()?;
        let mut answer = String::new();
        let read = self
            .output
            .read_line(&mut answer)
            .map_err(|error| error.to_string())?;
        if read == 0 {
            return Err(gone.into());
        }
        match serde_json::from_str(&answer) {
            Ok(Answer::Failed(reason)) => Err(reason),
            Ok(answer) => Ok(answer),
            Err(_) => Err("it answered what no worker answers; is it a mintmark?".into()),
        }
    }
}

impl Worker {
    /// Waits until there is something to read, for [`PATIENCE`] at most.
    fn wait(&self) -> Result<(), String> {
        let timeout = Timespec {
            tv_sec: PATIENCE.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
            // A signal that interrupts the wait leaves reading to wait on.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker ends with its input; one that hangs is ended.
        drop(self.input.take());
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
