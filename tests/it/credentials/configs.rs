//! Files and their passphrases, from the disk to a credential.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mintmark::credential::generate::{RsaBits, app_config};
use mintmark::credential::{
    AppConfig, ConfigError, ContainerError, CredentialError, FileError, PassphraseError,
    PassphraseSource, Sealing, Secret, Source, Warning, load,
};
use mintmark::signer::PublicKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fixtures::{PASSPHRASE, path, text};

#[test]
fn an_app_configuration_becomes_a_credential() {
    let config = private_copy("app-config.json");
    let (credential, warnings) = load(&config_source(&config.path)).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(credential.client_id, "8y1k3jm2ohnmt6v0x4d9q7c5w2b6f1ga");
    assert_eq!(
        credential.client_secret.unwrap().expose(),
        "k0u5h3z8s1e7d2m4x9r6v0t8b5n3w7qj"
    );
    assert_eq!(credential.key_id.as_deref(), Some("m4x7tq2e"));
    assert_eq!(credential.enterprise_id.as_deref(), Some("912345678"));
    assert_eq!(credential.user_id, None);
    assert_eq!(credential.token_url, None);
    let expected = PublicKey::from_pem(&text("rsa-2048.public.pem")).unwrap();
    assert_eq!(credential.key.open().unwrap().public_key(), Some(&expected));
}

#[test]
fn a_service_account_is_recognised_by_its_members() {
    let file = private_copy("service-account.json");
    let (credential, warnings) = load(&config_source(&file.path)).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        credential.client_id,
        "tests@for-tests-alone.iam.gserviceaccount.com"
    );
    assert!(credential.client_secret.is_none());
    assert_eq!(credential.key_id.as_deref(), Some("5f1d0c7a9b3e2864"));
    assert_eq!(
        credential.token_url.as_deref(),
        Some("https://oauth2.googleapis.com/token")
    );
    assert!(!credential.key.is_encrypted());
}

#[test]
fn a_bare_key_takes_the_other_fields_from_the_caller() {
    let file = private_copy("rsa-2048.dek-aes256.pem");
    let secret = private_file("passphrase", format!("{PASSPHRASE}\r\n").as_bytes());
    let source = Source::Key {
        path: file.path.clone(),
        passphrase: PassphraseSource::Path(secret.path.clone()),
        client_id: "client".into(),
        client_secret: Some(Secret::from("secret")),
        key_id: Some("kid".into()),
        enterprise_id: Some("1".into()),
        user_id: Some("2".into()),
    };
    let (credential, warnings) = load(&source).unwrap();
    assert_eq!(warnings, [Warning::WeakDerivation]);
    assert_eq!(credential.client_id, "client");
    assert_eq!(credential.key_id.as_deref(), Some("kid"));
    assert_eq!(credential.enterprise_id.as_deref(), Some("1"));
    assert_eq!(credential.user_id.as_deref(), Some("2"));
    assert_eq!(credential.key.open().unwrap().bits(), 2048);
}

#[test]
fn what_is_written_is_read_again_and_nobody_else_can() {
    for sealing in [Some(Sealing::CONSOLE), Some(Sealing::OPENSSL), None] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("app.json");
        fs::write(&path, "an older file that others can read").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        let mut config = app_config(RsaBits::B2048, sealing).unwrap();
        config.user_id = Some("31".into());
        config.write(&path).unwrap();

        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");

        let read = AppConfig::from_json(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, config);
        let (credential, warnings) = load(&config_source(&path)).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(credential.key.is_encrypted(), sealing.is_some());
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let config = AppConfig::from_json(text("app-config.json").as_bytes()).unwrap();
    // The name is taken by a folder, so the last step fails.
    let taken = folder.path().join("app.json");
    fs::create_dir(&taken).unwrap();
    let error = config.write(&taken).unwrap_err();
    assert!(matches!(error, FileError::Write { path, .. } if path == taken));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(config.write(Path::new("/")).is_err());
}

#[test]
fn missing_and_wrong_members_are_named_by_their_full_path() {
    for member in [
        "boxAppSettings.clientID",
        "boxAppSettings.clientSecret",
        "boxAppSettings.appAuth.publicKeyID",
        "boxAppSettings.appAuth.privateKey",
        "enterpriseID",
    ] {
        let error = edited(member, None).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Missing { path } if path == member),
            "{error}"
        );
        let error = edited(member, Some(json!(null))).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Missing { path } if path == member),
            "{error}"
        );
        let error = edited(member, Some(json!(42))).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Number { path } if path == member),
            "{error}"
        );
        let error = edited(member, Some(json!(""))).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Empty { path } if path == member),
            "{error}"
        );
        let error = edited(member, Some(json!(["x"]))).unwrap_err();
        assert!(
            matches!(&error, ConfigError::NotA { path, .. } if path == member),
            "{error}"
        );
    }
    // A whole object is missing, or is none.
    let error = edited("boxAppSettings.appAuth", None).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Missing { path } if path == "boxAppSettings.appAuth.publicKeyID"),
        "{error}"
    );
    let error = edited("boxAppSettings.appAuth", Some(json!("x"))).unwrap_err();
    assert!(
        matches!(&error, ConfigError::NotA { path, found: "a string", .. } if path == "boxAppSettings.appAuth"),
        "{error}"
    );
    for (text, is_expected) in [
        (
            "[]",
            (|error| matches!(error, ConfigError::NotAnObject)) as fn(&ConfigError) -> bool,
        ),
        ("{", |error| matches!(error, ConfigError::Json(_))),
        ("", |error| matches!(error, ConfigError::Json(_))),
    ] {
        let error = AppConfig::from_json(text.as_bytes()).unwrap_err();
        assert!(is_expected(&error), "{text:?}: {error}");
    }
}

