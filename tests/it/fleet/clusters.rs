//! A cluster of three servers of which one is killed.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use mintmark::fleet::local::find_server;

use super::{LONGEST, Process, Stage, fleet_of, free_port, is_whole, open_of};
use crate::stage::program;

#[test]
fn one_of_three_servers_that_is_killed_loses_nothing() {
    // The stage's own server goes unused; its folder and target serve.
    let Some(stage) = Stage::new() else { return };
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let all_routes: Vec<String> = routes
        .iter()
        .map(|port| format!("\"nats-route://127.0.0.1:{port}\""))
        .collect();
    let mut servers: Vec<Process> = (0..3)
        .map(|number| {
            let config = format!(
                "server_name: s{number}\nhost: 127.0.0.1\nport: {}\n\
                 jetstream {{ store_dir: {:?} }}\n\
                 cluster {{ name: c, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                ports[number],
                stage.path().join(format!("store-{number}")),
                routes[number],
                all_routes.join(", "),
            );
            let path = stage.path().join(format!("s{number}.conf"));
            fs::write(&path, config).unwrap();
            let mut command = std::process::Command::new(find_server().unwrap());
            command.arg("-c").arg(path);
            Process::start(&mut command, stage.path(), &format!("s{number}"))
        })
        .collect();
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .collect();
    let urls = urls.join(",");
    let scenario = stage.scenario(100, "6s");
    let agent = |slot: &str| {
        let mut command = program();
        command.args(["agent", "--nats", &urls, "--slot", slot]);
        Process::start(&mut command, stage.path(), &format!("agent-{slot}"))
    };
    let _agents = [agent("0"), agent("1")];
    // A cluster needs some seconds to elect who leads it.
    let until = Instant::now() + LONGEST;
    let mut coordinator = loop {
        let mut command = program();
        command
            .args(["fleet", "run", scenario.to_str().unwrap(), "--agents", "2"])
            .args(["--nats", &urls, "--replicas", "3", "--json", "--results"])
            .arg(stage.path().join("results"));
        let mut coordinator = Process::start(&mut command, stage.path(), "coordinator");
        thread::sleep(Duration::from_secs(2));
        if coordinator.child.try_wait().unwrap().is_none() {
            break coordinator;
        }
        assert!(Instant::now() < until, "{}", coordinator.said());
    };
    coordinator.wait_to_say("2 of 2 agents send");
    thread::sleep(Duration::from_secs(1));
    servers[1].kill();
    let (document, _) = stage.outcome(&mut coordinator);
    assert!(
        is_whole(&document),
        "{:?} {}",
        fleet_of(&document),
        coordinator.said()
    );
    assert_eq!(open_of(&document).accounts.scheduled, 600);
}
