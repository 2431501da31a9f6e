//! The engine behind its socket: the connection, and its errors in the words of a user.

use std::{path::PathBuf, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::ListContainersOptions,
};
use tokio::sync::OnceCell;

use crate::runtime::RuntimeError;

/// How long one answer of the engine may take. Pulls and builds answer at once and go on telling.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is asked anew while a container is in a state that Docker has not: Podman tells these while one comes or goes.
const LOOKS: usize = 100;
const LOOK: Duration = Duration::from_millis(50);

/// An engine that is asked for its version before it is asked for anything else.
#[derive(Debug)]
pub struct Engine {
    socket: PathBuf,
    api: OnceCell<Docker>,
}

impl Engine {
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            api: OnceCell::new(),
        }
    }

    /// The engine; an error for as long as it cannot be reached.
    pub async fn api(&self) -> Result<&Docker, RuntimeError> {
        let connect = async || {
            let docker = Docker::connect_with_unix(&self.socket.to_string_lossy(), PATIENCE.as_secs(), API_DEFAULT_VERSION)?;
            docker.negotiate_version().await
        };
        self.api.get_or_try_init(connect).await.map_err(|error| self.trouble(&error))
    }

    /// Whether it is Podman, which differs where it decides by itself.
    pub async fn is_podman(&self) -> Result<bool, RuntimeError> {
        let version = self.api().await?.version().await.map_err(|error| self.trouble(&error))?;
        let components = version.components.unwrap_or_default();
        Ok(components.iter().any(|component| component.name.starts_with("Podman")))
    }

    /// A container, if there is one.
    pub async fn container(&self, id: &str) -> Result<Option<ContainerInspectResponse>, RuntimeError> {
        let api = self.api().await?;
        let mut looks = 0;
        loop {
            match api.inspect_container(id, None).await {
                Ok(found) => return Ok(Some(found)),
                Err(error) if is_missing(&error) => return Ok(None),
                Err(error) if is_between_states(&error) && looks < LOOKS => looks += 1,
                Err(error) => return Err(self.trouble(&error)),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The containers that fit.
    pub async fn containers(&self, wanted: &ListContainersOptions) -> Result<Vec<ContainerSummary>, RuntimeError> {
        let api = self.api().await?;
        let mut looks = 0;
        loop {
            match api.list_containers(Some(wanted.clone())).await {
                Ok(found) => return Ok(found),
                Err(error) if is_between_states(&error) && looks < LOOKS => looks += 1,
                Err(error) => return Err(self.trouble(&error)),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// An error in plain words.
    pub fn trouble(&self, error: &Error) -> RuntimeError {
        match error {
            Error::DockerResponseServerError { message, .. } => refusal(message),
            Error::DockerStreamError { error } => refusal(error),
            Error::RequestTimeoutError => RuntimeError::Failed(format!(
                "the container engine at {} does not answer. Ask the operator",
                self.socket.display()
            )),
            Error::SocketNotFoundError(_) | Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } | Error::IOError { .. } => {
                RuntimeError::Failed(format!(
                    "the container engine at {} cannot be reached. Ask the operator whether it runs and whether the gateway may use its socket",
                    self.socket.display()
                ))
            }
            other => RuntimeError::Failed(format!("the container engine said what the gateway does not understand: {other}")),
        }
    }

    /// Success where what was to go is gone already.
    pub fn unless_missing(&self, done: Result<(), Error>) -> Result<(), RuntimeError> {
        match done {
            Err(error) if !is_missing(&error) && !is_unchanged(&error) => Err(self.trouble(&error)),
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Success where it was so already.
    pub fn unless_unchanged(&self, done: Result<(), Error>) -> Result<(), RuntimeError> {
        match done {
            Err(error) if !is_unchanged(&error) => Err(self.trouble(&error)),
            _ => Ok(()),
        }
    }
}

fn refusal(message: &str) -> RuntimeError {
    let lower = message.to_ascii_lowercase();
    if lower.contains("no space left") || lower.contains("disk quota exceeded") {
        return RuntimeError::DiskFull;
    }
    let message: String = message.chars().filter(|c| !c.is_control()).take(400).collect();
    // Only docker.disk asks for it.
    let advice = if lower.contains("storage-opt") || lower.contains("storage option") {
        ". It cannot bound a container's disk: ask the operator to take docker.disk out (it asks for --storage-opt), or to put the engine's \
         data on XFS with project quotas (pquota)"
    } else {
        ""
    };
    RuntimeError::Failed(format!("the container engine refused: {message}{advice}"))
}

/// Whether the engine knows no such thing.
pub fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether an answer names a state that only Podman has.
fn is_between_states(error: &Error) -> bool {
    let states = ["`configured`", "`initialized`", "`stopped`", "`unknown`"];
    matches!(error, Error::JsonDataError { message, .. } if states.iter().any(|state| message.starts_with(&format!("unknown variant {state}"))))
}

/// Whether it was so before.
fn is_unchanged(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 304, .. })
}

/// Whether something of the same name is there.
pub fn is_taken(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_words() {
        #[track_caller]
        fn check(message: &str, parts: &[&str]) {
            let told = refusal(message).to_string();
            for part in parts {
                assert!(told.contains(part), "{told}");
            }
        }
        check("mkdir /var/lib/docker/x: no space left on device", &["no space left on the disk"]);
        check("write /x: Disk quota exceeded", &["no space left on the disk"]);
        check("conflict\u{1b}", &["refused: conflict"]);
        check(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            &["storage-opt", "take docker.disk out", "XFS with project quotas"],
        );
        assert!(!refusal("conflict").to_string().contains("docker.disk"));
    }

    #[test]
    fn states_that_docker_has_not() {
        let check = |message: &str, between| {
            let error = Error::JsonDataError {
                message: message.into(),
                column: 236,
            };
            assert_eq!(is_between_states(&error), between, "{message}");
        };
        check(
            "unknown variant `stopped`, expected one of ``, `created`, `running` at line 1 column 236",
            true,
        );
        check("unknown variant `asleep`, expected one of ``, `stopped` at line 1 column 2", false);
        check("missing field `Id`", false);
        assert!(!is_between_states(&Error::RequestTimeoutError));
    }
}