#[test]
fn a_file_without_an_enterprise_is_told_from_one_that_names_a_user() {
    let error = edited("enterpriseID", Some(json!("0"))).unwrap_err();
    assert!(matches!(error, ConfigError::NoEnterprise), "{error}");

    let mut file: Value = serde_json::from_str(&text("app-config.json")).unwrap();
    file["userID"] = json!("31");
    for enterprise in [json!("0"), json!(null), json!("")] {
        file["enterpriseID"] = enterprise;
        let config = AppConfig::from_json(file.to_string().as_bytes()).unwrap();
        assert_eq!(config.enterprise_id, None);
        assert_eq!(config.user_id.as_deref(), Some("31"));
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_unknown_members_are_ignored() {
    let file = format!(
        "\u{feff}{}",
        text("app-config.json").replacen('{', "{\"new\": {\"x\": 1},", 1)
    );
    assert!(AppConfig::from_json(file.as_bytes()).is_ok());
}

#[test]
fn the_passphrase_may_live_outside_of_the_file() {
    for absent in [None, Some(json!(null)), Some(json!(""))] {
        let config = edited("boxAppSettings.appAuth.passphrase", absent).unwrap();
        assert_eq!(config.passphrase, None);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("app.json");
        config.write(&path).unwrap();

        let error = load(&config_source(&path)).unwrap_err();
        let CredentialError::Key {
            path: named,
            source,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(named, path);
        assert!(
            matches!(source, ContainerError::PassphraseMissing),
            "{source}"
        );

        let secret = private_file("passphrase", PASSPHRASE.as_bytes());
        let (credential, _) = load(&Source::Config {
            path,
            passphrase: PassphraseSource::Path(secret.path.clone()),
        })
        .unwrap();
        assert!(credential.key.has_passphrase());
    }
}

#[test]
fn a_source_besides_the_file_goes_before_it() {
    let config = private_copy("app-config.json");
    let wrong = private_file("passphrase", b"not this one\n");
    let with = |passphrase| {
        load(&Source::Config {
            path: config.path.clone(),
            passphrase,
        })
    };
    let error = with(PassphraseSource::Path(wrong.path.clone())).unwrap_err();
    assert!(
        matches!(
            error,
            CredentialError::Key {
                source: ContainerError::WrongPassphrase,
                ..
            }
        ),
        "{error}"
    );
    let error = with(PassphraseSource::None).unwrap_err();
    assert!(
        matches!(
            error,
            CredentialError::Key {
                source: ContainerError::PassphraseMissing,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn one_line_end_is_stripped_from_a_passphrase_file_and_no_more() {
    for (content, expected) in [
        ("pass word", "pass word"),
        ("pass word\n", "pass word"),
        ("pass word\r\n", "pass word"),
        ("pass word\n\n", "pass word\n"),
        (" pass word ", " pass word "),
    ] {
        let file = private_file("passphrase", content.as_bytes());
        let read = PassphraseSource::Path(file.path.clone())
            .read(Path::new("key.pem"), &mut Vec::new())
            .unwrap()
            .unwrap();
        assert_eq!(read.expose(), expected);
    }
    for (content, is_expected) in [
        (
            &b"\n"[..],
            (|error| matches!(error, PassphraseError::Empty { .. }))
                as fn(&PassphraseError) -> bool,
        ),
        (b"\xff\xfe", |error| {
            matches!(error, PassphraseError::NotUtf8 { .. })
        }),
    ] {
        let file = private_file("passphrase", content);
        let error = PassphraseSource::Path(file.path.clone())
            .read(Path::new("key.pem"), &mut Vec::new())
            .unwrap_err();
        assert!(is_expected(&error), "{error}");
    }
}

#[test]
fn a_passphrase_comes_through_a_pipe_of_the_shell() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(PASSPHRASE.as_bytes()).unwrap();
    drop(writer);
    let pipe = format!("/proc/self/fd/{}", reader.as_raw_fd());
    let mut warnings = Vec::new();
    let read = PassphraseSource::Path(pipe.into())
        .read(Path::new("key.pem"), &mut warnings)
        .unwrap();
    assert_eq!(read.unwrap().expose(), PASSPHRASE);
    assert_eq!(warnings, []);
}

#[test]
fn a_passphrase_comes_from_the_environment_by_name() {
    // Cargo sets this one for every test.
    let source = PassphraseSource::Env("CARGO_PKG_NAME".into());
    let read = source.read(Path::new("key.pem"), &mut Vec::new()).unwrap();
    assert_eq!(read.unwrap().expose(), "mintmark");

    let source = PassphraseSource::Env("MINTMARK_NO_SUCH_VARIABLE".into());
    let error = source
        .read(Path::new("key.pem"), &mut Vec::new())
        .unwrap_err();
    assert!(
        matches!(&error, PassphraseError::EnvMissing { name } if name == "MINTMARK_NO_SUCH_VARIABLE"),
        "{error}"
    );
}

#[test]
fn a_passphrase_for_a_key_in_the_clear_is_accepted_and_remarked_upon() {
    let file = private_copy("rsa-2048.pem");
    // It is not even looked for, so a source that fails does not matter.
    for source in [
        PassphraseSource::Env("MINTMARK_NO_SUCH_VARIABLE".into()),
        PassphraseSource::Prompt,
    ] {
        let (_, warnings) = load(&key_source(&file.path, source)).unwrap();
        assert_eq!(warnings, [Warning::PassphraseUnused]);
    }
    let (_, warnings) = load(&key_source(&file.path, PassphraseSource::None)).unwrap();
    assert_eq!(warnings, []);

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("app.json");
    let mut config = app_config(RsaBits::B2048, None).unwrap();
    config.passphrase = Some(Secret::from("for nothing"));
    config.write(&path).unwrap();
    let (_, warnings) = load(&config_source(&path)).unwrap();
    assert_eq!(warnings, [Warning::PassphraseUnused]);
}

#[test]
fn files_that_others_can_read_are_remarked_upon_by_name() {
    let key = private_copy("rsa-2048.des3-sha1.pem");
    let secret = private_file("passphrase", PASSPHRASE.as_bytes());
    for (mode, is_remarked) in [
        (0o600, false),
        (0o400, false),
        (0o620, false),
        (0o640, true),
        (0o604, true),
    ] {
        for file in [&key, &secret] {
            fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let source = PassphraseSource::Path(secret.path.clone());
        let (_, warnings) = load(&key_source(&key.path, source)).unwrap();
        let expected = [&key, &secret].map(|file| Warning::Readable {
            path: file.path.clone(),
            mode,
        });
        assert_eq!(warnings, if is_remarked { &expected[..] } else { &[] });
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let nowhere = Path::new("/no/such/folder/app.json");
    let error = load(&config_source(nowhere)).unwrap_err();
    assert!(
        matches!(&error, CredentialError::File(FileError::Read { path, .. }) if path == nowhere),
        "{error}"
    );

    let folder = TempDir::new().unwrap();
    let error = load(&config_source(folder.path())).unwrap_err();
    assert!(
        matches!(error, CredentialError::File(FileError::Read { .. })),
        "{error}"
    );

    let endless = Path::new("/dev/zero");
    let error = load(&key_source(endless, PassphraseSource::None)).unwrap_err();
    assert!(
        matches!(&error, CredentialError::File(FileError::TooLarge { path }) if path == endless),
        "{error}"
    );

    let broken = private_file("app.json", b"{\"boxAppSettings\": {}}");
    let error = load(&config_source(&broken.path)).unwrap_err();
    assert!(
        matches!(&error, CredentialError::Config { path, .. } if *path == broken.path),
        "{error}"
    );
}

/// A file of mode 0600 in a folder of its own.
struct PrivateFile {
    path: PathBuf,
    _folder: TempDir,
}

fn private_file(name: &str, content: &[u8]) -> PrivateFile {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    PrivateFile {
        path,
        _folder: folder,
    }
}

fn private_copy(fixture: &str) -> PrivateFile {
    private_file(fixture, &fs::read(path(fixture)).unwrap())
}

fn config_source(path: &Path) -> Source {
    Source::Config {
        path: path.to_owned(),
        passphrase: PassphraseSource::Config,
    }
}

fn key_source(path: &Path, passphrase: PassphraseSource) -> Source {
    Source::Key {
        path: path.to_owned(),
        passphrase,
        client_id: "client".into(),
        client_secret: None,
        key_id: None,
        enterprise_id: None,
        user_id: None,
    }
}

/// Reads the fixture with one member replaced or taken out.
fn edited(member: &str, with: Option<Value>) -> Result<AppConfig, ConfigError> {
    let mut file: Value = serde_json::from_str(&text("app-config.json")).unwrap();
    let mut names: Vec<&str> = member.split('.').collect();
    let last = names.pop().unwrap();
    let parent = names
        .iter()
        .fold(&mut file, |value, name| &mut value[*name]);
    let members = parent.as_object_mut().unwrap();
    match with {
        Some(value) => members.insert(last.to_owned(), value),
        None => members.remove(last),
    };
    AppConfig::from_json(file.to_string().as_bytes())
}
