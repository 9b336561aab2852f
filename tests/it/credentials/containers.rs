//! Containers that the `openssl` program made, opened without it.

use mintmark::credential::{ContainerError, SealedKey, Sealing, Secret, seal};
use mintmark::signer::{KeyError, KeyKind, PublicKey};
use zeroize::Zeroizing;

use super::fixtures::{PASSPHRASE, READ, bytes, open, open_bytes, text};

#[test]
fn every_container_yields_the_same_key() {
    let expected = PublicKey::from_pem(&text("rsa-2048.public.pem")).unwrap();
    for (name, description) in READ {
        let sealed = SealedKey::new(Zeroizing::new(bytes(name)), Some(Secret::from(PASSPHRASE)))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(sealed.describe().to_string(), description, "{name}");
        assert_eq!(
            sealed.is_encrypted(),
            !description.contains("not encrypted"),
            "{name}"
        );
        for _ in 0..2 {
            let key = sealed
                .open()
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(key.public_key(), Some(&expected), "{name}");
        }
    }
}

#[test]
fn a_wrong_passphrase_is_called_that_whatever_the_noise_it_yields() {
    for (name, _) in READ {
        if name.contains("100000") || name.contains("scrypt") {
            continue;
        }
        let sealed = SealedKey::new(Zeroizing::new(bytes(name)), None).unwrap();
        if !sealed.is_encrypted() {
            continue;
        }
        // Enough attempts that some noise ends in what looks like padding.
        let attempts = if name.contains("dek") { 2_000 } else { 20 };
        for attempt in 0..attempts {
            let wrong = Secret::new(format!("wrong {attempt}"));
            let error = sealed
                .clone()
                .with_passphrase(Some(wrong))
                .open()
                .unwrap_err();
            assert!(
                matches!(error, ContainerError::WrongPassphrase),
                "{name}, attempt {attempt}: {error}"
            );
        }
    }
}

#[test]
fn an_encrypted_key_without_a_passphrase_says_so() {
    for name in ["rsa-2048.des3-sha1.pem", "rsa-2048.dek-aes256.pem"] {
        let error = open_bytes(bytes(name), None).unwrap_err();
        assert!(
            matches!(error, ContainerError::PassphraseMissing),
            "{name}: {error}"
        );
    }
}

