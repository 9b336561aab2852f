//! Tokens that say what they were issued for, and forgeries.

use std::collections::HashSet;

use super::*;

const NOW: u64 = 1_800_000_000;

fn wish(kind: SubjectKind, subject: &str) -> Wish<'_> {
    Wish {
        app: 7,
        client_id: "client",
        kind,
        subject,
        scopes: Scopes::ALL,
        as_user: true,
        resource: None,
        actor: None,
        parent: None,
    }
}

fn minted(minter: &Minter) -> Issued {
    minter.mint(&wish(SubjectKind::User, "4711"), NOW).unwrap()
}

#[test]
fn a_token_says_what_it_was_issued_for() {
    let minter = Minter::new(LIFE_S).unwrap();
    let issued = minted(&minter);
    let grant = minter.verify(&issued.access_token, NOW).unwrap();
    assert_eq!((grant.app, grant.as_user), (7, true));
    assert_eq!(grant.subject, Subject::User("4711".into()));
    assert_eq!(grant.scopes, Scopes::ALL);
    assert_eq!(grant.resource, None);
    assert_eq!(grant.root, grant.id);
    assert_eq!(grant.expires_at, NOW + issued.expires_in);
    let issued = minter
        .mint(&wish(SubjectKind::Enterprise, "9"), NOW)
        .unwrap();
    let grant = minter.verify(&issued.access_token, NOW).unwrap();
    assert_eq!(grant.subject, Subject::Enterprise("9".into()));
}

#[test]
fn no_two_tokens_have_one_id() {
    let draw = || (0..10_000).map(|_| new_id().unwrap().0).collect::<Vec<_>>();
    let others = std::thread::spawn(draw).join().unwrap();
    let all: HashSet<TokenId> = draw().into_iter().chain(others).collect();
    assert_eq!(all.len(), 20_000);
}

#[test]
fn a_token_expires_when_its_answer_said() {
    let minter = Minter::new(LIFE_S).unwrap();
    let issued = minted(&minter);
    let last = NOW + issued.expires_in - 1;
    assert!(minter.verify(&issued.access_token, last).is_some());
    assert!(minter.verify(&issued.access_token, last + 1).is_none());
}

#[test]
fn the_life_varies_within_its_bounds() {
    let minter = Minter::new(LIFE_S).unwrap();
    let lives: HashSet<u64> = (0..64).map(|_| minted(&minter).expires_in).collect();
    assert!(lives.len() > 1);
    assert!(lives.iter().all(|life| LIFE_S.contains(life)));
}

#[test]
fn a_token_of_another_broker_is_refused() {
    let issued = minted(&Minter::new(LIFE_S).unwrap());
    let other = Minter::new(LIFE_S).unwrap();
    assert!(other.verify(&issued.access_token, NOW).is_none());
}

#[test]
fn no_bit_of_a_token_can_be_changed() {
    let minter = Minter::new(LIFE_S).unwrap();
    let bytes = URL_SAFE_NO_PAD
        .decode(minted(&minter).access_token)
        .unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let forged = URL_SAFE_NO_PAD.encode(forged);
        assert!(minter.verify(&forged, NOW).is_none(), "bit {bit}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let minter = Minter::new(LIFE_S).unwrap();
    let token = minted(&minter).access_token;
    for text in [
        String::new(),
        "AQ".into(),
        "not base64!".into(),
        token[..token.len() - 1].into(),
        format!("{token}A"),
        format!("{token}="),
        "A".repeat(10_000),
    ] {
        assert!(minter.verify(&text, NOW).is_none(), "{text:?}");
    }
}

#[test]
fn a_signed_token_says_the_same_and_is_good_here_alone() {
    let minter = || {
        let mut minter = Minter::new(LIFE_S).unwrap();
        minter.sign_with(SignedTokens::new("http://127.0.0.1:1").unwrap());
        minter
    };
    let (own, other) = (minter(), minter());
    let issued = minted(&own);
    let grant = own.verify(&issued.access_token, NOW).unwrap();
    assert_eq!((grant.app, grant.as_user), (7, true));
    assert_eq!(grant.subject, Subject::User("4711".into()));
    assert_eq!(grant.scopes, Scopes::ALL);
    let end = NOW + issued.expires_in;
    assert_eq!(grant.expires_at, end);
    assert!(own.verify(&issued.access_token, end).is_none());
    assert!(other.verify(&issued.access_token, NOW).is_none());
    let (signed, _) = issued.access_token.rsplit_once('.').unwrap();
    for forged in [
        format!("{signed}."),
        signed.into(),
        format!("{signed}.AAAA"),
    ] {
        assert!(own.verify(&forged, NOW).is_none());
    }
}

#[test]
fn an_overlong_subject_gets_no_token() {
    let minter = Minter::new(LIFE_S).unwrap();
    let longest = "1".repeat(MAX_SUBJECT);
    assert!(minter.mint(&wish(SubjectKind::User, &longest), NOW).is_ok());
    for len in [MAX_SUBJECT + 1, 255, 256, 4096] {
        let subject = "1".repeat(len);
        assert!(
            minter
                .mint(&wish(SubjectKind::User, &subject), NOW)
                .is_err()
        );
    }
}

#[test]
fn a_narrowed_token_names_its_parent_and_dies_with_it() {
    let minter = Minter::new(LIFE_S).unwrap();
    let parent = minter.verify(&minted(&minter).access_token, NOW).unwrap();
    let late = parent.expires_at - 5;
    let resource = "https://api.example.com/2.0/files/1";
    let issued = minter
        .mint(
            &Wish {
                scopes: Scopes::narrowed(["item_preview"]).unwrap(),
                as_user: false,
                resource: Some(resource),
                actor: Some("visitor 7"),
                parent: Some(&parent),
                ..wish(SubjectKind::User, "4711")
            },
            late,
        )
        .unwrap();
    assert_eq!(issued.expires_in, 5);
    let bare = issued.access_token.strip_prefix("1!").unwrap();
    assert!(minter.verify(bare, late).is_none());
    let grant = minter.verify(&issued.access_token, late).unwrap();
    assert_eq!(grant.root, parent.id);
    assert_eq!(grant.resource.as_deref(), Some(resource));
    assert_eq!(grant.actor.as_deref(), Some("visitor 7"));
    assert_eq!(grant.scopes.to_string(), "item_preview");
    assert!(grant.is_narrowed() && !grant.as_user);
    let forged = format!("1!{}", minted(&minter).access_token);
    assert!(minter.verify(&forged, NOW).is_none());
}
