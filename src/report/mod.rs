//! How is a record shown to people?
//!
//! A report reads records and nothing else: it never measures, and it shows
//! no figure that is not computed from the record alone.

mod bench_bars;
pub mod bench_csv;
pub mod bench_text;
pub mod gate_junit;
pub mod gate_markdown;
pub mod gate_text;
mod gate_words;
mod habit_bars;
mod open_text;
pub mod run_text;
pub mod self_test_text;
mod table;

pub use self::bench_csv::bench_csv;
pub use self::bench_text::bench_text;
pub use self::gate_junit::gate_junit;
pub use self::gate_markdown::gate_markdown;
pub use self::gate_text::gate_text;
pub use self::run_text::run_text;
pub use self::self_test_text::self_test_text;
