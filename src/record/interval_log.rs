//! How do other tools read the latencies of a run?
//!
//! As an HdrHistogram interval log: one line for each slice and outcome, its
//! histogram V2 compressed. The document holds the same histograms; this is
//! the form that plotters and analysers of that family read.

use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use super::histogram::EncodingError;
use super::{Histogram, RunDocument, StepRecord};

/// Maxima stand in milliseconds beside each histogram of nanoseconds, which is
/// what readers of that column expect.
const NS_PER_MS: f64 = 1e6;

/// Renders the response times of a run, and service times where they were
/// taken, as an interval log; `None` if the run has no slices.
///
/// Tags are `step/outcome`, and `step/outcome/service` for the time from
/// sending. Steps are laid one behind the other, so that the last ends where
/// the run does.
///
/// # Errors
///
/// A histogram cannot be encoded.
pub fn interval_log(document: &RunDocument) -> Result<Option<Vec<u8>>, EncodingError> {
    let has_slices = document.steps.iter().any(|step| {
        !step.slices.is_empty()
            || step
                .open
                .as_ref()
                .is_some_and(|open| !open.slices.is_empty())
    });
    if !has_slices {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!(
            "[mintmark {}, run {}, histograms in nanoseconds, maxima in milliseconds]",
            document.tool.version,
            one_word(&document.run)
        ))
        .with_max_value_divisor(NS_PER_MS);
    if let Ok(started) = document.started_at.parse::<jiff::Timestamp>() {
        builder.with_start_time(SystemTime::from(started));
    }
    // `begin_log_with` writes to memory, which does not fail.
    let mut writer = builder
        .begin_log_with(&mut out, &mut serializer)
        .map_err(|error| EncodingError::new(&error))?;
    let in_steps: u64 = document.steps.iter().map(length_ns).sum();
    let mut begun_ns = document.elapsed_ns.saturating_sub(in_steps);
    for step in &document.steps {
        lines(&mut writer, step, begun_ns + step.phases.warm_up_ns)?;
        begun_ns += length_ns(step);
    }
    Ok(Some(with_heading(&out)))
}

/// Puts the line of headings before the first line of figures.
fn with_heading(log: &[u8]) -> Vec<u8> {
    let heading =
        b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
    let mut at = 0;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"#") {
            break;
        }
        at += line.len();
    }
    let mut whole = log[..at].to_vec();
    whole.extend_from_slice(heading);
    whole.extend_from_slice(&log[at..]);
    whole
}

type Writer<'a, 'b> = IntervalLogWriter<'a, 'b, Vec<u8>, V2DeflateSerializer>;

fn lines(
    writer: &mut Writer<'_, '_>,
    step: &StepRecord,
    measured_from_ns: u64,
) -> Result<(), EncodingError> {
    let name = one_word(&step.name);
    let mut line = |start_ns: u64, length_ns: u64, tag: &str, histogram: &Histogram| {
        if histogram.count() == 0 {
            return Ok(());
        }
        writer
            .write_histogram(
                histogram.inner(),
                Duration::from_nanos(measured_from_ns + start_ns),
                Duration::from_nanos(length_ns),
                Tag::new(tag),
            )
            .map_err(|error: IntervalLogWriterError<_>| match error {
                IntervalLogWriterError::IoError(error) => EncodingError::new(&error),
                IntervalLogWriterError::SerializeError(error) => {
                    EncodingError::new(&io::Error::other(error))
                }
            })
    };
    for slice in &step.slices {
        let tag = format!("{name}/answered");
        line(slice.start_ns, slice.length_ns, &tag, &slice.response)?;
    }
    for slice in step.open.iter().flat_map(|open| &open.slices) {
        for of in &slice.outcomes {
            let tag = format!("{name}/{}", one_word(&of.outcome));
            let (start, length) = (slice.start_ns, slice.length_ns);
            line(start, length, &tag, &of.stages.response.open())?;
            let tag = format!("{tag}/service");
            line(start, length, &tag, &of.stages.service.open())?;
        }
    }
    Ok(())
}

fn length_ns(step: &StepRecord) -> u64 {
    let phases = &step.phases;
    phases.warm_up_ns + phases.measured_ns + phases.drain_ns
}

/// Makes a tag of a name: without what parts fields, lines or words.
fn one_word(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == ',' || c.is_whitespace() || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::record::sample;

    #[test]
    fn every_slice_comes_back_from_the_log_in_order() {
        let document = sample::document();
        let log = interval_log(&document).unwrap().unwrap();
        let text = String::from_utf8(log.clone()).unwrap();
        // The heading is for people; the library's own reader has none.
        let bare: String = text
            .lines()
            .filter(|line| !line.starts_with('"'))
            .fold(String::new(), |bare, line| bare + line + "\n");
        let mut tags = Vec::new();
        let mut last = Duration::ZERO;
        for entry in IntervalLogIterator::new(bare.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                tags.push(interval.tag().unwrap().as_str().to_owned());
                assert!(interval.start_timestamp() >= last);
                last = interval.start_timestamp();
            }
        }
        let slices = document.steps[0].slices.len();
        assert_eq!(
            tags.iter()
                .filter(|tag| *tag == "first_step/answered")
                .count(),
            slices
        );
        assert!(
            tags.contains(&"open/answered/service".to_owned()),
            "{tags:?}"
        );
        assert!(text.contains("#[StartTime: "));
    }

    #[test]
    fn a_run_without_slices_has_no_log() {
        let mut document = sample::document();
        document.steps.clear();
        assert_eq!(interval_log(&document).unwrap(), None);
    }
}
