//! `mintmark fleet pause`, `continue`, `rate` and `stop`: a run, steered while
//! it goes on.

use clap::Args;

use super::access_flags::AccessFlags;
use super::log::LogFlags;
use super::{Exit, Failure};
use crate::fleet::control::{Wish, steer};
use crate::record::RateChange;
use crate::units::Shown;

/// The highest factor, a thousand times the scenario's own rate.
const MOST: f64 = 1_000.0;

#[derive(Debug, Args)]
pub(super) struct SteerFlags {
    #[command(flatten)]
    access: AccessFlags,
}

#[derive(Debug, Args)]
pub(super) struct RateFlags {
    /// The rate as a multiple of the scenario's own, such as 0.5 or 2.
    #[arg(value_name = "FACTOR", value_parser = factor)]
    factor: u64,

    #[command(flatten)]
    access: AccessFlags,
}

pub(super) fn pause(flags: &SteerFlags, log: LogFlags) -> Result<Exit, Failure> {
    change(&flags.access, Wish::Rate(0), log)
}

pub(super) fn go_on(flags: &SteerFlags, log: LogFlags) -> Result<Exit, Failure> {
    change(&flags.access, Wish::Rate(1_000_000), log)
}

pub(super) fn stop(flags: &SteerFlags, log: LogFlags) -> Result<Exit, Failure> {
    change(&flags.access, Wish::Stop, log)
}

pub(super) fn rate(flags: &RateFlags, log: LogFlags) -> Result<Exit, Failure> {
    change(&flags.access, Wish::Rate(flags.factor), log)
}

fn change(access: &AccessFlags, wish: Wish, log: LogFlags) -> Result<Exit, Failure> {
    let access = access.access()?;
    let granted = steer(&access, wish).map_err(Failure::failed)?;
    let what = match wish {
        Wish::Rate(factor_ppm) => RateChange::words(factor_ppm),
        Wish::Stop => "ends".to_owned(),
    };
    log.say(&if granted.within.is_zero() {
        format!("{} {what} now", granted.run)
    } else {
        format!("{} {what} in {}", granted.run, Shown(granted.within))
    });
    Ok(Exit::Success)
}

/// Reads a factor into millionths.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn factor(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .filter(|factor| (0.000_001..=MOST).contains(factor))
        .map(|factor: f64| (factor * 1e6).round() as u64)
        .ok_or_else(|| {
            format!("expected a factor from 0.000001 to {MOST}; `fleet pause` stops sending")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_a_multiple_above_zero() {
        assert_eq!(factor("0.5"), Ok(500_000));
        assert_eq!(factor("2"), Ok(2_000_000));
        for faulty in ["0", "-1", "nan", "inf", "1001", "half", ""] {
            assert!(factor(faulty).is_err(), "{faulty}");
        }
    }
}
