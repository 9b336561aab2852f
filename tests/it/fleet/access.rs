//! Who is let in by the server, and to what.

use super::Stage;

#[test]
fn wrong_credentials_are_an_error_at_once() {
    let rules = "authorization { user: fleet, password: right }";
    let Some(stage) = Stage::with(rules) else {
        return;
    };
    let login = stage.path().join("login");
    std::fs::write(&login, "fleet:wrong").unwrap();
    let flags = ["--login", login.to_str().unwrap()];
    let mut agent = stage.agent("agent-0", &flags);
    assert_eq!(agent.end(), 3);
    assert!(
        agent.said().contains("authorization violation"),
        "{}",
        agent.said()
    );
    let mut nobody = stage.agent("agent-1", &[]);
    assert_eq!(nobody.end(), 3);
    std::fs::write(&login, "no colon").unwrap();
    let mut faulty = stage.agent("agent-2", &flags);
    assert_eq!(faulty.end(), 3);
    assert!(faulty.said().contains("user:password"), "{}", faulty.said());
}
