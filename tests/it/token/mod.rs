//! The token library: caches, keys and the file that processes share.

mod behaviour;
mod cancellation;
pub mod desk;
mod endpoint;
mod herd;
mod keys;
mod minted;
mod model;
mod shelf;
mod workers;
mod zeroized;
