//! What can be said about a measurement, and how surely?
//!
//! Plain arithmetic on numbers that somebody else measured: bounds of
//! quantiles, means and shares, serial correlation, several questions asked
//! at once, and the comparison of two arms that were measured in pairs. It
//! knows no clock, no unit and no signature; a caller says what a number is.
//!
//! Everything is deterministic: the same data give the same bounds and the
//! same verdict. Where chance is needed, a seed is a parameter.

pub mod change_points;
pub mod distribution;
pub mod mean;
pub mod multiple;
pub mod order;
pub mod paired;
pub mod random;
pub mod serial;
pub mod share;
pub mod sliced;

pub use self::multiple::Looks;
pub use self::paired::{Comparison, Estimate, Tolerance, Verdict};
pub use self::random::Random;
