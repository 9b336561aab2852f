//! Why could a run not begin?

use crate::bench::BenchError;
use crate::broker::BrokerError;
use crate::broker::registry::RegistryError;
use crate::credential::generate::GenerateError;
use crate::credential::{ContainerError, CredentialError, FileError};
use crate::load::LoadError;
use crate::load::caller::CallerError;
use crate::load::open::OpenError;
use crate::oauth::ProfileError;
use crate::signer::LoadError as SignerError;
use crate::signer::registry::UnknownBackend;
use crate::token::AppError;

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The profile cannot be used.
    #[error("the provider's profile cannot be used")]
    BadProfile(#[from] ProfileError),
    /// No key pair could be made.
    #[error("no app could be made")]
    Generate(#[from] GenerateError),
    /// The credential cannot be read.
    #[error("the credential cannot be used")]
    Credential(#[from] CredentialError),
    /// The key cannot be opened.
    #[error("the key cannot be opened")]
    Key(#[from] ContainerError),
    /// A generated app cannot be written.
    #[error("the generated app cannot be written")]
    WriteApp(#[source] FileError),
    /// The broker's certificate cannot be written.
    #[error("the broker's certificate cannot be written")]
    WriteCertificate(#[source] std::io::Error),
    /// Several apps, and none of them.
    #[error("there is no app, expected at least one credentials.app")]
    NoApp,
    /// The embedded broker does not take a replaced key.
    #[error("a key could not be replaced at the embedded broker")]
    Registry(#[from] RegistryError),
    /// The broker did not start.
    #[error("the embedded broker did not start")]
    Broker(#[from] BrokerError),
    /// The scenario names a backend that there is not.
    #[error("the backend cannot be used")]
    Backend(#[from] UnknownBackend),
    /// The backend refuses the key.
    #[error("the backend cannot sign with this key")]
    Signer(#[from] SignerError),
    /// The backends could not be compared.
    #[error("the backends could not be compared")]
    Bench(#[from] BenchError),
    /// The app and the provider do not fit.
    #[error("the app and the provider do not fit")]
    App(#[from] AppError),
    /// The mint's threads could not be started.
    #[error("cannot start the mint's threads")]
    Mint(#[source] std::io::Error),
    /// The load could not begin.
    #[error("the load could not begin")]
    Load(#[from] LoadError),
    /// The workers' tokens could not be kept.
    #[error("the workers' tokens cannot be kept")]
    Keep(#[from] CallerError),
    /// The load at a given rate could not begin.
    #[error("the load could not begin")]
    Open(#[from] OpenError),
    /// The scenario has no rate.
    #[error("the scenario is of the closed model, expected load.open")]
    Closed,
    /// A file of the load cannot be read.
    #[error("the load cannot be laid out")]
    Scenario(#[from] super::ScenarioError),
    /// The key has no public half to register.
    #[error("the key does not carry its public half, expected an RSA key")]
    NoPublicKey,
    /// The thread that replaces keys could not be started.
    #[error("cannot start the thread that replaces keys")]
    Rotate(#[source] std::io::Error),
    /// A thread died, which is a defect of this program.
    #[error("the thread that replaces keys panicked; please report it with the scenario")]
    RotationPanic,
    /// The plan could not be encoded.
    #[error("the record could not be encoded")]
    Encode(#[source] serde_json::Error),
}
