//! One binary for all integration tests, a module for each behaviour.
#![allow(clippy::unwrap_used)]

mod broker;
mod floors;
