//! The page on security names what holds it.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/security.md");

/// Gathers the names of functions in all sources below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
                Some(rest[..end].to_owned())
            });
            found.extend(names);
        }
    }
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut there = BTreeSet::new();
    functions(&root.join("src"), &mut there);
    functions(&root.join("tests"), &mut there);
    let is_test = |name: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        // Members of claims and forms have fewer words.
        name.matches('_').count() >= 3 && name.chars().all(is_word)
    };
    let named: Vec<&str> = PAGE.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 80, "{} tests are named", named.len());
    for name in named {
        assert!(there.contains(name), "{name} is named and not there");
    }
}
