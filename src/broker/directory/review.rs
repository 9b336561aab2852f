//! How does an app come to be authorized?
//!
//! A developer submits it, which writes a notice to the administrators of the
//! enterprise; one of them authorizes or declines. Later edits wait in the
//! same way to be authorized again, while the approved terms stay in force.
//! Disabling and enabling change no terms and count at once.

use rusqlite::{Connection, params};

use super::edit::written;
use super::people::now_s;
use super::record::{self, AppRecord, AppRow, Status};
use super::{Directory, DirectoryError};
use crate::broker::registration::Access;

impl Directory {
    /// Asks the administrators to authorize the app as it is now.
    ///
    /// # Errors
    ///
    /// There is no such app, or nothing to decide.
    pub fn submit(&self, called: &str) -> Result<AppRecord, DirectoryError> {
        self.step(called, |writing, app| {
            let hint = match app.status() {
                Status::NotSubmitted | Status::Declined | Status::ReauthorizationRequired => {
                    set_review(writing, app, "submitted")?;
                    return notify(writing, app);
                }
                Status::Authorized => "edit its scopes or access level first",
                Status::Submitted | Status::ReauthorizationSubmitted => {
                    "an administrator has to decide first"
                }
            };
            Err(refused(app, "submitted", hint))
        })
    }

    /// Approves the app as it is now, as an administrator.
    ///
    /// # Errors
    ///
    /// There is no such app, or it was authorized before.
    pub fn authorize(&self, called: &str) -> Result<AppRecord, DirectoryError> {
        self.step(called, |writing, app| {
            if app.approved.is_none() {
                return approve(writing, app);
            }
            let hint = "re-authorize it to approve later changes";
            Err(refused(app, "authorized", hint))
        })
    }

    /// Approves later changes, as an administrator. Tokens that were issued
    /// stay what they are; new ones go by the new terms.
    ///
    /// # Errors
    ///
    /// There is no such app, or it was never authorized.
    pub fn reauthorize(&self, called: &str) -> Result<AppRecord, DirectoryError> {
        self.step(called, |writing, app| {
            if app.approved.is_some() {
                return approve(writing, app);
            }
            Err(refused(app, "re-authorized", "authorize it first"))
        })
    }

    /// Says no to what was submitted, as an administrator. What was approved
    /// before stays approved.
    ///
    /// # Errors
    ///
    /// There is no such app, or nothing was submitted.
    pub fn decline(&self, called: &str) -> Result<AppRecord, DirectoryError> {
        self.step(called, |writing, app| match app.review.as_str() {
            "submitted" => set_review(writing, app, "declined"),
            _ => Err(refused(app, "declined", "it has to be submitted first")),
        })
    }

    /// Switches an app on or off, as an administrator.
    ///
    /// # Errors
    ///
    /// There is no such app.
    pub fn set_enabled(&self, called: &str, to: bool) -> Result<AppRecord, DirectoryError> {
        self.step(called, |writing, app| {
            let sql = "UPDATE app SET is_enabled = ?1 WHERE number = ?2";
            writing.execute(sql, params![to, app.number])?;
            Ok(())
        })
    }

    /// Takes one step and tells what became of the app.
    fn step(
        &self,
        called: &str,
        take: impl FnOnce(&Connection, &AppRow) -> Result<(), DirectoryError>,
    ) -> Result<AppRecord, DirectoryError> {
        self.change(|writing| {
            let app = record::app(writing, called)?;
            take(writing, &app)?;
            record::app(writing, &app.client_id)?.record(writing)
        })
    }
}

fn refused(app: &AppRow, action: &'static str, hint: &'static str) -> DirectoryError {
    DirectoryError::State {
        app: app.name.clone(),
        action,
        status: app.status(),
        hint,
    }
}

/// Writes to every administrator of the app's enterprise.
fn notify(writing: &Connection, app: &AppRow) -> Result<(), DirectoryError> {
    let again = if app.approved.is_some() { "re-" } else { "" };
    let subject = format!("{:?} asks to be {again}authorized", app.name);
    let body = format!(
        "The app {:?} (client ID {}) asks for the access level {}, user access tokens {}, \
         actions as users {}, and the scopes: {}.",
        app.name,
        app.client_id,
        match app.edited.access {
            Access::App => "app access only",
            Access::AppAndEnterprise => "app and enterprise access",
        },
        on_or_off(app.edited.user_tokens),
        on_or_off(app.edited.as_user),
        app.edited.scopes,
    );
    writing.execute(
        "INSERT INTO notice (at_s, recipient, client_id, subject, body) \
         SELECT ?1, login, ?2, ?3, ?4 FROM administrator WHERE enterprise_id = ?5 ORDER BY rowid",
        params![now_s(), app.client_id, subject, body, app.enterprise_id],
    )?;
    Ok(())
}

fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn approve(writing: &Connection, app: &AppRow) -> Result<(), DirectoryError> {
    writing.execute(
        "UPDATE app SET approved = ?1, review = 'none' WHERE number = ?2",
        params![written(app.edited), app.number],
    )?;
    Ok(())
}

fn set_review(writing: &Connection, app: &AppRow, to: &str) -> Result<(), DirectoryError> {
    let sql = "UPDATE app SET review = ?1 WHERE number = ?2";
    writing.execute(sql, params![to, app.number])?;
    Ok(())
}
