//! One binary for all integration tests, a module for each behaviour.
#![allow(clippy::unwrap_used)]

mod credentials;
mod floors;
