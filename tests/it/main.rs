//! One binary for all integration tests, a module for each behaviour.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod allocations;
mod assertions;
mod backends;
mod batch;
mod bench;
mod broker;
mod credentials;
mod files;
#[cfg(feature = "fleet")]
mod fleet;
mod floors;
mod gate;
mod gate_targets;
mod keys;
mod live;
mod load;
mod pkcs11;
mod report;
mod results;
mod runs;
mod secrets;
mod stage;
mod stats;
mod token;
mod tokens;
mod vectors;
