//! Looks at a repository on this machine's disk before anything is made for it.

use std::path::Path;

use super::CodespaceError;
use crate::domain::RepositorySource;

/// Refuses a local repository that is not there or is none; a remote one passes.
pub async fn check(source: &RepositorySource) -> Result<(), CodespaceError> {
    let Some(path) = source.local_path() else { return Ok(()) };
    let is_directory = tokio::fs::metadata(path).await.is_ok_and(|found| found.is_dir());
    if !is_directory {
        return Err(CodespaceError::LocalMissing { path: path.into() });
    }
    let path = Path::new(path);
    let exists = async |relative: &str| tokio::fs::metadata(path.join(relative)).await.is_ok();
    let is_repository = exists(".git").await || (exists("HEAD").await && exists("objects").await && exists("refs").await);
    if is_repository {
        Ok(())
    } else {
        Err(CodespaceError::NotARepository {
            path: path.display().to_string(),
        })
    }
}
