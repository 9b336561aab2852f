//! What is an access token, when nobody stores it?
//!
//! A token is opaque to its bearer and proves itself to the broker that
//! issued it: `base64url(version | expiry | app | subject | random | MAC)`,
//! with an HMAC-SHA-256 truncated to 128 bits under a key that lives as long
//! as the broker. Storing the tokens of an hour at a high rate would take
//! gigabytes, and signing them would make the broker what is measured.
//!
//! Invariant: [`Minter::verify`] accepts only what [`Minter::mint`] of the
//! same broker returned, until it expires.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The shortest and the longest life of a token, in seconds, as seen at the
/// provider; the value varies from call to call.
pub const LIFE_S: std::ops::RangeInclusive<u64> = 3600..=4300;

/// The longest subject ID, in bytes.
pub const MAX_SUBJECT: usize = 64;

const VERSION: u8 = 1;
const MAC_LEN: usize = 16;
const RANDOM_LEN: usize = 16;
/// Version, expiry, app, kind and length of the subject.
const HEAD_LEN: usize = 1 + 8 + 4 + 1 + 1;
const MAX_LEN: usize = HEAD_LEN + MAX_SUBJECT + RANDOM_LEN + MAC_LEN;

/// Issues and verifies the access tokens of one broker.
pub struct Minter {
    key: hmac::Key,
}

/// On whose behalf a token acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The app's service account in this enterprise.
    Enterprise(String),
    /// A user.
    User(String),
}

/// What a token says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number of the app in the registry.
    pub app: u32,
    /// On whose behalf the token acts.
    pub subject: Subject,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires_at: u64,
}

/// A token that was just issued.
pub struct Issued {
    /// The token. It is secret.
    pub access_token: String,
    /// How long it lives, in seconds.
    pub expires_in: u64,
}

/// Which kind of subject a token is for, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// `enterprise`
    Enterprise,
    /// `user`
    User,
}

impl Minter {
    /// Makes a minter with a random key.
    ///
    /// # Errors
    ///
    /// The system has no random bytes.
    pub fn new() -> Result<Self, Unspecified> {
        let mut key = [0; 32];
        rand::fill(&mut key)?;
        let minter = Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        };
        zeroize::Zeroize::zeroize(&mut key);
        Ok(minter)
    }

    /// Issues a token; `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// The subject is longer than [`MAX_SUBJECT`], or the system has no
    /// random bytes.
    pub fn mint(
        &self,
        app: u32,
        kind: SubjectKind,
        subject: &str,
        now: u64,
    ) -> Result<Issued, Unspecified> {
        let subject_len = u8::try_from(subject.len()).map_err(|_| Unspecified)?;
        if subject.len() > MAX_SUBJECT {
            return Err(Unspecified);
        }
        let mut random = [0; RANDOM_LEN];
        rand::fill(&mut random)?;
        let expires_in = LIFE_S.start()
            + u64::from(u16::from_be_bytes([random[0], random[1]]))
                % (LIFE_S.end() - LIFE_S.start() + 1);
        let mut token = Writer::default();
        token.put(&[VERSION]);
        token.put(&now.saturating_add(expires_in).to_be_bytes());
        token.put(&app.to_be_bytes());
        token.put(&[kind as u8, subject_len]);
        token.put(subject.as_bytes());
        token.put(&random);
        let mac = hmac::sign(&self.key, token.bytes());
        token.put(&mac.as_ref()[..MAC_LEN]);
        Ok(Issued {
            access_token: URL_SAFE_NO_PAD.encode(token.bytes()),
            expires_in,
        })
    }

    /// Checks a token; `now` is in seconds since the Unix epoch.
    ///
    /// Returns `None` for a token of another broker, one that was tampered
    /// with, and one that has expired.
    #[must_use]
    pub fn verify(&self, access_token: &str, now: u64) -> Option<Grant> {
        let mut buffer = [0; MAX_LEN];
        let len = URL_SAFE_NO_PAD
            .decode_slice(access_token, &mut buffer)
            .ok()?;
        let (signed, mac) = buffer[..len].split_at_checked(len.checked_sub(MAC_LEN)?)?;
        let expected = hmac::sign(&self.key, signed);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..MAC_LEN], mac)
            .ok()?;
        let grant = read(signed)?;
        (grant.expires_at > now).then_some(grant)
    }
}