#[test]
fn unsupported_schemes_are_named_with_the_command_that_converts_them() {
    for (name, scheme, legacy) in [
        (
            "rsa-2048.pkcs12-3des.pem",
            "PKCS#12 PBE-SHA1-3DES (1.2.840.113549.1.12.1.3)",
            false,
        ),
        (
            "rsa-2048.pbes1-md5-des.pem",
            "PBES1 PBE-MD5-DES (1.2.840.113549.1.5.3)",
            true,
        ),
        (
            "rsa-2048.pbes2-des.pem",
            "PBES2 with DES-CBC (1.3.14.3.2.7)",
            true,
        ),
        ("rsa-2048.dek-des.pem", "the PEM cipher \"DES-CBC\"", true),
    ] {
        match open(name) {
            Err(ContainerError::Unsupported {
                scheme: found,
                convert,
            }) => {
                assert_eq!(found, scheme, "{name}");
                assert!(convert.starts_with("openssl pkcs8"), "{name}");
                assert_eq!(convert.contains("legacy"), legacy, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn elliptic_and_edwards_keys_are_read_with_their_public_half() {
    for (name, kind, has_public) in [
        ("p256.pem", KeyKind::P256, true),
        ("p256.sec1.pem", KeyKind::P256, true),
        ("p256.dek-aes256.pem", KeyKind::P256, true),
        ("p384.pem", KeyKind::P384, true),
        ("p384.sec1.pem", KeyKind::P384, true),
        ("ed25519.pem", KeyKind::Ed25519, false),
    ] {
        let key = open(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(key.kind(), kind, "{name}");
        assert_eq!(key.public_key().is_some(), has_public, "{name}");
    }
    let standalone = open("p256.sec1.pem").unwrap();
    assert_eq!(
        standalone.public_key(),
        open("p256.pem").unwrap().public_key()
    );
}

#[test]
fn keys_that_no_algorithm_takes_are_refused_by_kind_or_size() {
    for (name, found) in [("p521.pem", "curve"), ("rsa-pss-2048.pem", "PSS")] {
        match open(name) {
            Err(ContainerError::Key(KeyError::Kind(kind))) => {
                assert!(kind.contains(found), "{name}: {kind}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = open("rsa-1024.pem").unwrap_err();
    assert!(
        matches!(error, ContainerError::Key(KeyError::Size { bits: 1024 })),
        "{error}"
    );
}

#[test]
fn three_primes_and_an_exponent_of_three_are_read() {
    let key = open("rsa-2048-3-primes.pem").unwrap();
    assert!(key.is_multi_prime());
    assert_eq!(key.bits(), 2048);
    let key = open("rsa-2048-e3.pem").unwrap();
    assert!(!key.is_multi_prime());
    assert_eq!(
        key.rsa_components().unwrap().public_exponent.as_bytes(),
        [3]
    );
}

#[test]
fn what_is_no_private_key_is_named() {
    for (name, found) in [
        ("rsa-2048.public.pem", "PUBLIC KEY"),
        ("rsa-2048.public.der", "a public key"),
        ("rsa-2048.certificate.pem", "CERTIFICATE"),
        ("rsa-2048.certificate.der", "a certificate"),
        ("rsa-2048.p12", "PKCS#12"),
    ] {
        match open(name) {
            Err(ContainerError::NotPrivate(what)) => assert!(what.contains(found), "{what}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    for nothing in ["", "{}", "ssh-rsa AAAAB3NzaC1yc2E= me@here"] {
        let error = open_bytes(nothing, None).unwrap_err();
        assert!(
            matches!(error, ContainerError::Unrecognised),
            "{nothing}: {error}"
        );
    }
    let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let error = open_bytes(openssh, None).unwrap_err().to_string();
    assert!(error.contains("ssh-keygen -p -m PKCS8"), "{error}");
}

#[test]
fn the_key_is_found_among_certificates_and_prose() {
    let certificate = text("rsa-2048.certificate.pem");
    let public = text("rsa-2048.public.pem");
    let expected = PublicKey::from_pem(&public).unwrap();
    for name in [
        "rsa-2048.pem",
        "rsa-2048.pkcs1.pem",
        "rsa-2048.dek-des3.pem",
    ] {
        let key = text(name);
        for bundle in [
            format!("{certificate}{key}"),
            format!("{key}{public}"),
            format!("Bag Attributes\n    localKeyID: BC 70\n{key}"),
            format!("\u{feff}{key}"),
            key.replace('\n', "\r\n"),
            key.replace('\n', " \t\n"),
            key.trim_end().to_owned(),
        ] {
            let key = open_bytes(bundle, Some(PASSPHRASE)).unwrap();
            assert_eq!(key.public_key(), Some(&expected), "{name}");
        }
    }
    // The line ends are lost where a key went through a single-line field.
    let one_line = text("rsa-2048.pem").replace('\n', " ");
    assert!(open_bytes(one_line, None).is_ok());
}

#[test]
fn two_private_keys_in_one_file_are_one_too_many() {
    let both = text("rsa-2048.pem") + &text("p256.pem");
    let error = open_bytes(both, None).unwrap_err();
    assert!(matches!(error, ContainerError::Several(2)), "{error}");
}

#[test]
fn a_label_of_the_other_form_does_not_matter() {
    let mislabelled = text("rsa-2048.pkcs1.pem").replace("RSA PRIVATE KEY", "PRIVATE KEY");
    assert!(open_bytes(mislabelled, None).is_ok());
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_never_a_key() {
    for name in [
        "rsa-2048.pem",
        "rsa-2048.pkcs8.der",
        "rsa-2048.pkcs1.der",
        "rsa-2048.dek-aes128.pem",
    ] {
        let whole = bytes(name);
        let end = whole.trim_ascii_end().len();
        for len in 0..end {
            let error = open_bytes(&whole[..len], Some(PASSPHRASE)).unwrap_err();
            let is_named = match error {
                ContainerError::Truncated => len > 1,
                // Less than a header is no hint of any form.
                ContainerError::Unrecognised => len < 12,
                _ => false,
            };
            assert!(is_named, "{name}, {len} bytes: {error}");
        }
    }
}

#[test]
fn a_damaged_body_is_no_key_and_the_error_says_what_is_damaged() {
    let garbled = text("rsa-2048.pem").replacen("MII", "M*I", 1);
    let error = open_bytes(garbled, None).unwrap_err();
    assert!(matches!(error, ContainerError::Garbled(_)), "{error}");

    for name in ["rsa-2048.pkcs8.der", "rsa-2048.pkcs1.der"] {
        let mut longer = bytes(name);
        longer.push(0);
        let error = open_bytes(longer, None).unwrap_err();
        assert!(
            matches!(error, ContainerError::Garbled(what) if what.contains("follow")),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_key_that_decrypts_and_is_broken_inside_is_not_blamed_on_the_passphrase() {
    let mut der = bytes("rsa-2048.pkcs8.der");
    let inner = bytes("rsa-2048.pkcs1.der");
    let at = der.len() - inner.len();
    assert_eq!(der[at..], inner);
    // The version of the inner structure is no INTEGER any more.
    der[at + 4] = 0x1f;
    let passphrase = Secret::from(PASSPHRASE);
    let sealed = seal(&der, Sealing::CONSOLE, &passphrase).unwrap();
    let error = open_bytes(sealed.expose(), Some(PASSPHRASE)).unwrap_err();
    assert!(
        matches!(error, ContainerError::Key(KeyError::Malformed)),
        "{error}"
    );
}
