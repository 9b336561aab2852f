//! How is a record shown to people?
//!
//! A report reads records and nothing else: it never measures, and it shows
//! no figure that is not computed from the record alone.

mod bench_bars;
pub mod bench_csv;
pub mod bench_text;
pub mod capacity_text;
pub mod database;
pub mod gate_junit;
mod gate_load;
pub mod gate_markdown;
pub mod gate_text;
mod gate_words;
mod habit_bars;
pub mod history;
pub mod html;
mod open_text;
pub mod results_text;
pub mod run_csv;
pub mod run_junit;
pub mod run_markdown;
pub mod run_text;
pub mod self_test_text;
pub mod summary;
mod table;
pub mod verdict_text;

pub use self::bench_csv::bench_csv;
pub use self::bench_text::bench_text;
pub use self::capacity_text::{capacity_sentence, rung_line};
pub use self::database::export_database;
pub use self::gate_junit::gate_junit;
pub use self::gate_markdown::gate_markdown;
pub use self::gate_text::gate_text;
pub use self::html::run_html;
pub use self::results_text::results_text;
pub use self::run_csv::{run_csv, slices_csv};
pub use self::run_junit::run_junit;
pub use self::run_markdown::run_markdown;
pub use self::run_text::run_text;
pub use self::self_test_text::self_test_text;
pub use self::summary::{Summary, side_by_side, step_times};
pub use self::verdict_text::{side_by_side_text, verdict_text};
