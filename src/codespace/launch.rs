//! The long work on a codespace: starting, stopping and removing what its runtime keeps.
//!
//! Each job runs beside the codespace's task and tells it what came out.

use std::{collections::BTreeMap, sync::Arc};

use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Deps, creation_log::CreationLog, work};
use crate::{
    audit::Actor,
    domain::{CodespaceName, Role, Scope, StepName, StepState, Work},
    lifecycle::Event,
    protocol::bootstrap::{Bootstrap, InContainer, Repository, Secret},
    route::Sites,
    runtime::{Making, Progress, RuntimeError, SharedRuntime, Told},
    store::CodespaceRecord,
};

/// What a job has to tell.
pub enum Note {
    Step(StepName, StepState, String),
    /// What only the codespace has, as its agent said before it was stopped.
    Work(Work),
    /// The job is done; an event where there is one.
    Done(Option<Event>),
}

/// What a job works with.
#[derive(Clone)]
pub struct Job {
    pub deps: Arc<Deps>,
    pub runtime: SharedRuntime,
    pub record: CodespaceRecord,
    pub notes: mpsc::Sender<Note>,
    pub log: CreationLog,
}

impl Job {
    /// Starts the agent of the record's generation with this credential, unless it is told to leave it.
    pub async fn launch(self, credential: Secret, making: Making, cancelled: CancellationToken) {
        let launched = tokio::select! {
            launched = self.try_launch(credential, making) => launched,
            // Whoever cancelled stops or removes all of it next.
            () = cancelled.cancelled() => Ok(()),
        };
        let event = match launched {
            Ok(()) => None,
            Err((step, why)) => {
                self.step(step, StepState::Failed, &why).await;
                Some(Event::LaunchFailed(why))
            }
        };
        self.done(event).await;
    }

    async fn try_launch(&self, credential: Secret, making: Making) -> Result<(), (StepName, String)> {
        let name = &self.record.name;
        let at = |step| move |error: RuntimeError| (step, error.to_string());
        self.deps.tunnels.end(name);
        self.step(StepName::Storage, StepState::Running, "").await;
        let progress = self.progress(StepName::Storage);
        self.runtime.create(name, &progress).await.map_err(at(StepName::Storage))?;
        self.step(StepName::Storage, StepState::Done, "").await;
        let mut bootstrap = bootstrap(&self.deps, &self.record, credential)
            .await
            .map_err(|why| (StepName::Agent, why))?;
        if self.runtime.makes_containers() {
            self.configure(&mut bootstrap, making).await.map_err(at(StepName::Image))?;
        }
        self.step(StepName::Agent, StepState::Running, "").await;
        self.runtime.start(name, bootstrap).await.map_err(at(StepName::Agent))
    }

    /// Has the container made as the repository says, once that is there.
    async fn configure(&self, bootstrap: &mut Bootstrap, making: Making) -> Result<(), RuntimeError> {
        if !self.record.prepared {
            bootstrap.container = Some(InContainer {
                awaits: true,
                ..InContainer::default()
            });
            return Ok(());
        }
        if making != Making::Kept {
            self.step(StepName::Image, StepState::Running, "").await;
        }
        let progress = self.progress(StepName::Image);
        self.runtime.configure(&self.record.name, bootstrap, making, &progress).await?;
        let container = bootstrap.container.get_or_insert_default();
        if let Some(why) = &container.recovery {
            self.step(StepName::Image, StepState::Failed, why).await;
        } else if making != Making::Kept {
            self.step(StepName::Image, StepState::Done, "").await;
        }
        // The agent keeps it for as long as it runs.
        container.log = self.log.text();
        Ok(())
    }

    fn progress(&self, step: StepName) -> Progress {
        let (notes, log) = (self.notes.clone(), self.log.clone());
        Progress::new(move |told| match told {
            // Words that find no room are followed by others.
            Told::Words(words) => drop(notes.try_send(Note::Step(step, StepState::Running, words.into()))),
            Told::Printed(text) => log.push(text),
        })
    }

    /// Ends the agent and all that it started, after asking it for work that only it has.
    pub async fn stop(self) {
        let name = &self.record.name;
        if let Some(work) = work::ask(&self.deps.tunnels, name).await {
            self.note(Note::Work(work)).await;
        }
        self.deps.tunnels.end(name);
        let event = match self.runtime.stop(name).await {
            Ok(()) => Event::Stopped,
            Err(error) => Event::StopFailed(error.to_string()),
        };
        self.done(Some(event)).await;
    }

