//! By which key does an agent get what is meant for it alone?
//!
//! An identity is an X25519 key pair in a file that only its owner can read; it
//! is made once on the agent's machine and its public half is carried to the
//! coordinator's by a person, since whoever controls the NATS server could put a
//! key of their own in the place of one that travels through it. Sealing is
//! HPKE's base mode (RFC 9180 §5.1.1) with DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256 and ChaCha20-Poly1305: it tells who can read, not who wrote.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open, single_shot_seal,
};
use zeroize::Zeroizing;

use crate::credential::{FileError, Warning, read_file, write_file};

/// What a file of an identity begins with.
const MARK: &str = "mintmark-identity-1 ";

/// What sealing here is for, so that nothing sealed elsewhere opens.
const PURPOSE: &[u8] = b"mintmark fleet credentials 1";

/// The length of an encapsulated key, before what is sealed (RFC 9180 §7.1).
const ENCAPSULATED: usize = 32;

/// Why a file of identities cannot be used, or something not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others can read an identity.
    #[error("{} can be read by others, expected the mode 0600, or 0440 of a file that is another user's", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("{} holds no identity, expected one that `mintmark agent --new-identity` made", path.display())]
    NoIdentity {
        /// The file.
        path: PathBuf,
    },
    /// The file is there already.
    #[error("{} is there already, expected the name of a new file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A line is no public key that anything can be sealed for.
    #[error("line {line} of {} is no public key of an agent, expected 43 characters as `mintmark agent --new-identity` prints them", path.display())]
    NoRecipient {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is no line with a key.
    #[error("{} names no agent, expected a public key on each line", path.display())]
    NoRecipients {
        /// The file.
        path: PathBuf,
    },
    /// It is for somebody else, for another run, or damaged.
    #[error("what was sealed does not open: it is for another agent or run, or was changed")]
    Closed,
}

/// An agent's key pair.
pub struct Identity {
    private: <X25519HkdfSha256 as Kem>::PrivateKey,
    recipient: Recipient,
}

impl Identity {
    /// Makes a new one and writes it into a new file with a mode of 0600.
    ///
    /// # Errors
    ///
    /// The file is there already, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, IdentityError> {
        if path.exists() {
            return Err(IdentityError::Exists {
                path: path.to_owned(),
            });
        }
        let (private, _) = X25519HkdfSha256::gen_keypair();
        let bytes = Zeroizing::new(<[u8; 32]>::from(private.to_bytes()));
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
        let line = Zeroizing::new(format!("{MARK}{}\n", *text));
        write_file(path, line.as_bytes())?;
        Ok(Self::of(private))
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, can be read by others, or holds none.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let mut warnings = Vec::new();
        let text = read_file(path, &mut warnings)?;
        let is_readable = |warning: &Warning| match warning {
            Warning::Readable { mode, .. } => mode & 0o004 != 0 || is_own(path),
            _ => false,
        };
        if warnings.iter().any(is_readable) {
            return Err(IdentityError::Readable {
                path: path.to_owned(),
            });
        }
        let private = str::from_utf8(&text)
            .ok()
            .and_then(|text| text.trim_end().strip_prefix(MARK))
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .map(Zeroizing::new)
            .and_then(|bytes| Deserializable::from_bytes(&bytes).ok());
        private
            .map(Self::of)
            .ok_or_else(|| IdentityError::NoIdentity {
                path: path.to_owned(),
            })
    }

    /// Returns the public half.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.recipient
    }

    /// Opens what was sealed for this identity in the same context.
    ///
    /// # Errors
    ///
    /// It is for another one, or was changed.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let closed = |_| IdentityError::Closed;
        let (key, rest) = sealed
            .split_at_checked(ENCAPSULATED)
            .ok_or(IdentityError::Closed)?;
        single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &self.private,
            &Deserializable::from_bytes(key).map_err(closed)?,
            PURPOSE,
            rest,
            context.as_bytes(),
        )
        .map(Zeroizing::new)
        .map_err(closed)
    }

    fn of(private: <X25519HkdfSha256 as Kem>::PrivateKey) -> Self {
        let public = X25519HkdfSha256::sk_to_pk(&private);
        Self {
            private,
            recipient: Recipient(public.to_bytes().into()),
        }
    }
}

/// Is a file this user's? Who does not own it, as where a cluster mounts a
/// secret for a group, can set no stricter mode.
fn is_own(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).map_or(true, |file| file.uid() == own)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient)
    }
}

