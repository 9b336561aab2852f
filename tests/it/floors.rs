//! Floors: a module imports only from its own floor or from below.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of each floor, lowest first; as the crate's documentation says.
const FLOORS: [&[&str]; 5] = [
    &["units", "clock", "error"],
    &[
        "credential",
        "assertion",
        "signer",
        "oauth",
        "record",
        "stats",
    ],
    &["scenario", "bench", "token", "broker", "load", "fleet"],
    &["gate", "capacity"],
    &["report", "live", "cli"],
];

#[test]
fn no_module_reaches_up() {
    let mut upward = Vec::new();
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let Some(own) = module_of(&file).and_then(|name| floor_of(&name)) else {
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            for name in crate_paths(line) {
                let target = floor_of(&name)
                    .unwrap_or_else(|| panic!("{name} is on no floor: {}", file.display()));
                if target > own {
                    upward.push(format!("{}:{}: {line}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(upward.is_empty(), "upward imports:\n{}", upward.join("\n"));
}

#[test]
fn every_module_opens_with_its_question() {
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} has no //!", file.display());
    }
}

/// Finds the modules named after `crate::` in a line of code.
fn crate_paths(line: &str) -> Vec<String> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        let names: Vec<&str> = if let Some(group) = rest.strip_prefix('{') {
            group
                .split(['}', ';'])
                .next()
                .unwrap_or_default()
                .split(',')
                .collect()
        } else {
            vec![rest]
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if !name.is_empty() && !matches!(name.as_str(), "$crate" | "Error" | "Result") {
                found.push(name);
            }
        }
    }
    found
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn module_of(file: &Path) -> Option<String> {
    let inside = file
        .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .ok()?;
    let first = inside.iter().next()?.to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}
