//! How is a PKCS#8 container opened that PBES2 has sealed?
//!
//! Reads `EncryptedPrivateKeyInfo` (RFC 5958 §3) with the parameters of PBES2
//! (RFC 8018 A.4), derives the key and decrypts. The parameters are read here
//! and not by `pkcs5`, whose reader indexes into what a hostile file left
//! short. Costs are bounded before anything is derived: a file must not
//! decide for how long a program thinks.

use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode};
use pkcs8::pkcs5::pbes2::{
    HMAC_WITH_SHA1_OID, HMAC_WITH_SHA256_OID, PBES2_OID, PBKDF2_OID, SCRYPT_OID,
};
use pkcs8::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::cipher::{Cipher, MAX_KEY_BYTES};
use super::container::ContainerError;
use super::derivation::{Derivation, MAX_PBKDF2_ROUNDS, MAX_SCRYPT_BYTES, MAX_SCRYPT_WORK, Prf};
use super::schemes;

/// A container that PBES2 has sealed, taken apart.
pub(super) struct Sealed<'a> {
    pub(super) derivation: Derivation,
    pub(super) cipher: Cipher,
    salt: &'a [u8],
    iv: &'a [u8],
    data: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Takes an `EncryptedPrivateKeyInfo` apart.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, ContainerError> {
        let (algorithm, data) = AnyRef::from_der(der)
            .and_then(|any| {
                any.sequence(|reader| -> der::Result<_> {
                    let algorithm = AlgorithmIdentifierRef::decode(reader)?;
                    let data = <&OctetStringRef>::decode(reader)?;
                    Ok((algorithm, data.as_bytes()))
                })
            })
            .map_err(|_| {
                ContainerError::Garbled("its DER is no EncryptedPrivateKeyInfo of RFC 5958")
            })?;
        if algorithm.oid != PBES2_OID {
            return Err(schemes::unsupported(algorithm.oid));
        }
        let (kdf, encryption) = parameters(algorithm)
            .and_then(|any| {
                any.sequence(|reader| -> der::Result<_> {
                    Ok((
                        AlgorithmIdentifierRef::decode(reader)?,
                        AlgorithmIdentifierRef::decode(reader)?,
                    ))
                })
            })
            .map_err(|_| GARBLED)?;
        let cipher =
            Cipher::from_oid(encryption.oid).ok_or_else(|| schemes::unsupported(encryption.oid))?;
        let iv = parameters(encryption)
            .and_then(AnyRef::decode_as::<&OctetStringRef>)
            .map_err(|_| GARBLED)?
            .as_bytes();
        if iv.len() != cipher.block_len() {
            return Err(GARBLED);
        }
        let (derivation, salt) = match kdf.oid {
            PBKDF2_OID => read_pbkdf2(kdf, cipher)?,
            SCRYPT_OID => read_scrypt(kdf, cipher)?,
            oid => return Err(schemes::unsupported(oid)),
        };
        Ok(Self {
            derivation,
            cipher,
            salt,
            iv,
            data,
        })
    }

    /// Derives the key and decrypts; the plain text is a `PrivateKeyInfo`.
    pub(super) fn open(&self, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, ContainerError> {
        let mut key = Zeroizing::new([0; MAX_KEY_BYTES]);
        let key = &mut key[..self.cipher.key_len()];
        self.derivation.derive(passphrase, self.salt, key)?;
        let mut buffer = Zeroizing::new(self.data.to_vec());
        let len = self
            .cipher
            .decrypt(key, self.iv, &mut buffer)
            .ok_or(ContainerError::WrongPassphrase)?;
        buffer.truncate(len);
        Ok(buffer)
    }
}

const GARBLED: ContainerError =
    ContainerError::Garbled("its encryption parameters are not those of RFC 8018");

