//! `mintmark app`: the registry of apps, as the provider's console has it.

mod text;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Exit, Failure, print_json};
use crate::broker::directory::{AppRecord, Directory, DirectoryError, NewUser};
use crate::broker::origin::Origins;
use crate::broker::terms::{SCOPES, Scopes};
use crate::broker::{Access, Authentication, Terms};
use crate::credential::generate::RsaBits;
use crate::signer::PublicKey;

/// Creates apps, gives them keys and has them authorized.
#[derive(Debug, Args)]
#[command(after_help = "Example, from nothing to a token:\n  \
    export MINTMARK_REGISTRY=apps.db\n  \
    mintmark app create Loader\n  \
    mintmark app keypair Loader --out app.json\n  \
    mintmark app submit Loader\n  \
    mintmark app authorize Loader\n  \
    mintmark broker --registry apps.db --listen 127.0.0.1:8080 &\n  \
    mintmark token --config app.json --url http://127.0.0.1:8080\n\n\
    An app is called by its name or its client ID.")]
pub(super) struct Flags {
    /// The file that holds the registry; it is made if it is not there.
    #[arg(
        long,
        value_name = "FILE",
        env = "MINTMARK_REGISTRY",
        default_value = "mintmark-apps.db",
        global = true
    )]
    registry: PathBuf,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a custom app with server authentication; its client secret is
    /// shown once.
    Create {
        /// The name, which no other app has.
        name: String,
        /// The enterprise; made if it is not there, and needed only where
        /// there are several.
        #[arg(long, value_name = "ID")]
        enterprise: Option<String>,
        /// How the app authenticates, which can never be changed.
        #[arg(long, value_enum, value_name = "METHOD", default_value = "jwt")]
        authentication: Method,
        /// The administrator of an enterprise that is made.
        #[arg(long, value_name = "LOGIN", default_value = "admin@example.com")]
        admin: String,
    },
    /// List the apps.
    List,
    /// Show an app: keys, terms, and how far its authorization is.
    Show(App),
    /// Generate a key pair and write the configuration file that holds its
    /// private half, which is kept nowhere else.
    Keypair {
        #[command(flatten)]
        app: App,
        /// The size: 2048, 3072 or 4096 bits.
        #[arg(long, value_name = "BITS", default_value_t = 2048)]
        bits: usize,
        /// The file to write, in place of ENTERPRISEID_KEYID_config.json.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Add a public key and print the ID that it is given.
    AddKey {
        #[command(flatten)]
        app: App,
        /// The public key in PEM, as `openssl rsa -pubout` writes it.
        pem: PathBuf,
        /// Accept another public exponent than 65537.
        #[arg(long)]
        allow_small_exponent: bool,
    },
    /// Remove a public key, at once.
    RemoveKey {
        #[command(flatten)]
        app: App,
        /// The key ID.
        key_id: String,
    },
    /// Ask the administrators to authorize the app as it is now.
    Submit(App),
    /// As an administrator: authorize the app.
    Authorize(App),
    /// As an administrator: approve what was edited since.
    Reauthorize(App),
    /// As an administrator: decline what was submitted.
    Decline(App),
    /// As an administrator: switch the app off.
    Disable(App),
    /// As an administrator: switch the app on again.
    Enable(App),
    /// Edit the scopes; without flags, list those that there are.
    Scopes {
        #[command(flatten)]
        app: App,
        /// The scopes, separated by commas, in place of those before.
        #[arg(long, value_name = "NAMES")]
        set: Option<Scopes>,
    },
    /// Edit the access level and the advanced features.
    Access {
        #[command(flatten)]
        app: App,
        /// Whose content and users the app works with.
        #[arg(value_enum)]
        level: Option<Level>,
        /// The feature "generate user access tokens".
        #[arg(long, value_enum, value_name = "STATE")]
        user_tokens: Option<Switch>,
        /// The feature "perform actions as users".
        #[arg(long, value_enum, value_name = "STATE")]
        as_user: Option<Switch>,
    },
    /// Set the CORS domains; without flags, list them.
    Cors {
        #[command(flatten)]
        app: App,
        /// Origins, separated by commas; `*.` stands for any subdomain, and
        /// an empty list for none.
        #[arg(long, value_name = "ORIGINS")]
        set: Option<String>,
    },
    /// List the users, or add one.
    Users {
        /// Add a user of this app.
        #[arg(long, value_name = "APP", conflicts_with = "add_managed")]
        add_to: Option<String>,
        /// Add a managed user of this enterprise.
        #[arg(long, value_name = "ENTERPRISE")]
        add_managed: Option<String>,
        /// The ID of the user to add, in place of a drawn one.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// The name of the user to add.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The login of the user to add.
        #[arg(long, value_name = "LOGIN")]
        login: Option<String>,
    },
    /// List the notices to administrators.
    Outbox,
}

