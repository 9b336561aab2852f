//! What is kept, what is refused, and what a snapshot sees of it.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::broker::registration::{Access, Authentication};
use crate::broker::registry::App;
use crate::broker::terms::{Scopes, Terms};
use crate::credential::generate::RsaBits;
use crate::signer::{PrivateKey, PublicKey};

const ENTERPRISE: &str = "900100";

fn key() -> PublicKey {
    PrivateKey::from_pkcs8_der(include_bytes!("../../../tests/fixtures/broker_a.pk8"))
        .unwrap()
        .public_key()
        .unwrap()
        .clone()
}

/// A directory with an enterprise, an administrator and an app.
fn directory() -> Directory {
    furnished(Directory::in_memory().unwrap())
}

fn furnished(directory: Directory) -> Directory {
    directory.add_enterprise(Some(ENTERPRISE), "Acme").unwrap();
    directory
        .add_administrator(ENTERPRISE, "admin@example.com")
        .unwrap();
    directory
        .create_app("Loader", ENTERPRISE, Authentication::Jwt)
        .unwrap();
    directory
}

/// Reads what a broker would serve of the app.
fn served<T>(directory: &Directory, read: impl FnOnce(&App) -> T) -> T {
    let mut snapshot = Snapshot::default();
    directory.fill(&mut snapshot).unwrap();
    let app = snapshot.apps().next().unwrap();
    read(app)
}

fn terms(directory: &Directory) -> Option<Terms> {
    served(directory, App::terms)
}

#[test]
fn a_new_app_may_do_nothing_until_it_is_authorized() {
    let directory = directory();
    let app = directory.app("loader").unwrap();
    assert_eq!(app.status, Status::NotSubmitted);
    assert_eq!((app.edited, app.approved), (Terms::NEW, None));
    assert_eq!(app.service_account, None);
    assert_eq!(terms(&directory), None);

    let app = directory.submit("Loader").unwrap();
    assert_eq!(app.status, Status::Submitted);
    assert_eq!(terms(&directory), None);
    let notices = directory.notices().unwrap();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].recipient, "admin@example.com");
    assert_eq!(notices[0].client_id, app.client_id);

    let app = directory.authorize(&app.client_id).unwrap();
    assert_eq!(app.status, Status::Authorized);
    assert_eq!(terms(&directory), Some(Terms::NEW));
    let account = served(&directory, |app| app.service_account().clone());
    assert_eq!(app.service_account, Some(account));
}

#[test]
fn edits_wait_for_reauthorization() {
    let directory = directory();
    directory.authorize("Loader").unwrap();
    let wider = Terms {
        access: Access::AppAndEnterprise,
        user_tokens: true,
        scopes: Scopes::ALL,
        ..Terms::NEW
    };
    let app = directory
        .edit_terms("Loader", |terms| *terms = wider)
        .unwrap();
    assert_eq!(app.status, Status::ReauthorizationRequired);
    assert_eq!(terms(&directory), Some(Terms::NEW));
    assert!(served(&directory, App::needs_reauthorization));

    let app = directory.submit("Loader").unwrap();
    assert_eq!(app.status, Status::ReauthorizationSubmitted);
    let app = directory.decline("Loader").unwrap();
    assert_eq!(app.status, Status::ReauthorizationRequired);
    assert_eq!(terms(&directory), Some(Terms::NEW));

    let app = directory.reauthorize("Loader").unwrap();
    assert_eq!(app.status, Status::Authorized);
    assert_eq!(terms(&directory), Some(wider));
}

#[test]
fn an_edit_that_is_taken_back_needs_no_reauthorization() {
    let directory = directory();
    directory.authorize("Loader").unwrap();
    let edit = |is_on| {
        let app = directory.edit_terms("Loader", |terms| terms.as_user = is_on);
        app.unwrap().status
    };
    assert_eq!(edit(true), Status::ReauthorizationRequired);
    assert_eq!(edit(false), Status::Authorized);
}

#[test]
fn an_edit_withdraws_what_was_submitted() {
    let directory = directory();
    directory.submit("Loader").unwrap();
    let app = directory
        .edit_terms("Loader", |terms| terms.user_tokens = true)
        .unwrap();
    assert_eq!(app.status, Status::NotSubmitted);
}

