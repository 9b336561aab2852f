//! What does a monitoring system get of a run, or of a broker?
//!
//! Named instruments, made anew for each asking from counts that were fed
//! once a second ([`Instrument`]); the same for a scrape and for a push. No
//! label holds an address, an app, a key or a token: there are few of each, and
//! nothing secret.

mod broker;
mod exposition;
#[cfg(feature = "fleet")]
mod fleet;
mod instrument;
#[cfg(feature = "otlp")]
pub mod otlp;
mod process;
mod scrape;
mod totals;

use std::sync::Arc;
#[cfg(feature = "fleet")]
use std::time::Instant;

use parking_lot::Mutex;

pub use self::broker::of_broker;
pub use self::exposition::exposition;
pub use self::instrument::{Instrument, Labels, Unit, Value};
pub use self::scrape::{Scraped, Target};
pub use self::totals::Totals;
use crate::scenario::Event;

/// The counts of a run, which its watching thread feeds and any thread reads.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    totals: Totals,
    #[cfg(feature = "fleet")]
    fleet: Option<fleet::FleetCounts>,
}

impl Metrics {
    /// Takes an event in.
    pub fn hear(&self, event: &Event<'_>) {
        self.0.lock().totals.hear(event);
    }

    /// Takes an event of a fleet in that is heard `now`.
    #[cfg(feature = "fleet")]
    pub fn hear_fleet(&self, event: &crate::fleet::event::Event<'_>, now: Instant) {
        let counts = &mut *self.0.lock();
        let fleet = counts.fleet.get_or_insert_default();
        fleet.hear(event, now, &mut counts.totals);
    }

    /// Returns all instruments with what they hold now.
    #[must_use]
    pub fn instruments(&self) -> Vec<Instrument> {
        let mut all = {
            let counts = self.0.lock();
            let all = counts.totals.instruments();
            #[cfg(feature = "fleet")]
            let all = match &counts.fleet {
                Some(fleet) => all.into_iter().chain(fleet.instruments()).collect(),
                None => all,
            };
            all
        };
        all.extend(process::instruments());
        all
    }
}
