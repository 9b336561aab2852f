//! Mintmark measures how fast signed tokens can be minted.
//!
//! A server application holds a private key, signs short-lived JWT
//! assertions with it and trades them at a token endpoint for access tokens
//! (RFC 7523). This crate answers how fast a machine signs such assertions,
//! how many of them a token endpoint honours, and what reusing keys and
//! caching tokens saves.
//!
//! # Map
//!
//! A module imports only from its own floor or from a lower one; a test reads
//! the `use` lines and fails on an upward edge.
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 0 vocabulary | [`units`], [`clock`], [`error`] | quantities with units, clocks, exit codes |
//! | 1 domain | [`credential`], [`assertion`], [`signer`], [`oauth`], [`record`], [`stats`] | keys and configuration files, the signed JWT, the signing backends, the wire types of a token endpoint, result documents, arithmetic |
//! | 2 engines | [`scenario`], [`bench`](mod@bench), [`token`], [`broker`], [`load`], `fleet` | each does one job and returns a record; none of them prints |
//! | 3 decisions | [`capacity`] | a record in, a verdict with its evidence out |
//! | 4 faces | [`report`], [`live`], [`cli`] | text, Markdown, HTML, JUnit, CSV; what happens right now; flags and exit codes |
//!
//! Key material is zeroized when it is dropped and has no `Debug` form.

pub mod clock;
pub mod error;
pub mod units;

pub mod assertion;
pub mod credential;
pub mod oauth;
pub mod record;
pub mod signer;
pub mod stats;

pub mod bench;
pub mod broker;
#[cfg(feature = "fleet")]
pub mod fleet;
pub mod load;
pub mod scenario;
pub mod token;

pub mod capacity;
pub mod gate;

pub mod cli;
pub mod live;
pub mod report;
