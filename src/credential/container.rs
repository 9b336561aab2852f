//! In what is a private key wrapped, and what comes out?
//!
//! Recognises PEM and DER, takes the one private key among whatever else the
//! text holds, decrypts it if need be and parses it. Each call of [`open`]
//! pays for all of that anew; keeping the opened key is the caller's choice,
//! and what the choice costs is one of the things that are measured.
//!
//! Structures are told apart by their outermost members and not by the PEM
//! label, since tools label PKCS#1 and PKCS#8 as they please.

use std::fmt;

use pkcs8::der::{AnyRef, Decode, Header, Reader, SliceReader, Tag, Tagged};
use zeroize::Zeroizing;

use super::cipher::Cipher;
use super::dek::Dek;
use super::derivation::Derivation;
use super::pbes2::Sealed;
use super::pem::{self, Block};
use super::secret::Secret;
use crate::signer::{KeyError, PrivateKey};

/// What a private key is wrapped in.
///
/// Its `Display` form is made for reports, such as
/// `PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA1 x 2048, DES-EDE3-CBC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container {
    /// Text or binary.
    pub encoding: Encoding,
    /// The structure inside, or inside of the encryption.
    pub structure: Structure,
    /// How it is encrypted, if it is.
    pub encryption: Option<Encryption>,
}

/// How the structure is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Base64 between lines of dashes (RFC 7468).
    Pem,
    /// The bytes themselves (X.690).
    Der,
}

/// The structure that holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// `PrivateKeyInfo` or `EncryptedPrivateKeyInfo` (RFC 5958).
    Pkcs8,
    /// `RSAPrivateKey` (RFC 8017 A.1.2).
    Pkcs1,
    /// `ECPrivateKey` (RFC 5915).
    Sec1,
}

/// How a key is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// The frame around derivation and cipher.
    pub scheme: Scheme,
    /// How the passphrase becomes a key.
    pub derivation: Derivation,
    /// The cipher under that key.
    pub cipher: Cipher,
}

/// The frame around derivation and cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// PBES2 (RFC 8018 §6.2).
    Pbes2,
    /// OpenSSL's PEM headers `Proc-Type: 4,ENCRYPTED` and `DEK-Info`.
    PemHeaders,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.structure {
            Structure::Pkcs8 => "PKCS#8",
            Structure::Pkcs1 => "PKCS#1",
            Structure::Sec1 => "SEC1",
        })?;
        f.write_str(match self.encoding {
            Encoding::Pem => " in PEM",
            Encoding::Der => " in DER",
        })?;
        let Some(encryption) = self.encryption else {
            return f.write_str(", not encrypted");
        };
        let scheme = match encryption.scheme {
            Scheme::Pbes2 => "PBES2",
            Scheme::PemHeaders => "PEM headers",
        };
        write!(
            f,
            ", {scheme}, {}, {}",
            encryption.derivation,
            encryption.cipher.name()
        )
    }
}

