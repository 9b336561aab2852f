//! When is a failed request repeated, and what did its attempts come to?
//!
//! A load test counts failures; repeating them is part of what is simulated,
//! if the scenario asks for it. Each attempt is signed anew, since the endpoint
//! may have burnt the assertion. All attempts together are one request, charged
//! from its intended start.

use std::time::Duration;

use super::transport::Reply;
use crate::record::Outcome;

/// When a failed request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Attempts in all.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause; a server that asks for more ends the request.
    pub longest_pause: Duration,
    /// Is the server's `Retry-After` honoured?
    pub honours_retry_after: bool,
}

/// What the attempts of one request have come to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tried {
    pub attempts: u32,
    pub first_sent_ns: Option<u64>,
    pub signing_ns: u64,
    pub signing_wait_ns: Option<u64>,
    pub is_under_run: bool,
}

impl Retries {
    /// Says how long to wait before attempt number `next`, if there is to be
    /// one: after 429, 5xx and failures of the connection.
    pub(super) fn pause_before(&self, next: u32, reply: &Reply) -> Option<Duration> {
        if !is_worth_another(&reply.outcome) || next > self.attempts {
            return None;
        }
        let own = self.first_pause * 2_u32.saturating_pow(next.saturating_sub(2));
        let asked = reply
            .retry_after
            .filter(|_| self.honours_retry_after)
            .unwrap_or(own);
        (asked <= self.longest_pause).then_some(asked)
    }
}

/// May another attempt fare better?
pub(super) fn is_worth_another(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered
        | Outcome::Cached
        | Outcome::Joined
        | Outcome::Dropped
        | Outcome::Client
        | Outcome::Malformed
        | Outcome::TokenMissing => false,
        Outcome::OAuth { status, .. } | Outcome::Status(status) => *status == 429 || *status >= 500,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(outcome: Outcome, retry_after: Option<u64>) -> Reply {
        Reply {
            outcome,
            retry_after: retry_after.map(Duration::from_secs),
            ..Reply::of_client(0)
        }
    }

    #[test]
    fn pauses_double_and_the_server_may_ask_for_more() {
        let retries = Retries {
            attempts: 4,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            honours_retry_after: true,
        };
        let busy = || Outcome::Status(503);
        let own = |next| retries.pause_before(next, &reply(busy(), None));
        assert_eq!(own(2), Some(Duration::from_millis(100)));
        assert_eq!(own(3), Some(Duration::from_millis(200)));
        assert_eq!(own(4), Some(Duration::from_millis(400)));
        assert_eq!(own(5), None, "four attempts in all");
        let asked = |seconds| retries.pause_before(2, &reply(busy(), Some(seconds)));
        assert_eq!(asked(3), Some(Duration::from_secs(3)));
        assert_eq!(asked(6), None, "longer than anybody would wait");
        let deaf = Retries {
            honours_retry_after: false,
            ..retries
        };
        let unheard = deaf.pause_before(2, &reply(busy(), Some(3)));
        assert_eq!(unheard, Some(Duration::from_millis(100)));
    }

    #[test]
    fn what_another_attempt_cannot_mend_is_not_repeated() {
        for (outcome, is_repeated) in [
            (Outcome::Status(429), true),
            (Outcome::Status(400), false),
            (Outcome::Status(500), true),
            (Outcome::Reset, true),
            (Outcome::TimedOut, true),
            (Outcome::ConnectRefused, true),
            (Outcome::TokenMissing, false),
            (Outcome::Malformed, false),
        ] {
            assert_eq!(is_worth_another(&outcome), is_repeated, "{outcome}");
        }
    }
}
