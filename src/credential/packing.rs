//! How does a credential become bytes, and bytes a credential?
//!
//! For a machine that is not to have the file: what a file said, and the passphrase
//! that was found elsewhere, in one buffer that is zeroized. The key stays in
//! its container. Nothing here encrypts: whoever packs a credential answers for
//! where the bytes go.

use zeroize::Zeroizing;

use super::container::ContainerError;
use super::sealed::SealedKey;
use super::secret::Secret;
use super::{Credential, MAX_FILE_BYTES};

/// Why bytes are no credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackingError {
    /// They end too early, go on too long, or are no text where one is due.
    #[error("the bytes are no credentials, expected what this version packs")]
    Garbled,
    /// A key in them is of no container that is known.
    #[error("a key among the credentials cannot be used")]
    Key(#[from] ContainerError),
}

/// Packs credentials, with their passphrases and secrets in clear.
#[must_use]
pub fn pack(credentials: &[Credential]) -> Zeroizing<Vec<u8>> {
    let fields = || credentials.iter().flat_map(fields_of);
    // A buffer that need not grow leaves no copies behind.
    let length = fields().map(|field| 4 + field.map_or(0, <[u8]>::len)).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    for field in fields() {
        // The length of a field plus one; zero stands for none.
        let length = field.map_or(0, |field| field.len() + 1);
        let length = u32::try_from(length).expect("files of keys are limited to 1 MiB");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field.unwrap_or_default());
    }
    bytes
}

/// Reads what [`pack`] wrote.
///
/// # Errors
///
/// The bytes are something else.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Credential>, PackingError> {
    let mut rest = Fields(bytes);
    let mut credentials = Vec::new();
    while !rest.0.is_empty() {
        let client_id = rest.text()?.ok_or(PackingError::Garbled)?;
        let client_secret = rest.text()?.map(Secret::new);
        let (key_id, enterprise_id) = (rest.text()?, rest.text()?);
        let (user_id, token_url) = (rest.text()?, rest.text()?);
        let passphrase = rest.text()?.map(Secret::new);
        let key = rest.field()?.ok_or(PackingError::Garbled)?;
        credentials.push(Credential {
            client_id,
            client_secret,
            key_id,
            enterprise_id,
            user_id,
            token_url,
            key: SealedKey::new(Zeroizing::new(key.to_vec()), passphrase)?,
        });
    }
    Ok(credentials)
}

fn fields_of(credential: &Credential) -> [Option<&[u8]>; 8] {
    let texts = [
        Some(&credential.client_id[..]),
        credential.client_secret.as_ref().map(Secret::expose),
        credential.key_id.as_deref(),
        credential.enterprise_id.as_deref(),
        credential.user_id.as_deref(),
        credential.token_url.as_deref(),
        credential.key.passphrase().map(Secret::expose),
    ];
    let [client, secret, key_id, enterprise, user, url, passphrase] =
        texts.map(|text| text.map(str::as_bytes));
    let key = Some(credential.key.bytes());
    [
        client, secret, key_id, enterprise, user, url, passphrase, key,
    ]
}

/// The fields that were not read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Option<&'a [u8]>, PackingError> {
        let (length, rest) = self.0.split_first_chunk().ok_or(PackingError::Garbled)?;
        let Some(length) = u32::from_be_bytes(*length).checked_sub(1) else {
            self.0 = rest;
            return Ok(None);
        };
        if u64::from(length) > MAX_FILE_BYTES {
            return Err(PackingError::Garbled);
        }
        let field = rest.split_at_checked(length as usize);
        let (field, rest) = field.ok_or(PackingError::Garbled)?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn text(&mut self) -> Result<Option<String>, PackingError> {
        let field = self.field()?.map(str::from_utf8).transpose();
        let field = field.map_err(|_| PackingError::Garbled)?;
        Ok(field.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Sealing;
    use crate::credential::generate::{self, RsaBits};

    #[test]
    fn credentials_come_back_as_they_were_and_open() {
        let bits = RsaBits::try_from(2048).unwrap();
        let mut first = generate::app_config(bits, Some(Sealing::CONSOLE)).unwrap();
        first.user_id = None;
        let first = first.credential().unwrap();
        let mut second = generate::app_config(bits, None)
            .unwrap()
            .credential()
            .unwrap();
        second.client_secret = None;
        second.token_url = Some(String::new());
        let packed = pack(&[first.clone(), second.clone()]);
        let back = unpack(&packed).unwrap();
        assert_eq!(back.len(), 2);
        for (back, was) in back.iter().zip([&first, &second]) {
            assert_eq!(fields_of(back), fields_of(was));
            let spki = |credential: &Credential| {
                let key = credential.key.open().unwrap();
                key.public_key().unwrap().fingerprint()
            };
            assert_eq!(spki(back), spki(was));
        }
        assert!(unpack(&packed[..packed.len() - 1]).is_err());
        assert!(unpack(&[&packed[..], &[0, 0, 0, 9]].concat()).is_err());
        assert!(unpack(&u32::MAX.to_be_bytes()).is_err());
    }
}