/// Reads what an authentic token says.
fn read(signed: &[u8]) -> Option<Grant> {
    let (version, rest) = signed.split_first()?;
    let (expires_at, rest) = rest.split_first_chunk()?;
    let (app, rest) = rest.split_first_chunk()?;
    let ([kind, subject_len], rest) = rest.split_first_chunk()?;
    let (subject, random) = rest.split_at_checked(usize::from(*subject_len))?;
    if *version != VERSION || random.len() != RANDOM_LEN {
        return None;
    }
    let subject = String::from_utf8(subject.to_vec()).ok()?;
    Some(Grant {
        app: u32::from_be_bytes(*app),
        subject: match *kind {
            kind if kind == SubjectKind::Enterprise as u8 => Subject::Enterprise(subject),
            kind if kind == SubjectKind::User as u8 => Subject::User(subject),
            _ => return None,
        },
        expires_at: u64::from_be_bytes(*expires_at),
    })
}

/// Appends to a buffer on the stack.
struct Writer {
    buffer: [u8; MAX_LEN],
    len: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            buffer: [0; MAX_LEN],
            len: 0,
        }
    }
}

impl Writer {
    /// Appends `bytes`; the caller's subject is short enough for all of them.
    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn minted(minter: &Minter) -> Issued {
        minter.mint(7, SubjectKind::User, "4711", NOW).unwrap()
    }

    #[test]
    fn a_token_says_what_it_was_issued_for() {
        let minter = Minter::new().unwrap();
        let issued = minted(&minter);
        let grant = minter.verify(&issued.access_token, NOW).unwrap();
        assert_eq!(
            grant,
            Grant {
                app: 7,
                subject: Subject::User("4711".into()),
                expires_at: NOW + issued.expires_in,
            }
        );
        let issued = minter.mint(1, SubjectKind::Enterprise, "9", NOW).unwrap();
        let grant = minter.verify(&issued.access_token, NOW).unwrap();
        assert_eq!(grant.subject, Subject::Enterprise("9".into()));
    }

    #[test]
    fn a_token_expires_when_its_answer_said() {
        let minter = Minter::new().unwrap();
        let issued = minted(&minter);
        let last = NOW + issued.expires_in - 1;
        assert!(minter.verify(&issued.access_token, last).is_some());
        assert!(minter.verify(&issued.access_token, last + 1).is_none());
    }

    #[test]
    fn the_life_varies_within_its_bounds() {
        let minter = Minter::new().unwrap();
        let lives: HashSet<u64> = (0..64).map(|_| minted(&minter).expires_in).collect();
        assert!(lives.len() > 1);
        assert!(lives.iter().all(|life| LIFE_S.contains(life)));
    }

    #[test]
    fn a_token_of_another_broker_is_refused() {
        let issued = minted(&Minter::new().unwrap());
        let other = Minter::new().unwrap();
        assert!(other.verify(&issued.access_token, NOW).is_none());
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let minter = Minter::new().unwrap();
        let bytes = URL_SAFE_NO_PAD
            .decode(minted(&minter).access_token)
            .unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert!(minter.verify(&forged, NOW).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let minter = Minter::new().unwrap();
        let token = minted(&minter).access_token;
        for text in [
            String::new(),
            "AQ".into(),
            "not base64!".into(),
            token[..token.len() - 1].into(),
            format!("{token}A"),
            format!("{token}="),
            "A".repeat(10_000),
        ] {
            assert!(minter.verify(&text, NOW).is_none(), "{text:?}");
        }
    }

    #[test]
    fn an_overlong_subject_gets_no_token() {
        let minter = Minter::new().unwrap();
        let longest = "1".repeat(MAX_SUBJECT);
        assert!(minter.mint(1, SubjectKind::User, &longest, NOW).is_ok());
        for len in [MAX_SUBJECT + 1, 255, 256, 4096] {
            let subject = "1".repeat(len);
            assert!(minter.mint(1, SubjectKind::User, &subject, NOW).is_err());
        }
    }
}