/// Which app.
#[derive(Debug, Args)]
struct App {
    /// The app's name or client ID.
    app: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// Server authentication, by signed assertions.
    Jwt,
    /// The client's own credentials.
    ClientCredentials,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    /// The service account and the app's own users.
    App,
    /// The managed users of the enterprise as well.
    Enterprise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

pub(super) fn run(flags: &Flags) -> Result<Exit, Failure> {
    let directory = Directory::open(&flags.registry).map_err(refused)?;
    let called = Called {
        directory: &directory,
        json: flags.json,
    };
    called.act(&flags.action)?;
    Ok(Exit::Success)
}

/// One call of the verb.
struct Called<'a> {
    directory: &'a Directory,
    json: bool,
}

impl Called<'_> {
    fn act(&self, action: &Action) -> Result<(), Failure> {
        let directory = self.directory;
        match action {
            Action::Create {
                name,
                enterprise,
                authentication,
                admin,
            } => {
                let enterprise = self.enterprise(enterprise.as_deref(), admin)?;
                self.create(name, &enterprise, *authentication)
            }
            Action::List => {
                let apps = directory.apps().map_err(refused)?;
                self.print(&apps, || text::list(&apps))
            }
            Action::Show(App { app }) => self.show(directory.app(app)),
            Action::Keypair { app, bits, out } => self.keypair(&app.app, *bits, out.as_deref()),
            Action::AddKey {
                app,
                pem,
                allow_small_exponent,
            } => self.add_key(&app.app, pem, *allow_small_exponent),
            Action::RemoveKey { app, key_id } => self.show(directory.remove_key(&app.app, key_id)),
            Action::Submit(App { app }) => self.show(directory.submit(app)),
            Action::Authorize(App { app }) => self.show(directory.authorize(app)),
            Action::Reauthorize(App { app }) => self.show(directory.reauthorize(app)),
            Action::Decline(App { app }) => self.show(directory.decline(app)),
            Action::Disable(App { app }) => self.show(directory.set_enabled(app, false)),
            Action::Enable(App { app }) => self.show(directory.set_enabled(app, true)),
            Action::Scopes { app, set } => match set {
                Some(scopes) => {
                    self.show(directory.edit_terms(&app.app, |terms| terms.scopes = *scopes))
                }
                None => self.scopes(&app.app),
            },
            Action::Access {
                app,
                level,
                user_tokens,
                as_user,
            } => self.show(directory.edit_terms(&app.app, |terms| {
                edit_access(terms, *level, *user_tokens, *as_user);
            })),
            Action::Cors { app, set: None } => {
                let app = directory.app(&app.app).map_err(refused)?;
                let list = app.cors.to_string();
                let origins: Vec<_> = list.split_terminator(',').collect();
                self.print(&json!({"cors": origins}), || origins.join("\n"))
            }
            Action::Cors {
                app,
                set: Some(list),
            } => {
                let origins = Origins::from_str(list).map_err(Failure::usage)?;
                self.show(directory.set_origins(&app.app, &origins))
            }
            Action::Users {
                add_to,
                add_managed,
                id,
                name,
                login,
            } => {
                let user = NewUser {
                    id: id.as_deref(),
                    name: name.as_deref(),
                    login: login.as_deref(),
                };
                let added = match (add_to, add_managed) {
                    (Some(app), _) => directory.add_app_user(app, &user),
                    (None, Some(enterprise)) => directory.add_managed_user(enterprise, &user),
                    (None, None) => return self.users(),
                };
                let added = added.map_err(refused)?;
                self.print(&added, || added.id.clone())
            }
            Action::Outbox => {
                let notices = directory.notices().map_err(refused)?;
                self.print(&notices, || text::outbox(&notices))
            }
        }
    }

    fn create(&self, name: &str, enterprise: &str, method: Method) -> Result<(), Failure> {
        let authentication = match method {
            Method::Jwt => Authentication::Jwt,
            Method::ClientCredentials => Authentication::ClientCredentials,
        };
        let created = self
            .directory
            .create_app(name, enterprise, authentication)
            .map_err(refused)?;
        let secret = created.client_secret.expose();
        let shown = json!({"app": created.app, "client_secret": secret});
        self.print(&shown, || text::created(&created))
    }

    /// Finds or makes the enterprise of a new app.
    fn enterprise(&self, wanted: Option<&str>, admin: &str) -> Result<String, Failure> {
        let known = self.directory.enterprises().map_err(refused)?;
        let found = match (wanted, known.as_slice()) {
            (Some(id), all) => all.iter().find(|one| one.id == id),
            (None, []) => None,
            (None, [only]) => Some(only),
            (None, _) => {
                return Err(Failure::usage(
                    "there are several enterprises, say which with --enterprise",
                ));
            }
        };
        if let Some(found) = found {
            return Ok(found.id.clone());
        }
        let made = self
            .directory
            .add_enterprise(wanted, "Enterprise")
            .map_err(refused)?;
        self.directory
            .add_administrator(&made.id, admin)
            .map_err(refused)?;
        Ok(made.id)
    }

    fn keypair(&self, app: &str, bits: usize, out: Option<&Path>) -> Result<(), Failure> {
        let bits = RsaBits::try_from(bits).map_err(Failure::usage)?;
        if let Some(taken) = out.filter(|path| path.exists()) {
            // A key that was handed out once cannot be had again.
            let message = format!("{} is there already", taken.display());
            return Err(Failure::usage(message));
        }
        let config = self.directory.generate_key(app, bits).map_err(refused)?;
        let path = out.map_or_else(
            || {
                let enterprise = config.enterprise_id.as_deref().unwrap_or("0");
                format!("{enterprise}_{}_config.json", config.public_key_id).into()
            },
            Path::to_owned,
        );
        if let Err(error) = config.write(&path) {
            // Nobody holds the private half, so nobody shall use the key.
            self.directory
                .remove_key(app, &config.public_key_id)
                .map_err(refused)?;
            return Err(Failure::failed(error));
        }
        let shown = json!({"key_id": config.public_key_id, "config": path});
        self.print(&shown, || {
            format!(
                "{}\nkept nowhere else: key {}",
                path.display(),
                config.public_key_id
            )
        })
    }

    fn add_key(&self, app: &str, pem: &Path, allow_small: bool) -> Result<(), Failure> {
        let of_file =
            |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", pem.display()));
        let text = std::fs::read_to_string(pem).map_err(|error| of_file(&error))?;
        let key = PublicKey::from_pem(&text).map_err(|error| of_file(&error))?;
        let key_id = self
            .directory
            .add_key(app, &key, allow_small)
            .map_err(refused)?;
        self.print(&json!({"key_id": key_id}), || key_id.clone())
    }

    fn scopes(&self, app: &str) -> Result<(), Failure> {
        let app = self.directory.app(app).map_err(refused)?;
        let known: Vec<_> = SCOPES
            .into_iter()
            .map(|(name, label)| json!({"name": name, "label": label}))
            .collect();
        let shown = json!({
            "edited": app.edited.scopes,
            "approved": app.approved.map(|terms| terms.scopes),
            "known": known,
        });
        self.print(&shown, || text::scopes(&app))
    }

    fn users(&self) -> Result<(), Failure> {
        let users = self.directory.users().map_err(refused)?;
        self.print(&users, || text::users(&users))
    }

    fn show(&self, app: Result<AppRecord, DirectoryError>) -> Result<(), Failure> {
        let app = app.map_err(refused)?;
        self.print(&app, || text::app(&app))
    }

    fn print<T: serde::Serialize>(
        &self,
        shown: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return print_json(shown);
        }
        println!("{}", text());
        Ok(())
    }
}

fn edit_access(
    terms: &mut Terms,
    level: Option<Level>,
    user_tokens: Option<Switch>,
    as_user: Option<Switch>,
) {
    if let Some(level) = level {
        terms.access = match level {
            Level::App => Access::App,
            Level::Enterprise => Access::AppAndEnterprise,
        };
    }
    if let Some(to) = user_tokens {
        terms.user_tokens = to == Switch::On;
    }
    if let Some(to) = as_user {
        terms.as_user = to == Switch::On;
    }
}

/// Tells what the caller can mend from what failed.
fn refused(error: DirectoryError) -> Failure {
    match error {
        DirectoryError::Database(_) | DirectoryError::Row { .. } | DirectoryError::Generate(_) => {
            Failure::failed(error)
        }
        _ => Failure::usage(error),
    }
}
