//! `mintmark gate-worker`: signs when a gate tells it to. People do not call it.

use std::io::{stdin, stdout};

use super::{Exit, Failure};
use crate::gate::worker;

pub(super) fn run() -> Result<Exit, Failure> {
    worker::serve(stdin().lock(), stdout().lock()).map_err(Failure::failed)?;
    Ok(Exit::Success)
}
