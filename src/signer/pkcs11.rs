//! The `pkcs11` backend: any token or HSM that has a PKCS#11 module.
//!
//! The module is loaded at run time and named by the environment, as are the
//! token, the PIN and the key. The key is found in the token by its label or
//! its modulus; only if that is allowed is it copied into the token, for this
//! session. A session serves one thread at a time, so that there is a pool of
//! them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use parking_lot::Mutex;

use super::pool::Pool;
use super::registry::locked_version;
use super::{
    Algorithm, Backend, Facts, LoadError, PrivateKey, SignError, Signer, check_buffer, check_kind,
};

const NAME: &str = "pkcs11";

/// The path of the module, a shared library.
const MODULE: &str = "MINTMARK_PKCS11_MODULE";
/// The label of the token; the first token if it is not set.
const TOKEN: &str = "MINTMARK_PKCS11_TOKEN";
/// The number of the slot, instead of the token's label.
const SLOT: &str = "MINTMARK_PKCS11_SLOT";
/// The user's PIN.
const PIN: &str = "MINTMARK_PKCS11_PIN";
/// The file whose first line is the user's PIN.
const PIN_FILE: &str = "MINTMARK_PKCS11_PIN_FILE";
/// The label of the private key; its modulus if it is not set.
const KEY: &str = "MINTMARK_PKCS11_KEY";
/// `1` allows to copy the key into the token for this session.
const IMPORT: &str = "MINTMARK_PKCS11_IMPORT";

pub(super) struct Token;

impl Backend for Token {
    fn facts(&self) -> Facts {
        let module = Config::from_env()
            .and_then(|config| open(&config.module).map(|context| (config, context)))
            .ok()
            .and_then(|(_, context)| context.get_library_info().ok())
            .map(|info| {
                format!(
                    "{} ({}) {}.{}",
                    info.manufacturer_id(),
                    info.library_description(),
                    info.library_version().major(),
                    info.library_version().minor()
                )
            });
        Facts {
            name: NAME.into(),
            library: module.map_or_else(
                || "cryptoki over a PKCS#11 module".into(),
                |module| format!("cryptoki over {module}"),
            ),
            version: locked_version("cryptoki").into(),
            licence: "Apache-2.0; the module has its own".into(),
            linkage: "module loaded at run time".into(),
            blinding: "the module's affair".into(),
            fault_check: "the module's affair".into(),
            algorithms: Algorithm::ALL
                .into_iter()
                .filter(|algorithm| mechanism(*algorithm).is_some())
                .collect(),
            caveats: vec![
                "one session for each thread that signs at once".into(),
                "cpu_features are the module's and not known here".into(),
            ],
            ..Facts::default()
        }
    }

    fn unavailable(&self) -> Option<String> {
        Config::from_env()
            .and_then(|config| {
                let context = open(&config.module)?;
                config.slot_of(&context).map(drop)
            })
            .err()
    }

    fn load(&self, key: &PrivateKey, algorithm: Algorithm) -> Result<Arc<dyn Signer>, LoadError> {
        check_kind(key, algorithm)?;
        let mechanism = mechanism(algorithm).ok_or(LoadError::Algorithm {
            backend: NAME,
            algorithm,
        })?;
        let unavailable = |reason| LoadError::Unavailable {
            backend: NAME,
            reason,
        };
        let config = Config::from_env().map_err(unavailable)?;
        let context = open(&config.module).map_err(unavailable)?;
        let slot = config.slot_of(&context).map_err(unavailable)?;
        let mechanisms = context
            .get_mechanism_list(slot)
            .map_err(|error| unavailable(error.to_string()))?;
        if !mechanisms.contains(&mechanism.mechanism_type()) {
            return Err(LoadError::Algorithm {
                backend: NAME,
                algorithm,
            });
        }
        let anchor = config.log_in(&context, slot).map_err(unavailable)?;
        let object = find(&anchor, key, &config).map_err(|reason| LoadError::Key {
            backend: NAME,
            reason,
        })?;
        Ok(Arc::new(TokenSigner {
            sessions: Pool::new(),
            object,
            algorithm,
            context,
            slot,
            len: key.bits().div_ceil(8),
            _anchor: Mutex::new(anchor),
        }))
    }
}

