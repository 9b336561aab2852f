//! What users hold becomes a key, or an error that says what to do.

mod configs;
mod containers;
mod fixtures;
mod hostile;
mod openssl;
mod secrecy;
