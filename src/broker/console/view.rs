//! What stands in the pages?
//!
//! One struct a page, which its template under `pages/` reads; the templates
//! escape everything.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use super::gate::{Fault, is_answerable};
use super::session::Role;
use super::settings::Problems;
use super::words::{
    Badge, Change, app_name, authentication, badge, changes, date, next_step, reason, sentence,
    time,
};
use crate::broker::directory::{AppRecord, Enterprise, KeyRecord, Notice, Status, UserRecord};
use crate::broker::registration::{Access, Authentication};
use crate::broker::terms::{SCOPES, Terms};

/// What stands around the content of a page.
pub(super) struct Chrome {
    pub(super) role: Option<Role>,
    pub(super) csrf: String,
    pub(super) here: &'static str,
    pub(super) flash: Option<String>,
    /// How many apps wait for an administrator.
    pub(super) waiting: usize,
}

impl Chrome {
    pub(super) fn is_administrator(&self) -> bool {
        self.role == Some(Role::Administrator)
    }

    /// Marks the link of the part that the page belongs to.
    pub(super) fn current(&self, part: &str) -> &'static str {
        if self.here == part { "page" } else { "false" }
    }
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInPage {
    pub(super) chrome: Chrome,
    pub(super) error: Option<String>,
}

#[derive(Template)]
#[template(path = "role.html")]
pub(super) struct RolePage {
    pub(super) chrome: Chrome,
    pub(super) error: Option<String>,
}

#[derive(Template)]
#[template(path = "apps.html")]
pub(super) struct AppsPage {
    pub(super) chrome: Chrome,
    pub(super) apps: Vec<AppLine>,
}

/// An app in a list.
pub(super) struct AppLine {
    client_id: String,
    name: String,
    enterprise_id: String,
    keys: usize,
    badge: Badge,
    created: String,
    authentication: &'static str,
}

impl AppLine {
    pub(super) fn of(app: &AppRecord) -> Self {
        Self {
            client_id: app.client_id.clone(),
            name: app.name.clone(),
            enterprise_id: app.enterprise_id.clone(),
            keys: app.keys.len(),
            badge: badge(app),
            created: date(app.created_at_s),
            authentication: authentication(app.authentication),
        }
    }
}

#[derive(Template)]
#[template(path = "new_app.html")]
pub(super) struct NewAppPage {
    pub(super) chrome: Chrome,
    pub(super) step: u8,
    pub(super) authentication: String,
    pub(super) enterprises: Vec<Enterprise>,
    pub(super) enterprise_id: String,
    pub(super) name: String,
    pub(super) error: Option<String>,
}

#[derive(Template)]
#[template(path = "general.html")]
pub(super) struct GeneralPage {
    chrome: Chrome,
    app: AppRecord,
    badge: Badge,
    authentication: &'static str,
    created: String,
    changes: Vec<Change>,
    token_url: String,
    next_step: &'static str,
}

impl GeneralPage {
    pub(super) fn of(chrome: Chrome, app: AppRecord, token_url: String) -> Self {
        Self {
            badge: badge(&app),
            authentication: authentication(app.authentication),
            created: time(app.created_at_s),
            changes: changes(&app),
            next_step: next_step(&app),
            chrome,
            app,
            token_url,
        }
    }

    fn is_waiting(&self) -> bool {
        super::is_waiting(self.app.status)
    }

    fn can_submit(&self) -> bool {
        matches!(
            self.app.status,
            Status::NotSubmitted | Status::Declined | Status::ReauthorizationRequired
        )
    }
}

#[derive(Template)]
#[template(path = "configuration.html")]
pub(super) struct ConfigurationPage {
    chrome: Chrome,
    app: AppRecord,
    badge: Badge,
    keys: Vec<KeyLine>,
    files: Vec<WaitingFile>,
    scopes: Vec<ScopeLine>,
    edited: Edited,
    problems: Problems,
    has_changes: bool,
}

/// What a developer typed.
#[derive(Clone)]
pub(super) struct Edited {
    pub(super) terms: Terms,
    pub(super) cors: String,
}

/// A file that waits to be downloaded.
pub(super) struct WaitingFile {
    pub(super) ticket: String,
    pub(super) name: String,
    pub(super) private_half_of: Option<String>,
}

struct KeyLine {
    key: KeyRecord,
    added: String,
    /// The private half waits to be downloaded.
    is_waiting: bool,
}

struct ScopeLine {
    name: &'static str,
    label: &'static str,
    is_ticked: bool,
    is_approved: bool,
    needs_enterprise: bool,
}

impl ConfigurationPage {
    pub(super) fn of(
        chrome: Chrome,
        app: AppRecord,
        files: Vec<WaitingFile>,
        mut problems: Problems,
    ) -> Self {
        let edited = problems.edited.take().unwrap_or_else(|| Edited {
            terms: app.edited,
            cors: app.cors.to_string().replace(',', "\n"),
        });
        let is_approved = |name| app.approved.is_some_and(|terms| terms.scopes.has(name));
        let is_waiting = |kid: &String| {
            let of = |file: &WaitingFile| file.private_half_of.as_ref() == Some(kid);
            files.iter().any(of)
        };
        Self {
            badge: badge(&app),
            has_changes: app.approved.is_some_and(|approved| approved != app.edited),
            keys: app
                .keys
                .iter()
                .map(|key| KeyLine {
                    added: time(key.added_at_s),
                    is_waiting: is_waiting(&key.kid),
                    key: key.clone(),
                })
                .collect(),
            scopes: SCOPES
                .into_iter()
                .map(|(name, label)| ScopeLine {
                    is_ticked: edited.terms.scopes.has(name),
                    is_approved: is_approved(name),
                    needs_enterprise: Terms::needs_enterprise(name),
                    name,
                    label,
                })
                .collect(),
            chrome,
            app,
            files,
            edited,
            problems,
        }
    }

