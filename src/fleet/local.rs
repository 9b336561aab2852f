//! How does one machine stand in for a fleet?
//!
//! A NATS server with a store and a password of its own, and agents as
//! processes of their own, all in a folder that only this user can read and
//! that goes when they do. Nothing of it is reachable from other machines.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::bus::Access;
use super::draw_name;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Where the server is, beside the search path: Debian keeps it from users.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// A server and its folder.
pub struct LocalServer {
    child: Child,
    folder: PathBuf,
    /// How it is reached.
    pub access: Access,
}

impl LocalServer {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// There is none on this machine, or it does not listen in time.
    pub fn start(fleet: &str) -> Result<Self, LocalError> {
        let program = find_server().ok_or(LocalError::NoServer)?;
        let folder = std::env::temp_dir().join(format!("mintmark-fleet-{}", draw_name()));
        let failed = |source| LocalError::Folder {
            path: folder.clone(),
            source,
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        // From here on the folder is removed with the server.
        let password = draw_name() + &draw_name();
        let config = format!(
            "host: 127.0.0.1\nport: -1\nports_file_dir: {folder}\n\
             jetstream {{ store_dir: {store} }}\n\
             authorization {{ user: fleet, password: {password:?} }}\n",
            folder = quoted(&folder),
            store = quoted(&folder.join("store")),
        );
        let login = folder.join("login");
        let started = write_private(&folder.join("nats.conf"), &config)
            .and_then(|()| write_private(&login, &format!("fleet:{password}")))
            .and_then(|()| File::create(folder.join("nats.log")))
            .and_then(|log| {
                dying_with_us(&program)
                    .arg("-c")
                    .arg(folder.join("nats.conf"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(log)
                    .spawn()
            });
        let child = match started {
            Ok(child) => child,
            Err(source) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(LocalError::Start {
                    program: program.display().to_string(),
                    source,
                });
            }
        };
        let mut server = Self {
            child,
            folder,
            access: Access {
                fleet: fleet.to_owned(),
                login: Some(login),
                wait: START,
                ..Access::default()
            },
        };
        let address = server.wait_for_address()?;
        server.access.servers = vec![address];
        Ok(server)
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts agent number `slot` of this program as a process of its own.
    ///
    /// # Errors
    ///
    /// The process does not start.
    pub fn start_agent(&self, slot: usize) -> Result<LocalAgent, LocalError> {
        let start = || {
            let program = std::env::current_exe()?;
            let log = File::create(self.folder.join(format!("agent-{slot}.log")))?;
            Command::new(program)
                .arg("agent")
                .args(["--nats", &self.access.servers.join(",")])
                .args(["--fleet", &self.access.fleet])
                .arg("--login")
                .arg(self.folder.join("login"))
                .args(["--slot", &slot.to_string(), "--with-parent"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
        };
        let child = start().map_err(|source| LocalError::Start {
            program: format!("agent {slot}"),
            source,
        })?;
        Ok(LocalAgent { child })
    }

    /// Returns what an agent wrote to its standard error.
    #[must_use]
    pub fn words_of(&self, slot: usize) -> String {
        fs::read_to_string(self.folder.join(format!("agent-{slot}.log")))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// Waits until the server has told its port by a file.
    fn wait_for_address(&mut self) -> Result<String, LocalError> {
        let until = Instant::now() + START;
        loop {
            let told = fs::read_dir(&self.folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|end| end == "ports"))
                .find_map(|path| fs::read_to_string(path).ok())
                .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
            if let Some(address) = told.as_ref().and_then(|told| told["nats"][0].as_str()) {
                return Ok(address.to_owned());
            }
            let has_ended = self.child.try_wait().ok().flatten().is_some();
            if has_ended || Instant::now() >= until {
                let log = fs::read_to_string(self.folder.join("nats.log")).unwrap_or_default();
                return Err(LocalError::Silent(
                    log.lines().last().unwrap_or_default().to_owned(),
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        // Nothing of its store is wanted any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An agent of this machine.
pub struct LocalAgent {
    child: Child,
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a server's program on this machine.
#[must_use]
pub fn find_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PLACES.map(PathBuf::from))
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.is_file())
}

/// Starts a program so that it is killed when this one dies, where a tool for
/// that is there.
fn dying_with_us(program: &Path) -> Command {
    let tool = Path::new("/usr/bin/setpriv");
    if !tool.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(tool);
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Writes a path as a text of the server's configuration.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// Why one machine cannot stand in for a fleet.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no server.
    #[error(
        "there is no nats-server on this machine; install it (`apt-get install nats-server` on \
         Debian, `brew install nats-server` on macOS, or a release from nats.io), or name a \
         running one by --nats"
    )]
    NoServer,
    /// The folder cannot be made.
    #[error("cannot make the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A process does not start.
    #[error("cannot start {program}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server does not listen.
    #[error("nats-server does not listen; its last words were {0:?}")]
    Silent(String),
}