/// Returns the mechanism that hashes, pads and signs in one step.
///
/// It is made anew for each signature: the type holds pointers for other
/// mechanisms and does not cross threads.
fn mechanism(algorithm: Algorithm) -> Option<Mechanism<'static>> {
    let pss = |hash_alg, mgf, len| PkcsPssParams {
        hash_alg,
        mgf,
        s_len: Ulong::new(len),
    };
    Some(match algorithm {
        Algorithm::Rs256 => Mechanism::Sha256RsaPkcs,
        Algorithm::Rs384 => Mechanism::Sha384RsaPkcs,
        Algorithm::Rs512 => Mechanism::Sha512RsaPkcs,
        Algorithm::Ps256 => {
            Mechanism::Sha256RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32))
        }
        Algorithm::Ps384 => {
            Mechanism::Sha384RsaPkcsPss(pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48))
        }
        Algorithm::Ps512 => {
            Mechanism::Sha512RsaPkcsPss(pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64))
        }
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => return None,
    })
}

/// What the environment says about the token.
struct Config {
    module: PathBuf,
    token: Option<String>,
    slot: Option<u64>,
    pin: Option<AuthPin>,
    key: Option<String>,
    may_import: bool,
}

impl Config {
    fn from_env() -> Result<Self, String> {
        Self::from(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let module = variable(MODULE)
            .ok_or_else(|| format!("set {MODULE} to the path of a PKCS#11 module"))?;
        let slot = variable(SLOT)
            .map(|text| {
                text.parse()
                    .map_err(|_| format!("{SLOT} is {text:?}, expected a number"))
            })
            .transpose()?;
        let pin = match (variable(PIN), variable(PIN_FILE)) {
            (Some(_), Some(_)) => return Err(format!("set one of {PIN} and {PIN_FILE}")),
            (Some(pin), None) => Some(pin),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("cannot read {PIN_FILE} {path:?}: {error}"))?;
                let pin = text.lines().next().unwrap_or_default().to_owned();
                drop(zeroize::Zeroizing::new(text));
                Some(pin)
            }
            (None, None) => None,
        };
        let may_import = match variable(IMPORT).as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => return Err(format!("{IMPORT} is {other:?}, expected 0 or 1")),
        };
        Ok(Self {
            module: module.into(),
            token: variable(TOKEN),
            slot,
            pin: pin.map(|pin| AuthPin::new(pin.into_boxed_str())),
            key: variable(KEY),
            may_import,
        })
    }

    fn slot_of(&self, context: &Pkcs11) -> Result<Slot, String> {
        let slots = context
            .get_slots_with_initialized_token()
            .map_err(|error| error.to_string())?;
        if let Some(number) = self.slot {
            return slots
                .into_iter()
                .find(|slot| slot.id() == number)
                .ok_or_else(|| format!("slot {number} has no initialised token"));
        }
        let Some(wanted) = &self.token else {
            return slots
                .into_iter()
                .next()
                .ok_or_else(|| "the module has no initialised token".into());
        };
        slots
            .into_iter()
            .find(|slot| {
                context
                    .get_token_info(*slot)
                    .is_ok_and(|info| info.label() == wanted)
            })
            .ok_or_else(|| format!("the module has no token labelled {wanted:?}"))
    }

    /// Opens the session that keeps the login, and imported keys, alive.
    fn log_in(&self, context: &Pkcs11, slot: Slot) -> Result<Session, String> {
        let told = |error: Error| error.to_string();
        let session = if self.may_import {
            context.open_rw_session(slot)
        } else {
            context.open_ro_session(slot)
        }
        .map_err(told)?;
        let Some(pin) = &self.pin else {
            return Ok(session);
        };
        match session.login(UserType::User, Some(pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(format!("cannot log in with the PIN: {error}")),
        }
    }
}

/// Loads and initialises a module, once for each path: a process must not
/// initialise it twice.
fn open(module: &Path) -> Result<Pkcs11, String> {
    static OPEN: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock();
    if let Some((_, context)) = open.iter().find(|(path, _)| path == module) {
        return Ok(context.clone());
    }
    let told = |error: Error| format!("cannot load {}: {error}", module.display());
    let context = Pkcs11::new(module).map_err(told)?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(told(error)),
    }
    open.push((module.to_owned(), context.clone()));
    Ok(context)
}

