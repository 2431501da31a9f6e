//! All that runs inside the codespace on its user's behalf, put together.
//!
//! Owns the order: checkout, first hooks, editor, other hooks, history; terminals work all the while. Refuses to know: the gateway.

use std::{io, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    checkout::Checkout,
    configured::Reading,
    connector::Connection,
    dotfiles::Dotfiles,
    editor::Editor,
    environment::{self, Environment},
    extensions::Extensions,
    folder::Folder,
    git::Git,
    hooks::Hooks,
    leases::Leases,
    log::Log,
    ports::Ports,
    report::Reporter,
    serve, streams,
    terminals::Terminals,
    warning::Warning,
};
use crate::{
    devcontainer::{Hook, Stage},
    domain::{StepName, StepState},
    protocol::{bootstrap::Bootstrap, tunnel::Refusal},
};

/// Everything inside.
pub struct Workshop {
    pub terminals: Terminals,
    pub leases: Leases,
    pub warning: Warning,
    pub environment: Environment,
    pub workspace: PathBuf,
    /// Where its user works in there.
    pub folder: Folder,
    pub home: PathBuf,
    pub ports: Ports,
    pub reporter: Reporter,
    pub log: Log,
    /// Cancelled when the gateway asked the agent to end.
    pub ending: CancellationToken,
    pub tasks: TaskTracker,
    editor: Arc<Editor>,
    checkout: Checkout,
    dotfiles: Dotfiles,
    extensions: Extensions,
    hooks: Hooks,
    reading: Reading,
    /// Somebody opened the editor.
    attached: Notify,
}

/// The workshop as streams see it.
pub struct Entrance(pub Arc<Workshop>);

impl Workshop {
    /// Puts it together; [`Workshop::prepare`] sets it going.
    pub fn new(bootstrap: &Bootstrap, environment: Environment, ports: Ports, reporter: Reporter) -> Arc<Self> {
        let (log, tasks) = (Log::default(), TaskTracker::new());
        let (workspace, home) = (bootstrap.workspace.clone(), bootstrap.home.clone());
        let folder = Folder::of(&workspace);
        if let Some(container) = &bootstrap.container {
            log.write(container.log.as_bytes());
        }
        Arc::new(Self {
            warning: Warning::new(&bootstrap.state_dir, reporter.clone()),
            leases: Leases::new(reporter.clone(), tasks.clone(), bootstrap.max_lease),
            terminals: Terminals::new(environment.clone(), folder.clone(), home.clone(), reporter.clone(), tasks.clone()),
            editor: Arc::new(Editor::new(
                bootstrap,
                folder.clone(),
                environment.clone(),
                log.clone(),
                ports.clone(),
                reporter.clone(),
            )),
            checkout: Checkout::new(bootstrap, &environment, log.clone(), reporter.clone()),
            dotfiles: Dotfiles::new(bootstrap, environment.clone(), log.clone(), reporter.clone()),
            extensions: Extensions::new(bootstrap, environment.clone(), log.clone(), reporter.clone()),
            hooks: Hooks::new(
                environment.clone(),
                folder.clone(),
                &bootstrap.state_dir,
                log.clone(),
                reporter.clone(),
            ),
            reading: Reading::new(bootstrap),
            attached: Notify::new(),
            environment,
            workspace,
            folder,
            home,
            ports,
            reporter,
            log,
            ending: CancellationToken::new(),
            tasks,
        })
    }

    /// Makes the directories that everything inside relies on.
    pub fn make_room(bootstrap: &Bootstrap) -> io::Result<()> {
        std::fs::create_dir_all(&bootstrap.home)?;
        environment::link_programs(&bootstrap.state_dir)
    }

    /// Checks out, then keeps the editor running, installs what follows the user and fetches the history; runs for ever.
    pub async fn prepare(&self) {
        // A private repository needs the user's credential, and everything the user's secrets.
        let away = || {
            let words = "waiting for the gateway, which is away: it tells what the user keeps";
            self.reporter.step(StepName::Clone, StepState::Running, words);
            self.log.line(words);
        };
        self.environment.personal().surely_told(away).await;
        if !self.checkout.run().await {
            self.editor.skip();
        } else if self.reading.awaits() {
            self.reporter.awaits();
        } else {
            self.reporter.prepared();
            self.open().await;
        }
        std::future::pending().await
    }

    /// Runs what the repository wants before the editor, then the editor, and the rest beside it.
    async fn open(&self) {
        let (before, after) = self.configure();
        let all_well = self.hooks.run(&before).await;
        let personal = async {
            self.dotfiles.run().await;
            self.checkout.history().await;
        };
        tokio::join!(self.editor.run(), self.extensions.run(), personal, async {
            if all_well {
                self.run_after(&after).await;
            } else {
                self.hooks.skip(&after, "a command before it failed");
            }
        });
    }

    /// Takes what the repository says of folder and environment; gives its hooks before and after the editor.
    fn configure(&self) -> (Vec<Hook>, Vec<Hook>) {
        let configuration = self.reading.read().configuration;
        if let Some(folder) = &configuration.folder
            && !self.folder.name(folder.as_ref())
        {
            self.log
                .line(format_args!("workspaceFolder: there is no folder {folder} in the repository"));
        }
        // A container's own variables are the agent's already.
        let own = configuration.container_env.into_iter().map(|(name, value)| (name, Some(value)));
        let own = own.filter(|_| !self.reading.in_container());
        self.environment.declare(own.chain(configuration.remote_env));
        self.hooks.announce(&configuration.hooks);
        if self.reading.is_recovery() {
            self.hooks
                .skip(&configuration.hooks, "this is not the container that it is written for");
            return (Vec::new(), Vec::new());
        }
        let wait_for = configuration.wait_for;
        configuration.hooks.into_iter().partition(|hook| hook.stage <= wait_for)
    }

    async fn run_after(&self, hooks: &[Hook]) {
        let attach = hooks.iter().position(|hook| hook.stage == Stage::PostAttach).unwrap_or(hooks.len());
        let (first, attach) = hooks.split_at(attach);
        if !self.hooks.run(first).await {
            return self.hooks.skip(attach, "a command before it failed");
        }
        if !attach.is_empty() {
            self.attached.notified().await;
            self.hooks.run(attach).await;
        }
    }

    /// Git in the workspace.
    pub fn git(&self) -> Git {
        Git::new(&self.environment, self.workspace.clone(), Log::default())
    }
}

impl streams::Inside for Entrance {
    fn editor(&self) -> Result<PathBuf, Refusal> {
        let socket = self.0.editor.socket();
        if socket.is_ok() {
            self.0.attached.notify_one();
        }
        socket
    }

    fn serve(&self, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(serve::serve_connection(connection, Arc::clone(&self.0)))
    }
}