/// The public half of an agent's identity; its text is base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// Reads a file with one on each line; empty lines and what follows a `#`
    /// are left out, and so is who is named twice.
    ///
    /// # Errors
    ///
    /// The file cannot be read, a line is something else, or there is none.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, IdentityError> {
        let source = std::fs::read_to_string(path);
        let text = source.map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut found = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let recipient = line.parse().map_err(|_| IdentityError::NoRecipient {
                path: path.to_owned(),
                line: number + 1,
            })?;
            found.push(recipient);
        }
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(IdentityError::NoRecipients {
                path: path.to_owned(),
            });
        }
        Ok(found)
    }

    /// Seals something for this agent, in a context that has to be named again
    /// to open it.
    ///
    /// # Errors
    ///
    /// The key is none that anything can be sealed for.
    pub fn seal(&self, context: &str, secret: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let closed = |_| IdentityError::Closed;
        let (key, sealed) = single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &Deserializable::from_bytes(&self.0).map_err(closed)?,
            PURPOSE,
            secret,
            context.as_bytes(),
        )
        .map_err(closed)?;
        Ok([&key.to_bytes()[..], &sealed].concat())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Recipient {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoKey)?;
        let recipient = Self(bytes.try_into().map_err(|_| NoKey)?);
        // Some points give the same secret to everybody (RFC 7748 §6.1).
        recipient.seal("", &[]).map_err(|_| NoKey)?;
        Ok(recipient)
    }
}

/// A text is no public key.
#[derive(Debug, thiserror::Error)]
#[error("expected the 43 characters of an agent's public key, in base64url")]
pub struct NoKey;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_the_identity_that_it_is_for_opens_it_and_only_in_its_run() {
        let folder = tempfile::tempdir().unwrap();
        let own = Identity::create(&folder.path().join("own")).unwrap();
        let other = Identity::create(&folder.path().join("other")).unwrap();
        let sealed = own.recipient().seal("fleet/1", b"a key").unwrap();
        assert_eq!(&own.open("fleet/1", &sealed).unwrap()[..], b"a key");
        assert!(other.open("fleet/1", &sealed).is_err());
        assert!(own.open("fleet/2", &sealed).is_err());
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert!(own.open("fleet/1", &changed).is_err(), "byte {byte}");
        }
        for length in 0..sealed.len() {
            assert!(own.open("fleet/1", &sealed[..length]).is_err());
        }
        let again = own.recipient().seal("fleet/1", b"a key").unwrap();
        assert_ne!(again, sealed, "each is sealed by a fresh key");
    }

    #[test]
    fn a_key_that_leads_to_no_secret_is_refused() {
        // A point of small order: the shared secret would be zero.
        assert!(Recipient([0; 32]).seal("fleet/1", b"a key").is_err());
    }

    #[test]
    fn an_identity_is_read_by_its_owner_alone_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        let made = Identity::create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read = Identity::read(&path).unwrap();
        assert_eq!(read.recipient(), made.recipient());
        let error = Identity::create(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Exists { .. }), "{error}");
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, open).unwrap();
        let error = Identity::read(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Readable { .. }), "{error}");
        // Somebody else's file may be readable to a group, and to no others.
        if std::os::unix::fs::chown(&path, Some(65_532), None).is_ok() {
            assert!(Identity::read(&path).is_ok());
            let open = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, open).unwrap();
            assert!(Identity::read(&path).is_err());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let secret = text.trim().strip_prefix(MARK).unwrap();
        assert!(!format!("{read:?}").contains(secret));
    }

    #[test]
    fn a_list_of_agents_has_one_on_each_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agents");
        let own = Identity::create(&folder.path().join("own")).unwrap();
        let own = own.recipient();
        std::fs::write(&path, format!("# the lab\n\n{own}  # rack 3\n{own}\n")).unwrap();
        assert_eq!(Recipient::read_all(&path).unwrap(), [own]);
        std::fs::write(&path, format!("{own}\n{own}x\n")).unwrap();
        let error = Recipient::read_all(&path).unwrap_err();
        assert!(
            matches!(error, IdentityError::NoRecipient { line: 2, .. }),
            "{error}"
        );
        let everybody = "A".repeat(43);
        std::fs::write(&path, format!("#\n\n{everybody}\n")).unwrap();
        let error = Recipient::read_all(&path).unwrap_err();
        assert!(
            matches!(error, IdentityError::NoRecipient { line: 3, .. }),
            "{error}"
        );
        std::fs::write(&path, "#\n").unwrap();
        let error = Recipient::read_all(&path).unwrap_err();
        assert!(
            matches!(error, IdentityError::NoRecipients { .. }),
            "{error}"
        );
    }
}
