//! What holds now, of a load from many machines?
//!
//! The same picture as that of one machine, of two sources: beats of agents,
//! half a second old, give rates and who is there; slices that all agents have
//! told of give latencies, exact and a second or more old. Which figure is of
//! which, and how old, is said beside it.
//!
//! | module | answers |
//! |---|---|
//! | [`model`], [`agents`], [`offer`] | what holds now: the whole, each agent, what the schedule asks for |
//! | [`screen`], `table`, [`lines`] | what it looks like |

pub mod agents;
pub mod lines;
pub mod model;
pub mod offer;
pub mod screen;
mod table;

pub use self::model::{FleetModel, FleetPicture};
