//! One binary for all integration tests, a module for each behaviour.
#![allow(clippy::unwrap_used)]

mod allocations;
mod assertions;
mod batch;
mod broker;
mod credentials;
mod floors;
mod runs;
mod secrets;
mod stage;
mod tokens;
