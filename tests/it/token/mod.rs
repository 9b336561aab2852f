//! The token library: caches, keys and the file that processes share.

mod behaviour;
mod cancellation;
mod desk;
mod herd;
mod keys;
mod model;
mod shelf;
mod workers;
mod zeroized;
