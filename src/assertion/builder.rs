//! How is an assertion written without allocating?
//!
//! A builder keeps the header's base64 and the constant pieces of the claims;
//! per assertion it writes the claims into a scratch buffer, encodes them
//! behind the header into the caller's buffer and appends the signature. The
//! buffers grow during the first assertion and stay.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Subject;
use super::jti::{JTI_LEN, JtiSource};
use super::template::{Bindings, Piece, Template, TemplateError, lay_out};
use crate::signer::{Algorithm, SignError, Signer};

/// Writes assertions of one app, from one thread.
#[derive(Debug)]
pub struct Builder {
    /// The header in base64url, with the dot behind it.
    head: Vec<u8>,
    claims: Vec<Piece>,
    lifetime: Duration,
    jti: JtiSource,
    scratch: Vec<u8>,
    signature: Vec<u8>,
}

impl Builder {
    /// Binds a template to an app.
    ///
    /// `lifetime` is the distance of `exp` from the moment of an assertion.
    /// The variable `{alg}` is set to the name of `algorithm`.
    ///
    /// # Errors
    ///
    /// A variable is not set, or the header has a member that differs per
    /// assertion.
    pub fn new(
        template: &Template,
        bindings: &Bindings,
        algorithm: Algorithm,
        lifetime: Duration,
    ) -> Result<Self, AssertionError> {
        let bindings = bindings.clone().with("alg", algorithm.name());
        let header = lay_out(&template.header, &bindings)?;
        let [Piece::Fixed(header)] = header.as_slice() else {
            return Err(AssertionError::Header);
        };
        let mut head = URL_SAFE_NO_PAD.encode(header).into_bytes();
        head.push(b'.');
        Ok(Self {
            head,
            claims: lay_out(&template.claims, &bindings)?,
            lifetime,
            jti: JtiSource::new(),
            scratch: Vec::new(),
            signature: Vec::new(),
        })
    }

    /// Appends the signing input of a new assertion to `out`.
    ///
    /// `now` is the moment of issue as time since the Unix epoch; fractions
    /// of a second are dropped, as `NumericDate`s are whole here.
    pub fn write_signing_input(&mut self, now: Duration, subject: &Subject, out: &mut Vec<u8>) {
        self.scratch.clear();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        for piece in &self.claims {
            match piece {
                Piece::Fixed(bytes) => self.scratch.extend_from_slice(bytes),
                Piece::Now(moved) => write_integer(&mut self.scratch, seconds + moved),
                Piece::Expires => write_integer(
                    &mut self.scratch,
                    i64::try_from((now + self.lifetime).as_secs()).unwrap_or(i64::MAX),
                ),
                Piece::Jti => {
                    let mut text = [0; JTI_LEN];
                    self.jti.write_next(&mut text);
                    self.scratch.push(b'"');
                    self.scratch.extend_from_slice(&text);
                    self.scratch.push(b'"');
                }
                Piece::Subject => write_string(&mut self.scratch, &subject.id),
                Piece::SubjectKind => write_string(&mut self.scratch, subject.kind.name()),
            }
        }
        out.extend_from_slice(&self.head);
        append_base64(out, &self.scratch);
    }

    /// Appends a new, signed assertion in the compact form to `out`.
    ///
    /// # Errors
    ///
    /// The signer failed; `out` is then as it was.
    pub fn write(
        &mut self,
        now: Duration,
        subject: &Subject,
        signer: &dyn Signer,
        out: &mut Vec<u8>,
    ) -> Result<(), SignError> {
        let start = out.len();
        self.write_signing_input(now, subject, out);
        self.signature.resize(signer.signature_len(), 0);
        if let Err(error) = signer.sign(&out[start..], &mut self.signature) {
            out.truncate(start);
            return Err(error);
        }
        append_signature(out, &self.signature);
        Ok(())
    }
}

/// Appends a signature to its signing input, which makes it a compact JWS
/// (RFC 7515 §7.1).
pub fn append_signature(out: &mut Vec<u8>, signature: &[u8]) {
    out.push(b'.');
    append_base64(out, signature);
}

fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Three bytes are four characters; the rest of one or two is two or three.
    let len = bytes.len() / 3 * 4 + (bytes.len() % 3 * 4).div_ceil(3);
    out.resize(start + len, 0);
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(len));
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    use std::io::Write;
    write!(out, "{value}").expect("writing to a vector does not fail");
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is always JSON, and a vector takes it");
}

/// Why a builder could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The template is faulty or incomplete.
    #[error("the assertion template cannot be used")]
    Template(#[from] TemplateError),
    /// The header would differ from one assertion to the next.
    #[error(
        "the header holds {{now}}, {{exp}}, {{jti}} or {{subject}}, expected those in the claims only"
    )]
    Header,
}
