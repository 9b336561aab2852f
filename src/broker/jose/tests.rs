//! What the strict reader lets through, and what it does not.

use proptest::prelude::*;

use super::*;

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.c2ln", encode(header), encode(claims))
}

fn header_of(json: &str) -> Result<(String, Option<String>), Malformed> {
    let token = token(json, "{}");
    let mut buffer = [0; MAX_HEADER];
    let header = Compact::split(&token)?.header(&mut buffer)?;
    Ok((header.alg.into_owned(), header.kid.map(Cow::into_owned)))
}

/// Reads claims and hands them to `check`.
fn with_claims(json: &str, check: impl FnOnce(Claims<'_>)) {
    let token = token("{}", json);
    let mut buffer = [0; MAX_CLAIMS];
    check(Compact::split(&token).unwrap().claims(&mut buffer).unwrap());
}

fn read_all(text: &str) -> Result<(), Malformed> {
    let compact = Compact::split(text)?;
    compact.header(&mut [0; MAX_HEADER])?;
    compact.claims(&mut [0; MAX_CLAIMS])?;
    compact.signature(&mut [0; MAX_SIGNATURE])?;
    Ok(())
}

#[test]
fn the_parts_are_what_was_signed_and_what_signs_it() {
    let text = token(r#"{"alg":"RS256","kid":"k"}"#, r#"{"iss":"a"}"#);
    let compact = Compact::split(&text).unwrap();
    let (signed, _) = text.rsplit_once('.').unwrap();
    assert_eq!(compact.signing_input(), signed.as_bytes());
    assert_eq!(compact.signature(&mut [0; MAX_SIGNATURE]).unwrap(), b"sig");
    assert_eq!(read_all(&text), Ok(()));
}

#[test]
fn there_are_exactly_three_parts() {
    for text in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a..c",
        ".b.c",
        "a.b.",
        "a.b.c.",
        "a.b.c.d",
        "a.b.c.d.e",
        ".a.b.c",
    ] {
        assert_eq!(
            Compact::split(text).unwrap_err(),
            Malformed::Parts,
            "{text:?}"
        );
    }
}

#[test]
fn sizes_are_capped_before_anything_is_decoded() {
    let cap = |header: usize, claims: usize, signature: usize| {
        let part = |bytes: usize| encode(vec![b' '; bytes]);
        Compact::split(&format!(
            "{}.{}.{}",
            part(header),
            part(claims),
            part(signature)
        ))
        .map(|_| ())
    };
    assert_eq!(cap(MAX_HEADER, MAX_CLAIMS, 512), Ok(()));
    assert_eq!(cap(1, 1, MAX_SIGNATURE), Ok(()));
    assert_eq!(
        cap(MAX_HEADER, MAX_CLAIMS, MAX_SIGNATURE),
        Err(Malformed::Size),
        "not all of them at once"
    );
    assert_eq!(cap(MAX_HEADER + 1, 1, 1), Err(Malformed::Size));
    assert_eq!(cap(1, MAX_CLAIMS + 1, 1), Err(Malformed::Size));
    assert_eq!(cap(1, 1, MAX_SIGNATURE + 1), Err(Malformed::Size));
    assert_eq!(
        Compact::split(&".".repeat(MAX_TOKEN + 1)).unwrap_err(),
        Malformed::Size
    );
    assert_eq!(
        Compact::split(&"a".repeat(1 << 20)).unwrap_err(),
        Malformed::Size
    );
}

#[test]
fn parts_of_the_largest_size_are_read() {
    let pad = |json: &str, len: usize| format!("{json}{}", " ".repeat(len - json.len()));
    let text = format!(
        "{}.{}.{}",
        encode(pad(r#"{"alg":"RS256"}"#, MAX_HEADER)),
        encode(pad(r#"{"iss":"a"}"#, MAX_CLAIMS)),
        encode([7; 512])
    );
    assert_eq!(read_all(&text), Ok(()));
    let text = format!(
        "{}.e30.{}",
        encode(r#"{"alg":"RS256"}"#),
        encode([7; MAX_SIGNATURE])
    );
    assert_eq!(read_all(&text), Ok(()));
}

#[test]
fn only_canonical_base64url_is_decoded() {
    let good = token(r#"{"alg":"RS256"}"#, "{}");
    let (header, rest) = good.split_once('.').unwrap();
    for bad in [
        format!("{header}=.{rest}"),
        format!("{header}==.{rest}"),
        format!(" {header}.{rest}"),
        format!("{header}\n.{rest}"),
        format!("{header}A.{rest}"),
        // "e31" decodes to "{}" with bits left over.
        format!("{header}.e31.c2ln"),
        format!("{header}.e3+.c2ln"),
        format!("{header}.e30=.c2ln"),
        format!("{header}.e30.c2l"),
        format!("{header}.e30.c2ln="),
        format!("{header}.e30.c2ln\0"),
        format!("{header}.e30.c2l/"),
        format!("{header}.é30.c2ln"),
    ] {
        assert!(
            matches!(read_all(&bad), Err(Malformed::Encoding | Malformed::Json)),
            "{bad:?} gave {:?}",
            read_all(&bad)
        );
    }
}

#[test]
fn a_header_needs_an_algorithm_only() {
    assert_eq!(
        header_of(r#"{"alg":"RS256"}"#),
        Ok(("RS256".into(), None)),
        "the current Node SDK"
    );
    assert_eq!(
        header_of(r#"{"typ":"JWT","alg":"RS512","kid":"a1.B_2-c"}"#),
        Ok(("RS512".into(), Some("a1.B_2-c".into())))
    );
    assert_eq!(header_of("{}"), Err(Malformed::Algorithm));
    assert_eq!(header_of(r#"{"alg":256}"#), Err(Malformed::Algorithm));
    assert_eq!(header_of(r#"{"alg":null}"#), Err(Malformed::Algorithm));
    assert_eq!(header_of(r#"{"alg":["RS256"]}"#), Err(Malformed::Algorithm));
}

#[test]
fn header_members_that_change_the_meaning_are_refused() {
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""jku":"https://evil.example/keys""#,
        r#""jwk":{"kty":"RSA","n":"AQ","e":"AQAB"}"#,
        r#""x5u":"https://evil.example/cert""#,
        r#""x5c":["MIIB"]"#,
        r#""x5t":"AA""#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""epk":{}"#,
        r#""nonce":"1""#,
        r#""Alg":"RS256""#,
        r#""":1"#,
    ] {
        assert_eq!(
            header_of(&format!("{{\"alg\":\"RS256\",{member}}}")),
            Err(Malformed::HeaderMember),
            "{member}"
        );
    }
}

#[test]
fn other_kinds_of_token_are_refused() {
    for typ in ["JWT", "jwt"] {
        assert!(header_of(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#)).is_ok());
    }
    for member in [
        r#""typ":"at+jwt""#,
        r#""typ":"JWE""#,
        r#""typ":"""#,
        r#""typ":null"#,
        r#""typ":["JWT"]"#,
        r#""cty":"JWT""#,
        r#""cty":1"#,
    ] {
        assert_eq!(
            header_of(&format!("{{\"alg\":\"RS256\",{member}}}")),
            Err(Malformed::Type),
            "{member}"
        );
    }
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let long = "k".repeat(MAX_KEY_ID + 1);
    let huge = "k".repeat(900);
    for kid in [
        "",
        "../../dev/null",
        "' OR 1=1 --",
        "a\\u0000b",
        "a b",
        "k\u{e9}y",
        "|id",
        long.as_str(),
        huge.as_str(),
    ] {
        assert_eq!(
            header_of(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#)),
            Err(Malformed::KeyId),
            "{kid:?}"
        );
    }
    assert_eq!(
        header_of(r#"{"alg":"RS256","kid":7}"#),
        Err(Malformed::KeyId)
    );
    assert!(header_of(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, &long[1..])).is_ok());
}

#[test]
fn ambiguous_headers_and_claims_are_refused() {
    for json in [
        r#"{"alg":"RS256","alg":"none"}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256"} {}"#,
        r#"["RS256"]"#,
        "\u{feff}{\"alg\":\"RS256\"}",
    ] {
        assert_eq!(header_of(json), Err(Malformed::Json), "{json}");
    }
    for json in [
        r#"{"iss":"a","iss":"b"}"#,
        r#"{"jti":"a","jti":"a"}"#,
        r#"{"x":{"y":1,"y":2}}"#,
        r#"{"exp":1e999}"#,
    ] {
        let text = token(r#"{"alg":"RS256"}"#, json);
        assert_eq!(read_all(&text), Err(Malformed::Json), "{json}");
    }
}

#[test]
fn claims_are_told_apart_by_their_types() {
    with_claims(
        r#"{"iss":"a","sub":7,"aud":["b"],"exp":5,"iat":5.0,"nbf":-1,"more":[{}]}"#,
        |claims| {
            assert_eq!(claims.iss.get(), Some("a"));
            assert_eq!(claims.sub, Text::Other);
            assert_eq!(claims.box_sub_type, Text::Absent);
            assert_eq!(claims.aud.get(), Some("b"));
            assert_eq!(claims.jti, Text::Absent);
            assert_eq!(claims.exp, NumericDate::At(5));
            assert_eq!(claims.iat, NumericDate::Other);
            assert_eq!(claims.nbf, NumericDate::Other);
        },
    );
    with_claims(r#"{"iss":["a"],"aud":["b","c"]}"#, |claims| {
        assert_eq!(claims.iss, Text::Other, "only aud may be an array");
        assert_eq!(claims.aud, Text::Other);
    });
}

#[test]
fn a_date_is_an_integer_that_every_parser_reads_alike() {
    let exp = |value: &str| {
        let mut found = NumericDate::Absent;
        with_claims(&format!("{{\"exp\":{value}}}"), |claims| found = claims.exp);
        found
    };
    assert_eq!(exp("0"), NumericDate::At(0));
    assert_eq!(
        exp("9007199254740991"),
        NumericDate::At(9_007_199_254_740_991)
    );
    for value in [
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1e3",
        "1.5",
        "-1",
        "-0",
        "\"5\"",
        "null",
        "true",
        "[5]",
        "{}",
    ] {
        assert_eq!(exp(value), NumericDate::Other, "{value}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,300}") {
        let _ = read_all(&text);
    }

    #[test]
    fn no_parts_make_it_panic(
        header in proptest::collection::vec(any::<u8>(), 0..80),
        claims in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let _ = read_all(&format!("{}.{}.AA", encode(&header), encode(&claims)));
        let braced = |bytes: &[u8]| encode([b"{", bytes, b"}"].concat());
        let _ = read_all(&format!("{}.{}.AA", braced(&header), braced(&claims)));
    }

    #[test]
    fn whatever_it_reads_serde_reads_alike(json in "\\{(\"[a-c]\":(\"x\"|1|\\[\\]|\\{\\}),?){0,3}\\}") {
        let text = token(r#"{"alg":"RS256"}"#, &json);
        if read_all(&text).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}
