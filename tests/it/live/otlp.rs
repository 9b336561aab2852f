//! A push to an OpenTelemetry collector, decoded by its own library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use mintmark::record::{Buckets, Histogram, store};
use serde_json::Value;

use crate::stage::program;

/// Decodes a push by the messages that the project publishes (PyPI:
/// opentelemetry-proto), into JSON.
const DECODE: &str = r"
import sys
from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
request = ExportMetricsServiceRequest()
request.ParseFromString(sys.stdin.buffer.read())
print(MessageToJson(request))
";

/// Answers one push after the other, and hands their bodies over.
fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(push) = taken(&mut stream) {
                    if tell.send(push).is_err() {
                        return;
                    }
                    stream
                        .get_mut()
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .unwrap();
                }
            });
        }
    });
    (url, told)
}

/// Reads a request: its head and its body.
fn taken(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    })?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn decoded(python: &Path, body: &[u8]) -> Value {
    let mut child = Command::new(python)
        .args(["-c", DECODE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_last_push_of_a_load_is_its_record() {
    let Some(python) = crate::results::python_with("opentelemetry.proto.collector") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, pushes) = collector();
    let status = program()
        .args([
            "load",
            "--rate",
            "300",
            "--duration",
            "3s",
            "--calibrate",
            "0s",
        ])
        .args(["--otlp", &url, "--results"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.code().is_some_and(|code| [0, 4].contains(&code)));
    let pushes: Vec<_> = pushes.try_iter().collect();
    assert!(
        pushes.len() >= 3,
        "one a second and one at the end: {}",
        pushes.len()
    );
    for (head, _) in &pushes {
        assert!(head.starts_with("POST /v1/metrics HTTP/1.1"), "{head}");
        assert!(head.contains("application/x-protobuf"), "{head}");
    }
    let push = decoded(&python, &pushes.last().unwrap().1);
    let resource = &push["resourceMetrics"][0];
    assert_eq!(
        resource["resource"]["attributes"][0]["value"]["stringValue"],
        "mintmark"
    );
    let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let metric = |name: &str| {
        metrics
            .iter()
            .find(|metric| metric["name"] == name)
            .unwrap()
    };
    let run = std::fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let record = store::read(&run.path()).unwrap();
    let open = record.steps[0].open.as_ref().unwrap();
    let offered = &metric("mintmark_offered")["sum"];
    assert_eq!(
        offered["dataPoints"][0]["asDouble"],
        open.accounts.scheduled as f64
    );
    assert_eq!(offered["isMonotonic"], true);
    assert_eq!(
        offered["aggregationTemporality"],
        "AGGREGATION_TEMPORALITY_CUMULATIVE"
    );
    let answered = open
        .outcomes
        .iter()
        .find(|of| of.outcome == "answered")
        .unwrap();
    let response = metric("mintmark_response_duration_seconds");
    assert_eq!(response["unit"], "s");
    let points = response["histogram"]["dataPoints"].as_array().unwrap();
    let is_answered = |point: &&Value| point["attributes"][0]["value"]["stringValue"] == "answered";
    assert_same(
        points.iter().find(is_answered).unwrap(),
        &answered.stages.response.open(),
    );
    // Whole numbers of 64 bits are texts in JSON of protobuf.
    assert!(points[0]["timeUnixNano"].as_str() > points[0]["startTimeUnixNano"].as_str());
    assert!(metric("mintmark_in_flight")["gauge"].is_object());
}

fn assert_same(point: &Value, histogram: &Histogram) {
    let mut buckets = Buckets::default();
    buckets.add(histogram);
    let numbers: Vec<u64> = point["bucketCounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_str().unwrap().parse().unwrap())
        .collect();
    let expected: Vec<u64> = buckets.parts().map(|(_, count)| count).collect();
    assert_eq!(numbers, expected);
    assert_eq!(
        point["explicitBounds"].as_array().unwrap().len() + 1,
        numbers.len()
    );
    assert_eq!(
        point["count"].as_str().unwrap(),
        histogram.count().to_string()
    );
}