    fn has_enterprise_access(&self) -> bool {
        self.edited.terms.access == Access::AppAndEnterprise
    }

    fn is_jwt(&self) -> bool {
        self.app.authentication == Authentication::Jwt
    }
}

#[derive(Template)]
#[template(path = "remove_key.html")]
pub(super) struct RemoveKeyPage {
    pub(super) chrome: Chrome,
    pub(super) client_id: String,
    pub(super) name: String,
    pub(super) key: KeyRecord,
    pub(super) is_last: bool,
}

#[derive(Template)]
#[template(path = "approvals.html")]
pub(super) struct ApprovalsPage {
    pub(super) chrome: Chrome,
    pub(super) apps: Vec<Approval>,
}

/// An app that waits to be decided over.
pub(super) struct Approval {
    app: AppRecord,
    changes: Vec<Change>,
}

impl Approval {
    pub(super) fn of(app: AppRecord) -> Self {
        Self {
            changes: changes(&app),
            app,
        }
    }
}

#[derive(Template)]
#[template(path = "outbox.html")]
pub(super) struct OutboxPage {
    pub(super) chrome: Chrome,
    pub(super) notices: Vec<Notice>,
}

#[derive(Template)]
#[template(path = "users.html")]
pub(super) struct UsersPage {
    pub(super) chrome: Chrome,
    pub(super) users: Vec<UserLine>,
    pub(super) enterprises: Vec<Enterprise>,
    pub(super) new: NewPerson,
}

#[derive(Template)]
#[template(path = "app_users.html")]
pub(super) struct AppUsersPage {
    pub(super) chrome: Chrome,
    pub(super) app: AppRecord,
    pub(super) users: Vec<UserLine>,
    pub(super) new: NewPerson,
}

impl AppUsersPage {
    fn badge(&self) -> Badge {
        badge(&self.app)
    }
}

/// A user in a list.
pub(super) struct UserLine {
    id: String,
    name: String,
    login: String,
    kind: &'static str,
    of: String,
}

impl UserLine {
    pub(super) fn of(user: &UserRecord, apps: &[AppRecord]) -> Self {
        let (kind, of) = match (&user.client_id, &user.enterprise_id) {
            (Some(client_id), _) => ("App user", app_name(client_id, apps)),
            (None, enterprise_id) => (
                "Managed user",
                format!(
                    "Enterprise {}",
                    enterprise_id.as_deref().unwrap_or_default()
                ),
            ),
        };
        Self {
            id: user.id.clone(),
            name: user.name.clone(),
            login: user.login.clone(),
            kind,
            of,
        }
    }

    pub(super) fn of_service_account(app: &AppRecord) -> Option<Self> {
        let account = app.service_account.as_ref()?;
        Some(Self {
            id: account.id.clone(),
            name: "Service Account".to_owned(),
            login: account.login.clone(),
            kind: "Service account",
            of: app.name.clone(),
        })
    }
}

/// A form for somebody or something with an ID, a name and a login.
#[derive(Clone, Default)]
pub(super) struct NewPerson {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) login: String,
    pub(super) error: Option<String>,
}

#[derive(Template)]
#[template(path = "enterprises.html")]
pub(super) struct EnterprisesPage {
    pub(super) chrome: Chrome,
    pub(super) enterprises: Vec<EnterpriseLine>,
    pub(super) may_add: bool,
    pub(super) new: NewPerson,
}

/// An enterprise in a list.
pub(super) struct EnterpriseLine {
    pub(super) enterprise: Enterprise,
    pub(super) administrators: Vec<String>,
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    chrome: Chrome,
    code: u16,
    title: &'static str,
    text: String,
    needs_administrator: bool,
}

/// Renders a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        // Writing to memory does not fail, and nothing else is done here.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Renders the page of a fault.
pub(super) fn fault(status: StatusCode, chrome: Chrome, fault: &Fault) -> Response {
    let (title, text) = match fault {
        Fault::NotFound => ("Not found", "There is no such page.".to_owned()),
        Fault::Gone => (
            "Handed out already",
            "A file with a secret is handed out once, to the session that made it, within ten \
             minutes. Generate another key pair if nobody has the file."
                .to_owned(),
        ),
        Fault::Stale => (
            "The page was out of date",
            "Your session has changed since the page was loaded, so nothing was done. Open the \
             page again and repeat it."
                .to_owned(),
        ),
        Fault::NeedsAdministrator => (
            "For administrators",
            "This is decided by an administrator of the enterprise.".to_owned(),
        ),
        Fault::Directory(error) if is_answerable(error) => {
            let title = if status == StatusCode::NOT_FOUND {
                "Not found"
            } else {
                "Not possible now"
            };
            (title, reason(error))
        }
        Fault::Directory(error) => ("The registry failed", sentence(error)),
        Fault::Failed => (
            "Something failed",
            "The work was begun and failed.".to_owned(),
        ),
    };
    let template = FaultPage {
        chrome,
        code: status.as_u16(),
        title,
        text,
        needs_administrator: matches!(fault, Fault::NeedsAdministrator),
    };
    page(status, &template)
}
