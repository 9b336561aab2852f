//! What is the name of an encryption scheme that is not supported?
//!
//! A table of object identifiers, so that an error can name what it found
//! and the command that converts it. Nothing here decrypts.

use pkcs8::ObjectIdentifier;

use super::container::ContainerError;

/// Converts with the ciphers that OpenSSL 3 has loaded.
const CONVERT: &str = "openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW";

/// Converts with those that it keeps apart, such as single DES and RC2.
const CONVERT_LEGACY: &str =
    "openssl pkcs8 -provider legacy -provider default -topk8 -v2 aes256 -in OLD -out NEW";

/// Identifiers of RFC 8018, RFC 7292 appendix C and NIST, with the names that
/// the `openssl` program has for them and the command that converts them.
const SCHEMES: [(&str, &str, &str); 20] = [
    ("1.2.840.113549.1.5.1", "PBES1 PBE-MD2-DES", CONVERT_LEGACY),
    ("1.2.840.113549.1.5.3", "PBES1 PBE-MD5-DES", CONVERT_LEGACY),
    (
        "1.2.840.113549.1.5.4",
        "PBES1 PBE-MD2-RC2-64",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.5.6",
        "PBES1 PBE-MD5-RC2-64",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.5.10",
        "PBES1 PBE-SHA1-DES",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.5.11",
        "PBES1 PBE-SHA1-RC2-64",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.12.1.1",
        "PKCS#12 PBE-SHA1-RC4-128",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.12.1.2",
        "PKCS#12 PBE-SHA1-RC4-40",
        CONVERT_LEGACY,
    ),
    ("1.2.840.113549.1.12.1.3", "PKCS#12 PBE-SHA1-3DES", CONVERT),
    ("1.2.840.113549.1.12.1.4", "PKCS#12 PBE-SHA1-2DES", CONVERT),
    (
        "1.2.840.113549.1.12.1.5",
        "PKCS#12 PBE-SHA1-RC2-128",
        CONVERT_LEGACY,
    ),
    (
        "1.2.840.113549.1.12.1.6",
        "PKCS#12 PBE-SHA1-RC2-40",
        CONVERT_LEGACY,
    ),
    ("1.3.14.3.2.7", "PBES2 with DES-CBC", CONVERT_LEGACY),
    ("1.2.840.113549.3.2", "PBES2 with RC2-CBC", CONVERT_LEGACY),
    ("2.16.840.1.101.3.4.1.6", "PBES2 with AES-128-GCM", CONVERT),
    ("2.16.840.1.101.3.4.1.46", "PBES2 with AES-256-GCM", CONVERT),
    (
        "1.2.392.200011.61.1.1.1.4",
        "PBES2 with CAMELLIA-256-CBC",
        CONVERT,
    ),
    ("1.2.840.113549.2.8", "PBKDF2 with hmacWithSHA224", CONVERT),
    (
        "1.2.840.113549.2.12",
        "PBKDF2 with hmacWithSHA512-224",
        CONVERT,
    ),
    (
        "1.2.840.113549.2.13",
        "PBKDF2 with hmacWithSHA512-256",
        CONVERT,
    ),
];

/// Makes the error that names the scheme and says how to convert the key.
pub(super) fn unsupported(oid: ObjectIdentifier) -> ContainerError {
    let number = oid.to_string();
    let (scheme, convert) = match SCHEMES.iter().find(|(known, ..)| *known == number) {
        Some((_, name, convert)) => (format!("{name} ({number})"), *convert),
        None => (format!("the encryption scheme {number}"), CONVERT),
    };
    ContainerError::Unsupported { scheme, convert }
}

/// Makes the error for a cipher that only a `DEK-Info` header names.
pub(super) fn unsupported_dek(name: &str) -> ContainerError {
    ContainerError::Unsupported {
        scheme: format!("the PEM cipher {name:?}"),
        convert: CONVERT_LEGACY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_table_is_an_object_identifier() {
        for (number, name, _) in SCHEMES {
            let oid: ObjectIdentifier = number.parse().unwrap();
            let error = unsupported(oid).to_string();
            assert!(error.contains(name) && error.contains(number), "{error}");
        }
    }
}
