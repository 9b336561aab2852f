//! `mintmark broker`: the embedded token endpoint, on its own.

use std::io::{Write, stdout};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::broker_mail::MailFlags;
use super::broker_orders::OrderFlags;
use super::broker_tls::TlsFlags;
use super::log::LogFlags;
use super::{Exit, Failure};
use crate::broker::directory::Directory;
use crate::broker::token::LIFE_S;
use crate::broker::{
    AppRegistration, Behaviour, Broker, BrokerConfig, BrokerError, ConsoleConfig, RateLimit, Stats,
    UserRegistration,
};
use crate::credential::generate::{self, GenerateError, RsaBits};
use crate::credential::{PassphraseSource, Sealing, Secret, Source, load};
use crate::error::Chain;
use crate::live::metrics::{Scraped, Target, of_broker};
use crate::signer::{PrivateKey, PublicKey};
use crate::units::Span;

/// How long requests under way may take to end after a signal.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs a token endpoint until it is interrupted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mintmark broker --write-config app.json --user 12345\n  \
    mintmark broker --app app.json --public-key public.pem --listen 127.0.0.1:8080\n  \
    mintmark broker --registry apps.db\n  \
    mintmark broker --registry apps.db --console\n  \
    mintmark broker --write-config app.json --tls --write-certificate broker.pem\n\n\
    The first line of output is the broker's address.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Flags {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Allow an address that is not a loopback one without TLS. Secrets and
    /// tokens then cross the network in the clear.
    #[arg(long)]
    insecure_http: bool,

    #[command(flatten)]
    tls: TlsFlags,

    #[command(flatten)]
    mail: MailFlags,

    /// The configuration file of the app to register.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present_any = ["write_config", "registry", "console", "admin"],
        conflicts_with = "write_config"
    )]
    app: Option<PathBuf>,

    /// The app's public key in PEM; by default the public half of the key in
    /// the configuration file.
    #[arg(long, value_name = "FILE", conflicts_with = "write_config")]
    public_key: Option<PathBuf>,

    /// Generate an app and write its configuration file here.
    #[arg(long, value_name = "FILE")]
    write_config: Option<PathBuf>,

    /// Serve the apps and users of this registry as well, and follow its
    /// changes; see `mintmark app`. SIGHUP reads it at once.
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,

    /// Serve the registry for administration at /admin/v1 (JSON, described
    /// by /admin/v1/openapi.json); the secret is printed at the start. Without
    /// --registry it lives in memory, as long as the broker.
    #[arg(long)]
    admin: bool,

    /// Serve the developer console, on a free loopback port or on ADDRESS;
    /// its address and secrets are printed at the start. Without --registry,
    /// what is set up lasts as long as the broker.
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:0"
    )]
    console: Option<SocketAddr>,

    /// The size of the generated key: 2048, 3072 or 4096 bits.
    #[arg(
        long,
        value_name = "BITS",
        default_value_t = 2048,
        conflicts_with = "app"
    )]
    bits: usize,

    /// Register a managed user of the enterprise; may be repeated.
    #[arg(long = "user", value_name = "ID")]
    users: Vec<String>,

    /// Register a user of the app; may be repeated.
    #[arg(long = "app-user", value_name = "ID")]
    app_users: Vec<String>,

    /// How many threads serve requests.
    #[arg(long, value_name = "N", default_value = "1")]
    threads: NonZeroUsize,

    /// Answer 429 above this many token requests a second.
    #[arg(long, value_name = "N")]
    rate_limit: Option<NonZeroU32>,

    /// How many requests the rate limit lets through at once.
    #[arg(long, value_name = "N", default_value = "1", requires = "rate_limit")]
    burst: NonZeroU32,

    /// Let a client present an assertion again that was refused after its
    /// signature had verified, as the provider does not.
    #[arg(long)]
    spare_refused_jti: bool,

    /// Issue access tokens that anybody can verify (RFC 9068), at the cost of
    /// a signature each.
    #[arg(long)]
    signed_tokens: bool,

    /// How long tokens live, in place of 3600 to 4300 seconds.
    #[arg(long, value_name = "SPAN")]
    token_life: Option<Span>,

    #[command(flatten)]
    orders: OrderFlags,

    /// Serve metrics for Prometheus at http://ADDRESS/metrics, apart from the
    /// token endpoint; a port alone is one of the loopback interface.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<Target>,

    /// Print one line of JSON in place of the address.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(flags: &Flags, log: LogFlags) -> Result<Exit, Failure> {
    let app = match (&flags.app, &flags.write_config) {
        (Some(path), _) => Some(registered(path, flags.public_key.as_deref())?),
        (None, Some(path)) => Some(generated(path, flags.bits)?),
        (None, None) => None,
    };
    let directory = match &flags.registry {
        Some(path) => Some(Directory::open(path)),
        None => (flags.console.is_some() || flags.admin).then(Directory::in_memory),
    };
    let directory = directory.transpose().map_err(Failure::usage)?.map(Arc::new);
    let secrets = Secrets::drawn(flags).map_err(Failure::failed)?;
    let config = BrokerConfig {
        listen: flags.listen,
        allow_non_loopback: flags.insecure_http,
        tls: flags.tls.certificate(),
        users: users(flags, app.as_ref())?,
        apps: app.iter().cloned().collect(),
        directory,
        admin_secret: secrets.admin.clone().filter(|_| flags.admin),
        console: secrets.console(flags),
        mail: flags.mail.config()?,
        behaviour: Behaviour {
            remembers_refused_jti: !flags.spare_refused_jti,
            rate_limit: flags.rate_limit.map(|per_s| RateLimit {
                per_s,
                burst: flags.burst,
            }),
            signed_tokens: flags.signed_tokens,
            token_life_s: flags.token_life.map_or(LIFE_S, |life| {
                let seconds = life.0.as_secs().max(1);
                seconds..=seconds
            }),
            ..Behaviour::default()
        },
        orders: flags.orders.orders()?,
        threads: flags.threads,
        takes_times: flags.metrics.is_some(),
        ..BrokerConfig::default()
    };
    // The signals are caught before the address is known to anyone.
    let waiting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = waiting.enter();
        (
            signal(SignalKind::interrupt()).map_err(Failure::failed)?,
            signal(SignalKind::terminate()).map_err(Failure::failed)?,
            signal(SignalKind::hangup()).map_err(Failure::failed)?,
        )
    };
    let broker = Broker::start(config).map_err(|error| match error {
        BrokerError::NotLoopback(_)
        | BrokerError::ConsoleNotLoopback(_)
        | BrokerError::Registry(_)
        | BrokerError::Directory(_)
        | BrokerError::Mail(_)
        | BrokerError::Tls(_) => Failure::usage(error),
        _ => Failure::failed(error),
    })?;
    if let Some(path) = &flags.tls.write_certificate {
        let pem = broker.certificate_pem().unwrap_or_default();
        std::fs::write(path, pem)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    let scraped = flags.metrics.map(|target| {
        let read = broker.watch();
        Scraped::start(target, move || of_broker(read()))
    });
    let scraped = scraped.transpose().map_err(Failure::usage)?;
    let metrics_url = scraped.as_ref().map(Scraped::url);
    if let Some(url) = &metrics_url {
        log.say(&format!("metrics are at {url}"));
    }
    announce(
        flags,
        app.as_ref(),
        &secrets,
        &broker,
        metrics_url.as_deref(),
    )
    .map_err(Failure::failed)?;
    waiting.block_on(async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => reload(&broker),
            }
        }
    });
    summarise(&broker.stop(DRAIN));
    Ok(Exit::Success)
}

