//! Which blocks does a PEM text hold?
//!
//! Reads RFC 7468 text leniently (any text around the blocks, any white space
//! inside) and keeps the headers of RFC 1421, by which OpenSSL marks an
//! encrypted `RSA PRIVATE KEY`. Decoded bytes stay in buffers that are
//! zeroized. It does not look into the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::container::ContainerError;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The longest label; real ones have up to 25 characters. Labels are shown in
/// errors, so they are neither long nor able to steer a terminal.
const MAX_LABEL: usize = 64;

/// One block of a PEM text, not yet decoded.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    headers: &'a str,
    body: &'a str,
}

impl<'a> Block<'a> {
    /// Finds a header's value.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(found, _)| found.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Decodes the base64 between the headers and the end.
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let mut digits = Zeroizing::new(Vec::with_capacity(self.body.len()));
        digits.extend(self.body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let mut bytes = Zeroizing::new(vec![0; digits.len() / 4 * 3 + 3]);
        let len = STANDARD
            .decode_slice(&*digits, &mut bytes)
            .map_err(|_| ContainerError::Garbled("the base64 of its PEM block does not decode"))?;
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// Does the text hold the beginning of a PEM block?
pub(super) fn has_block(text: &[u8]) -> bool {
    text.windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

/// Finds the blocks of a text, in order.
///
/// # Errors
///
/// A block has no end line, or one with another label.
pub(super) fn blocks(text: &str) -> Result<Vec<Block<'_>>, ContainerError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        rest = &rest[at + BEGIN.len()..];
        let Some((label, after)) = rest.split_once(DASHES) else {
            return Err(ContainerError::Truncated);
        };
        if label.len() > MAX_LABEL || !label.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ContainerError::Garbled(
                "its PEM block has no printable label",
            ));
        }
        let Some((content, end)) = after.split_once(END) else {
            return Err(ContainerError::Truncated);
        };
        let Some(after) = end
            .strip_prefix(label)
            .and_then(|end| end.strip_prefix(DASHES))
        else {
            let whole = format!("{label}{DASHES}");
            return Err(if whole.starts_with(end.trim_end()) {
                ContainerError::Truncated
            } else {
                ContainerError::Garbled("its PEM block ends with another label than it begins with")
            });
        };
        if content.contains("\\n") {
            return Err(ContainerError::Garbled(
                "its line ends are the two characters \\n, as inside of JSON, expected real line ends",
            ));
        }
        let (headers, body) = split_headers(content);
        blocks.push(Block {
            label,
            headers,
            body,
        });
        rest = after;
    }
    Ok(blocks)
}

/// Encodes a block with lines of 64 digits, as OpenSSL does.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(
        digits.len() + digits.len() / 64 + 2 * label.len() + 64,
    ));
    for part in [BEGIN, label, DASHES, "\n"] {
        text.push_str(part);
    }
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    for part in [END, label, DASHES, "\n"] {
        text.push_str(part);
    }
    text
}

/// Splits off the headers: lines with a colon up to the first blank one.
fn split_headers(content: &str) -> (&str, &str) {
    let trimmed = content.trim_start();
    // A colon is no digit of base64, so its line can only be a header.
    if !trimmed
        .lines()
        .next()
        .is_some_and(|line| line.contains(':'))
    {
        return ("", content);
    }
    let mut at = 0;
    for line in trimmed.split_inclusive('\n') {
        if line.trim().is_empty() {
            return trimmed.split_at(at);
        }
        at += line.len();
    }
    (trimmed, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_and_white_space_within_are_no_obstacle() {
        let text = "subject=/CN=x\r\n-----BEGIN A-----\r\nAQID  \r\n\r\n BAU=\t\r\n-----END A-----\r\nbye\n\
                    -----BEGIN B----- Bg== -----END B-----";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].label, "A");
        assert_eq!(**blocks[0].decode().unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(blocks[1].label, "B");
        assert_eq!(**blocks[1].decode().unwrap(), [6]);
    }

    #[test]
    fn headers_end_at_the_blank_line() {
        let text = "-----BEGIN K-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: X,00 \r\n \r\nAQID\r\n-----END K-----\r\n";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks[0].header("proc-type"), Some("4,ENCRYPTED"));
        assert_eq!(blocks[0].header("DEK-Info"), Some("X,00"));
        assert_eq!(blocks[0].header("Other"), None);
        assert_eq!(**blocks[0].decode().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_block_without_its_whole_end_is_cut_off() {
        let whole = "-----BEGIN K-----\nAQID\n-----END K-----";
        for len in "-----BEGIN ".len()..whole.len() {
            let error = blocks(&whole[..len]).err();
            assert!(
                matches!(error, Some(ContainerError::Truncated)),
                "{len}: {error:?}"
            );
        }
        let error = blocks("-----BEGIN K-----\nAQID\n-----END L-----").err();
        assert!(
            matches!(error, Some(ContainerError::Garbled(_))),
            "{error:?}"
        );
    }

    #[test]
    fn a_label_that_would_steer_a_terminal_is_refused() {
        for label in ["K\u{1b}[2J", "K\nL", &"K".repeat(65)] {
            let error = blocks(&format!("-----BEGIN {label}-----\n-----END {label}-----")).err();
            assert!(
                matches!(error, Some(ContainerError::Garbled(_))),
                "{label:?}: {error:?}"
            );
        }
    }

    #[test]
    fn a_block_whose_line_ends_are_still_escaped_is_told_so() {
        let error = blocks(r"-----BEGIN K-----\nAQID\n-----END K-----").err();
        assert!(
            matches!(error, Some(ContainerError::Garbled(what)) if what.contains("JSON")),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_encoded_decodes_again() {
        for len in [0, 1, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..len).collect();
            let text = encode("PRIVATE KEY", &der);
            assert!(text.lines().all(|line| line.len() <= 64), "{}", *text);
            let blocks = blocks(&text).unwrap();
            assert_eq!(**blocks[0].decode().unwrap(), der);
        }
    }
}
