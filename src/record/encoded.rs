//! How is a written histogram read that may come from anywhere?
//!
//! The form is HdrHistogram V2, deflated and in base64. Nothing of the text
//! sizes an allocation: the bounds in its header have to be the ones of this
//! program, and no more is inflated than such a histogram can hold. Reading
//! yields counts of values, so that they can be added to a sum without making
//! a histogram of their own.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;

use super::histogram::{DIGITS, EncodingError, HIGHEST_NS};
use crate::stats::random::{GOLDEN, mixed};

/// The first word of a deflated histogram, and of what is inside.
const DEFLATED: u32 = 0x1c84_9314;
const INFLATED: u32 = 0x1c84_9313;

/// The words before the counts, in bytes.
const HEADER: usize = 40;

/// The values that share a bucket's width, for three digits: half of the
/// smallest power of two that is at least 2 × 10³.
const HALF: u64 = 1_024;

/// Bits of [`HALF`].
const HALF_BITS: u32 = 10;

/// The counts that a histogram up to an hour holds, and no more.
const MOST_COUNTS: u64 = index_of(HIGHEST_NS) + 1;

/// The longest text: each count takes nine bytes at most, deflate adds next to
/// nothing, and base64 a third.
const MOST_TEXT: u64 = (MOST_COUNTS * 9 + HEADER as u64) * 3 / 2;

/// Calls `each` with every value that was counted and how often, ascending.
///
/// A value stands for all that are equal to it in three digits.
///
/// # Errors
///
/// The text is no such histogram, or one of other bounds; `each` may have been
/// called for its beginning.
pub fn scan(text: &str, mut each: impl FnMut(u64, u64)) -> Result<(), EncodingError> {
    if text.len() as u64 > MOST_TEXT {
        return Err(EncodingError::new(&format!(
            "it has {} characters, expected at most {MOST_TEXT}",
            text.len()
        )));
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| EncodingError::new(&error))?;
    let cut = || EncodingError::new(&"it ends too early");
    let deflated = bytes.get(8..).ok_or_else(cut)?;
    if word(&bytes, 0) != DEFLATED {
        return Err(EncodingError::new(
            &"it does not begin like a deflated V2 histogram",
        ));
    }
    let mut inflated = Vec::new();
    ZlibDecoder::new(deflated)
        .take((MOST_COUNTS * 9) + HEADER as u64)
        .read_to_end(&mut inflated)
        .map_err(|error| EncodingError::new(&error))?;
    let mut counts = inflated.get(HEADER..).ok_or_else(cut)?;
    let long = |at| u64::from(word(&inflated, at)) << 32 | u64::from(word(&inflated, at + 4));
    let (length, offset, digits) = (word(&inflated, 4), word(&inflated, 8), word(&inflated, 12));
    let (low, high) = (long(16), long(24));
    if word(&inflated, 0) != INFLATED
        || offset != 0
        || digits != u32::from(DIGITS)
        || low != 1
        || high > HIGHEST_NS
    {
        return Err(EncodingError::new(&format!(
            "it covers {low} to {high} with {digits} digits, expected 1 to {HIGHEST_NS} with {DIGITS}"
        )));
    }
    counts = counts.get(..length as usize).ok_or_else(cut)?;
    let mut index = 0_u64;
    while !counts.is_empty() {
        let (count, rest) = zigzag(counts).ok_or_else(cut)?;
        counts = rest;
        index += match u64::try_from(count) {
            Ok(count) => {
                if count > 0 && index < MOST_COUNTS {
                    each(value_of(index), count);
                }
                1
            }
            // A negative number stands for as many zeros.
            Err(_) => count.unsigned_abs(),
        };
        if index > MOST_COUNTS {
            return Err(EncodingError::new(
                &"it has more counts than its bounds allow",
            ));
        }
    }
    Ok(())
}

