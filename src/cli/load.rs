//! `mintmark load`: a load test from flags alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::log::LogFlags;
use super::run::run_and_keep;
use super::watch::WatchFlags;
use super::{Exit, Failure};
use crate::load::arrival::Spacing;
use crate::load::assertions::Mode;
use crate::load::objective::Objective;
use crate::load::transport::Kind;
use crate::scenario::open::{Connecting, Ramp};
use crate::scenario::{
    BrokerTarget, Closed, Credentials, FleetRules, Generate, Load, Open, Scenario, Signing, Target,
};
use crate::signer::Algorithm;
use crate::units::Span;

/// Asks an endpoint for tokens at a given rate.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
#[command(after_help = "Examples:\n  \
    mintmark load --rate 1000 --duration 10s\n  \
    mintmark load --rate 200 --url http://127.0.0.1:8080 --config app.json --objective 'p99<50ms'\n  \
    mintmark load --ramp 100:2000 --duration 60s --transport hyper-h2\n\n\
    Without --url, an embedded broker answers.\n\
    Exit codes: 0 done, 1 the objective was missed, 2 usage, 3 the run failed or was stopped,\n\
    4 the run measured the generator more than its target.")]
pub(super) struct Flags {
    /// Requests per second.
    #[arg(long, value_name = "PER_S", required_unless_present_any = ["ramp", "saturate"])]
    rate: Option<f64>,

    /// No rate: each connection sends again as soon as it has its answer.
    #[arg(long, conflicts_with_all = ["rate", "ramp"])]
    saturate: bool,

    /// Go from one rate to another within the duration.
    #[arg(long, value_name = "FROM:TO", value_parser = ramp, conflicts_with = "rate")]
    ramp: Option<Ramp>,

    /// Time during which requests are counted.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    duration: Span,

    /// Time before requests are counted.
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    warm_up: Span,

    /// The longest wait for the last requests; the time-out unless given.
    #[arg(long, value_name = "SPAN")]
    drain: Option<Span>,

    /// The time-out of each part of a request.
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    timeout: Span,

    /// The length of a slice.
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    slice: Span,

    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,

    /// Threads that send.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// Open a new connection for each request.
    #[arg(long)]
    no_keep_alive: bool,

    /// Start requests evenly, not as independent clients do.
    #[arg(long)]
    even: bool,

    /// The seed of starts and subjects.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Give requests up that are due for so long, and count them.
    #[arg(long, value_name = "SPAN")]
    drop_after: Option<Span>,

    /// What carries requests.
    #[arg(long, value_enum, default_value_t = Carrier::Lean)]
    transport: Carrier,

    /// Requests at once on a connection of HTTP/2.
    #[arg(long, value_name = "N")]
    streams: Option<usize>,

    /// Certificates to trust, in a PEM file.
    #[arg(long, value_name = "FILE")]
    trusted: Option<PathBuf>,

    /// The client's certificate chain and key, in a PEM file.
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,

    /// Begin every TLS session anew.
    #[arg(long)]
    no_resumption: bool,

    /// A proxy on the way, as http://host:port.
    #[arg(long, value_name = "URL", conflicts_with = "socket")]
    proxy: Option<String>,

    /// The environment variable that holds the proxy's name:password.
    #[arg(long, value_name = "NAME", requires = "proxy")]
    proxy_login_env: Option<String>,

    /// Connect to a Unix socket in place of the URL's host.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,

    /// Look the address up for each connection.
    #[arg(long)]
    resolve_each_time: bool,

    /// The time-out of a whole request; that of each part is --timeout.
    #[arg(long, value_name = "SPAN")]
    whole_timeout: Option<Span>,

    /// Where assertions come from.
    #[arg(long, value_enum, default_value_t = Signs::Mint)]
    signing: Signs,

    /// Threads that sign ahead.
    #[arg(long, value_name = "N", default_value_t = 1)]
    signing_threads: usize,

    /// The signing backend; see `mintmark backends`.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,

    /// The signature algorithm.
    #[arg(long, value_name = "NAME", default_value = "RS256")]
    algorithm: Algorithm,

    /// The token endpoint, or a server's address.
    #[arg(long, value_name = "URL", requires = "config")]
    url: Option<String>,

    /// The app's configuration file.
    #[arg(long, value_name = "FILE", requires = "url")]
    config: Option<PathBuf>,

    /// The environment variable that holds the key's passphrase.
    #[arg(long, value_name = "NAME", requires = "config")]
    passphrase_env: Option<String>,

    /// Ask for this user; may be given several times.
    #[arg(long = "user", value_name = "ID", requires = "url")]
    users: Vec<String>,

    /// The provider: a profile's name, or its TOML file.
    #[arg(long, value_name = "NAME|FILE")]
    profile: Option<String>,