/// Finds the key in the token, or copies it there if that is allowed.
fn find(session: &Session, key: &PrivateKey, config: &Config) -> Result<ObjectHandle, String> {
    let told = |error: Error| error.to_string();
    let parts = key
        .rsa_components()
        .ok_or("only RSA keys are looked for in a token")?;
    let modulus = parts.modulus.as_bytes();
    let mut wanted = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
    ];
    wanted.push(match &config.key {
        Some(label) => Attribute::Label(label.clone().into_bytes()),
        None => Attribute::Modulus(modulus.to_vec()),
    });
    let found = session.find_objects(&wanted).map_err(told)?;
    if let Some(object) = found.first() {
        let attributes = session
            .get_attributes(*object, &[AttributeType::Modulus])
            .map_err(told)?;
        return match attributes.first() {
            Some(Attribute::Modulus(theirs)) if theirs != modulus => Err(format!(
                "the token's key labelled {:?} is another key",
                config.key.as_deref().unwrap_or_default()
            )),
            _ => Ok(*object),
        };
    }
    if let Some(label) = &config.key {
        return Err(format!("the token has no RSA key labelled {label:?}"));
    }
    if !config.may_import {
        return Err(format!(
            "the token does not hold it; set {KEY} to the label of one, or {IMPORT}=1 to copy it in for this session"
        ));
    }
    if key.is_multi_prime() {
        return Err("PKCS#11 has no attributes for a key with three primes".into());
    }
    session
        .create_object(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(false),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Modulus(modulus.to_vec()),
            Attribute::PublicExponent(parts.public_exponent.as_bytes().to_vec()),
            Attribute::PrivateExponent(parts.private_exponent.as_bytes().to_vec()),
            Attribute::Prime1(parts.prime1.as_bytes().to_vec()),
            Attribute::Prime2(parts.prime2.as_bytes().to_vec()),
            Attribute::Exponent1(parts.exponent1.as_bytes().to_vec()),
            Attribute::Exponent2(parts.exponent2.as_bytes().to_vec()),
            Attribute::Coefficient(parts.coefficient.as_bytes().to_vec()),
        ])
        .map_err(|error| format!("the token does not take it: {error}"))
}

struct TokenSigner {
    // Sessions are closed before the one that keeps the login.
    sessions: Pool<Session>,
    object: ObjectHandle,
    algorithm: Algorithm,
    context: Pkcs11,
    slot: Slot,
    len: usize,
    _anchor: Mutex<Session>,
}

impl Signer for TokenSigner {
    fn signature_len(&self) -> usize {
        self.len
    }

    fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<(), SignError> {
        check_buffer(signature, self.len)?;
        let failed = SignError::Backend { backend: NAME };
        let Some(mechanism) = mechanism(self.algorithm) else {
            return Err(failed);
        };
        let made = self
            .sessions
            .with(
                || self.context.open_ro_session(self.slot),
                |session| session.sign(&mechanism, self.object, message),
            )
            .map_err(|_| failed)?;
        check_buffer(&made, self.len)?;
        signature.copy_from_slice(&made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(set: &[(&str, &str)]) -> Result<Config, String> {
        Config::from(|name| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_module_is_what_makes_it_available() {
        let reason = config(&[]).err().unwrap();
        assert!(reason.contains(MODULE), "{reason}");
        let config = config(&[(MODULE, "/nowhere.so"), (TOKEN, "t"), (KEY, "k")])
            .ok()
            .unwrap();
        assert_eq!(config.module, Path::new("/nowhere.so"));
        assert!(!config.may_import && config.pin.is_none());
        assert!(open(&config.module).unwrap_err().contains("/nowhere.so"));
    }

    #[test]
    fn a_value_that_is_no_value_is_named() {
        let set = |name, value| config(&[(MODULE, "m"), (name, value)]).err().unwrap();
        assert!(set(SLOT, "first").contains("\"first\""));
        assert!(set(IMPORT, "yes").contains("\"yes\""));
        assert!(set(PIN_FILE, "/nowhere/pin").contains("/nowhere/pin"));
        let both = config(&[(MODULE, "m"), (PIN, "1"), (PIN_FILE, "p")]);
        assert!(both.err().unwrap().contains(PIN_FILE));
    }
}
