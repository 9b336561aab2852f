//! Which histograms does a slice hold, and which a whole run?
//!
//! Histograms of equal bounds add up exactly, whatever thread they come from.

use super::tally::Parts;
use super::transport::Opened;
use crate::record::{ConnectionFacts, Histogram, Packed, Stages};

/// The histograms of the requests of one slice that ended in one way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sets {
    /// From the moment for which a request was intended to its end.
    pub response: Histogram,
    /// From sending to the end.
    pub service: Histogram,
    /// How late the generator noticed that it was due.
    pub generator_lag: Histogram,
    /// The wait for a free connection.
    pub connection_wait: Histogram,
    /// How late the generator noticed that the answer was there.
    pub receive_lag: Histogram,
    /// Making the assertion.
    pub signing: Histogram,
    /// The wait for an assertion that was not ready.
    pub signing_wait: Histogram,
}

/// The parts of a request that are kept per run, not per slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Journey {
    pub dns: Histogram,
    pub connect: Histogram,
    pub tls: Histogram,
    pub write: Histogram,
    pub first_byte: Histogram,
    pub body: Histogram,
    pub opened: ConnectionFacts,
}

/// Times summed over requests, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub target: u128,
    pub connections: u128,
    pub signing: u128,
    pub generator: u128,
}

impl Sets {
    pub(super) fn record(&mut self, parts: &Parts) {
        let some = |histogram: &mut Histogram, ns: Option<u64>| {
            if let Some(ns) = ns {
                histogram.record_ns(ns);
            }
        };
        some(&mut self.response, Some(parts.response));
        some(&mut self.service, Some(parts.service));
        some(&mut self.generator_lag, Some(parts.generator_lag));
        some(&mut self.connection_wait, Some(parts.connection_wait));
        some(&mut self.receive_lag, parts.receive_lag);
        some(&mut self.signing, parts.signing);
        some(&mut self.signing_wait, parts.signing_wait);
    }

    /// How many histograms there are.
    pub const PARTS: usize = 7;

    /// Returns the histograms in the order of [`Stages::parts`], which begins
    /// with them.
    pub fn parts_mut(&mut self) -> [&mut Histogram; Self::PARTS] {
        [
            &mut self.response,
            &mut self.service,
            &mut self.generator_lag,
            &mut self.connection_wait,
            &mut self.receive_lag,
            &mut self.signing,
            &mut self.signing_wait,
        ]
    }

    /// Adds the histograms of other requests.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.generator_lag.add(&other.generator_lag);
        self.connection_wait.add(&other.connection_wait);
        self.receive_lag.add(&other.receive_lag);
        self.signing.add(&other.signing);
        self.signing_wait.add(&other.signing_wait);
    }

    /// Empties the histograms; they keep their memory.
    pub fn clear(&mut self) {
        self.response.clear();
        self.service.clear();
        self.generator_lag.clear();
        self.connection_wait.clear();
        self.receive_lag.clear();
        self.signing.clear();
        self.signing_wait.clear();
    }

    /// Packs the histograms.
    #[must_use]
    pub fn pack(&self) -> Stages {
        Stages {
            response: Packed::of(&self.response),
            service: Packed::of(&self.service),
            generator_lag: Packed::of(&self.generator_lag),
            connection_wait: Packed::of(&self.connection_wait),
            receive_lag: Packed::of(&self.receive_lag),
            signing: Packed::of(&self.signing),
            signing_wait: Packed::of(&self.signing_wait),
            ..Stages::default()
        }
    }

    /// Unpacks what [`Self::pack`] packed.
    #[must_use]
    pub fn unpack(stages: &Stages) -> Self {
        Self {
            response: stages.response.open(),
            service: stages.service.open(),
            generator_lag: stages.generator_lag.open(),
            connection_wait: stages.connection_wait.open(),
            receive_lag: stages.receive_lag.open(),
            signing: stages.signing.open(),
            signing_wait: stages.signing_wait.open(),
        }
    }
}

impl Journey {
    /// Counts what was opened for a request, whatever became of it.
    pub fn count(&mut self, opened: Opened) {
        self.opened.connections += 1;
        match opened.tls_ns {
            Some(_) if opened.is_resumed => self.opened.tls_resumed += 1,
            Some(_) => self.opened.tls_full += 1,
            None => {}
        }
    }

    pub fn record(&mut self, parts: &Parts) {
        if let Some(ns) = parts.write {
            self.write.record_ns(ns);
        }
        if let Some(ns) = parts.first_byte {
            self.first_byte.record_ns(ns);
        }
        if let Some(ns) = parts.body {
            self.body.record_ns(ns);
        }
        if let Some(opened) = parts.opened {
            self.dns.record_ns(opened.dns_ns);
            self.connect.record_ns(opened.connect_ns);
            if let Some(ns) = opened.tls_ns {
                self.tls.record_ns(ns);
            }
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.dns.add(&other.dns);
        self.connect.add(&other.connect);
        self.tls.add(&other.tls);
        self.write.add(&other.write);
        self.opened.connections += other.opened.connections;
        self.opened.tls_full += other.opened.tls_full;
        self.opened.tls_resumed += other.opened.tls_resumed;
        self.first_byte.add(&other.first_byte);
        self.body.add(&other.body);
    }

    /// Puts the packed histograms into `stages`.
    pub fn pack_into(&self, stages: &mut Stages) {
        stages.dns = Packed::of(&self.dns);
        stages.connect = Packed::of(&self.connect);
        stages.tls = Packed::of(&self.tls);
        stages.write = Packed::of(&self.write);
        stages.first_byte = Packed::of(&self.first_byte);
        stages.body = Packed::of(&self.body);
    }
}

impl Sums {
    pub fn add(&mut self, other: Self) {
        self.target += other.target;
        self.connections += other.connections;
        self.signing += other.signing;
        self.generator += other.generator;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let mut sets = Sets::default();
        for ns in [1, 700, 1 << 30] {
            sets.record(&Parts {
                response: 6 * ns,
                service: 3 * ns,
                generator_lag: ns,
                connection_wait: 2 * ns,
                ..Parts::default()
            });
        }
        assert_eq!(Sets::unpack(&sets.pack()), sets);
    }
}