/// What is drawn for this start, and printed.
struct Secrets {
    /// Opens the JSON API, and gives an administrator's rights in the console.
    admin: Option<Secret>,
    /// Opens the console.
    developer: Option<Secret>,
}

impl Secrets {
    fn drawn(flags: &Flags) -> Result<Self, GenerateError> {
        let is_wanted = flags.admin || flags.console.is_some();
        Ok(Self {
            admin: is_wanted.then(generate::passphrase).transpose()?,
            developer: flags.console.map(|_| generate::passphrase()).transpose()?,
        })
    }

    fn console(&self, flags: &Flags) -> Option<ConsoleConfig> {
        Some(ConsoleConfig {
            listen: flags.console?,
            developer_secret: self.developer.clone()?,
            admin_secret: self.admin.clone()?,
        })
    }
}

/// Describes the users that flags name, all of whom belong to the one app.
fn users(flags: &Flags, app: Option<&AppRegistration>) -> Result<Vec<UserRegistration>, Failure> {
    let (managed, of_app) = (&flags.users, &flags.app_users);
    let Some(app) = app else {
        if managed.is_empty() && of_app.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = "--user and --app-user belong to --app or --write-config; \
                      `mintmark app users` adds users to a registry";
        return Err(Failure::usage(wanted));
    };
    let managed = managed
        .iter()
        .map(|id| UserRegistration::managed(id, &app.enterprise_id));
    let of_app = of_app
        .iter()
        .map(|id| UserRegistration::of_app(id, &app.client_id));
    Ok(managed.chain(of_app).collect())
}

/// Reads the registry now; one that cannot be read changes nothing.
fn reload(broker: &Broker) {
    match broker.refresh() {
        Ok(_) => eprintln!("mintmark: the registry was read"),
        Err(error) => eprintln!("mintmark: {}", Chain(&error)),
    }
}

