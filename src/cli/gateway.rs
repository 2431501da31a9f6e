//! `portico up`, `serve`, `check` and `agent`: the commands that are not clients.

use std::process::ExitCode;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use super::{
    args::{Agent, Check, Join, Serve, Settings, Up},
    failure::Usage,
    healthcheck, join,
    output::{Output, line, table, words},
    place, up,
};
use crate::{
    agent::give::Owners,
    app::{self, Gateway},
    auth::Link,
    config::{Config, Log, Overrides, Severity},
    log_file,
};

/// Most threads of an agent for what cannot be waited for otherwise: looking up who listens, and names. Lookups take
/// turns in any case, and each thread keeps memory for a while.
const AGENT_BLOCKING_THREADS: usize = 8;

/// Says what is wrong with the configuration; fails if the gateway would not start.
pub fn check(check: Check, output: Output) -> anyhow::Result<ExitCode> {
    let config = gather(check.settings)?;
    let problems = config.problems();
    let words_of = |severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let as_json: Vec<_> = problems
        .iter()
        .map(|problem| serde_json::json!({ "severity": words_of(problem.severity), "key": problem.key, "text": problem.text, "fix": problem.fix }))
        .collect();
    output.show(&as_json, || {
        let rows: Vec<Vec<String>> = problems
            .iter()
            .map(|problem| {
                vec![
                    words_of(problem.severity).into(),
                    problem.key.into(),
                    problem.text.clone(),
                    problem.fix.clone(),
                ]
            })
            .collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["", "key", "what", "do"], &rows)
        }
    });
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if errors == 0 {
        words(&format!(
            "The configuration is sound: {} with codespaces under {}.",
            config.url, config.domain
        ));
        return Ok(ExitCode::SUCCESS);
    }
    words(&format!(
        "{errors} {} the gateway from starting.",
        if errors == 1 { "problem keeps" } else { "problems keep" }
    ));
    Ok(ExitCode::FAILURE)
}

/// Asks the gateway of this machine whether it is well.
pub fn healthcheck(check: Check) -> anyhow::Result<ExitCode> {
    let config = gather(check.settings)?;
    let asked = healthcheck::ask(config.listen, &config.url, config.speaks_tls());
    asked.with_context(|| format!("the gateway at {} is not well", config.listen))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the gateway until it is told to end.
pub fn serve(serve: Serve) -> anyhow::Result<ExitCode> {
    let again = read_again(&serve.settings);
    let config = gather(serve.settings)?;
    app::start_logging(&config.log);
    with_all_cores(async move {
        let gateway = Gateway::start(config).await?;
        gateway.reload_on_hangup(again).context("SIGHUP cannot be received")?;
        up::tell_of_authority(&gateway);
        words(&format!("Portico listens on {} and is at {}", gateway.address, gateway.config.url));
        if !gateway.auth.any_user() {
            let secret = gateway.auth.make_link(Link::FirstAdmin, gateway.clock.now());
            words("Nobody can sign in yet. Open this link once to make yourself the admin:\n");
            line(&format!("  {}/setup#{}", gateway.config.url, secret.expose_secret()));
        }
        app::until_told().await?;
        words("Ending; connections have time to finish.");
        gateway.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs the gateway and opens a codespace in it.
pub fn up(up: Up, output: Output) -> anyhow::Result<ExitCode> {
    let config = gather(up.settings)?;
    if config.log == Log::default() {
        // The terminal belongs to the progress and the link.
        app::start_logging(&log_at(Some("warn".into())));
    } else {
        app::start_logging(&config.log);
    }
    let wanted = up::Wanted {
        repository: up.repository,
        reference: up.reference,
        install: !up.no_install,
    };
    with_all_cores(up::run(config, wanted, output))
}

/// Waits for a signal. The first process of a container, which ends by none that it does not take.
fn hold() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?.recv().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs the agent, in a session of its own: it outlives the gateway's process.
pub fn agent(agent: Agent) -> anyhow::Result<ExitCode> {
    if let [owners, directory] = &agent.give[..] {
        let owners = Owners::parse(owners).context("FROM:USER:GROUP are three numbers, of which the first may be left out")?;
        owners.settle(directory.as_ref())?;
        return Ok(ExitCode::SUCCESS);
    }
    if agent.hold {
        return hold();
    }
    if let [address, gateway] = agent.link[..] {
        crate::agent::link::lay(address, gateway)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(bootstrap) = agent.bootstrap else {
        crate::agent::fence::put_up(&agent.fence, !agent.without_filter)?;
        agent.let_back.map_or(Ok(()), crate::agent::link::let_back)?;
        return Ok(ExitCode::SUCCESS);
    };
    // Refused to a process that leads a group already; then it stands apart well enough.
    let _ = rustix::process::setsid();
    // Orders that cannot be read are told of where they are needed.
    let level = crate::agent::orders::read(&bootstrap).ok().and_then(|orders| orders.log_level);
    app::start_agents_logging(&log_at(level), &bootstrap.with_file_name(log_file::AGENTS));
    // One thread: a codespace's bytes are passed on without a queue between cores.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(AGENT_BLOCKING_THREADS)
        .enable_all()
        .build();
    let runtime = runtime.context("the runtime does not start")?;
    let _ = runtime.block_on(crate::agent::run(bootstrap))?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Makes this machine a codespace, and is its agent.
pub fn join(wanted: Join) -> anyhow::Result<ExitCode> {
    app::start_logging(&log_at(place::variable("PORTICO_LOG_LEVEL")));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(AGENT_BLOCKING_THREADS)
        .enable_all()
        .build();
    let runtime = runtime.context("the runtime does not start")?;
    let code = runtime.block_on(join::run(wanted));
    runtime.shutdown_background();
    code
}

/// A log for people, with a filter if there is one.
fn log_at(level: Option<String>) -> Log {
    let default = Log::default();
    Log {
        level: level.unwrap_or(default.level),
        ..default
    }
}

fn with_all_cores(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// How a configuration that came from a file is read again; a mistake in it leaves what is in force.
fn read_again(settings: &Settings) -> Option<app::Again> {
    if settings.config.is_none() && place::variable("PORTICO_CONFIG").is_none() {
        return None;
    }
    let settings = settings.clone();
    Some(Box::new(move || match gather(settings.clone()) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::error!(%error, "the configuration was not read again, and what was in force stays");
            None
        }
    }))
}

/// From flags to the configuration that is meant.
fn gather(settings: Settings) -> anyhow::Result<Config> {
    let overrides = Overrides {
        config: settings.config,
        listen: settings.listen,
        url: settings.url,
        domain: settings.domain,
        data: settings.data.map(|data| data.to_string_lossy().into_owned()),
        runtime: settings.runtime,
        others: settings.tls.map(|_| ("tls.local".into(), "true".into())).into_iter().collect(),
        ..Overrides::default()
    };
    Config::gather(overrides, place::environment()).map_err(|error| Usage(error.to_string()).into())
}
