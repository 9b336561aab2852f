//! Did an endpoint become slower, under the same load?
//!
//! The load of a scenario is put on baseline and candidate in alternating
//! segments, ABBA or BAAB by the toss of a coin. The four segments of a quad
//! have the same arrivals, so that what these did cancels; each has a warm-up
//! that is not counted, and ends before the next begins. Judged are the median
//! and the 99th percentile of the response time, and the number of requests
//! that were answered, by bounds from slices ([`crate::stats::sliced`]).
//!
//! A quad in which the generator was at fault is set aside, both sides of it.
//! The baseline's segments are compared with each other as a control, and a
//! regression is measured again. How a segment comes about is the affair of
//! [`Segments`]: a load here, a simulated queue in tests.

mod endpoints;
mod judge;
mod record;
mod session;

#[cfg(test)]
mod simulated;

pub use self::endpoints::{EndpointError, Endpoints};
pub use self::judge::{Effects, LoadTolerance};
pub use self::record::{
    Figures, LoadAttempt, LoadResult, ObjectiveResult, Segment, SegmentRecord, SliceRecord,
};
pub use self::session::{LoadGate, Segments, compare};
