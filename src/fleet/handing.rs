//! How do credentials get from the coordinator's machine to agents that have none?
//!
//! Only if the user asks for it and names the agents: what the scenario's files
//! hold is sealed for each of them and for this run alone, and laid down before the
//! run is. An agent opens it into memory and never writes it. The sealed entries
//! are purged as soon as all agents have joined or the run is given up.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::agent::wait_for;
use super::bus::{Bus, PATIENCE};
use super::identity::{Identity, IdentityError, Recipient};
use super::message::{PROTOCOL, Sealed, Spec, to_json};
use super::{FleetError, key};
use crate::credential::{Credential, pack, unpack};
use crate::scenario::runner::hex_of;

/// The most bytes of credentials: sealed and in base64 they fit into a message.
const MOST_BYTES: usize = 700 << 10;

/// Seals credentials for each agent that the run names, and lays them down.
pub(super) async fn hand_out(
    bus: &Bus,
    spec: &Spec,
    recipients: &[Recipient],
    credentials: &[Credential],
) -> Result<(), FleetError> {
    let packed = pack(credentials);
    if packed.len() > MOST_BYTES {
        return Err(FleetError::TooLarge {
            bytes: packed.len(),
            most: MOST_BYTES,
        });
    }
    let context = context(bus, spec);
    for recipient in recipients {
        let sealed = Sealed {
            protocol: PROTOCOL,
            sealed: URL_SAFE_NO_PAD.encode(recipient.seal(&context, &packed)?),
        };
        let key = key::sealed(&spec.run, &recipient.to_string());
        bus.put(&key, &sealed).await?;
    }
    Ok(())
}

/// Purges what [`hand_out`] laid down, for this run and earlier ones: whoever was
/// killed may not even have said for whom.
pub(super) async fn withdraw(bus: &Bus) -> Result<(), FleetError> {
    Ok(bus.remove(key::ALL_SEALED).await?)
}

/// Takes what is meant for this agent; nothing if the run sends no keys.
pub(super) async fn receive(
    bus: &Bus,
    identity: Option<&Identity>,
    spec: &Spec,
    stop: &AtomicBool,
) -> Result<Vec<Credential>, FleetError> {
    if spec.recipients.is_empty() {
        return Ok(Vec::new());
    }
    let own = identity.map(|identity| (identity, identity.recipient().to_string()));
    let Some((identity, recipient)) = own.filter(|(_, own)| spec.recipients.contains(own)) else {
        return Err(FleetError::NotNamed {
            named: spec.recipients.len(),
        });
    };
    let key = key::sealed(&spec.run, &recipient);
    let until = Instant::now() + PATIENCE;
    let sealed: Sealed = wait_for(bus, &key, until, stop, |_| true)
        .await?
        .ok_or(FleetError::Withdrawn)?;
    let sealed = URL_SAFE_NO_PAD.decode(&sealed.sealed);
    let sealed = sealed.map_err(|_| IdentityError::Closed)?;
    let packed = identity.open(&context(bus, spec), &sealed)?;
    Ok(unpack(&packed)?)
}

/// Names a run among those of all fleets, with all that was laid down for it: keys
/// do not open for a run whose endpoint was changed on the way.
fn context(bus: &Bus, spec: &Spec) -> String {
    let digest = hex_of(&Sha256::digest(to_json(spec)));
    format!("{}/{}/{digest}", bus.fleet, spec.run)
}
