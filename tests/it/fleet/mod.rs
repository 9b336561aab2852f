//! Fleets of real processes around a real server, on the loopback interface.
//!
//! Every test has a server, a store and a target of its own. Loads take three
//! to eight seconds: long enough for something to happen in the middle.

mod access;
mod agents;
mod clusters;
mod control;
mod coordinators;
mod handovers;
mod keys;
mod merging;
mod networks;
mod operators;
mod screens;
mod sealed;
mod servers;
mod steering;
mod strangers;
mod versions;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mintmark::fleet::bus::{Access, Bus};
use mintmark::fleet::local::find_server;
use mintmark::record::fleet::{AgentEnd, AgentRecord};
use mintmark::record::{FleetRecord, OpenRecord, RunDocument};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::load::target::{Act, Target, ok};
use crate::stage::{program, text};

/// An app of the fixtures.
const CONFIG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/keys/app-config.json"
);

/// How long any process here may take.
const LONGEST: Duration = Duration::from_secs(60);

/// A process that is killed when the test is over.
struct Process {
    child: Child,
    words: PathBuf,
}

impl Process {
    fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let words = folder.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join(format!("{name}.out"))).unwrap())
            .stderr(fs::File::create(&words).unwrap())
            .spawn()
            .unwrap();
        Self { child, words }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end and returns its exit code.
    fn end(&mut self) -> i32 {
        let until = Instant::now() + LONGEST;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end: {}", self.said());
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.words).unwrap()
    }

    fn wait_to_say(&self, what: &str) {
        let until = Instant::now() + LONGEST;
        while !self.said().contains(what) {
            assert!(Instant::now() < until, "{what:?} is not in {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server, a target and a folder for whatever is written.
struct Stage {
    folder: TempDir,
    server: Process,
    port: u16,
    target: Target,
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

impl Stage {
    /// Starts a server without any rules; `None` if there is no server here.
    fn new() -> Option<Self> {
        Self::with("")
    }

    /// Starts a server whose configuration ends with `rules`.
    fn with(rules: &str) -> Option<Self> {
        if find_server().is_none() {
            println!("skipped: there is no nats-server here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let store = folder.path().join("store");
        let config = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{}\" }}\n{rules}\n",
            store.display()
        );
        fs::write(folder.path().join("nats.conf"), config).unwrap();
        let server = serve(folder.path(), "nats");
        let stage = Self {
            folder,
            server,
            port,
            target: Target::new(Act::Write(ok())),
        };
        stage.wait_for_server();
        Some(stage)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn wait_for_server(&self) {
        let until = Instant::now() + LONGEST;
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "{}", self.server.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the server again that was killed.
    fn serve_again(&mut self) {
        self.server = serve(self.path(), "nats-again");
        self.wait_for_server();
    }

    /// Writes a scenario of so many even starts a second.
    fn scenario(&self, per_s: u32, measure: &str) -> PathBuf {
        self.scenario_with(
            &format!("{{ per_s = {per_s}.0, arrival = \"even\" }}"),
            measure,
        )
    }

    fn scenario_with(&self, open: &str, measure: &str) -> PathBuf {
        let path = self.path().join("scenario.toml");
        let url = self.target.url();
        let text = format!(
            "name = \"fleet\"\n[target]\nurl = \"{url}\"\nusers = [\"1000000\", \"1000001\"]\n\
             [credentials]\nconfig = \"{CONFIG}\"\n\
             [load]\nopen = {open}\nconnections = 8\nwarm_up = \"300ms\"\n\
             measure = \"{measure}\"\ndrain = \"2s\"\ntimeout = \"2s\"\nslice = \"500ms\"\n\
             calibrate = \"0s\"\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn agent(&self, name: &str, flags: &[&str]) -> Process {
        self.agent_of(program(), name, flags)
    }

    fn agent_of(&self, mut command: Command, name: &str, flags: &[&str]) -> Process {
        command
            .args(["agent", "--nats", &self.url(), "--connect-wait", "10s"])
            .args(["--join-timeout", "40s"])
            .args(flags);
        Process::start(&mut command, self.path(), name)
    }

    fn agents(&self, count: usize) -> Vec<Process> {
        (0..count)
            .map(|slot| self.agent(&format!("agent-{slot}"), &["--slot", &slot.to_string()]))
            .collect()
    }

    fn coordinator(&self, scenario: &Path, agents: usize, flags: &[&str]) -> Process {
        let mut command = program();
        command
            .args(["fleet", "run", scenario.to_str().unwrap()])
            .args(["--agents", &agents.to_string(), "--nats", &self.url()])
            .args(["--json", "--results"])
            .arg(self.path().join("results"))
            .args(flags);
        Process::start(&mut command, self.path(), "coordinator")
    }

    /// Reads what a coordinator printed.
    fn document(&self, name: &str) -> RunDocument {
        let printed = fs::read(self.path().join(format!("{name}.out"))).unwrap();
        serde_json::from_slice(&printed).unwrap_or_else(|error| {
            let said = fs::read_to_string(self.path().join(format!("{name}.err")));
            panic!("{error}: {} {said:?}", text(&printed))
        })
    }

    /// Waits for the coordinator and returns its document and exit code.
    fn outcome(&self, coordinator: &mut Process) -> (RunDocument, i32) {
        let code = coordinator.end();
        let document = self.document("coordinator");
        check(&document);
        (document, code)
    }

    /// Connects to the server as any program can.
    fn bus(&self) -> (tokio::runtime::Runtime, Bus) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let access = Access {
            servers: vec![self.url()],
            fleet: "mintmark".into(),
            wait: Duration::from_secs(5),
            ..Access::default()
        };
        let bus = runtime.block_on(Bus::connect(&access, "test")).unwrap();
        (runtime, bus)
    }
}

fn serve(folder: &Path, name: &str) -> Process {
    let mut command = Command::new(find_server().unwrap());
    command.arg("-c").arg(folder.join("nats.conf"));
    Process::start(&mut command, folder, name)
}

fn fleet_of(document: &RunDocument) -> &FleetRecord {
    document.fleet.as_ref().unwrap()
}

fn open_of(document: &RunDocument) -> &OpenRecord {
    document.steps[0].open.as_deref().unwrap()
}

/// What holds whatever happened: everything is accounted for, and no agent's
/// messages add up to something else than it measured.
fn check(document: &RunDocument) {
    let (fleet, open) = (fleet_of(document), open_of(document));
    assert!(open.accounts.balance(), "{:?}", open.accounts);
    assert_eq!(open.accounts.scheduled, fleet.coverage.covered);
    let covered: u64 = fleet.agents.iter().map(|agent| agent.covered).sum();
    assert_eq!(covered, fleet.coverage.covered);
    assert_eq!(
        fleet.coverage.lost,
        fleet.coverage.planned - fleet.coverage.covered
    );
    let of_slices: u64 = open.slices.iter().map(|slice| slice.scheduled).sum();
    assert_eq!(of_slices, open.accounts.scheduled);
    for agent in &fleet.agents {
        assert_ne!(agent.is_exact, Some(false), "{agent:?}");
        if agent.end == AgentEnd::Finished {
            assert_eq!(agent.planned, agent.covered, "{agent:?}");
            assert_eq!(agent.is_exact, Some(true), "{agent:?}");
        }
    }
}

fn has_finding(document: &RunDocument, code: &str) -> bool {
    let findings = &open_of(document).soundness.findings;
    findings.iter().any(|finding| finding.warning.code == code)
}

/// Is nothing missing, and nothing but the machine's own noise in doubt?
fn is_whole(document: &RunDocument) -> bool {
    let fleet = fleet_of(document);
    let is_finished = |agent: &AgentRecord| agent.end == AgentEnd::Finished;
    fleet.coverage.lost == 0 && fleet.agents.iter().all(is_finished)
}