/// Describes the app of a configuration file.
fn registered(path: &Path, public_key: Option<&Path>) -> Result<AppRegistration, Failure> {
    let lacks = |what: &str| Failure::usage(format!("{} names no {what}", path.display()));
    let source = Source::Config {
        path: path.to_owned(),
        passphrase: PassphraseSource::Config,
    };
    let (credential, warnings) = load(&source).map_err(Failure::usage)?;
    for warning in warnings {
        eprintln!("mintmark: note: {warning}; {}", warning.hint());
    }
    let key = if let Some(path) = public_key {
        read_public_key(path)?
    } else {
        public_half(&credential.key.open().map_err(Failure::usage)?)?
    };
    let secret = credential.client_secret.as_ref();
    Ok(AppRegistration::new(
        &credential.client_id,
        secret.ok_or_else(|| lacks("client secret"))?.expose(),
        credential
            .enterprise_id
            .as_deref()
            .ok_or_else(|| lacks("enterprise"))?,
    )
    .with_key(
        credential
            .key_id
            .as_deref()
            .ok_or_else(|| lacks("key ID"))?,
        key,
    ))
}

/// Generates an app, writes its configuration file and describes it.
fn generated(path: &Path, bits: usize) -> Result<AppRegistration, Failure> {
    let bits = RsaBits::try_from(bits).map_err(Failure::usage)?;
    let config = generate::app_config(bits, Some(Sealing::CONSOLE)).map_err(Failure::failed)?;
    let key = config.credential().map_err(Failure::failed)?.key;
    let key = public_half(&key.open().map_err(Failure::failed)?)?;
    config.write(path).map_err(Failure::failed)?;
    let enterprise_id = config.enterprise_id.unwrap_or_default();
    Ok(AppRegistration::new(
        &config.client_id,
        config.client_secret.expose(),
        enterprise_id,
    )
    .with_key(&config.public_key_id, key))
}

fn read_public_key(path: &Path) -> Result<PublicKey, Failure> {
    let refuse =
        |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error))?;
    PublicKey::from_pem(&text).map_err(|error| refuse(&error))
}

fn public_half(key: &PrivateKey) -> Result<PublicKey, Failure> {
    key.public_key()
        .cloned()
        .ok_or_else(|| Failure::usage("the private key carries no public half; give --public-key"))
}

/// Says where the broker listens, in one line that is written at once.
fn announce(
    flags: &Flags,
    app: Option<&AppRegistration>,
    secrets: &Secrets,
    broker: &Broker,
    metrics_url: Option<&str>,
) -> std::io::Result<()> {
    let mut out = stdout().lock();
    if flags.json {
        let line = json!({
            "url": broker.url(),
            "token_url": broker.token_url(),
            "client_id": app.map(|app| &app.client_id),
            "enterprise_id": app.map(|app| &app.enterprise_id),
            "key_id": app.and_then(|app| app.keys.first()).map(|key| &key.kid),
            "registry": flags.registry,
            "certificate_pem": broker.certificate_pem(),
            "admin_secret": secrets.admin.as_ref().map(Secret::expose),
            "console_url": broker.console_url(),
            "metrics_url": metrics_url,
            "developer_secret": secrets.developer.as_ref().map(Secret::expose),
            "config": flags.app.as_ref().or(flags.write_config.as_ref()),
            "pid": std::process::id(),
            "worker_threads": broker.worker_threads(),
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{}", broker.url())?;
        if let Some(url) = broker.console_url() {
            eprintln!("mintmark: the console is at {url}");
            if flags.registry.is_none() {
                eprintln!("mintmark: what is set up there lasts as long as the broker");
            }
        }
        if let Some(secret) = &secrets.developer {
            eprintln!("mintmark: the developer secret is {}", secret.expose());
        }
        if let Some(secret) = &secrets.admin {
            eprintln!("mintmark: the admin secret is {}", secret.expose());
        }
    }
    out.flush()
}

/// Says what became of the requests.
fn summarise(stats: &Stats) {
    eprintln!(
        "mintmark: {} tokens issued, {} requests refused, {} requests and {} connections in all",
        stats.granted,
        stats.refused_total(),
        stats.requests,
        stats.connections
    );
    if stats.handshake_errors > 0 {
        eprintln!(
            "mintmark: on {} connections no TLS was agreed",
            stats.handshake_errors
        );
    }
    if stats.accept_errors > 0 {
        eprintln!(
            "mintmark: {} times no connection could be accepted; raise the limit of open files (ulimit -n)",
            stats.accept_errors
        );
    }
    for (refusal, count) in &stats.refused {
        eprintln!(
            "mintmark: {count} × {} {}: {}",
            refusal.status().as_u16(),
            refusal.error(),
            refusal.description()
        );
    }
}