fn parameters(algorithm: AlgorithmIdentifierRef<'_>) -> der::Result<AnyRef<'_>> {
    algorithm
        .parameters
        .ok_or_else(|| der::ErrorKind::Failed.into())
}

fn read_pbkdf2(
    kdf: AlgorithmIdentifierRef<'_>,
    cipher: Cipher,
) -> Result<(Derivation, &[u8]), ContainerError> {
    let (salt, rounds, key_len, prf) = parameters(kdf)
        .and_then(|any| {
            any.sequence(|reader| -> der::Result<_> {
                Ok((
                    <&OctetStringRef>::decode(reader)?.as_bytes(),
                    u64::decode(reader)?,
                    Option::<u64>::decode(reader)?,
                    Option::<AlgorithmIdentifierRef<'_>>::decode(reader)?,
                ))
            })
        })
        .map_err(|_| GARBLED)?;
    check_key_len(key_len, cipher)?;
    let prf = match prf.map(|prf| prf.oid) {
        None | Some(HMAC_WITH_SHA1_OID) => Prf::HmacSha1,
        Some(HMAC_WITH_SHA256_OID) => Prf::HmacSha256,
        Some(HMAC_WITH_SHA384_OID) => Prf::HmacSha384,
        Some(HMAC_WITH_SHA512_OID) => Prf::HmacSha512,
        Some(oid) => return Err(schemes::unsupported(oid)),
    };
    if rounds == 0 {
        return Err(GARBLED);
    }
    match u32::try_from(rounds) {
        Ok(few) if rounds <= MAX_PBKDF2_ROUNDS => {
            Ok((Derivation::Pbkdf2 { prf, rounds: few }, salt))
        }
        _ => Err(ContainerError::TooCostly {
            found: format!("{rounds} rounds of PBKDF2"),
            limit: format!("{MAX_PBKDF2_ROUNDS}"),
        }),
    }
}

fn read_scrypt(
    kdf: AlgorithmIdentifierRef<'_>,
    cipher: Cipher,
) -> Result<(Derivation, &[u8]), ContainerError> {
    let (salt, n, r, p, key_len) = parameters(kdf)
        .and_then(|any| {
            any.sequence(|reader| -> der::Result<_> {
                Ok((
                    <&OctetStringRef>::decode(reader)?.as_bytes(),
                    u64::decode(reader)?,
                    u32::decode(reader)?,
                    u32::decode(reader)?,
                    Option::<u64>::decode(reader)?,
                ))
            })
        })
        .map_err(|_| GARBLED)?;
    check_key_len(key_len, cipher)?;
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(GARBLED);
    }
    let bytes = n.saturating_mul(128).saturating_mul(u64::from(r));
    if bytes > MAX_SCRYPT_BYTES || bytes.saturating_mul(u64::from(p)) > MAX_SCRYPT_WORK {
        return Err(ContainerError::TooCostly {
            found: format!("scrypt with N={n} r={r} p={p}"),
            limit: format!(
                "{} MiB of memory and {} MiB of work",
                MAX_SCRYPT_BYTES >> 20,
                MAX_SCRYPT_WORK >> 20
            ),
        });
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| GARBLED)?;
    Ok((Derivation::Scrypt { log_n, r, p }, salt))
}

/// The optional `keyLength` must be what the cipher needs.
fn check_key_len(found: Option<u64>, cipher: Cipher) -> Result<(), ContainerError> {
    match found {
        Some(len) if len != cipher.key_len() as u64 => Err(GARBLED),
        _ => Ok(()),
    }
}

/// `id-hmacWithSHA384` of RFC 8018 B.1.2.
const HMAC_WITH_SHA384_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.10");
/// `id-hmacWithSHA512` of RFC 8018 B.1.2.
const HMAC_WITH_SHA512_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.11");

#[cfg(test)]
mod tests {
    use pkcs8::der::Encode as _;
    use pkcs8::pkcs5::pbes2::DES_EDE3_CBC_OID;

    use super::*;