    /// Removes every process and file of an attempt that failed.
    pub async fn undo(self) {
        self.deps.tunnels.end(&self.record.name);
        if let Err(error) = self.runtime.delete(&self.record.name).await {
            tracing::error!(codespace = %self.record.name, %error, "a failed codespace left something behind");
        }
        self.done(None).await;
    }

    /// Removes everything, the token inside first.
    pub async fn delete(self) {
        let name = &self.record.name;
        self.deps.tunnels.end(name);
        let revoked = self.deps.auth.revoke_inside(name).await.map_err(|error| error.to_string());
        let deleted = self.runtime.delete(name).await.map_err(|error| error.to_string());
        let event = match revoked.and(deleted) {
            Ok(()) => Event::Deleted,
            Err(why) => Event::DeleteFailed(format!("it could not be removed: {why}")),
        };
        self.done(Some(event)).await;
    }

    async fn step(&self, name: StepName, state: StepState, detail: &str) {
        self.note(Note::Step(name, state, detail.into())).await;
    }

    async fn done(&self, event: Option<Event>) {
        self.note(Note::Done(event)).await;
    }

    /// A task that is gone needs no notes.
    async fn note(&self, note: Note) {
        drop(self.notes.send(note).await);
    }
}

/// Writes an agent's orders, with a fresh token for what runs inside.
pub(super) async fn bootstrap(deps: &Deps, record: &CodespaceRecord, credential: Secret) -> Result<Bootstrap, String> {
    let owner = deps.auth.user(&record.owner).ok_or("its owner's account is gone")?;
    let token = deps
        .auth
        .create_token(
            &record.owner,
            record.name.as_str(),
            Scope::Inside(record.name.clone()),
            None,
            &Actor::gateway(),
            deps.clock.now(),
        )
        .await
        .map_err(|error| error.to_string())?;
    let email = owner
        .email
        .clone()
        .unwrap_or_else(|| format!("{}@users.noreply.{}", owner.name, deps.sites.gateway().host));
    let profile = deps.belongings.profile(&record.owner).filter(|_| record.personal);
    let profile = profile.unwrap_or_default();
    Ok(Bootstrap {
        codespace: record.name.to_string(),
        generation: record.generation.0,
        credential,
        environment: environment(&deps.sites, &record.name, token.plain.expose_secret()),
        repository: (!record.repository.is_empty()).then(|| Repository {
            url: record.repository.clone(),
            reference: record.reference.clone(),
            pull_request: record.pull_request,
            allow_local: owner.role == Role::Admin,
        }),
        prepared: record.prepared,
        devcontainer: record.devcontainer_path.clone(),
        personal: true,
        log_level: deps.agents_log.clone(),
        max_lease: Some(deps.rules.max_lease.as_secs()),
        git_name: profile.git_name.unwrap_or_else(|| owner.name.to_string()),
        git_email: profile.git_email.unwrap_or(email),
        ..Bootstrap::default()
    })
}

/// The environment of everything inside (product.md §1).
fn environment(sites: &Sites, name: &CodespaceName, token: &str) -> BTreeMap<String, String> {
    let domain = sites.domain_authority();
    let proxy = format!("{}://{name}-{{{{port}}}}.{domain}", sites.gateway().scheme.as_str());
    [
        ("CODESPACES", "true".to_owned()),
        ("CODESPACE_NAME", name.to_string()),
        ("PORTICO_URL", sites.gateway().to_string()),
        ("PORTICO_TOKEN", token.to_owned()),
        ("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", domain),
        ("VSCODE_PROXY_URI", proxy),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_builds_urls() {
        let sites = Sites::new("http://portico.localhost:8080".parse().expect("an origin"), "codespaces.localhost");
        let environment = environment(&sites, &"amber-x".parse().expect("a name"), "pt_x");
        assert_eq!(environment["VSCODE_PROXY_URI"], "http://amber-x-{{port}}.codespaces.localhost:8080");
        assert_eq!(environment["GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN"], "codespaces.localhost:8080");
        assert_eq!(environment["PORTICO_URL"], "http://portico.localhost:8080");
    }
}
