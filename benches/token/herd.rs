//! The requests of a herd that starts together.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mintmark::token::Cache;
use serde_json::json;
use tokio::sync::Barrier;

use crate::stage::Stage;
use crate::{Found, Goals};

const WORKERS: usize = 10_000;
const SUBJECTS: usize = 100;

pub fn ask(is_quick: bool) -> Found {
    let trials = if is_quick { 2 } else { 5 };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let mut goals = Goals::Met;
    let mut shown = Vec::new();
    for trial in 1..=trials {
        let stage = Stage::new(SUBJECTS);
        let client = stage.client();
        let purpose = client.purpose().clone();
        let cache = Cache::new(client);
        let (wall, answered) = runtime.block_on(async {
            let barrier = Arc::new(Barrier::new(WORKERS + 1));
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (cache, purpose) = (cache.clone(), purpose.clone());
                    let subject = stage.subjects[worker % SUBJECTS].clone();
                    let barrier = Arc::clone(&barrier);
                    tokio::spawn(async move {
                        barrier.wait().await;
                        cache.get(&purpose, &subject).await.is_ok()
                    })
                })
                .collect();
            barrier.wait().await;
            let begun = Instant::now();
            let mut answered = 0;
            for worker in workers {
                answered += usize::from(worker.await.unwrap_or(false));
            }
            (begun.elapsed(), answered)
        });
        let signed = stage.signed.load(Ordering::Relaxed);
        let requests = stage.broker.stats().requests;
        let metrics = cache.metrics();
        println!(
            "  trial {trial}: {WORKERS} workers on {SUBJECTS} subjects, {answered} answered in \
             {:.0} ms: {signed} signed, {requests} requests, {} waited",
            wall.as_secs_f64() * 1e3,
            metrics.waits
        );
        let is_met = signed == 100 && requests == 100 && answered == WORKERS;
        goals = goals.and(Goals::met_if(is_met));
        shown.push(json!({
            "workers": WORKERS,
            "subjects": SUBJECTS,
            "answered": answered,
            "signed": signed,
            "requests": requests,
            "waits": metrics.waits,
            "elapsed_ns": u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        }));
    }
    Found {
        figures: json!(shown),
        goals,
    }
}
