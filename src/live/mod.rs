//! What is happening right now, and who may look on?
//!
//! Engines tell events on the thread that watches them, never on one that
//! sends. A [`Model`] turns these into a [`Picture`] of what holds now; it is shown on a
//! terminal or in lines, and scraped or pushed as metrics. All of that is fed
//! from slices that are over and from counters that are read a few times a
//! second, so that looking on costs the load next to nothing. Nothing here
//! measures, and no figure of a record comes from here.
//!
//! | module | answers |
//! |---|---|
//! | [`model`], [`rates`], [`recent`] | what holds now |
//! | [`screen`], [`lines`] | what it looks like |
//! | [`show`], [`terminal`] | when it is drawn, and how the terminal gets back |
//! | [`metrics`] | what a monitoring system gets |
//! | [`fleet`] | all of that for a load from many machines |
//! | [`notes`] | where log lines go while a screen is up |

#[cfg(feature = "fleet")]
pub mod fleet;
pub mod lines;
pub mod metrics;
pub mod model;
pub mod notes;
pub mod rates;
pub mod recent;
pub mod screen;
pub mod show;
pub mod terminal;

pub use self::metrics::Metrics;
pub use self::model::{Model, Picture};
pub use self::notes::Notes;
pub use self::show::{Look, Pictured, Show, Subject};