#[test]
fn a_step_out_of_turn_is_refused_and_says_what_comes_first() {
    let directory = directory();
    let is_refused = |outcome: Result<AppRecord, DirectoryError>| {
        matches!(outcome, Err(DirectoryError::State { .. }))
    };
    assert!(is_refused(directory.reauthorize("Loader")));
    assert!(is_refused(directory.decline("Loader")));
    directory.submit("Loader").unwrap();
    assert!(is_refused(directory.submit("Loader")));
    let declined = directory.decline("Loader").unwrap();
    assert_eq!(declined.status, Status::Declined);
    directory.submit("Loader").unwrap();
    directory.authorize("Loader").unwrap();
    assert!(is_refused(directory.authorize("Loader")));
    assert!(is_refused(directory.submit("Loader")));
    assert_eq!(directory.notices().unwrap().len(), 2);
}

#[test]
fn a_disabled_app_is_approved_and_gets_nothing() {
    let directory = directory();
    directory.authorize("Loader").unwrap();
    let app = directory.set_enabled("Loader", false).unwrap();
    assert_eq!((app.status, app.is_enabled), (Status::Authorized, false));
    assert_eq!(terms(&directory), None);
    directory.set_enabled("Loader", true).unwrap();
    assert_eq!(terms(&directory), Some(Terms::NEW));
}

#[test]
fn a_generated_key_is_handed_out_once_and_its_public_half_kept() {
    let directory = directory();
    let config = directory.generate_key("Loader", RsaBits::B2048).unwrap();
    let opened = config.credential().unwrap().key.open().unwrap();
    let app = directory.app("Loader").unwrap();
    assert_eq!(config.client_id, app.client_id);
    assert_eq!(config.enterprise_id.as_deref(), Some(ENTERPRISE));
    assert_eq!(app.keys.len(), 1);
    assert_eq!(app.keys[0].kid, config.public_key_id);
    assert_eq!(
        app.keys[0].public_key,
        opened.public_key().unwrap().to_pem()
    );
    assert!(served(&directory, |app| app
        .has_secret(config.client_secret.expose())));
}