    /// Set a variable of the profile, such as audience or scope.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// What the endpoint is to achieve, such as 'p99<50ms,errors<0.1%'.
    #[arg(long, value_name = "OBJECTIVE")]
    objective: Option<Objective>,

    /// Time to find out what this machine can do; 0s leaves it out.
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    calibrate: Span,

    /// The folder in which the run's own folder is made.
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,

    /// Print the record as JSON in place of the tables.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    watch: WatchFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Carrier {
    /// A hand-written HTTP/1.1 exchange.
    Lean,
    /// hyper with HTTP/1.1.
    Hyper,
    /// hyper with HTTP/2.
    HyperH2,
    /// reqwest, as a normal client has it.
    Reqwest,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Signs {
    /// The thread that sends signs.
    Inline,
    /// Threads of their own sign ahead.
    Mint,
    /// Everything is signed before the load.
    Preminted,
    /// One assertion serves as long as it lives.
    Repeat,
}

pub(super) fn run(flags: &Flags, log: LogFlags) -> Result<Exit, Failure> {
    let plan = scenario(flags).plan().map_err(Failure::usage)?;
    run_and_keep(&plan, &flags.results, flags.json, (&flags.watch, log))
}

fn scenario(flags: &Flags) -> Scenario {
    let has_url = flags.url.is_some();
    Scenario {
        name: "load".into(),
        description: String::new(),
        fleet: FleetRules::default(),
        target: Target {
            broker: (!has_url).then_some(BrokerTarget {
                users: None,
                threads: None,
                token_life: None,
                rate_limit: None,
                tls: None,
                behaviour: None,
            }),
            url: flags.url.clone(),
            profile: flags.profile.clone(),
            users: (!flags.users.is_empty()).then(|| flags.users.clone()),
            variables: flags.variables.iter().cloned().collect::<BTreeMap<_, _>>(),
        },
        credentials: Credentials {
            generate: (!has_url).then_some(Generate {
                bits: None,
                apps: None,
                weights: None,
                rotate: None,
            }),
            config: flags.config.clone(),
            passphrase_env: flags.passphrase_env.clone(),
            passphrase_file: None,
            apps: Vec::new(),
        },
        signing: Signing {
            backend: flags.backend.clone(),
            algorithm: Some(flags.algorithm),
            mode: Some(match flags.signing {
                Signs::Inline => Mode::Inline,
                Signs::Mint => Mode::Mint,
                Signs::Preminted => Mode::Preminted,
                Signs::Repeat => Mode::Repeat,
            }),
            threads: Some(flags.signing_threads),
            compare: None,
        },
        load: Load {
            closed: flags.saturate.then_some(Closed {
                workers: flags.connections,
                think: None,
            }),
            open: (!flags.saturate).then(|| Open {
                per_s: flags.rate,
                ramp: flags.ramp,
                arrival: Some(if flags.even {
                    Spacing::Even
                } else {
                    Spacing::Poisson
                }),
                seed: Some(flags.seed),
                ..Open::default()
            }),
            connections: Some(flags.connections),
            threads: Some(flags.threads),
            connect: Some(Connecting {
                transport: Some(match flags.transport {
                    Carrier::Lean => Kind::Lean,
                    Carrier::Hyper => Kind::Hyper,
                    Carrier::HyperH2 => Kind::HyperH2,
                    Carrier::Reqwest => Kind::Reqwest,
                }),
                streams: flags.streams,
                keep_alive: Some(!flags.no_keep_alive),
                trusted: flags.trusted.clone(),
                client: flags.client_certificate.clone(),
                resumption: Some(!flags.no_resumption),
                proxy: flags.proxy.clone(),
                proxy_login_env: flags.proxy_login_env.clone(),
                socket: flags.socket.clone(),
                resolve_each_time: Some(flags.resolve_each_time),
                whole_timeout: flags.whole_timeout,
                ..Connecting::default()
            }),
            drop_after: flags.drop_after,
            count: None,
            retry: None,
            zipf: None,
            cache: None,
            calibrate: Some(flags.calibrate),
            warm_up: Some(flags.warm_up),
            measure: flags.duration,
            drain: flags.drain,
            timeout: Some(flags.timeout),
            slice: Some(flags.slice),
        },
        objective: flags.objective,
        steps: Vec::new(),
    }
}

fn ramp(text: &str) -> Result<Ramp, String> {
    text.split_once(':')
        .and_then(|(from, to)| {
            Some(Ramp {
                from: from.parse().ok()?,
                to: to.parse().ok()?,
            })
        })
        .ok_or_else(|| format!("{text:?} is no ramp, expected two rates such as 100:2000"))
}

fn variable(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} sets nothing, expected NAME=VALUE"))
}
