//! Runs one program to its end, with all that it prints in the log.
//!
//! Owns its bounds in time and that nothing of it is left when they are over. Refuses to know what is run.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use super::{
    environment::Environment,
    log::Log,
    processes::{self, Doomed},
};

/// How long output is read after the end, where something that was left behind holds it open.
const LINGER: Duration = Duration::from_millis(500);

/// Runs a program; the error goes on after its name, in plain words.
pub async fn run(command: &[&str], environment: &Environment, directory: &Path, log: &Log, within: Duration) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("is empty".into());
    };
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| format!("could not be started: {error}"))?;
    let group = child.id();
    let printed = tokio::spawn(follow(child.stdout.take(), log.clone()));
    let complained = tokio::spawn(follow(child.stderr.take(), log.clone()));
    let ended = timeout(within, child.wait()).await;
    if let (Err(_), Some(group)) = (&ended, group) {
        processes::end(Doomed {
            groups: [group].into(),
            ..Doomed::default()
        })
        .await;
    }
    let _ = timeout(LINGER, async { tokio::join!(printed, complained) }).await;
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed ({status})")),
        Ok(Err(error)) => Err(format!("failed: {error}")),
        Err(_) => Err(format!("did not end within {} s", within.as_secs())),
    }
}

/// Writes a stream to the log until it ends.
pub async fn follow(stream: Option<impl AsyncRead + Unpin>, log: Log) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(count) = stream.read(&mut buffer).await
        && count > 0
    {
        log.write(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_it_prints_is_logged_and_how_it_fails_is_told() {
        let (log, environment) = (Log::default(), Environment::default());
        let sh = async |script: &str, within| run(&["/bin/sh", "-c", script], &environment, Path::new("/"), &log, within).await;
        let long = Duration::from_secs(60);
        assert_eq!(sh("echo out; echo err >&2", long).await, Ok(()));
        assert!(log.text().contains("out") && log.text().contains("err"));
        assert!(sh("exit 3", long).await.is_err_and(|why| why.contains('3')));
        let late = sh("exec sleep 1000", Duration::from_millis(50)).await;
        assert_eq!(late, Err("did not end within 0 s".into()));
    }
}
