//! All that runs inside the codespace on its user's behalf, put together.
//!
//! Owns the order: checkout, editor, history; terminals work all the while. Refuses to know: the gateway.

use std::{io, path::PathBuf, sync::Arc};

use futures_util::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    checkout::Checkout,
    connector::Connection,
    dotfiles::Dotfiles,
    editor::Editor,
    environment::{self, Environment},
    extensions::Extensions,
    git::Git,
    log::Log,
    ports::Ports,
    report::Reporter,
    serve, streams,
    terminals::Terminals,
};
use crate::protocol::{bootstrap::Bootstrap, tunnel::Refusal};

/// Everything inside.
pub struct Workshop {
    pub terminals: Terminals,
    pub environment: Environment,
    pub workspace: PathBuf,
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
}

/// The workshop as streams see it.
pub struct Entrance(pub Arc<Workshop>);

impl Workshop {
    /// Puts it together; [`Workshop::prepare`] sets it going.
    pub fn new(bootstrap: &Bootstrap, environment: Environment, ports: Ports, reporter: Reporter) -> Arc<Self> {
        let (log, tasks) = (Log::default(), TaskTracker::new());
        let (workspace, home) = (bootstrap.workspace.clone(), bootstrap.home.clone());
        Arc::new(Self {
            terminals: Terminals::new(
                environment.clone(),
                workspace.clone(),
                home.clone(),
                reporter.clone(),
                tasks.clone(),
            ),
            editor: Arc::new(Editor::new(
                bootstrap,
                environment.clone(),
                log.clone(),
                ports.clone(),
                reporter.clone(),
            )),
            checkout: Checkout::new(bootstrap, &environment, log.clone(), reporter.clone()),
            dotfiles: Dotfiles::new(bootstrap, environment.clone(), log.clone(), reporter.clone()),
            extensions: Extensions::new(bootstrap, environment.clone(), log.clone(), reporter.clone()),
            environment,
            workspace,
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
        self.environment.personal().told().await;
        if self.checkout.run().await {
            tokio::join!(self.editor.run(), self.extensions.run(), async {
                self.dotfiles.run().await;
                self.checkout.history().await;
            });
        } else {
            self.editor.skip();
        }
        std::future::pending().await
    }

    /// Git in the workspace.
    pub fn git(&self) -> Git {
        Git::new(&self.environment, self.workspace.clone(), Log::default())
    }
}

impl streams::Inside for Entrance {
    fn editor(&self) -> Result<PathBuf, Refusal> {
        self.0.editor.socket()
    }

    fn serve(&self, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(serve::serve_connection(connection, Arc::clone(&self.0)))
    }
}
