//! How are apps, users and notices shown to a person?

use crate::broker::directory::{AppRecord, Created, Notice, UserRecord};
use crate::broker::terms::SCOPES;
use crate::broker::{Access, Terms};

pub(super) fn created(created: &Created) -> String {
    format!(
        "{}\nclient secret   {}   (shown once)",
        app(&created.app),
        created.client_secret.expose()
    )
}

pub(super) fn app(app: &AppRecord) -> String {
    let mut lines = vec![
        format!("{}", app.name),
        format!("client ID       {}", app.client_id),
        format!("enterprise      {}", app.enterprise_id),
        format!("authorization   {}", app.status.describe()),
        format!("enabled         {}", yes(app.is_enabled)),
    ];
    if let Some(account) = &app.service_account {
        lines.push(format!("service account {} {}", account.id, account.login));
    }
    lines.extend(terms("edited", app.edited));
    match app.approved {
        Some(approved) if approved != app.edited => lines.extend(terms("approved", approved)),
        Some(_) => lines.push("approved        as edited".into()),
        None => lines.push("approved        nothing".into()),
    }
    let cors = app.cors.to_string();
    if !cors.is_empty() {
        lines.push(format!("CORS domains    {cors}"));
    }
    for key in &app.keys {
        lines.push(format!(
            "key             {} RSA-{} SHA-256 {}",
            key.kid, key.bits, key.sha256
        ));
    }
    if app.keys.is_empty() {
        lines.push("key             none".into());
    }
    lines.join("\n")
}

pub(super) fn list(apps: &[AppRecord]) -> String {
    let lines = apps.iter().map(|app| {
        let off = if app.is_enabled { "" } else { ", disabled" };
        format!(
            "{}  {}  {} keys  {}{off}",
            app.client_id,
            app.name,
            app.keys.len(),
            app.status.describe()
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn scopes(app: &AppRecord) -> String {
    let lines = SCOPES.into_iter().map(|(name, label)| {
        let edited = if app.edited.scopes.has(name) {
            "x"
        } else {
            " "
        };
        let approved = match app.approved {
            Some(terms) if terms.scopes.has(name) => "approved",
            _ => "",
        };
        format!("[{edited}] {name:<29} {label:<40} {approved}")
            .trim_end()
            .to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn users(users: &[UserRecord]) -> String {
    let lines = users.iter().map(|user| {
        let owner = match (&user.enterprise_id, &user.client_id) {
            (Some(enterprise), _) => format!("managed, enterprise {enterprise}"),
            (None, Some(client)) => format!("of the app {client}"),
            (None, None) => String::new(),
        };
        format!("{}  {}  {}  {owner}", user.id, user.name, user.login)
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(super) fn outbox(notices: &[Notice]) -> String {
    let lines = notices.iter().map(|notice| {
        let delivery = match (notice.sent_at_s, &notice.error) {
            (Some(_), _) => "delivered by mail".to_owned(),
            (None, Some(error)) => {
                format!("not delivered in {} attempts: {error}", notice.attempts)
            }
            (None, None) => "not sent by mail".to_owned(),
        };
        format!(
            "{}  to {}: {}\n    {}\n    ({delivery})",
            notice.number, notice.recipient, notice.subject, notice.body
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn terms(title: &str, terms: Terms) -> [String; 4] {
    let access = match terms.access {
        Access::App => "app access only",
        Access::AppAndEnterprise => "app + enterprise access",
    };
    [
        format!("{title:<15} {access}"),
        format!(
            "                user access tokens: {}",
            yes(terms.user_tokens)
        ),
        format!("                actions as users: {}", yes(terms.as_user)),
        format!("                scopes: {}", terms.scopes),
    ]
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}
