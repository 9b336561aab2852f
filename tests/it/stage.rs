//! What several tests play on: an app with a key, a broker that knows it.

use std::path::PathBuf;
use std::process::{Command, Output};

use mintmark::broker::{AppRegistration, Broker, BrokerConfig, Orders, UserRegistration};
use mintmark::credential::generate::{self, RsaBits};
use mintmark::credential::{AppConfig, Sealing};

/// The user that every broker of these tests knows.
pub const USER: &str = "2000001";

/// Returns the path of a key made for tests.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys")).join(name)
}

/// Makes an app with a fresh key, sealed as the provider's console does.
pub fn generated_app() -> AppConfig {
    generate::app_config(RsaBits::B2048, Some(Sealing::CONSOLE)).unwrap()
}

/// Starts a broker that knows `app` and [`USER`].
pub fn broker_for(app: &AppConfig) -> Broker {
    broker_under(app, Orders::default())
}

/// Starts such a broker that is told how to behave.
pub fn broker_under(app: &AppConfig, orders: Orders) -> Broker {
    let key = app.credential().unwrap().key.open().unwrap();
    let registration = AppRegistration::new(
        &app.client_id,
        app.client_secret.expose(),
        app.enterprise_id.as_deref().unwrap(),
    )
    .with_key(&app.public_key_id, key.public_key().unwrap().clone());
    Broker::start(BrokerConfig {
        apps: vec![registration],
        users: vec![UserRegistration::of_app(USER, &app.client_id)],
        orders,
        ..BrokerConfig::default()
    })
    .unwrap()
}

/// Runs the program to its end.
pub fn mintmark(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// Returns the program, not yet started.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mintmark"))
}

/// Returns what a program wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
