//! Bytes that nobody meant as a key: they may fail, and nothing else.

use mintmark::credential::{AppConfig, SealedKey, Secret, ServiceAccount};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::fixtures::{PASSPHRASE, bytes, open_bytes};

/// Containers whose derivation is cheap, so that thousands can be opened.
const CHEAP: [&str; 10] = [
    "rsa-2048.pem",
    "rsa-2048.pkcs1.der",
    "rsa-2048.pkcs8.der",
    "rsa-2048.aes256-sha256.der",
    "rsa-2048.aes256-sha256.pem",
    "rsa-2048.dek-des3.pem",
    "rsa-2048.pkcs12-3des.pem",
    "p256.sec1.pem",
    "rsa-2048.p12",
    "rsa-2048.certificate.der",
];

proptest! {
    #[test]
    fn any_bytes_are_a_key_or_an_error(any in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = open_bytes(any, Some(PASSPHRASE));
    }

    #[test]
    fn any_text_between_dashes_is_a_key_or_an_error(
        label in "(RSA |EC |ENCRYPTED |)PRIVATE KEY",
        headers in "(Proc-Type: 4,ENCRYPTED\nDEK-Info: (AES-256-CBC|DES-EDE3-CBC|DES-CBC|),[0-9A-Fé]{0,33}\n\n|)",
        body in "[A-Za-z0-9+/=\\-\r\n: ]{0,200}",
    ) {
        let text = format!("-----BEGIN {label}-----\n{headers}{body}\n-----END {label}-----\n");
        let _ = open_bytes(text, Some(PASSPHRASE));
    }

    #[test]
    fn a_container_with_changed_bytes_is_a_key_or_an_error(
        name in prop::sample::select(&CHEAP[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.2),
    ) {
        let mut changed = bytes(name);
        for (index, byte) in changes {
            let index = index.index(changed.len());
            changed[index] = byte;
        }
        if is_cut {
            changed.truncate(cut.index(changed.len()));
        }
        let _ = open_bytes(changed, Some(PASSPHRASE));
    }

    #[test]
    fn changed_bytes_in_the_parameters_are_a_key_or_an_error(
        index in 0_usize..120,
        byte in any::<u8>(),
    ) {
        let mut changed = bytes("rsa-2048.aes256-sha256.der");
        changed[index] = byte;
        // Not opened: one change can ask for millions of rounds, which is
        // legal and takes its time.
        let _ = SealedKey::new(Zeroizing::new(changed), Some(Secret::from(PASSPHRASE)));
    }

    #[test]
    fn any_text_is_a_configuration_or_an_error(
        text in "\\{(\"(boxAppSettings|client_email|private_key|userID)\": ?(\\{\\}|\"x\"|1|null|\\[\\]),?){0,4}\\}?",
    ) {
        let _ = AppConfig::from_json(text.as_bytes());
        let _ = ServiceAccount::from_json(text.as_bytes());
    }
}
