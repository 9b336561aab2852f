//! What does each provider demand of a token request, and how does it answer?
//!
//! From the providers' documentation of November 2026, apart from the profiles
//! under `oauth/profiles`.

use serde_json::{Value, json};

use crate::signer::Algorithm;

/// A provider that a broker can be dressed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Box, server authentication with JWT.
    Box,
    /// A Google service account.
    Google,
    /// A connected app of Salesforce.
    Salesforce,
    /// DocuSign, JWT grant.
    DocuSign,
    /// A service app of Okta.
    Okta,
    /// Auth0, private key JWT; the tenant is `tenant.auth0.example`.
    Auth0,
    /// Microsoft Entra, certificate credentials; the tenant is `tenant`.
    Entra,
    /// A GitHub App, installation 7.
    GitHub,
    /// Any server of RFC 7523 section 2.1.
    Rfc7523,
    /// Any server of RFC 7523 section 2.2.
    PrivateKeyJwt,
}

/// What is demanded, and how the answer looks.
pub(super) struct Demands {
    pub path: &'static str,
    pub carried: Carried,
    /// The parameters besides the assertion, with their values if fixed.
    pub form: &'static [(&'static str, Option<&'static str>)],
    /// The members of the header; `?` marks those that may be left out.
    pub header: &'static [&'static str],
    /// The claims, likewise.
    pub claims: &'static [&'static str],
    pub fixed_claims: &'static [(&'static str, &'static str)],
    pub audience: Audience,
    pub subject_is_issuer: bool,
    pub life: Life,
    pub algorithms: &'static [Algorithm],
    pub status: u16,
    pub answer: fn(&str, u64) -> Value,
    /// The error code for an assertion that does not suit.
    pub error: &'static str,
}

/// Where the assertion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// In a parameter of the form.
    Parameter(&'static str),
    /// In the `Authorization` header.
    Bearer,
}

/// What the audience has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    None,
    /// The URL that the request goes to.
    Own,
    Fixed(&'static str),
}

/// How long an assertion may live, in seconds, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// From its `iat`.
    FromIssue(u64),
    /// From when it arrives.
    FromNow(u64),
}

const GRANT: (&str, Option<&str>) = (
    "grant_type",
    Some("urn:ietf:params:oauth:grant-type:jwt-bearer"),
);
const CLIENT: (&str, Option<&str>) = ("grant_type", Some("client_credentials"));
const AUTHENTICATION: (&str, Option<&str>) = (
    "client_assertion_type",
    Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
);
const RS: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512];

impl Provider {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Box,
        Self::Google,
        Self::Salesforce,
        Self::DocuSign,
        Self::Okta,
        Self::Auth0,
        Self::Entra,
        Self::GitHub,
        Self::Rfc7523,
        Self::PrivateKeyJwt,
    ];

    /// Returns the name of the profile that clients use for it.
    #[must_use]
    pub fn profile(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Google => "google",
            Self::Salesforce => "salesforce",
            Self::DocuSign => "docusign",
            Self::Okta => "okta",
            Self::Auth0 => "auth0",
            Self::Entra => "entra",
            Self::GitHub => "github",
            Self::Rfc7523 => "rfc7523",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    pub(super) fn demands(self) -> &'static Demands {
        match self {
            Self::Box => &BOX,
            Self::Google => &GOOGLE,
            Self::Salesforce => &SALESFORCE,
            Self::DocuSign => &DOCUSIGN,
            Self::Okta => &OKTA,
            Self::Auth0 => &AUTH0,
            Self::Entra => &ENTRA,
            Self::GitHub => &GITHUB,
            Self::Rfc7523 => &RFC7523,
            Self::PrivateKeyJwt => &PRIVATE_KEY_JWT,
        }
    }
}

static BOX: Demands = Demands {
    path: "/dressed/oauth2/token",
    carried: Carried::Parameter("assertion"),
    form: &[GRANT, ("client_id", None), ("client_secret", None)],
    header: &["alg", "typ?", "kid?"],
    claims: &["iss", "sub", "box_sub_type", "aud", "jti", "exp"],
    fixed_claims: &[],
    audience: Audience::Fixed("https://api.box.com/oauth2/token"),
    subject_is_issuer: false,
    life: Life::FromNow(60),
    algorithms: RS,
    status: 200,
    answer: |token, life| json!({"access_token": token, "expires_in": life, "restricted_to": [], "token_type": "bearer"}),
    error: "invalid_grant",
};

static GOOGLE: Demands = Demands {
    path: "/token",
    carried: Carried::Parameter("assertion"),
    form: &[GRANT],
    header: &["alg", "typ", "kid"],
    claims: &["iss", "scope", "aud", "iat", "exp", "sub?"],
    fixed_claims: &[],
    audience: Audience::Fixed("https://oauth2.googleapis.com/token"),
    subject_is_issuer: false,
    life: Life::FromIssue(3_600),
    algorithms: &[Algorithm::Rs256],
    status: 200,
    answer: |token, _| json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}),
    error: "invalid_grant",
};

