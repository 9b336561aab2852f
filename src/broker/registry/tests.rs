//! What is registered, what is not, and how one state follows another.

use std::thread;

use super::*;
use crate::broker::registration::Access;
use crate::signer::{PrivateKey, PublicKey};

fn key() -> PublicKey {
    PrivateKey::from_pkcs8_der(include_bytes!("../../../tests/fixtures/broker_a.pk8"))
        .unwrap()
        .public_key()
        .unwrap()
        .clone()
}

fn app(client_id: &str) -> AppRegistration {
    AppRegistration::new(client_id, "secret", "900100")
}

fn registry(apps: &[AppRegistration], users: &[UserRegistration]) -> Registry {
    Registry::new(apps, users).unwrap()
}

fn error(apps: &[AppRegistration], users: &[UserRegistration]) -> RegistryError {
    match Registry::new(apps, users) {
        Ok(_) => panic!("it was registered"),
        Err(error) => error,
    }
}

#[test]
fn apps_and_users_are_found_by_their_ids() {
    let registry = registry(
        &[app("a").with_key("k", key()), app("b")],
        &[
            UserRegistration::managed("1", "900100"),
            UserRegistration::of_app("2", "b"),
        ],
    );
    let state = registry.load();
    let a = state.app("a").unwrap();
    assert_eq!(a.client_id(), "a");
    assert_eq!(a.enterprise_id(), "900100");
    assert_eq!(a.keys().len(), 1);
    let b = state.app("b").unwrap();
    assert_eq!(
        state.app_by_number(b.number()).map(App::client_id),
        Some("b")
    );
    assert!(state.app("c").is_none());
    assert!(state.app_by_number(2).is_none());
    assert_eq!(state.user("1").unwrap().name, "User 1");
    assert!(state.user("3").is_none());
    assert_eq!(state.apps().count(), 2);
}

#[test]
fn only_the_secret_is_the_secret() {
    let registry = registry(&[app("a")], &[]);
    let state = registry.load();
    let app = state.app("a").unwrap();
    assert!(app.has_secret("secret"));
    for other in ["", "Secret", "secret ", "secre", "secret\0"] {
        assert!(!app.has_secret(other), "{other:?}");
    }
}

#[test]
fn service_accounts_are_users_of_nobody_else() {
    let registry = registry(&[app("a"), app("b")], &[]);
    let id = |client_id: &str| {
        let state = registry.load();
        state.app(client_id).unwrap().service_account().clone()
    };
    let (a, b) = (id("a"), id("b"));
    assert_ne!(a.id, b.id);
    assert!(a.login.starts_with(&format!("AutomationUser_{}_", a.id)));
    assert!(a.login.ends_with("@boxdevedition.com"));
    assert!(registry.load().user(&a.id).is_none());
    let taken = registry.edit(|next| next.add_user(&UserRegistration::managed(&a.id, "9")));
    assert!(matches!(taken, Err(RegistryError::Duplicate { .. })));

    // The account of an app that comes later gives way to a user.
    let before = Registry::new(&[], &[UserRegistration::managed(&a.id, "9")]).unwrap();
    before.edit(|next| next.add_app(&app("a"))).unwrap();
    let state = before.load();
    assert_ne!(state.app("a").unwrap().service_account().id, a.id);
}

#[test]
fn registrations_that_cannot_be_used_are_refused() {
    for id in ["", "a b", "a/b", "é", &"a".repeat(129)] {
        assert!(matches!(error(&[app(id)], &[]), RegistryError::ClientId(_)));
    }
    let secretless = AppRegistration::new("a", "", "9");
    assert!(matches!(
        error(&[secretless], &[]),
        RegistryError::Secret(_)
    ));
    for id in ["", "0", "01", "-1", "1a", " 1", "123456789012345678901"] {
        let app = AppRegistration::new("a", "secret", id);
        assert!(matches!(error(&[app], &[]), RegistryError::Id { .. }));
        let user = UserRegistration::managed(id, "9");
        assert!(matches!(error(&[], &[user]), RegistryError::Id { .. }));
        let user = UserRegistration::managed("9", id);
        assert!(matches!(error(&[], &[user]), RegistryError::Id { .. }));
    }
    let of_nobody = UserRegistration::of_app("1", "a");
    assert!(matches!(
        error(&[], &[of_nobody]),
        RegistryError::UnknownApp(_)
    ));
    let key = app("a").with_key("not a kid", key());
    assert!(matches!(error(&[key], &[]), RegistryError::Key { .. }));
}

#[test]
fn names_are_given_once() {
    let is_duplicate = |apps: &[AppRegistration], users: &[UserRegistration]| {
        matches!(error(apps, users), RegistryError::Duplicate { .. })
    };
    assert!(is_duplicate(&[app("a"), app("a")], &[]));
    let twice = app("a").with_key("k", key()).with_key("k", key());
    assert!(is_duplicate(&[twice], &[]));
    let user = UserRegistration::managed("1", "9");
    assert!(is_duplicate(&[], &[user.clone(), user]));
}

#[test]
fn a_failed_edit_changes_nothing() {
    let registry = registry(&[app("a")], &[]);
    let outcome = registry.edit(|next| {
        next.add_app(&app("b"))?;
        next.add_app(&app("a"))
    });
    assert!(outcome.is_err());
    assert!(registry.load().app("b").is_none());
}

#[test]
fn a_reader_keeps_the_state_that_it_began_with() {
    let registry = registry(&[app("a")], &[]);
    let before = registry.load();
    registry.edit(|next| next.set_enabled("a", false)).unwrap();
    assert!(before.app("a").unwrap().terms().is_some());
    assert!(registry.load().app("a").unwrap().terms().is_none());
}

#[test]
fn terms_take_effect_when_they_are_approved() {
    let registry = registry(&[app("a")], &[]);
    let terms = || registry.load().app("a").unwrap().terms();
    let all = terms().unwrap();
    assert_eq!(all.access, Access::AppAndEnterprise);
    let fewer = Terms {
        access: Access::App,
        user_tokens: false,
        ..all
    };
    registry.edit(|next| next.set_terms("a", fewer)).unwrap();
    assert_eq!(terms(), Some(all));
    registry
        .edit(|next| next.set_authorized("a", true))
        .unwrap();
    assert_eq!(terms(), Some(fewer));
    registry
        .edit(|next| next.set_authorized("a", false))
        .unwrap();
    assert_eq!(terms(), None);
    assert!(registry.edit(|next| next.set_enabled("b", true)).is_err());
}

#[test]
fn concurrent_edits_are_all_kept() {
    let registry = registry(&[], &[]);
    thread::scope(|scope| {
        for thread in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for i in 0..25 {
                    let app = app(&format!("app-{thread}-{i}"));
                    registry.edit(|next| next.add_app(&app)).unwrap();
                }
            });
        }
    });
    let state = registry.load();
    assert_eq!(state.apps().count(), 100);
    for (index, app) in state.apps().enumerate() {
        assert_eq!(usize::try_from(app.number()).unwrap(), index);
    }
}

#[test]
fn no_debug_form_shows_a_secret() {
    let app = AppRegistration::new("a", "hunter2", "9").with_key("k", key());
    let config = crate::broker::BrokerConfig {
        apps: vec![app.clone()],
        ..Default::default()
    };
    for text in [format!("{app:?}"), format!("{config:?}")] {
        assert!(text.contains("client_id"));
        assert!(!text.contains("hunter2"));
    }
}
