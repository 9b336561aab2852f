//! What becomes of one request, from its assertion to its record?
//!
//! A request has one attempt or several, and may find that a token is kept.
//! However often it was sent, it is counted once, from its intended start.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::arrival::Start;
use super::assertions::{Made, Source};
use super::cached::Caching;
use super::lane::{Job, Lane};
use super::pacer::now_ns;
use super::retry::Tried;
use super::tally::{Parts, Way};
use super::transport::{AnyTransport, Reply, Transport};
use crate::record::Outcome;

/// By how many nanoseconds an assertion may be dated for another time than its
/// start's. Dates are in whole seconds.
const MOST_MISDATED: u64 = 1_000_000_000;

impl Lane {
    /// Makes one attempt at a request, and counts it unless another is due.
    pub(super) async fn call(
        self: &Rc<Self>,
        mut job: Job,
        transport: &mut AnyTransport,
    ) -> Outcome {
        // Most requests are tried once, and need no memory for it.
        let mut tried = job.tried.take().map_or_else(Tried::default, |tried| *tried);
        loop {
            let reply = self.attempt(&job, &mut tried, transport, true).await;
            match self.pause_before(tried.attempts + 1, &reply) {
                Some(pause) if self.queue.borrow().is_scheduled() => {
                    job.tried = Some(Box::new(tried));
                    self.rest(job, pause);
                    return reply.outcome;
                }
                // A worker of a closed loop has nothing else to do.
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    let parts = self.parts(&job, &tried, &reply);
                    self.record(&job, &reply.outcome, &parts);
                    return reply.outcome;
                }
            }
        }
    }

    /// Gives a request back after `pause`. Meanwhile its connection serves
    /// others; the schedule goes on as if nothing were.
    fn rest(self: &Rc<Self>, job: Job, pause: Duration) {
        self.queue.borrow_mut().resting += 1;
        let lane = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let mut queue = lane.queue.borrow_mut();
            queue.resting -= 1;
            queue.give(job);
            if queue.is_over() {
                queue.wake_idle();
            }
        });
    }

    /// Makes one call through the cache, and counts it. A call that finds no
    /// token asks for one, with its retries, while others wait for it.
    pub(super) async fn call_through(
        &self,
        caching: &Caching,
        job: &Job,
        transport: &mut AnyTransport,
    ) -> Outcome {
        let (member, subject) = self.population.pick(job.start.index);
        let purpose = self.population.members()[member].app.purpose();
        let began_ns = now_ns();
        let mut is_signed_for = caching.begin(job.start.index, purpose, subject);
        let mut fetched = None;
        let way = caching
            .call(purpose, subject, async || {
                // A token that others forget while it is on its way is fetched
                // again, and what was signed ahead serves once.
                let has_source = std::mem::take(&mut is_signed_for);
                let mut tried = Tried::default();
                let reply = loop {
                    let reply = self.attempt(job, &mut tried, transport, has_source).await;
                    match self.pause_before(tried.attempts + 1, &reply) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => break reply,
                    }
                };
                let outcome = reply.outcome.clone();
                let retry_after = reply.retry_after;
                fetched = Some((tried, reply));
                (outcome, retry_after)
            })
            .await;
        if let Some((tried, reply)) = fetched {
            let parts = Parts {
                way: Some(Way::Fetched),
                ..self.parts(job, &tried, &reply)
            };
            self.record(job, &reply.outcome, &parts);
            return reply.outcome;
        }
        if is_signed_for {
            self.discard(&job.start).await;
        }
        let done_ns = now_ns();
        let due_ns = self.origin_ns + job.start.due_ns;
        let (way, outcome) = way;
        let parts = Parts {
            response: done_ns.saturating_sub(due_ns),
            service: done_ns - began_ns,
            generator_lag: job.observed_ns.saturating_sub(due_ns),
            connection_wait: began_ns.saturating_sub(job.observed_ns),
            way: Some(way),
            ..Parts::default()
        };
        self.record(job, &outcome, &parts);
        // A token that was found is no reason to let others wait: nothing in
        // such a call has given way to them.
        tokio::task::yield_now().await;
        // No connection has failed.
        Outcome::Cached
    }

    /// Sends one attempt. The first takes its assertion from the source, if
    /// that has signed one; each further one is signed anew.
    async fn attempt(
        &self,
        job: &Job,
        tried: &mut Tried,
        transport: &mut AnyTransport,
        has_source: bool,
    ) -> Reply {
        let made = if tried.attempts == 0 && has_source {
            let (made, wait, is_under_run) = self.assertion(&job.start).await;
            tried.signing_wait_ns = wait;
            tried.is_under_run = is_under_run;
            made
        } else {
            self.sign_anew(&job.start)
        };
        let Made {
            text,
            key,
            signing_ns,
            ..
        } = made;
        tried.attempts += 1;
        tried.signing_ns += signing_ns;
        if text.is_empty() {
            return Reply::of_client(now_ns());
        }
        let (member, _) = self.population.pick(job.start.index);
        let form = self.population.members()[member].app.form();
        let reply = transport.exchange(form, &text).await;
        // Whoever replaces a key waits for its users.
        drop(key);
        tried.first_sent_ns.get_or_insert(reply.timings.sent_ns);
        reply
    }

    /// Signs for a start on this thread, whatever the source is.
    fn sign_anew(&self, start: &Start) -> Made {
        self.again
            .borrow_mut()
            .write(start, self.origin_ns, &self.population)
    }

    /// Takes the time of a request apart, over all of its attempts.
    fn parts(&self, job: &Job, tried: &Tried, reply: &Reply) -> Parts {
        let due_ns = self.origin_ns + job.start.due_ns;
        let timings = &reply.timings;
        let sent = tried.first_sent_ns.unwrap_or(timings.sent_ns);
        let done = timings.done_ns;
        Parts {
            response: done.saturating_sub(due_ns),
            service: done.saturating_sub(sent),
            generator_lag: job.observed_ns.saturating_sub(due_ns),
            connection_wait: sent
                .saturating_sub(job.observed_ns)
                .saturating_sub(tried.signing_wait_ns.unwrap_or_default()),
            receive_lag: timings.receive_lag_ns,
            // A repeated assertion was signed for another request.
            signing: (tried.signing_ns > 0).then_some(tried.signing_ns),
            signing_wait: tried.signing_wait_ns,
            is_under_run: tried.is_under_run,
            write: timings
                .written_ns
                .map(|at| at.saturating_sub(timings.sent_ns)),
            first_byte: timings
                .first_byte_ns
                .map(|at| at.saturating_sub(timings.sent_ns)),
            body: timings.first_byte_ns.map(|at| done.saturating_sub(at)),
            opened: timings.opened,
            attempts: tried.attempts,
            way: None,
        }
    }

    /// Returns the assertion, how long it had to be waited for, and whether
    /// that was because a ring was empty. What was signed on this thread
    /// counts as waiting too.
    async fn assertion(&self, start: &Start) -> (Made, Option<u64>, bool) {
        let take = |source: &mut Source| {
            let made = source.take(start, self.origin_ns, &self.population)?;
            let is_own = matches!(source, Source::Inline(_) | Source::Repeat { .. });
            let wait = Some(made.signing_ns).filter(|ns| is_own && *ns > 0);
            Some((made, wait, false))
        };
        // Nobody waits in the usual case, and no clock is read.
        if let Some(taken) = self.source.now(take).flatten() {
            return self.dated_anew(start, taken);
        }
        let begun = now_ns();
        let made = async |source: &mut Source| {
            if let Some(taken) = take(source) {
                return taken;
            }
            let made = source.wait(start).await;
            (made, Some(now_ns() - begun), true)
        };
        let taken = self.source.later(made).await;
        self.dated_anew(start, taken)
    }

    /// Signs anew what was signed before a change of rate moved its start: an
    /// endpoint takes assertions for a time that may be as short as a minute.
    fn dated_anew(
        &self,
        start: &Start,
        (made, wait, is_under_run): (Made, Option<u64>, bool),
    ) -> (Made, Option<u64>, bool) {
        if made
            .due_ns
            .is_none_or(|due_ns| due_ns.abs_diff(start.due_ns) <= MOST_MISDATED)
        {
            return (made, wait, is_under_run);
        }
        let made = self.sign_anew(start);
        let wait = wait.unwrap_or_default() + made.signing_ns;
        (made, Some(wait), is_under_run)
    }

    /// Throws the assertion of a request away that is not to be sent.
    pub(super) async fn discard(&self, start: &Start) {
        // For a call that was to find a token nothing was signed.
        let is_signed_for = |caching: &Arc<Caching>| caching.forgets(start.index);
        if !self.caching.as_ref().is_none_or(is_signed_for) {
            return;
        }
        if self.source.now(|source| source.discard(start)).is_none() {
            self.source
                .later(async |source| source.discard(start))
                .await;
        }
    }

    /// Says how long to wait before attempt number `next`, if there is to be
    /// one.
    fn pause_before(&self, next: u32, reply: &Reply) -> Option<Duration> {
        self.retries.as_ref()?.pause_before(next, reply)
    }

    pub(super) fn record(&self, job: &Job, outcome: &Outcome, parts: &Parts) {
        self.live.has_ended(outcome);
        self.tally
            .borrow_mut()
            .record(job.start.due_ns, outcome, parts);
    }
}
