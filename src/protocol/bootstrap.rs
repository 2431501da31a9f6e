//! What the agent is told at its start: a file that only it reads, made by the gateway and completed by the runtime.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::devcontainer::{Inherited, Notices};

/// The agent's orders, as JSON in a file of mode 0600.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
pub struct Bootstrap {
    pub codespace: String,
    pub generation: u64,
    /// Proves the agent to the gateway; good for this codespace and generation alone.
    pub credential: Secret,
    /// Where the gateway is from inside: `unix:PATH`, `http://…` or `https://…`. The runtime fills it in.
    pub gateway: String,
    /// A directory for the agent's own files: its socket, the editor's socket, logs. The runtime fills it in.
    pub state_dir: PathBuf,
    /// Where the repository is checked out. The runtime fills it in.
    pub workspace: PathBuf,
    /// The HOME of everything that runs inside. The runtime fills it in.
    pub home: PathBuf,
    /// The Unix socket to listen on for dialled streams, if any. The runtime fills it in.
    pub listen: Option<PathBuf>,
    /// An editor's program to start, found by the runtime.
    pub editor: Option<EditorProgram>,
    /// A value that every process inside carries in [`MARK_VARIABLE`]; where set, only ports of marked processes count.
    pub mark: Option<String>,
    /// The environment of everything that runs inside, on top of what the runtime adds.
    pub environment: BTreeMap<String, String>,
    /// Whether the agent's own environment passes on whole: in a container it is the image's.
    #[serde(default)]
    pub whole_environment: bool,
    /// Networks that must be out of reach before anything runs inside, as `10.0.0.0/8`; the runtime sees to it.
    #[serde(default)]
    pub unreachable: Vec<String>,
    /// What the workspace is a checkout of.
    pub repository: Option<Repository>,
    /// Whether it was checked out once: then nothing is cloned again, and at most the history is fetched to its end.
    #[serde(default)]
    pub prepared: bool,
    /// The `devcontainer.json` that was chosen, below the workspace; none for the usual places.
    #[serde(default)]
    pub devcontainer: Option<String>,
    /// Whether the gateway tells what the user keeps, for which what runs inside waits.
    #[serde(default)]
    pub personal: bool,
    /// Whether this is a machine of the user's own, whose HOME is left as it is.
    #[serde(default)]
    pub own_machine: bool,
    /// The filter of the agent's own log, as `tracing` reads it; none for the default.
    #[serde(default)]
    pub log_level: Option<String>,
    /// How long a lease holds at most, in seconds; none where the gateway did not say.
    #[serde(default)]
    pub max_lease: Option<u64>,
    /// What holds where it is a container; none elsewhere. The runtime fills it in.
    #[serde(default)]
    pub container: Option<InContainer>,
    pub git_name: String,
    pub git_email: String,
}

impl std::fmt::Debug for Bootstrap {
    /// Without the environment, which holds the token inside, and the repository's address, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("codespace", &self.codespace)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// Where a machine that joins finds its token; nothing inside is given it.
pub const JOIN_TOKEN: &str = "PORTICO_JOIN_TOKEN";

/// The variable that marks a codespace's processes in the `process` runtime.
pub const MARK_VARIABLE: &str = "PORTICO_MARK";

/// The variable that names the agent's socket for programs inside.
pub const SOCKET_VARIABLE: &str = "PORTICO_AGENT_SOCKET";

/// Variables that pass from the gateway to an agent, and from an agent to what runs inside, where they are set; `LC_*`
/// pass as well. Never a secret of the service's.
pub const PASSED_VARIABLES: [&str; 20] = [
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "SSL_CERT_FILE",
    "RUSTUP_HOME",
    "PYENV_ROOT",
    "NVM_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// A container that is made as the repository says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct InContainer {
    /// Whether only the checkout is to be made here, if it has a `devcontainer.json`: then the container is made anew.
    pub awaits: bool,
    /// What the container was made from ([`crate::devcontainer::Configuration::fingerprint`]); none for the default.
    pub made_from: Option<String>,
    /// Why it is the default container, although the repository says otherwise.
    pub recovery: Option<String>,
    /// What the runtime does not heed.
    pub notices: Notices,
    /// What its image brings with it.
    pub inherited: Inherited,
    /// What was said while it was made.
    pub log: String,
    /// Who runs beside it.
    pub neighbours: Neighbours,
}

/// Who is reached by which name in a codespace's own network.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Neighbours {
    /// What runs beside the codespace, and its address.
    pub beside: BTreeMap<String, IpAddr>,
    /// Names of the codespace itself, and of whatever shares its address.
    pub own: Vec<String>,
}

/// What to check out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Repository {
    pub url: String,
    /// A branch, tag or commit; none for the default branch.
    pub reference: Option<String>,
    pub pull_request: Option<u64>,
    /// Whether `file:` URLs and local paths are allowed, as they are for admins.
    pub allow_local: bool,
}

/// An editor that can be started.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EditorProgram {
    /// `code-server` or `openvscode-server`.
    pub kind: String,
    /// The program and its first arguments, for instance Node and the entry script.
    pub command: Vec<String>,
}

/// A text that never shows in `Debug`.
#[derive(Clone, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
