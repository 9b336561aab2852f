//! Which parts does the time of a request have, and how are they kept?
//!
//! Each part of the time of some requests is a histogram in its written form,
//! which adds up exactly with others of its kind.

use std::fmt;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Histogram;
use super::histogram::EncodingError;

/// The parts of the time of some requests, each as a histogram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stages {
    /// From the intended start to the end.
    pub response: Packed,
    /// From sending to the end.
    pub service: Packed,
    /// From the intended start until the generator noticed.
    pub generator_lag: Packed,
    /// From then until it was sent, but for signing: the wait for a
    /// connection.
    pub connection_wait: Packed,
    /// From the kernel's receipt of the answer to its reading.
    pub receive_lag: Packed,
    /// Signing itself.
    pub signing: Packed,
    /// The wait for a signature that was not there in time.
    pub signing_wait: Packed,
    /// Finding the address, where a connection was opened.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub dns: Packed,
    /// Connecting, and being let through by a proxy, where a connection was
    /// opened.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub connect: Packed,
    /// The TLS handshake, where there was one.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub tls: Packed,
    /// The wait until the kernel had taken the whole request, where it did not
    /// do so at once.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub write: Packed,
    /// From sending to the first byte of the answer.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub first_byte: Packed,
    /// From the first byte of the answer to its end.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    pub body: Packed,
}

/// A histogram in its written form, which is small where the histogram is
/// large: a run keeps thousands of them.
#[derive(Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Packed(String);

impl Packed {
    /// Packs a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram) -> Self {
        if histogram.count() == 0 {
            return Self::default();
        }
        Self(
            histogram
                .encode()
                .expect("a histogram in memory has a written form"),
        )
    }

    /// Takes a written form.
    ///
    /// # Errors
    ///
    /// It is no histogram of these bounds.
    pub fn of_text(text: &str) -> Result<Self, EncodingError> {
        if !text.is_empty() {
            super::encoded::scan(text, |_, _| ())?;
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the written form; an empty text if nothing was counted.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Was nothing counted?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Unpacks the histogram.
    #[must_use]
    pub fn open(&self) -> Histogram {
        if self.is_empty() {
            return Histogram::new();
        }
        Histogram::decode(&self.0).expect("it was packed here, or checked when it was read")
    }
}

/// How many parts [`Stages`] has.
pub const PARTS: usize = 13;

impl Stages {
    /// Returns all parts, in the order of the fields.
    #[must_use]
    pub fn parts(&self) -> [&Packed; PARTS] {
        [
            &self.response,
            &self.service,
            &self.generator_lag,
            &self.connection_wait,
            &self.receive_lag,
            &self.signing,
            &self.signing_wait,
            &self.dns,
            &self.connect,
            &self.tls,
            &self.write,
            &self.first_byte,
            &self.body,
        ]
    }

    /// Makes stages of parts in the order of [`Self::parts`].
    #[must_use]
    pub fn of_parts(parts: [Packed; PARTS]) -> Self {
        let [
            response,
            service,
            generator_lag,
            connection_wait,
            receive_lag,
            signing,
            signing_wait,
            dns,
            connect,
            tls,
            write,
            first_byte,
            body,
        ] = parts;
        Self {
            response,
            service,
            generator_lag,
            connection_wait,
            receive_lag,
            signing,
            signing_wait,
            dns,
            connect,
            tls,
            write,
            first_byte,
            body,
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.open().fmt(f)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of_text(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