/// Returns a number for a histogram's contents that adds up when histograms
/// are added: equal sums have equal numbers, and others differ but for a
/// chance of 2⁻⁶⁴.
#[must_use]
pub fn weight(value: u64, count: u64) -> u64 {
    mixed(value.wrapping_add(GOLDEN)).wrapping_mul(count)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// Reads a signed number of seven bits a byte, the ninth byte being whole.
fn zigzag(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut sum = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        let bits = u64::from(*byte);
        if at == 8 {
            sum |= bits << 56;
        } else {
            sum |= (bits & 0x7f) << (7 * at);
        }
        if at == 8 || bits & 0x80 == 0 {
            let half = i64::try_from(sum >> 1).ok()?;
            let number = half ^ -i64::from(sum & 1 == 1);
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// Returns the smallest value that is counted at a place.
const fn value_of(index: u64) -> u64 {
    if index < 2 * HALF {
        return index;
    }
    let bucket = (index >> HALF_BITS) - 1;
    ((index & (HALF - 1)) + HALF) << bucket
}

/// Returns the place at which a value is counted.
const fn index_of(value: u64) -> u64 {
    let bits = u64::BITS - value.leading_zeros();
    let bucket = bits.saturating_sub(HALF_BITS + 1);
    ((bucket as u64) << HALF_BITS) + (value >> bucket)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;
    use crate::record::Histogram;

    fn written(header: [u32; 10], counts: &[u8]) -> String {
        let mut inner = Vec::new();
        for word in header {
            inner.extend(word.to_be_bytes());
        }
        inner.extend(counts);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&inner).unwrap();
        let deflated = encoder.finish().unwrap();
        let mut bytes = DEFLATED.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(deflated.len()).unwrap().to_be_bytes());
        bytes.extend(deflated);
        STANDARD.encode(bytes)
    }

    fn header(length: u32) -> [u32; 10] {
        let half = |ns: u64| u32::try_from(ns).unwrap();
        let (high, low) = (half(HIGHEST_NS >> 32), half(HIGHEST_NS & 0xffff_ffff));
        [INFLATED, length, 0, 3, 0, 1, high, low, 0, 0]
    }

    #[test]
    fn places_and_values_are_inverse() {
        for value in (0..5_000).chain([1 << 20, (1 << 40) + (1 << 31), HIGHEST_NS]) {
            let low = value_of(index_of(value));
            assert!(low <= value && (value - low) as f64 <= value as f64 / 1_000.0);
            assert_eq!(index_of(low), index_of(value));
        }
    }

    #[test]
    fn scanning_finds_what_the_library_wrote() {
        let mut histogram = Histogram::new();
        let mut ns: u64 = 1;
        for i in 0..30_000_u64 {
            ns = ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i);
            histogram.record(Duration::from_nanos(ns >> 22));
        }
        let mut found = Histogram::new();
        let mut number = 0_u64;
        scan(&histogram.encode().unwrap(), |value, count| {
            number = number.wrapping_add(weight(value, count));
            found.record_many(value, count);
        })
        .unwrap();
        assert_eq!(found, histogram);
        let mut twice = Histogram::new();
        twice.add(&histogram);
        twice.add(&histogram);
        let mut of_twice = 0_u64;
        scan(&twice.encode().unwrap(), |value, count| {
            of_twice = of_twice.wrapping_add(weight(value, count));
        })
        .unwrap();
        assert_eq!(of_twice, number.wrapping_mul(2));
    }

    #[test]
    fn hostile_bounds_and_bombs_are_refused() {
        let ok = written(header(1), &[2]);
        scan(&ok, |value, count| assert_eq!((value, count), (0, 1))).unwrap();
        let mut wide = header(1);
        wide[6] = u32::MAX;
        let mut fine = header(1);
        fine[3] = 5;
        let mut moved = header(1);
        moved[2] = 7;
        for header in [wide, fine, moved] {
            assert!(scan(&written(header, &[2]), |_, _| ()).is_err());
        }
        // Counts beyond the bounds, a length beyond the text, and zeros that
        // inflate to far more than a histogram holds.
        let bomb = vec![2_u8; 64 << 20];
        for (length, counts) in [(64 << 20, bomb.as_slice()), (9, &[2]), (1, &[0x80])] {
            assert!(scan(&written(header(length), counts), |_, _| ()).is_err());
        }
        assert!(scan("", |_, _| ()).is_err());
        assert!(
            scan(
                &"A".repeat(usize::try_from(MOST_TEXT).unwrap() + 4),
                |_, _| ()
            )
            .is_err()
        );
    }
}