static SALESFORCE: Demands = Demands {
    path: "/services/oauth2/token",
    carried: Carried::Parameter("assertion"),
    form: &[GRANT],
    header: &["alg"],
    claims: &["iss", "sub", "aud", "exp"],
    fixed_claims: &[],
    audience: Audience::Fixed("https://login.salesforce.com"),
    subject_is_issuer: false,
    life: Life::FromNow(180),
    algorithms: &[Algorithm::Rs256],
    status: 200,
    answer: |token, _| {
        json!({
            "access_token": token,
            "scope": "web api",
            "instance_url": "https://instance.salesforce.example",
            "id": "https://login.salesforce.com/id/1/2",
            "token_type": "Bearer",
        })
    },
    error: "invalid_grant",
};

static DOCUSIGN: Demands = Demands {
    path: "/oauth/token",
    carried: Carried::Parameter("assertion"),
    form: &[GRANT],
    header: &["alg", "typ"],
    claims: &["iss", "sub", "aud", "iat", "exp", "scope"],
    fixed_claims: &[("scope", "signature impersonation")],
    audience: Audience::Fixed("account.docusign.com"),
    subject_is_issuer: false,
    life: Life::FromIssue(3_600),
    algorithms: &[Algorithm::Rs256],
    status: 200,
    answer: |token, _| json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}),
    error: "consent_required",
};

static OKTA: Demands = Demands {
    path: "/oauth2/v1/token",
    carried: Carried::Parameter("client_assertion"),
    form: &[CLIENT, ("scope", None), AUTHENTICATION],
    header: &["alg", "kid"],
    claims: &["iss", "sub", "aud", "iat", "exp", "jti"],
    fixed_claims: &[],
    audience: Audience::Own,
    subject_is_issuer: true,
    life: Life::FromIssue(3_600),
    algorithms: RS,
    status: 200,
    answer: |token, _| json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token, "scope": "okta.users.read"}),
    error: "invalid_client",
};

static AUTH0: Demands = Demands {
    path: "/oauth/token",
    carried: Carried::Parameter("client_assertion"),
    form: &[CLIENT, ("audience", None), AUTHENTICATION],
    header: &["alg", "kid?"],
    claims: &["iss", "sub", "aud", "jti", "iat", "exp"],
    fixed_claims: &[],
    audience: Audience::Fixed("https://tenant.auth0.example/"),
    subject_is_issuer: true,
    life: Life::FromIssue(300),
    algorithms: &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Ps256],
    status: 200,
    answer: |token, _| json!({"access_token": token, "expires_in": 86400, "scope": "read:x", "token_type": "Bearer"}),
    error: "invalid_client",
};

static ENTRA: Demands = Demands {
    path: "/tenant/oauth2/v2.0/token",
    carried: Carried::Parameter("client_assertion"),
    form: &[
        CLIENT,
        ("client_id", None),
        AUTHENTICATION,
        ("scope", Some("https://graph.microsoft.com/.default")),
    ],
    header: &["alg", "typ", "x5t#S256", "x5c?"],
    claims: &["aud", "iss", "sub", "jti", "nbf", "iat", "exp"],
    fixed_claims: &[],
    audience: Audience::Own,
    subject_is_issuer: true,
    life: Life::FromIssue(600),
    algorithms: &[Algorithm::Ps256],
    status: 200,
    answer: |token, _| json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token}),
    error: "invalid_client",
};

static GITHUB: Demands = Demands {
    path: "/app/installations/7/access_tokens",
    carried: Carried::Bearer,
    form: &[],
    header: &["alg", "typ"],
    claims: &["iss", "iat", "exp"],
    fixed_claims: &[],
    audience: Audience::None,
    subject_is_issuer: false,
    life: Life::FromNow(600),
    algorithms: &[Algorithm::Rs256],
    status: 201,
    answer: |token, _| json!({"token": token, "expires_at": "2026-11-24T12:00:00Z", "permissions": {"contents": "read"}}),
    error: "invalid_client",
};

static RFC7523: Demands = Demands {
    path: "/as/token",
    carried: Carried::Parameter("assertion"),
    form: &[GRANT],
    header: &["alg", "typ?", "kid?"],
    claims: &["iss", "sub", "aud", "jti", "iat", "exp"],
    fixed_claims: &[],
    audience: Audience::Own,
    subject_is_issuer: false,
    life: Life::FromIssue(3_600),
    algorithms: RS,
    status: 200,
    answer: |token, life| json!({"access_token": token, "token_type": "Bearer", "expires_in": life}),
    error: "invalid_grant",
};

static PRIVATE_KEY_JWT: Demands = Demands {
    path: "/as/token",
    carried: Carried::Parameter("client_assertion"),
    form: &[CLIENT, ("client_id", None), AUTHENTICATION],
    header: &["alg", "typ?", "kid?"],
    claims: &["iss", "sub", "aud", "jti", "iat", "exp"],
    fixed_claims: &[],
    audience: Audience::Own,
    subject_is_issuer: true,
    life: Life::FromIssue(3_600),
    algorithms: RS,
    status: 200,
    answer: |token, life| json!({"access_token": token, "token_type": "Bearer", "expires_in": life}),
    error: "invalid_client",
};