    #[test]
    fn what_a_hostile_file_may_hold_is_refused_before_any_work() {
        let salt = octets(b"8 bytes.");
        let iv = octets(b"8 bytes.");
        let sound = pbkdf2(&[&salt, &integer(2048)]);
        for (kdf, iv, expected) in [
            // IVs that are too short or too long for the cipher.
            (&sound, octets(b""), "garbled"),
            (&sound, octets(b"7 bytes"), "garbled"),
            (&sound, octets(b"16 bytes, not 8."), "garbled"),
            (&sound, integer(8), "garbled"),
            // Rounds of PBKDF2.
            (&pbkdf2(&[&salt, &integer(0)]), iv.clone(), "garbled"),
            (
                &pbkdf2(&[&salt, &integer(10_000_001)]),
                iv.clone(),
                "10000001 rounds",
            ),
            (
                &pbkdf2(&[&salt, &integer(1 << 40)]),
                iv.clone(),
                "1099511627776 rounds",
            ),
            (&pbkdf2(&[&salt]), iv.clone(), "garbled"),
            // A key length that is not the cipher's.
            (
                &pbkdf2(&[&salt, &integer(1), &integer(16)]),
                iv.clone(),
                "garbled",
            ),
            (
                &pbkdf2(&[&salt, &integer(1), &integer(1 << 40)]),
                iv.clone(),
                "garbled",
            ),
            // A function that is not supported.
            (
                &pbkdf2(&[&salt, &integer(1), &algorithm("1.2.840.113549.2.8", &[])]),
                iv.clone(),
                "hmacWithSHA224",
            ),
            // Costs of scrypt.
            (&scrypt(0, 8, 1), iv.clone(), "garbled"),
            (&scrypt(1, 8, 1), iv.clone(), "garbled"),
            (&scrypt(1_000, 8, 1), iv.clone(), "garbled"),
            (&scrypt(1 << 14, 0, 1), iv.clone(), "garbled"),
            (&scrypt(1 << 14, 8, 0), iv.clone(), "garbled"),
            (&scrypt(1 << 20, 8, 1), iv.clone(), "N=1048576"),
            (
                &scrypt(1 << 62, 0xffff_ffff, 1),
                iv.clone(),
                "N=4611686018427387904",
            ),
            (&scrypt(1 << 14, 8, 1_000), iv.clone(), "p=1000"),
            (&scrypt(2, 1, 0xffff_ffff), iv.clone(), "p=4294967295"),
            // Functions and ciphers that nobody knows.
            (&algorithm("1.2.3.4", &[]), iv.clone(), "1.2.3.4"),
        ] {
            let der = container(kdf, &iv, DES_EDE3_CBC_OID);
            let error = Sealed::read(&der).err().expect(expected).to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let der = container(
            &sound,
            &iv,
            ObjectIdentifier::new_unwrap("1.2.840.113549.3.2"),
        );
        let error = Sealed::read(&der).err().unwrap().to_string();
        assert!(error.contains("RC2"), "{error}");
    }

    #[test]
    fn long_salts_and_explicit_defaults_are_read() {
        let salt = octets(&[7; 64]);
        let sha1 = algorithm("1.2.840.113549.2.7", &[&[5, 0]]);
        let kdf = pbkdf2(&[&salt, &integer(3), &integer(24), &sha1]);
        let der = container(&kdf, &octets(b"8 bytes."), DES_EDE3_CBC_OID);
        let sealed = Sealed::read(&der).unwrap();
        assert_eq!(sealed.salt.len(), 64);
        assert_eq!(sealed.derivation.to_string(), "PBKDF2-HMAC-SHA1 x 3");
        assert!(sealed.open("x").is_err());
    }

    #[test]
    fn the_strongest_settings_in_use_are_within_the_limits() {
        let iv = octets(b"8 bytes.");
        for kdf in [
            pbkdf2(&[&octets(b"salt"), &integer(10_000_000)]),
            scrypt(1 << 17, 8, 1),
            scrypt(1 << 14, 8, 16),
        ] {
            assert!(Sealed::read(&container(&kdf, &iv, DES_EDE3_CBC_OID)).is_ok());
        }
    }

    fn container(kdf: &[u8], iv: &[u8], cipher: ObjectIdentifier) -> Vec<u8> {
        let encryption = algorithm(&cipher.to_string(), &[iv]);
        let scheme = algorithm(&PBES2_OID.to_string(), &[&sequence(&[kdf, &encryption])]);
        sequence(&[&scheme, &octets(&[0; 16])])
    }

    fn pbkdf2(members: &[&[u8]]) -> Vec<u8> {
        algorithm(&PBKDF2_OID.to_string(), &[&sequence(members)])
    }

    fn scrypt(n: u64, r: u64, p: u64) -> Vec<u8> {
        let members = [octets(b"salt"), integer(n), integer(r), integer(p)];
        let members: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        algorithm(&SCRYPT_OID.to_string(), &[&sequence(&members)])
    }

    fn algorithm(oid: &str, parameters: &[&[u8]]) -> Vec<u8> {
        let oid = oid.parse::<ObjectIdentifier>().unwrap().to_der().unwrap();
        let members: Vec<&[u8]> = [&[oid.as_slice()], parameters].concat();
        sequence(&members)
    }

    fn octets(bytes: &[u8]) -> Vec<u8> {
        OctetStringRef::new(bytes).unwrap().to_der().unwrap()
    }

    fn integer(value: u64) -> Vec<u8> {
        value.to_der().unwrap()
    }

    fn sequence(members: &[&[u8]]) -> Vec<u8> {
        let value = members.concat();
        let length = u8::try_from(value.len()).unwrap();
        let header = if length < 0x80 {
            vec![0x30, length]
        } else {
            vec![0x30, 0x81, length]
        };
        [header, value].concat()
    }
}
