//! What is signed while signing is measured?
//!
//! Signing inputs of the size and shape of real assertions, all different,
//! built before the clock starts. They are not assertions that an endpoint
//! would honour.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::signer::Algorithm;

/// The size of usual claims, in bytes: six registered claims with an issuer
/// and subject of 32 characters, a URL as audience and a `jti` of 128 bits.
pub const USUAL_CLAIMS_BYTES: usize = 286;

/// Messages that are signed in turn.
///
/// Enough that no library could profit from seeing one again, few enough to
/// stay in the second-level cache.
const MESSAGES: usize = 64;

/// Builds signing inputs for `algorithm` whose claims have `claims_bytes`
/// bytes, or as few as the members need.
#[must_use]
pub fn signing_inputs(algorithm: Algorithm, claims_bytes: usize) -> Arc<[Vec<u8>]> {
    let header = format!(r#"{{"alg":"{algorithm}","kid":"1hz7xpgr","typ":"JWT"}}"#);
    (0..MESSAGES)
        .map(|number| {
            let claims = claims(number, claims_bytes);
            let mut message = URL_SAFE_NO_PAD.encode(&header);
            message.push('.');
            URL_SAFE_NO_PAD.encode_string(claims, &mut message);
            message.into_bytes()
        })
        .collect()
}

fn claims(number: usize, bytes: usize) -> String {
    let claims = |padding: &str| {
        format!(
            r#"{{"iss":"4zh7b5kq0m2f9xw1r8c6v3nj7p5t0y2a","sub":"{number:011}","aud":"https://auth.example.com/oauth2/token","jti":"{number:032x}","iat":1790000000,"exp":1790000045{padding}}}"#
        )
    };
    let bare = claims("").len();
    let frame = r#","pad":"""#.len();
    if bytes < bare + frame {
        return claims("");
    }
    let fill = "x".repeat(bytes - bare - frame);
    claims(&format!(r#","pad":"{fill}""#))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn claims_have_the_size_that_was_asked_for_and_all_differ() {
        for bytes in [USUAL_CLAIMS_BYTES, 1_024, 16_384] {
            let messages = signing_inputs(Algorithm::Rs256, bytes);
            let distinct: HashSet<_> = messages.iter().collect();
            assert_eq!(distinct.len(), MESSAGES);
            for message in messages.iter() {
                let text = str::from_utf8(message).unwrap();
                let (header, body) = text.split_once('.').unwrap();
                let body = URL_SAFE_NO_PAD.decode(body).unwrap();
                assert_eq!(body.len(), bytes);
                let header = URL_SAFE_NO_PAD.decode(header).unwrap();
                let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
                assert_eq!(header["alg"], "RS256");
                serde_json::from_slice::<serde_json::Value>(&body).unwrap();
            }
        }
    }

    #[test]
    fn no_claims_are_smaller_than_their_members() {
        let messages = signing_inputs(Algorithm::EdDsa, 1);
        let text = str::from_utf8(&messages[0]).unwrap();
        let body = URL_SAFE_NO_PAD
            .decode(text.split_once('.').unwrap().1)
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
}
