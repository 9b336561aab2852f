//! Which signatures are measured, as flags: every combination of the lists.

use clap::Args;

use crate::bench::{KeyPolicy, USUAL_CLAIMS_BYTES};
use crate::signer::Algorithm;

/// The lists of a matrix of cases.
#[derive(Debug, Args)]
pub(super) struct MatrixFlags {
    /// The signature algorithms.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "RS256"
    )]
    pub(super) algorithms: Vec<Algorithm>,

    /// The sizes of RSA keys: those of the keys that are given, or 2048.
    #[arg(long, value_name = "BITS", value_delimiter = ',')]
    pub(super) bits: Vec<usize>,

    /// The numbers of threads that share a key object.
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1"
    )]
    pub(super) threads: Vec<usize>,

    /// What is done about the key for each signature: reused, parsed-per-call,
    /// decrypted-per-call.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "reused"
    )]
    pub(super) key_policies: Vec<KeyPolicy>,

    /// The sizes of the claims, in bytes.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [USUAL_CLAIMS_BYTES])]
    pub(super) claims_bytes: Vec<usize>,
}
