//! How is a record shown to people?
//!
//! A report reads records and nothing else: it never measures, and it shows
//! no figure that is not computed from the record alone.

mod open_text;
pub mod run_text;
mod table;

pub use self::run_text::run_text;
