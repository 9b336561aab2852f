//! What does a signature cost besides time?
//!
//! Allocations are counted only if the program brought a counting allocator,
//! which slows down what allocates; cycles only where the processor's counter
//! can be read, which most virtual machines hide. Otherwise the figures are
//! absent, and a clock is never passed off as a counter of cycles.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::signer::Signer;

/// Allocations that some work made on its thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// How many.
    pub count: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// Runs some work and counts the allocations of its thread.
pub type CountAllocations = fn(&mut dyn FnMut()) -> Allocations;

static COUNTER: OnceLock<CountAllocations> = OnceLock::new();

/// Says how allocations are counted in this process; the first call counts.
pub fn count_allocations_with(counter: CountAllocations) {
    let _ = COUNTER.set(counter);
}

/// Is there a counting allocator in this process?
#[must_use]
pub fn counts_allocations() -> bool {
    COUNTER.get().is_some()
}

/// Signatures over which allocations are counted.
const COUNTED: u32 = 32;

/// Counts allocations and their bytes for each signature, where a counter is.
pub(super) fn allocations(signer: &dyn Signer, messages: &[Vec<u8>]) -> Option<(f64, f64)> {
    let counter = COUNTER.get()?;
    let mut signature = vec![0; signer.signature_len()];
    let mut sign = |count: u32| {
        for message in messages.iter().cycle().take(count as usize) {
            // A failure has shown in the proof before.
            let _ = signer.sign(black_box(message), black_box(&mut signature));
        }
    };
    // The first signatures fill pools that later ones draw from.
    sign(2);
    let counted = counter(&mut || sign(COUNTED));
    let each = |sum: u64| sum as f64 / f64::from(COUNTED);
    Some((each(counted.count), each(counted.bytes)))
}

/// Counts the processor's cycles in user code for each signature.
///
/// # Errors
///
/// Why there is no figure.
#[cfg(target_os = "linux")]
pub(super) fn cycles(signer: &dyn Signer, messages: &[Vec<u8>]) -> Result<f64, String> {
    use perf_event::Builder;
    use perf_event::events::Hardware;

    let told = |error: std::io::Error| format!("the system gives no counter of cycles: {error}");
    let mut counter = Builder::new()
        .kind(Hardware::CPU_CYCLES)
        .build()
        .map_err(told)?;
    let mut signature = vec![0; signer.signature_len()];
    let mut least = u64::MAX;
    let begun = Instant::now();
    for (round, message) in messages.iter().cycle().enumerate() {
        if round >= 3 && begun.elapsed() > Duration::from_millis(20) {
            break;
        }
        counter.reset().map_err(told)?;
        counter.enable().map_err(told)?;
        let _ = signer.sign(black_box(message), black_box(&mut signature));
        counter.disable().map_err(told)?;
        least = least.min(counter.read().map_err(told)?);
    }
    match least {
        // Some hypervisors let a counter be opened and never count.
        0 | u64::MAX => Err("the counter of cycles stands still".into()),
        cycles => Ok(cycles as f64),
    }
}

/// There is no portable counter of cycles.
#[cfg(not(target_os = "linux"))]
pub(super) fn cycles(_: &dyn Signer, _: &[Vec<u8>]) -> Result<f64, String> {
    Err("cycles are counted on Linux alone".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fake::CountingSigner;

    #[test]
    fn without_a_counting_allocator_there_is_no_figure() {
        let signer = CountingSigner::default();
        let messages = [vec![1; 4]];
        assert!(!counts_allocations());
        assert_eq!(allocations(&signer, &messages), None);
        assert_eq!(signer.count(), 0);
    }

    #[test]
    fn cycles_are_counted_or_a_reason_is_given() {
        let signer = CountingSigner::default();
        match cycles(&signer, &[vec![1; 4]]) {
            Ok(cycles) => assert!(cycles > 0.0),
            Err(reason) => assert!(reason.contains("cycles"), "{reason}"),
        }
    }
}
