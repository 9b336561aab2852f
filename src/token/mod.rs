//! How does a program get a token, and keep it?
//!
//! [`App`] binds a credential to a provider; [`Exchange`] carries one
//! assertion to the endpoint and says how that ended; [`Client`] signs anew
//! for every attempt, learns the server's time and honours `Retry-After`;
//! [`Cache`] keeps a token per subject and lets one of many callers fetch it.
//!
//! A failing request is data here ([`Answer`]); only a client that has given
//! up returns an error.

pub mod app;
pub mod cache;
pub mod client;
pub mod exchange;

pub use self::app::{App, AppError};
pub use self::cache::Cache;
pub use self::client::{Client, FetchError, Retry};
pub use self::exchange::{Answer, Exchange, ExchangeError, Token};
