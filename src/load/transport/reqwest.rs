//! What does a normal client cost?
//!
//! The token client's own exchange, dressed as a transport. It pools its
//! connections itself, so that neither their parts nor the kernel's stamps can
//! be told.

use super::{Reply, Timings, Transport};
use crate::load::pacer::now_ns;
use crate::oauth::Form;
use crate::token::Exchange;

/// A transport over `reqwest`.
pub struct Reqwest {
    exchange: Exchange,
}

impl Reqwest {
    /// Makes a transport of an exchange, whose form every request has.
    #[must_use]
    pub fn new(exchange: Exchange) -> Self {
        Self { exchange }
    }
}

impl Transport for Reqwest {
    async fn exchange(&mut self, _form: &Form, assertion: &[u8]) -> Reply {
        let sent_ns = now_ns();
        let answer = self.exchange.send(assertion).await;
        Reply {
            outcome: answer.outcome,
            retry_after: answer.retry_after,
            timings: Timings {
                sent_ns,
                done_ns: now_ns(),
                ..Timings::default()
            },
        }
    }
}
