//! What is an access token that anybody can verify?
//!
//! A JWT under a key of the broker's own, as RFC 9068 describes it, whose
//! public half is at `/oauth2/jwks`. The key lives as long as the broker.
//! Signing costs the broker more than everything else it does for a request,
//! so this is a switch and not the default; narrowed tokens stay opaque, as
//! the provider's are.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pkcs1::RsaPublicKeyRef;
use pkcs1::der::Decode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::terms::Scopes;
use super::token::{Grant, Subject, SubjectKind, TokenId, Wish};
use crate::credential::generate::{self, RsaBits};
use crate::signer::PrivateKey;

/// Signs and verifies access tokens.
pub(super) struct SignedTokens {
    pair: RsaKeyPair,
    public: ParsedPublicKey,
    header: String,
    issuer: String,
    key_set: String,
}

/// The claims of RFC 9068 §2.2, and what the broker adds for itself.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    exp: u64,
    aud: String,
    sub: String,
    client_id: String,
    iat: u64,
    jti: String,
    scope: String,
    box_sub_type: String,
    /// The app's number, under a name that cannot collide.
    mintmark_app: u32,
    mintmark_as_user: bool,
}

impl SignedTokens {
    /// Generates a key, which takes up to some tenths of a second.
    pub(super) fn new(issuer: &str) -> Result<Self, Unspecified> {
        let pkcs8 = generate::rsa_key(RsaBits::B2048).map_err(|_| Unspecified)?;
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).map_err(|_| Unspecified)?;
        let key = PrivateKey::from_pkcs8_der(&pkcs8).map_err(|_| Unspecified)?;
        let key = key.public_key().ok_or(Unspecified)?;
        let parts = RsaPublicKeyRef::from_der(key.inner()).map_err(|_| Unspecified)?;
        let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.inner())
            .map_err(|_| Unspecified)?;
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let kid = encode(&key.fingerprint()[..12]);
        let key_set = json!({"keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": kid,
            "n": encode(parts.modulus.as_bytes()),
            "e": encode(parts.public_exponent.as_bytes()),
        }]});
        let header = json!({"typ": "at+jwt", "alg": "RS256", "kid": kid});
        Ok(Self {
            pair,
            public,
            header: encode(header.to_string().as_bytes()),
            issuer: issuer.to_owned(),
            key_set: key_set.to_string(),
        })
    }

    /// Returns the public key as a JWK Set (RFC 7517 §5).
    pub(super) fn key_set(&self) -> &str {
        &self.key_set
    }

    pub(super) fn sign(
        &self,
        wish: &Wish<'_>,
        id: &TokenId,
        now: u64,
        expires_at: u64,
    ) -> Result<String, Unspecified> {
        let claims = Claims {
            iss: self.issuer.clone(),
            exp: expires_at,
            aud: self.audience(),
            sub: wish.subject.to_owned(),
            client_id: wish.client_id.to_owned(),
            iat: now,
            jti: URL_SAFE_NO_PAD.encode(id),
            scope: wish.scopes.to_string(),
            box_sub_type: match wish.kind {
                SubjectKind::Enterprise => "enterprise",
                SubjectKind::User => "user",
            }
            .to_owned(),
            mintmark_app: wish.app,
            mintmark_as_user: wish.as_user,
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| Unspecified)?;
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            token.as_bytes(),
            &mut signature,
        )?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Reads a token of this broker, whether it has expired or not.
    ///
    /// The header has to be the broker's own, byte for byte: nothing in it
    /// is ever interpreted.
    pub(super) fn verify(&self, token: &str) -> Option<Grant> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if header != self.header {
            return None;
        }
        self.public.verify_sig(signed.as_bytes(), &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        if claims.iss != self.issuer || claims.aud != self.audience() {
            return None;
        }
        let id = URL_SAFE_NO_PAD.decode(&claims.jti).ok()?;
        let id = TokenId::try_from(id.as_slice()).ok()?;
        Some(Grant {
            app: claims.mintmark_app,
            subject: match claims.box_sub_type.as_str() {
                "enterprise" => Subject::Enterprise(claims.sub),
                _ => Subject::User(claims.sub),
            },
            scopes: claims.scope.parse::<Scopes>().ok()?,
            as_user: claims.mintmark_as_user,
            resource: None,
            actor: None,
            id,
            root: id,
            expires_at: claims.exp,
        })
    }

    /// The resource server: the part of the broker that takes tokens.
    fn audience(&self) -> String {
        format!("{}/2.0", self.issuer)
    }
}
