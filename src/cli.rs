//! The command line: what people and scripts type.
//!
//! Owns the words that can be typed and what is printed: data on standard output, words on standard error. The client
//! commands know the gateway by its API alone; `user` and `token` also open the store of a gateway that is down.
//! Refuses to know: how a request is served, and what a codespace is made of.

mod account;
mod args;
mod audit;
mod belongings;
mod ceiling;
mod client;
mod codespace;
mod copy;
mod editor;
pub mod editor_install;
mod exec;
mod explain;
mod failure;
mod gateway;
mod healthcheck;
mod join;
mod keepalive;
mod links;
mod login;
mod machines;
mod offline;
mod output;
mod place;
mod port_log;
mod ports;
mod progress;
mod prompt;
mod saved;
mod shell;
mod sharing;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use args::{AgentVerb, Cli, Command};
use output::Output;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.json };
    match run(cli.command, output) {
        Ok(code) => code,
        Err(error) => failure::report(&error, output.json),
    }
}

fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => gateway::up(up, output),
        Command::Serve(serve) => gateway::serve(serve),
        Command::Check(check) => gateway::check(check, output),
        Command::Healthcheck(check) => gateway::healthcheck(check),
        Command::Agent(agent) => match agent.verb {
            Some(AgentVerb::GitCredential(asked)) => done(belongings::git_credential(asked)),
            Some(AgentVerb::Join(wanted)) => gateway::join(wanted),
            Some(AgentVerb::Tokens(asked)) => done(machines::tokens(asked, output)),
            None => gateway::agent(agent),
        },
        Command::Codespace(verb) => here(codespace::run(verb, output)),
        Command::Explain(asked) => done(explain::run(asked, output)),
        Command::Ports(ports) => done(ports::run(ports, output)),
        Command::Token(verb) => done(account::token(verb, output)),
        Command::User(verb) => done(account::user(verb, output)),
        Command::Sharing(verb) => done(sharing::run(verb, output)),
        Command::Login(login) => done(login::login(login, output)),
        Command::Logout(logout) => done(login::logout(logout, output)),
        Command::Whoami(place) => done(login::whoami(place, output)),
        Command::Ceiling(asked) => done(ceiling::run(asked, output)),
        Command::Audit(question) => done(audit::run(question, output)),
        Command::Secret(verb) => done(belongings::secret(verb, output)),
        Command::GitCredential(verb) => done(belongings::git_server(verb, output)),
        Command::Settings(verb) => done(belongings::settings(verb, output)),
        Command::Keepalive(keepalive) => here(keepalive::run(keepalive, output)),
        Command::Editor(verb) => done(editor::run(verb, output)),
    }
}

/// Runs a client command; one thread is enough for it.
fn here<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime does not start")?;
    let result = runtime.block_on(command);
    // A read of standard input may still wait; nobody waits for it.
    runtime.shutdown_background();
    result
}

fn done(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    here(command).map(|()| ExitCode::SUCCESS)
}
