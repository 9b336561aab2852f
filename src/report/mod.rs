//! How is a record shown to people?
//!
//! A report reads records and nothing else: it never measures, and it shows
//! no figure that is not computed from the record alone.

mod bench_bars;
pub mod bench_csv;
pub mod bench_text;
pub mod capacity_text;
mod habit_bars;
mod open_text;
pub mod run_text;
pub mod self_test_text;
pub mod summary;
mod table;

pub use self::bench_csv::bench_csv;
pub use self::bench_text::bench_text;
pub use self::capacity_text::{capacity_sentence, rung_line};
pub use self::run_text::run_text;
pub use self::self_test_text::self_test_text;
