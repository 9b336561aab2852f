//! Wycheproof's vectors against the strict parser and the key admission.

use mintmark::broker::KeyRegistration;
use mintmark::broker::admission::VerifyingKey;
use mintmark::broker::jose::{Compact, MAX_HEADER, MAX_SIGNATURE};
use mintmark::signer::PublicKey;
use pkcs1::der::Encode;
use pkcs1::der::asn1::UintRef;

use super::*;
use crate::vectors::wycheproof;

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

/// Registers a JSON Web Key for one algorithm.
fn verifying_key(jwk: &Value, algorithm: Algorithm) -> VerifyingKey {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(text(jwk, name)).unwrap();
    let (modulus, exponent) = (number("n"), number("e"));
    let der = pkcs1::RsaPublicKey {
        modulus: UintRef::new(&modulus).unwrap(),
        public_exponent: UintRef::new(&exponent).unwrap(),
    }
    .to_der()
    .unwrap();
    admitted(PublicKey::from_pkcs1_der(&der).unwrap(), algorithm).unwrap()
}

fn admitted(
    key: PublicKey,
    algorithm: Algorithm,
) -> Result<VerifyingKey, mintmark::broker::admission::AdmissionError> {
    VerifyingKey::admit(&KeyRegistration {
        algorithms: vec![algorithm],
        ..KeyRegistration::new("key", key)
    })
}

/// Does the endpoint get as far as the claims with this assertion?
fn is_accepted(assertion: &str, key: &VerifyingKey) -> bool {
    let Ok(compact) = Compact::split(assertion) else {
        return false;
    };
    let mut header_buffer = [0; MAX_HEADER];
    let Ok(header) = compact.header(&mut header_buffer) else {
        return false;
    };
    let Some(algorithm) = Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.name() == header.alg)
    else {
        return false;
    };
    let mut buffer = [0; MAX_SIGNATURE];
    compact
        .signature(&mut buffer)
        .is_ok_and(|signature| key.verifies(algorithm, compact.signing_input(), signature))
}

#[test]
fn json_web_signatures_are_judged_as_wycheproof_does() {
    let vectors = wycheproof("json_web_signature_test.json");
    let (mut valid, mut invalid, mut foreign) = (0, 0, 0);
    let own = admitted(key_a().public_key().unwrap().clone(), Algorithm::Rs256).unwrap();
    for group in list(&vectors, "testGroups") {
        let key = &group["public"];
        let algorithm = match key["alg"].as_str() {
            Some("RS256") => Algorithm::Rs256,
            Some("RS384") => Algorithm::Rs384,
            Some("RS512") => Algorithm::Rs512,
            _ => {
                // Keys of such kinds cannot be registered; under another key
                // nothing of theirs is good.
                for test in list(group, "tests") {
                    assert!(!is_accepted(text(test, "jws"), &own), "{test}");
                    foreign += 1;
                }
                continue;
            }
        };
        let verifying = verifying_key(key, algorithm);
        for test in list(group, "tests") {
            let found = is_accepted(text(test, "jws"), &verifying);
            // The endpoint is stricter on purpose: an empty payload holds no
            // claims, and the figures of RFC 7520 have a kid with an @.
            let is_refused = matches!(text(test, "comment"), "emptyPayload" | "Figure13");
            let expected = text(test, "result") == "valid" && !is_refused;
            assert_eq!(found, expected, "{}: {test}", key["alg"]);
            *(if expected { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!(valid + invalid + foreign, 401);
    assert!(valid > 0 && invalid > 200, "{valid} {invalid}");
}

#[test]
fn forged_signatures_are_judged_as_wycheproof_does() {
    let (mut valid, mut invalid) = (0, 0);
    for (name, algorithm) in [
        ("rsa_signature_2048_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_2048_sha384_test.json", Algorithm::Rs384),
        ("rsa_signature_2048_sha512_test.json", Algorithm::Rs512),
        ("rsa_signature_3072_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_4096_sha256_test.json", Algorithm::Rs256),
        ("rsa_signature_4096_sha512_test.json", Algorithm::Rs512),
    ] {
        for group in list(&wycheproof(name), "testGroups") {
            let public = PublicKey::from_pem(text(group, "publicKeyPem")).unwrap();
            // Some of its keys have an exponent of 3.
            let Ok(key) = admitted(public, algorithm) else {
                continue;
            };
            for test in list(group, "tests") {
                let bytes = |name: &str| hex(text(test, name));
                let found = key.verifies(algorithm, &bytes("msg"), &bytes("sig"));
                match text(test, "result") {
                    "valid" => {
                        assert!(found, "{name}: {test}");
                        valid += 1;
                    }
                    "invalid" => {
                        assert!(!found, "{name}: {test}");
                        invalid += 1;
                    }
                    // A digest without its NULL parameter.
                    _ => {}
                }
            }
        }
    }
    assert!(valid > 0 && invalid > 500, "{valid} {invalid}");
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}
