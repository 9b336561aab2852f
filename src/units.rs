//! In which units are quantities written, read and shown?
//!
//! Code carries `Duration` and the newtypes of this module; files carry a text
//! with its unit (`"50ms"`) or a field with the unit in its name (`p99_ns`).
//! Nothing here measures anything.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration that scenario files write with its unit: `"500ms"`, `"2s"`, `"1m 30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    /// Makes a span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok())
            .map(Self)
            .ok_or_else(|| UnitError::Span(text.to_owned()))
    }
}

impl TryFrom<String> for Span {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        for (unit, size) in [
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
        ] {
            if ns >= size && ns.is_multiple_of(size) {
                return write!(f, "{}{unit}", ns / size);
            }
        }
        write!(f, "{ns}ns")
    }
}

/// Why a text is not a quantity.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The text is not a duration.
    #[error(
        "{0:?} is not a duration, expected a number with a unit such as \"500ms\", \"2s\" or \"1m 30s\""
    )]
    Span(String),
}

/// Shows a duration with three significant digits and the unit that fits.
///
/// ```
/// use std::time::Duration;
/// use mintmark::units::Shown;
/// assert_eq!(Shown(Duration::from_nanos(231_400)).to_string(), "231 µs");
/// assert_eq!(Shown(Duration::from_millis(1_234)).to_string(), "1.23 s");
/// ```
///
/// One nanosecond is the least that a histogram tells from another time, and
/// what zero is counted as: it shows as an upper bound, `≤ 1 ns`.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos() as f64;
        if self.0.as_nanos() == 1 {
            return f.pad("≤ 1 ns");
        }
        let (value, unit) = match ns {
            _ if ns < 999.5 => (ns, "ns"),
            _ if ns < 999_500.0 => (ns / 1e3, "µs"),
            _ if ns < 999_500_000.0 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        let text = format!("{} {unit}", three_digits(value));
        f.pad(&text)
    }
}

/// Shows a count or a rate with three significant digits below a thousand and
/// grouped thousands above.
///
/// ```
/// use mintmark::units::Grouped;
/// assert_eq!(Grouped(4348.2).to_string(), "4,348");
/// assert_eq!(Grouped(12.345).to_string(), "12.3");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Grouped(pub f64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if !value.is_finite() {
            return f.pad("–");
        }
        if value.abs() < 999.5 {
            if value.fract() == 0.0 {
                return f.pad(&format!("{value:.0}"));
            }
            return f.pad(&three_digits(value));
        }
        let digits = format!("{:.0}", value.abs());
        let mut text = String::new();
        if value < 0.0 {
            text.push('-');
        }
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit_and_written_back() {
        for (text, ms, written) in [
            ("500ms", 500, "500ms"),
            ("2s", 2_000, "2s"),
            ("1m 30s", 90_000, "90s"),
            ("1h", 3_600_000, "1h"),
            ("1.5s", 1_500, "1500ms"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span, Span::from_millis(ms), "{text}");
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse::<Span>().unwrap(), span);
        }
    }

    #[test]
    fn a_span_without_a_unit_or_below_zero_is_refused() {
        for text in ["5", "", "-2s", "2 parsecs"] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("500ms"), "{text}: {error}");
        }
    }

    #[test]
    fn shown_durations_change_unit_where_the_digits_would_not_fit() {
        for (ns, text) in [
            (1, "≤ 1 ns"),
            (0, "0.00 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (15_200_000, "15.2 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(Shown(Duration::from_nanos(ns)).to_string(), text);
        }
    }

    #[test]
    fn grouped_numbers_are_grouped_by_thousands() {
        assert_eq!(Grouped(0.0).to_string(), "0");
        assert_eq!(Grouped(999.0).to_string(), "999");
        assert_eq!(Grouped(1_000.0).to_string(), "1,000");
        assert_eq!(Grouped(-1_234_567.0).to_string(), "-1,234,567");
        assert_eq!(Grouped(f64::NAN).to_string(), "–");
    }
}