#[test]
fn keys_are_added_rotated_and_removed() {
    let directory = directory();
    let old = directory.add_key("Loader", &key(), false).unwrap();
    let again = directory.add_key("Loader", &key(), false);
    assert!(matches!(again, Err(DirectoryError::Taken { name, .. }) if name == old));
    let new = directory
        .generate_key("Loader", RsaBits::B2048)
        .unwrap()
        .public_key_id;
    let kids = || {
        served(&directory, |app| {
            app.keys()
                .iter()
                .map(|key| key.kid().to_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(kids(), [old.clone(), new.clone()]);
    directory.remove_key("Loader", &old).unwrap();
    assert_eq!(kids(), [new]);
    let gone = directory.remove_key("Loader", &old);
    assert!(matches!(gone, Err(DirectoryError::Unknown { .. })));
}

#[test]
fn names_and_ids_are_taken_once() {
    let directory = directory();
    let is_taken = |error: DirectoryError| matches!(error, DirectoryError::Taken { .. });
    assert!(is_taken(
        directory
            .create_app("LOADER", ENTERPRISE, Authentication::Jwt)
            .unwrap_err()
    ));
    assert!(is_taken(
        directory.add_enterprise(Some(ENTERPRISE), "B").unwrap_err()
    ));
    let login = "admin@example.com";
    assert!(is_taken(
        directory.add_administrator(ENTERPRISE, login).unwrap_err()
    ));
    let user = NewUser {
        id: Some("5"),
        ..NewUser::default()
    };
    directory.add_managed_user(ENTERPRISE, &user).unwrap();
    assert!(is_taken(
        directory.add_app_user("Loader", &user).unwrap_err()
    ));
}

#[test]
fn what_is_not_there_is_named() {
    let directory = directory();
    let is_unknown = |error: DirectoryError| matches!(error, DirectoryError::Unknown { .. });
    assert!(is_unknown(directory.app("other").unwrap_err()));
    assert!(is_unknown(
        directory
            .create_app("B", "1", Authentication::Jwt)
            .unwrap_err()
    ));
    assert!(is_unknown(
        directory.add_administrator("1", "a").unwrap_err()
    ));
    let user = NewUser::default();
    assert!(is_unknown(
        directory.add_managed_user("1", &user).unwrap_err()
    ));
    assert!(is_unknown(
        directory.add_app_user("other", &user).unwrap_err()
    ));
    for name in ["", " a", "a\nb", &"n".repeat(121)] {
        let refused = directory.create_app(name, ENTERPRISE, Authentication::Jwt);
        assert!(
            matches!(refused, Err(DirectoryError::Name { .. })),
            "{name:?}"
        );
    }
}

#[test]
fn a_service_accounts_id_is_nobody_elses() {
    let directory = directory();
    let account = directory.authorize("Loader").unwrap().service_account;
    let user = NewUser {
        id: account.as_ref().map(|account| account.id.as_str()),
        ..NewUser::default()
    };
    assert!(directory.add_managed_user(ENTERPRISE, &user).is_err());
    assert_eq!(directory.users().unwrap(), []);
    let again = directory.app("Loader").unwrap().service_account;
    assert_eq!(again, account);
}

#[test]
fn terms_that_contradict_themselves_change_nothing() {
    let directory = directory();
    let refused = directory.edit_terms("Loader", |terms| terms.scopes = Scopes::ALL);
    assert!(matches!(refused, Err(DirectoryError::Terms(_))));
    assert_eq!(directory.app("Loader").unwrap().edited, Terms::NEW);
}

#[test]
fn a_file_is_read_back_by_the_next_process_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apps.db");
    let first = furnished(Directory::open(&path).unwrap());
    first.authorize("Loader").unwrap();
    first
        .set_origins("Loader", &"https://*.example.com".parse().unwrap())
        .unwrap();
    let told = first.app("Loader").unwrap();
    let second = Directory::open(&path).unwrap();
    assert_eq!(second.app("Loader").unwrap(), told);

    let before = first.version().unwrap();
    assert_eq!(first.version().unwrap(), before);
    second.set_enabled("Loader", false).unwrap();
    assert_ne!(first.version().unwrap(), before);

    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(
        &text,
        "not a database, but long enough to look at".repeat(100),
    )
    .unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (c)")
        .unwrap();
    for path in [&text, &foreign] {
        let before = std::fs::read(path).unwrap();
        let refused = Directory::open(path);
        assert!(
            matches!(refused, Err(DirectoryError::Foreign { .. })),
            "{path:?}"
        );
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    let nowhere = Directory::open(&folder.path().join("no/apps.db"));
    assert!(matches!(nowhere, Err(DirectoryError::Open { .. })));
}

#[test]
fn a_registry_of_the_layout_before_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("apps.db");
    {
        let old = Connection::open(&path).unwrap();
        old.execute_batch(schema::TABLES).unwrap();
        old.pragma_update(None, "application_id", schema::APPLICATION_ID)
            .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        old.execute(
            "INSERT INTO notice (at_s, recipient, client_id, subject, body) \
             VALUES (1, 'ann@example.com', 'x', 'old', 'news')",
            (),
        )
        .unwrap();
    }
    let directory = furnished(Directory::open(&path).unwrap());
    // What is old is kept and not sent; what is new is due.
    assert_eq!(directory.notices().unwrap()[0].subject, "old");
    assert_eq!(directory.claim_notice().unwrap(), None);
    directory.submit("Loader").unwrap();
    let claimed = directory.claim_notice().unwrap().unwrap();
    assert_eq!((claimed.number, claimed.attempts), (2, 1));
    // A second claim has to wait for the first.
    assert_eq!(directory.claim_notice().unwrap(), None);
    directory
        .notice_failed(&claimed, &"no ".repeat(1000))
        .unwrap();
    let failed = directory.notices().unwrap().remove(1);
    assert_eq!(failed.error.unwrap().len(), 300);
    directory.notice_sent(claimed.number).unwrap();
    let sent = directory.notices().unwrap().remove(1);
    assert!(sent.sent_at_s.is_some() && sent.error.is_none());
    drop(directory);
    assert_eq!(Directory::open(&path).unwrap().notices().unwrap().len(), 2);
}
