//! What does a token endpoint answer that can be had anywhere?
//!
//! The broker is an embedded token endpoint with a registry of apps and
//! users. It trades signed assertions for access tokens as the provider does
//! (RFC 7523), is stricter than most about what it reads, and counts what it
//! answers. It is a target like any other: nothing that measures it may know
//! that it is ours.
//!
//! | module | answers |
//! |---|---|
//! | [`registration`], [`admission`], [`registry`] | who is known, and with which keys |
//! | [`terms`], [`origin`], [`directory`] | what apps may do, who approved it, and where that is kept |
//! | [`form`], [`json`], [`jose`] | what exactly was sent |
//! | [`grant`], [`other_grants`], [`client_auth`] | who gets a token, and for what |
//! | [`replay`], [`throttle`], [`token`], [`revocation`] | once, at what rate, in which form, and until when |
//! | [`console`] | how does a person set up an app, and watch its tokens |
//! | [`orders`], [`order_sheet`] | how slow, full or broken it pretends to be |
//! | [`dress`] | which other provider it pretends to be |
//! | [`mail`] | how administrators hear of what waits for them |
//! | [`tls`] | how the broker proves who it is |
//! | [`config`], [`handle`], [`stats`], [`traffic`] | how a broker is started, watched and ended |
//!
//! Invariants: no input makes it panic, no request waits for a lock that
//! others hold for longer than a table lookup, and no answer echoes what was
//! sent, except for the origin of a page that is refused.

pub mod admission;
pub mod client_auth;
pub mod config;
pub mod console;
pub mod directory;
pub mod dress;
pub mod form;
pub mod grant;
pub mod handle;
pub mod jose;
pub mod json;
pub mod mail;
pub mod order_sheet;
pub mod orders;
pub mod origin;
pub mod other_grants;
pub mod registration;
pub mod registry;
pub mod replay;
pub mod revocation;
pub mod stats;
pub mod terms;
pub mod throttle;
pub mod tls;
pub mod token;
pub mod traffic;

mod actor;
mod admin;
mod body;
mod connection;
mod feed;
mod follow;
mod foreman;
mod reset;
mod roca;
mod routes;
mod server;
mod service;
mod signed_token;
mod skew;
mod wire;

pub use self::config::{Behaviour, BrokerConfig, BrokerError, Limits};
pub use self::console::ConsoleConfig;
pub use self::dress::{Dress, Provider};
pub use self::handle::Broker;
pub use self::mail::MailConfig;
pub use self::order_sheet::OrderSheet;
pub use self::orders::Orders;
pub use self::registration::{
    Access, AppRegistration, Authentication, KeyRegistration, Membership, UserRegistration,
};
pub use self::stats::Stats;
pub use self::terms::{Scopes, Terms};
pub use self::throttle::RateLimit;
pub use self::tls::Certificate;
