//! Containers made on the spot by the `openssl` program of this machine, and
//! ours opened by it. Without the program these tests say so and pass.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mintmark::credential::generate::{RsaBits, rsa_key};
use mintmark::credential::{Cipher, ContainerError, Prf, SealedKey, Sealing, Secret, plain, seal};
use mintmark::signer::PrivateKey;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::fixtures::{modulus, open_bytes};

/// With letters outside of ASCII, which count as their UTF-8 bytes.
const PASSPHRASE: &str = "pä55 wörd €";

#[test]
fn whatever_openssl_seals_opens_to_the_same_modulus() {
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    openssl.run("genrsa -out key.pem 2048");
    let expected = openssl.modulus("key.pem");
    for command in [
        "rsa -in key.pem -traditional",
        "rsa -in key.pem -traditional -outform DER",
        "pkcs8 -topk8 -nocrypt -in key.pem",
        "pkcs8 -topk8 -nocrypt -in key.pem -outform DER",
        "rsa -in key.pem -traditional -passout env:P -des3",
        "rsa -in key.pem -traditional -passout env:P -aes128",
        "rsa -in key.pem -traditional -passout env:P -aes192",
        "rsa -in key.pem -traditional -passout env:P -aes256",
        "rsa -in key.pem -passout env:P -des3",
        "rsa -in key.pem -passout env:P -aes256",
        "pkcs8 -topk8 -in key.pem -passout env:P",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 des3 -v2prf hmacWithSHA1",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 des3 -v2prf hmacWithSHA512",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 aes128 -v2prf hmacWithSHA1",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 aes192 -v2prf hmacWithSHA384",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 aes256 -v2prf hmacWithSHA512 -iter 5",
        "pkcs8 -topk8 -in key.pem -passout env:P -v2 aes256 -outform DER",
        "pkcs8 -topk8 -in key.pem -passout env:P -scrypt",
        "pkcs8 -topk8 -in key.pem -passout env:P -scrypt -scrypt_N 1024 -scrypt_r 4 -scrypt_p 2",
    ] {
        openssl.run(&format!("{command} -out sealed"));
        let bytes = openssl.read("sealed");
        let key = open_bytes(&*bytes, Some(PASSPHRASE))
            .unwrap_or_else(|error| panic!("openssl {command}: {error}"));
        assert_eq!(modulus(&key), expected, "openssl {command}");

        if command.contains("env:P") {
            let error = open_bytes(&*bytes, Some("pä55 wörd $")).unwrap_err();
            assert!(
                matches!(error, ContainerError::WrongPassphrase),
                "openssl {command}: {error}"
            );
            let error = open_bytes(bytes, None).unwrap_err();
            assert!(
                matches!(error, ContainerError::PassphraseMissing),
                "openssl {command}: {error}"
            );
        }
    }
}

#[test]
fn keys_that_openssl_generates_in_one_step_open() {
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    for (command, description) in [
        (
            "genrsa -des3 -traditional -passout env:P",
            "PKCS#1 in PEM, PEM headers, MD5 x 1, DES-EDE3-CBC",
        ),
        (
            "genrsa -des3 -passout env:P",
            "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA256 x 2048, DES-EDE3-CBC",
        ),
        (
            "genrsa -aes256 -passout env:P",
            "PKCS#8 in PEM, PBES2, PBKDF2-HMAC-SHA256 x 2048, AES-256-CBC",
        ),
    ] {
        openssl.run(&format!("{command} -out sealed 2048"));
        let bytes = Zeroizing::new(openssl.read("sealed"));
        let sealed = SealedKey::new(bytes, Some(Secret::from(PASSPHRASE))).unwrap();
        assert_eq!(sealed.describe().to_string(), description);
        let key = sealed.open().unwrap();
        assert_eq!(
            modulus(&key),
            openssl.modulus("sealed"),
            "openssl {command}"
        );
    }
}

#[test]
fn what_openssl_seals_by_other_schemes_is_named_and_its_command_converts_it() {
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    openssl.run("genrsa -out key.pem 2048");
    for scheme in ["PBE-SHA1-3DES", "PBE-SHA1-2DES"] {
        openssl.run(&format!(
            "pkcs8 -topk8 -in key.pem -passout env:P -v1 {scheme} -out sealed"
        ));
        let error = open_bytes(openssl.read("sealed"), Some(PASSPHRASE)).unwrap_err();
        let ContainerError::Unsupported {
            scheme: found,
            convert,
        } = error
        else {
            panic!("{scheme}: {error}");
        };
        assert!(found.contains(scheme), "{found}");
        let convert = convert
            .trim_start_matches("openssl ")
            .replace("OLD", "sealed -passin env:P -passout env:P")
            .replace("NEW", "converted");
        openssl.run(&convert);
        let key = open_bytes(openssl.read("converted"), Some(PASSPHRASE)).unwrap();
        assert_eq!(modulus(&key), openssl.modulus("key.pem"));
    }
}

#[test]
fn openssl_opens_and_accepts_whatever_is_sealed_here() {
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let der = rsa_key(RsaBits::B2048).unwrap();
    let expected = modulus(&PrivateKey::from_pkcs8_der(&der).unwrap());
    fs::write(openssl.folder.path().join("sealed"), plain(&der).expose()).unwrap();
    assert_eq!(openssl.modulus("sealed"), expected);
    for cipher in [
        Cipher::DesEde3Cbc,
        Cipher::Aes128Cbc,
        Cipher::Aes192Cbc,
        Cipher::Aes256Cbc,
    ] {
        for prf in [
            Prf::HmacSha1,
            Prf::HmacSha256,
            Prf::HmacSha384,
            Prf::HmacSha512,
        ] {
            let sealing = Sealing {
                prf,
                rounds: 7,
                cipher,
            };
            let text = seal(&der, sealing, &Secret::from(PASSPHRASE)).unwrap();
            fs::write(openssl.folder.path().join("sealed"), text.expose()).unwrap();
            openssl.run("rsa -in sealed -passin env:P -check -noout");
            assert_eq!(openssl.modulus("sealed"), expected, "{sealing:?}");
            let key = open_bytes(text.expose(), Some(PASSPHRASE)).unwrap();
            assert_eq!(modulus(&key), expected, "{sealing:?}");
        }
    }
}

/// The program, in a folder of its own.
struct OpenSsl {
    folder: TempDir,
}

impl OpenSsl {
    /// Finds the program, or says why the test does nothing.
    #[allow(clippy::print_stdout)]
    fn find() -> Option<Self> {
        let version = match Command::new("openssl").arg("version").output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => {
                println!("skipped: the openssl program does not run: {error}");
                return None;
            }
        };
        let is_known = ["OpenSSL 3.", "OpenSSL 4."]
            .iter()
            .any(|known| version.starts_with(known));
        if !is_known {
            println!("skipped: openssl is {version:?}, and only OpenSSL 3 knows -traditional");
            return None;
        }
        Some(Self {
            folder: TempDir::new().unwrap(),
        })
    }

    /// Runs a command that must succeed.
    fn run(&self, arguments: &str) -> Output {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .env("P", PASSPHRASE)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(Path::new(name))).unwrap()
    }

    fn modulus(&self, name: &str) -> String {
        let output = self.run(&format!("rsa -in {name} -passin env:P -modulus -noout"));
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().strip_prefix("Modulus=").unwrap().to_owned()
    }
}
