//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "count-allocations")]
    mintmark::bench::probes::count_allocations_with(counted);
    mintmark::cli::main().into()
}

/// Counts with the global allocator that the crate brings.
#[cfg(feature = "count-allocations")]
fn counted(work: &mut dyn FnMut()) -> mintmark::bench::probes::Allocations {
    let info = allocation_counter::measure(work);
    mintmark::bench::probes::Allocations {
        count: info.count_total,
        bytes: info.bytes_total,
    }
}
