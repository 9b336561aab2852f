//! Which enterprises, administrators and users are there?
//!
//! A developer sets up the first enterprise and adds users of apps; the rest
//! is for administrators.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::gate::{Fault, Posted, Visit, is_answerable};
use super::session::Role;
use super::view::{
    self, AppUsersPage, EnterpriseLine, EnterprisesPage, NewPerson, UserLine, UsersPage,
};
use super::words::reason;
use super::{Office, see_other};
use crate::broker::directory::{AppRecord, Directory, NewUser};

pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/users", get(users).post(add_managed))
        .route("/apps/{app}/users", get(app_users).post(add_app_user))
        .route("/enterprises", get(enterprises).post(add_enterprise))
        .route("/enterprises/{id}/administrators", post(add_administrator))
}

async fn users(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    show_users(&office, &visit, NewPerson::default()).await
}

async fn show_users(
    office: &Arc<Office>,
    visit: &Visit,
    new: NewPerson,
) -> Result<Response, Fault> {
    let (users, apps, enterprises) = office
        .ask(|directory| {
            Ok((
                directory.users()?,
                directory.apps()?,
                directory.enterprises()?,
            ))
        })
        .await?;
    let accounts = apps.iter().filter_map(UserLine::of_service_account);
    let page = UsersPage {
        chrome: office.chrome(visit, "users").await?,
        users: accounts
            .chain(users.iter().map(|user| UserLine::of(user, &apps)))
            .collect(),
        enterprises,
        new,
    };
    Ok(view::page(page.new.status(), &page))
}

async fn add_managed(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    visit.need_administrator()?;
    let new = new_person(&posted);
    let enterprise = posted.get("enterprise").to_string();
    let wanted = new.clone();
    let added = office
        .ask(move |directory| directory.add_managed_user(&enterprise, &wanted.user()))
        .await;
    match added {
        Ok(added) => {
            let message = format!("The user {} was added.", added.id);
            office.sessions.say(&visit.session, message);
            Ok(see_other("/users"))
        }
        Err(fault) => show_users(&office, &visit, new.refused(fault)?).await,
    }
}

async fn app_users(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
) -> Result<Response, Fault> {
    show_app_users(&office, &visit, app, NewPerson::default()).await
}

async fn show_app_users(
    office: &Arc<Office>,
    visit: &Visit,
    app: String,
    new: NewPerson,
) -> Result<Response, Fault> {
    let (app, users) = office
        .ask(move |directory| Ok((directory.app(&app)?, directory.users()?)))
        .await?;
    let is_own = |user: &&_| client_of(user) == Some(app.client_id.as_str());
    let page = AppUsersPage {
        chrome: office.chrome(visit, "apps").await?,
        users: users
            .iter()
            .filter(is_own)
            .map(|user| UserLine::of(user, std::slice::from_ref(&app)))
            .collect(),
        app,
        new,
    };
    Ok(view::page(page.new.status(), &page))
}

fn client_of(user: &crate::broker::directory::UserRecord) -> Option<&str> {
    user.client_id.as_deref()
}

async fn add_app_user(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(app): Path<String>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let new = new_person(&posted);
    let (called, wanted) = (app.clone(), new.clone());
    let added = office
        .ask(move |directory| {
            let app: AppRecord = directory.app(&called)?;
            let added = directory.add_app_user(&app.client_id, &wanted.user())?;
            Ok((app.client_id, added))
        })
        .await;
    match added {
        Ok((client_id, added)) => {
            let message = format!("The app user {} was added.", added.id);
            office.sessions.say(&visit.session, message);
            Ok(see_other(&format!("/apps/{client_id}/users")))
        }
        Err(fault) => show_app_users(&office, &visit, app, new.refused(fault)?).await,
    }
}

async fn enterprises(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
) -> Result<Response, Fault> {
    show_enterprises(&office, &visit, NewPerson::default()).await
}

async fn show_enterprises(
    office: &Arc<Office>,
    visit: &Visit,
    new: NewPerson,
) -> Result<Response, Fault> {
    let (enterprises, administrators) = office
        .ask(|directory| Ok((directory.enterprises()?, directory.administrators()?)))
        .await?;
    let is_administrator = visit.role == Some(Role::Administrator);
    let page = EnterprisesPage {
        chrome: office.chrome(visit, "enterprises").await?,
        may_add: enterprises.is_empty() || is_administrator,
        enterprises: enterprises
            .into_iter()
            .map(|enterprise| EnterpriseLine {
                administrators: administrators
                    .iter()
                    .filter(|one| one.enterprise_id == enterprise.id)
                    .map(|one| one.login.clone())
                    .collect(),
                enterprise,
            })
            .collect(),
        new,
    };
    Ok(view::page(page.new.status(), &page))
}

async fn add_enterprise(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    let is_first = office.ask(Directory::enterprises).await?.is_empty();
    if !is_first {
        visit.need_administrator()?;
    }
    let new = new_person(&posted);
    let wanted = new.clone();
    let added = office
        .ask(move |directory| {
            let NewUser { id, name, login } = wanted.user();
            directory.found_enterprise(id, name.unwrap_or_default(), login.unwrap_or_default())
        })
        .await;
    match added {
        Ok(made) => {
            let message = format!("The enterprise {} was set up.", made.id);
            office.sessions.say(&visit.session, message);
            Ok(see_other(if is_first { "/apps" } else { "/enterprises" }))
        }
        Err(fault) => show_enterprises(&office, &visit, new.refused(fault)?).await,
    }
}

async fn add_administrator(
    State(office): State<Arc<Office>>,
    Extension(visit): Extension<Visit>,
    Path(enterprise): Path<String>,
    Extension(posted): Extension<Posted>,
) -> Result<Response, Fault> {
    visit.need_administrator()?;
    let login = posted.get("login").to_string();
    let added = office
        .ask(move |directory| directory.add_administrator(&enterprise, &login))
        .await?;
    let message = format!("{} is an administrator now.", added.login);
    office.sessions.say(&visit.session, message);
    Ok(see_other("/enterprises"))
}

fn new_person(posted: &Posted) -> NewPerson {
    NewPerson {
        id: posted.get("id").to_string(),
        name: posted.get("name").to_string(),
        login: posted.get("login").to_string(),
        error: None,
    }
}

impl NewPerson {
    fn user(&self) -> NewUser<'_> {
        let given = |text| Some(text).filter(|text: &&String| !text.is_empty());
        NewUser {
            id: given(&self.id).map(String::as_str),
            name: given(&self.name).map(String::as_str),
            login: given(&self.login).map(String::as_str),
        }
    }

    /// Takes in what a person can mend, and passes on what not.
    fn refused(mut self, fault: Fault) -> Result<Self, Fault> {
        match fault {
            Fault::Directory(error) if is_answerable(&error) => {
                self.error = Some(reason(&error));
                Ok(self)
            }
            other => Err(other),
        }
    }

    fn status(&self) -> StatusCode {
        match self.error {
            Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
            None => StatusCode::OK,
        }
    }
}