/// Why a container was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The bytes are of no known form.
    #[error("the key is neither PEM nor DER, expected a private key in PKCS#8 or PKCS#1")]
    Unrecognised,
    /// The text or the DER ends too early.
    #[error("the key is cut off: its end is missing")]
    Truncated,
    /// The form is known, and something in it is broken.
    #[error("the key is garbled: {0}")]
    Garbled(&'static str),
    /// The file holds something else.
    #[error("found {0}, expected a private key")]
    NotPrivate(String),
    /// The file holds more keys than one.
    #[error("found {0} private keys, expected one")]
    Several(usize),
    /// The key is in a form that is not read here.
    #[error("{scheme} is not supported, convert the key with: {convert}")]
    Unsupported {
        /// The scheme's name and number.
        scheme: String,
        /// The command that converts it.
        convert: &'static str,
    },
    /// The key would take too long, or too much memory, to decrypt.
    #[error("the key asks for {found}, at most {limit} accepted")]
    TooCostly {
        /// What the file asks for.
        found: String,
        /// What is accepted.
        limit: String,
    },
    /// The key is encrypted, and there is no passphrase.
    #[error("the key is encrypted and no passphrase was given")]
    PassphraseMissing,
    /// Decryption yields no key.
    #[error("the passphrase is wrong, or the key is damaged: it does not decrypt")]
    WrongPassphrase,
    /// The container is sound, and the key in it cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Says what the key is wrapped in, without opening it.
pub(super) fn describe(bytes: &[u8]) -> Result<Container, ContainerError> {
    let found = Found::read(bytes)?;
    let (structure, encryption) = match found.form {
        Form::Plain(structure) => (structure, None),
        Form::Pbes2 => {
            let sealed = Sealed::read(&found.der)?;
            let encryption = Encryption {
                scheme: Scheme::Pbes2,
                derivation: sealed.derivation,
                cipher: sealed.cipher,
            };
            (Structure::Pkcs8, Some(encryption))
        }
        Form::Headers(structure, dek) => {
            let encryption = Encryption {
                scheme: Scheme::PemHeaders,
                derivation: Derivation::Md5OneRound,
                cipher: dek.cipher,
            };
            (structure, Some(encryption))
        }
    };
    Ok(Container {
        encoding: found.encoding,
        structure,
        encryption,
    })
}

/// Unwraps, decrypts and parses the key.
pub(super) fn open(
    bytes: &[u8],
    passphrase: Option<&Secret>,
) -> Result<PrivateKey, ContainerError> {
    let found = Found::read(bytes)?;
    let passphrase = || {
        passphrase
            .map(Secret::expose)
            .ok_or(ContainerError::PassphraseMissing)
    };
    let plain = match found.form {
        Form::Plain(structure) => return parse(structure, &found.der),
        Form::Pbes2 => Sealed::read(&found.der)?.open(passphrase()?)?,
        Form::Headers(_, dek) => dek.open(passphrase()?, &found.der)?,
    };
    // A wrong passphrase yields noise that passes for padding once in 256
    // times, and for a structure of just that length once in 2^32.
    match form_of(&plain) {
        Ok(Form::Plain(structure)) => parse(structure, &plain),
        _ => Err(ContainerError::WrongPassphrase),
    }
}

fn parse(structure: Structure, der: &[u8]) -> Result<PrivateKey, ContainerError> {
    Ok(match structure {
        Structure::Pkcs8 => PrivateKey::from_pkcs8_der(der)?,
        Structure::Pkcs1 => PrivateKey::from_pkcs1_der(der)?,
        Structure::Sec1 => PrivateKey::from_sec1_der(der)?,
    })
}

/// The private key's DER, as it stands in the file.
struct Found {
    encoding: Encoding,
    form: Form,
    der: Zeroizing<Vec<u8>>,
}

/// What has to be done with the DER.
enum Form {
    Plain(Structure),
    Pbes2,
    Headers(Structure, Dek),
}

impl Found {
    fn read(bytes: &[u8]) -> Result<Self, ContainerError> {
        if pem::has_block(bytes) {
            // Text around the blocks may be in any encoding.
            let text = Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
            return Self::in_pem(&text);
        }
        Ok(Self {
            encoding: Encoding::Der,
            form: form_of(bytes)?,
            der: Zeroizing::new(bytes.to_vec()),
        })
    }

    fn in_pem(text: &str) -> Result<Self, ContainerError> {
        let block = the_private_block(pem::blocks(text)?)?;
        let der = block.decode()?;
        let form = match Dek::read(&block)? {
            Some(dek) => Form::Headers(structure_of(block.label)?, dek),
            None => form_of(&der)?,
        };
        Ok(Self {
            encoding: Encoding::Pem,
            form,
            der,
        })
    }
}

/// Picks the one private key out of the blocks of a text.
fn the_private_block(blocks: Vec<Block<'_>>) -> Result<Block<'_>, ContainerError> {
    let mut labels: Vec<&str> = blocks.iter().map(|block| block.label).collect();
    labels.dedup();
    labels.truncate(4);
    let others = labels.join(", ");
    let mut keys: Vec<Block<'_>> = blocks
        .into_iter()
        .filter(|block| block.label.ends_with("PRIVATE KEY"))
        .collect();
    match keys.len() {
        0 => Err(ContainerError::NotPrivate(format!(
            "a PEM text with {others}"
        ))),
        1 => match keys.remove(0) {
            block if block.label == "OPENSSH PRIVATE KEY" => Err(ContainerError::Unsupported {
                scheme: "the form of OpenSSH".into(),
                convert: "ssh-keygen -p -m PKCS8 -f KEY",
            }),
            block => Ok(block),
        },
        count => Err(ContainerError::Several(count)),
    }
}

/// Returns the structure that an encrypted block's label promises.
fn structure_of(label: &str) -> Result<Structure, ContainerError> {
    match label {
        "RSA PRIVATE KEY" => Ok(Structure::Pkcs1),
        "EC PRIVATE KEY" => Ok(Structure::Sec1),
        "PRIVATE KEY" => Ok(Structure::Pkcs8),
        _ => Err(KeyError::Kind(format!("in a PEM block labelled {label:?}")).into()),
    }
}

/// Tells structures apart by their outermost members.
fn form_of(der: &[u8]) -> Result<Form, ContainerError> {
    let tags = outer_tags(der)?;
    let not_private = |what: &str| Err(ContainerError::NotPrivate(what.to_owned()));
    match tags[..] {
        [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => Ok(Form::Plain(Structure::Pkcs8)),
        [Tag::Integer, Tag::Integer, Tag::Integer, ..] => Ok(Form::Plain(Structure::Pkcs1)),
        [Tag::Integer, Tag::OctetString, ..] => Ok(Form::Plain(Structure::Sec1)),
        [Tag::Sequence, Tag::OctetString] => Ok(Form::Pbes2),
        [Tag::Sequence, Tag::BitString] | [Tag::Integer, Tag::Integer] => {
            not_private("a public key")
        }
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => {
            not_private("a certificate or a request for one")
        }
        [Tag::Integer, Tag::Sequence] | [Tag::Integer, Tag::Sequence, Tag::Sequence] => {
            not_private(
                "a PKCS#12 file (`openssl pkcs12 -nocerts -in OLD -out NEW` takes the key out)",
            )
        }
        _ => Err(ContainerError::Unrecognised),
    }
}

/// Lists the tags of the members of a SEQUENCE that fills `der`.
fn outer_tags(der: &[u8]) -> Result<Vec<Tag>, ContainerError> {
    const FEW: usize = 4;
    let mut reader = SliceReader::new(der).map_err(|_| ContainerError::Unrecognised)?;
    let header = Header::decode(&mut reader).map_err(|_| ContainerError::Unrecognised)?;
    if header.tag() != Tag::Sequence {
        return Err(ContainerError::Unrecognised);
    }
    if header.length() > reader.remaining_len() {
        return Err(ContainerError::Truncated);
    }
    if header.length() < reader.remaining_len() {
        return Err(ContainerError::Garbled("bytes follow after its DER"));
    }
    let mut tags = Vec::with_capacity(FEW);
    while !reader.is_finished() && tags.len() < FEW {
        let member = AnyRef::decode(&mut reader)
            .map_err(|_| ContainerError::Garbled("its DER does not parse"))?;
        tags.push(member.tag());
    }
    Ok(tags)
}
