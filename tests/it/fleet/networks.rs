//! Networks that are cut and disks that are full, in namespaces of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use mintmark::fleet::local::find_server;
use mintmark::record::RunDocument;

use super::{CONFIG, check, fleet_of, is_whole, open_of};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mintmark");

/// Runs a shell script as root of namespaces of its own with a broker on port
/// 18080, and reads what a coordinator wrote to `result`.
fn apart(script: &str, measure: &str, folder: &Path) -> Option<RunDocument> {
    let can = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc"])
        .args(["sh", "-c", "ip link set lo up"])
        .output()
        .is_ok_and(|output| output.status.success());
    let Some(server) = find_server().filter(|_| can) else {
        println!("skipped: there are no namespaces here, no ip, or no nats-server");
        return None;
    };
    let scenario = format!(
        "name = \"apart\"\n[target]\nurl = \"http://127.0.0.1:18080/oauth2/token\"\n\
         users = [\"1000000\"]\n[credentials]\nconfig = \"{CONFIG}\"\n\
         [load]\nopen = {{ per_s = 100.0, arrival = \"even\" }}\nconnections = 4\n\
         warm_up = \"300ms\"\nmeasure = \"{measure}\"\ndrain = \"2s\"\nslice = \"500ms\"\n\
         calibrate = \"0s\"\n"
    );
    fs::write(folder.join("scenario.toml"), scenario).unwrap();
    let begin = r#"
        ip link set lo up
        program=$1 config=$2 server=$3; cd "$4"
        "$program" broker --json --app "$config" --user 1000000 --listen 127.0.0.1:18080 >told &
        until [ -s told ]; do sleep 0.02; done
    "#;
    let end = "wait $coordinator || true\n";
    let output = Command::new("timeout")
        .args([
            "-k", "1", "80", "unshare", "--net", "--mount", "--pid", "--fork",
        ])
        // With the shell, everything that it started ends.
        .args(["--mount-proc", "--kill-child", "sh", "-euc"])
        .arg(format!("{begin}{script}{end}"))
        .args(["sh", PROGRAM, CONFIG])
        .arg(server)
        .arg(folder)
        .output()
        .unwrap();
    let said = fs::read_to_string(folder.join("said")).unwrap_or_default();
    let printed = fs::read(folder.join("result")).unwrap_or_default();
    let document: RunDocument = serde_json::from_slice(&printed)
        .unwrap_or_else(|error| panic!("{error}: {said} {output:?}"));
    check(&document);
    Some(document)
}

#[test]
fn a_network_that_is_cut_for_ten_seconds_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The server is on a machine of its own, as far as the network tells.
    let script = r#"
        mount -t tmpfs tmpfs /run
        ip netns add far
        ip link add near type veth peer name far0 netns far
        ip addr add 10.77.0.1/24 dev near; ip link set near up
        ip -n far addr add 10.77.0.2/24 dev far0; ip -n far link set far0 up
        ip netns exec far "$server" -a 10.77.0.2 -p 14222 -js -sd store >server.log 2>&1 &
        for slot in 0 1; do
            "$program" agent --nats nats://10.77.0.2:14222 --slot $slot 2>agent$slot &
        done
        "$program" fleet run scenario.toml --agents 2 --nats nats://10.77.0.2:14222 \
            --results results --json >result 2>said &
        coordinator=$!
        until grep -q '2 of 2 agents send' said; do sleep 0.1; done
        sleep 1; ip link set near down
        sleep 10; ip link set near up
    "#;
    let Some(document) = apart(script, "5s", folder.path()) else {
        return;
    };
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(open_of(&document).accounts.scheduled, 500);
}

#[test]
fn a_full_disk_at_the_server_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // What is left of the disk is filled as soon as the load has begun. Debian's
    // 2.9.10 then stores nothing and may hang as a whole; once there is room
    // again it has to be killed.
    let script = r#"
        mkdir store; mount -t tmpfs -o size=8m tmpfs store
        serve() {
            "$server" -a 127.0.0.1 -p 14222 -js -sd store >>server.log 2>&1 &
            served=$!
        }
        serve
        for slot in 0 1; do
            "$program" agent --nats nats://127.0.0.1:14222 --slot $slot 2>agent$slot &
        done
        "$program" fleet run scenario.toml --agents 2 --nats nats://127.0.0.1:14222 \
            --room 4 --results results --json >result 2>said &
        coordinator=$!
        until grep -q '2 of 2 agents send' said; do sleep 0.1; done
        sleep 1; dd if=/dev/zero of=store/filler bs=4k count=4000 2>/dev/null || true
        sleep 10; rm store/filler; kill -9 $served; serve
    "#;
    let Some(document) = apart(script, "5s", folder.path()) else {
        return;
    };
    assert!(is_whole(&document), "{:?}", fleet_of(&document));
    assert_eq!(open_of(&document).accounts.scheduled, 500);
}
