//! How are very many assertions made at once?
//!
//! Threads write signing inputs, sign them in full batches and hand over
//! blocks of finished lines; the calling thread writes them out. Every thread
//! has a builder of its own, so that no two share anything but the signer and
//! a counter. At most a few blocks wait, whatever the count.
//!
//! What comes singly from many tasks is gathered by
//! [`Mint`](crate::signer::Mint) instead; here the batches are there already.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use super::{Builder, Subject, append_signature};
use crate::clock::Clock;
use crate::signer::{Job, SignError, Signer};

/// Assertions in a block, at least: a few batches, so that handing over costs
/// nothing beside them. Twice as many would only delay the first line.
const BLOCK: usize = 64;

/// Blocks that may wait for the writer, for each thread.
const WAITING: usize = 4;

/// Writes `count` assertions for `subject` to `out`, one a line.
///
/// `builders` are as many threads' builders; each assertion is dated with the
/// moment at which its block is begun. The order of lines is not fixed.
///
/// # Errors
///
/// The first failure to write or to sign; what was written until then stays.
pub fn write_lines(
    builders: Vec<Builder>,
    signer: &dyn Signer,
    subject: &Subject,
    clock: &dyn Clock,
    count: u64,
    out: &mut dyn Write,
) -> Result<(), BulkError> {
    let claimed = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let (sender, blocks) = mpsc::sync_channel(WAITING * builders.len().max(1));
    let width = signer.batch_width().max(1);
    let block = BLOCK.next_multiple_of(width) as u64;
    thread::scope(|scope| {
        for builder in builders {
            let sender = sender.clone();
            let (claimed, is_over) = (&claimed, &is_over);
            scope.spawn(move || {
                let mut press = Press::new(builder, signer, width);
                while !is_over.load(Ordering::Relaxed) {
                    let begin = claimed.fetch_add(block, Ordering::Relaxed);
                    if begin >= count {
                        return;
                    }
                    let size = block.min(count - begin);
                    let made = press.block(size, clock, subject);
                    // The writer has gone if it failed.
                    if sender.send(made).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Dropped when this returns, so that a waiting thread is let go.
        let blocks = blocks;
        for made in &blocks {
            let written = made
                .map_err(BulkError::Sign)
                .and_then(|lines: Vec<u8>| out.write_all(&lines).map_err(BulkError::Write));
            if written.is_err() {
                is_over.store(true, Ordering::Relaxed);
                return written;
            }
        }
        out.flush().map_err(BulkError::Write)
    })
}

/// What one thread works with.
struct Press<'a> {
    builder: Builder,
    signer: &'a dyn Signer,
    inputs: Vec<Vec<u8>>,
    signatures: Vec<Vec<u8>>,
}

impl<'a> Press<'a> {
    fn new(builder: Builder, signer: &'a dyn Signer, width: usize) -> Self {
        Self {
            builder,
            signer,
            inputs: vec![Vec::new(); width],
            signatures: vec![vec![0; signer.signature_len()]; width],
        }
    }

    fn block(
        &mut self,
        size: u64,
        clock: &dyn Clock,
        subject: &Subject,
    ) -> Result<Vec<u8>, SignError> {
        let now = clock.unix();
        let mut lines = Vec::new();
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        while left > 0 {
            let width = left.min(self.inputs.len());
            for input in &mut self.inputs[..width] {
                input.clear();
                self.builder.write_signing_input(now, subject, input);
            }
            let mut jobs: Vec<Job<'_>> = self.inputs[..width]
                .iter()
                .zip(&mut self.signatures)
                .map(|(message, signature)| Job { message, signature })
                .collect();
            self.signer.sign_batch(&mut jobs)?;
            for (input, signature) in self.inputs[..width].iter().zip(&self.signatures) {
                lines.extend_from_slice(input);
                append_signature(&mut lines, signature);
                lines.push(b'\n');
            }
            left -= width;
        }
        Ok(lines)
    }
}

/// Why not all assertions were written.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    /// The signer failed.
    #[error("an assertion cannot be signed")]
    Sign(#[source] SignError),
    /// The lines cannot be written.
    #[error("the assertions cannot be written")]
    Write(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::assertion::{Bindings, Template};
    use crate::clock::ManualClock;
    use crate::signer::Algorithm;

    /// Signs with the length of the message, in batches of five.
    struct Fake;

    impl Signer for Fake {
        fn signature_len(&self) -> usize {
            8
        }

        fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
            signature.copy_from_slice(&(message.len() as u64).to_be_bytes());
            Ok(())
        }

        fn batch_width(&self) -> usize {
            5
        }
    }

    fn builders(count: usize) -> Vec<Builder> {
        let template: Template = serde_json::from_str(
            r#"{"header": {"alg": "{alg}"}, "claims": {"jti": "{jti}", "sub": "{subject}"}}"#,
        )
        .unwrap();
        (0..count)
            .map(|_| {
                Builder::new(
                    &template,
                    &Bindings::new(),
                    Algorithm::Rs256,
                    Duration::from_secs(30),
                )
                .unwrap()
            })
            .collect()
    }

    #[test]
    fn as_many_different_lines_are_written_as_asked_for() {
        for (count, threads) in [(0, 1), (1, 3), (64, 1), (1_003, 3)] {
            let mut out = Vec::new();
            write_lines(
                builders(threads),
                &Fake,
                &Subject::user("1"),
                &ManualClock::default(),
                count,
                &mut out,
            )
            .unwrap();
            let text = String::from_utf8(out).unwrap();
            let lines: BTreeSet<&str> = text.lines().collect();
            assert_eq!(lines.len() as u64, count);
            assert!(lines.iter().all(|line| line.split('.').count() == 3));
        }
    }

    #[test]
    fn a_writer_that_fails_ends_all_threads() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write_lines(
            builders(3),
            &Fake,
            &Subject::user("1"),
            &ManualClock::default(),
            u64::MAX / 2,
            &mut Full,
        )
        .unwrap_err();
        assert!(matches!(error, BulkError::Write(_)));
    }
}
