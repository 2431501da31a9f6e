//! What can be typed after `portico secret`, `git-credential` and `settings`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Where;
use crate::domain::{ExtensionId, GitHost, SecretName};

#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Keep a secret, in place of the one of that name.
    Set(SecretSet),
    /// List secrets, without their values.
    #[command(visible_alias = "ls")]
    List(SecretList),
    /// Forget a secret.
    #[command(visible_alias = "remove")]
    Delete(SecretDelete),
    /// Have what everybody keeps forgotten, of which the key is lost; the gateway must be down.
    Forget(SecretForget),
}

#[derive(Args, Debug)]
pub struct SecretForget {
    /// What the gateway's key does not open.
    #[arg(long, required_unless_present = "all")]
    pub unreadable: bool,
    /// Everything: secrets, passwords for git and settings of all accounts.
    #[arg(long, conflicts_with = "unreadable")]
    pub all: bool,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico secret set API_KEY                      asks for the value, without echo
  portico secret set API_KEY < key.txt
  portico secret set DEPLOY_KEY --repo https://github.com/octocat/Hello-World < key
  portico secret set --env-file .env              one for each line NAME=VALUE

What starts in your codespaces from then on has it; the editor has it when its codespace starts again.")]
pub struct SecretSet {
    /// The variable's name.
    #[arg(required_unless_present = "env_file")]
    pub name: Option<SecretName>,
    /// The value, which other users of this machine can see here; standard input hides it.
    #[arg(long, short, value_name = "TEXT")]
    pub body: Option<String>,
    /// Set one for each line of a file; lines are NAME=VALUE, empty, or begin with #.
    #[arg(long, short = 'f', value_name = "FILE", conflicts_with_all = ["name", "body"])]
    pub env_file: Option<PathBuf>,
    /// Only for codespaces of this repository.
    #[arg(long = "repo", short = 'R', value_name = "URL")]
    pub repository: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct SecretList {
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct SecretDelete {
    /// The variable's name.
    pub name: SecretName,
    /// The one that is only for codespaces of this repository.
    #[arg(long = "repo", short = 'R', value_name = "URL")]
    pub repository: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Debug, Subcommand)]
pub enum GitCredential {
    /// Keep who you are at a git server; the password or token is read from standard input.
    Set(GitCredentialSet),
    /// List git servers, without the passwords.
    #[command(visible_alias = "ls")]
    List(SecretList),
    /// Forget who you are at a git server.
    #[command(visible_alias = "remove")]
    Delete(GitCredentialDelete),
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico git-credential set github.com --username ada < token.txt
  portico git-credential set http://git.internal:3000 --username ada")]
pub struct GitCredentialSet {
    /// HOST for https, https://HOST or http://HOST:PORT; no other server is answered for.
    pub host: GitHost,
    /// Who you are there.
    #[arg(long, short, value_name = "NAME")]
    pub username: String,
    /// Only for codespaces of this repository.
    #[arg(long = "repo", short = 'R', value_name = "URL")]
    pub repository: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct GitCredentialDelete {
    /// The git server, as it was set.
    pub host: GitHost,
    /// The one that is only for codespaces of this repository.
    #[arg(long = "repo", short = 'R', value_name = "URL")]
    pub repository: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico settings
  portico settings --git-name 'Ada Lovelace' --git-email ada@example.org
  portico settings --dotfiles https://github.com/ada/dotfiles
  portico settings --editor-settings settings.json --extension rust-lang.rust-analyzer

An empty value removes a setting. git's name and email change when a codespace starts; the rest is for new codespaces.")]
pub struct SettingsVerb {
    #[command(flatten)]
    pub set: SettingsSet,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
pub struct SettingsSet {
    /// git's user.name.
    #[arg(long, value_name = "NAME")]
    pub git_name: Option<String>,
    /// git's user.email.
    #[arg(long, value_name = "ADDRESS")]
    pub git_email: Option<String>,
    /// The repository of your dotfiles.
    #[arg(long, value_name = "URL")]
    pub dotfiles: Option<String>,
    /// The script in it to run, in place of the usual names.
    #[arg(long, value_name = "PATH")]
    pub dotfiles_script: Option<String>,
    /// A file with the editor's settings; an empty text removes them.
    #[arg(long, value_name = "FILE")]
    pub editor_settings: Option<PathBuf>,
    /// An extension for the editor, in place of those before; again for each.
    #[arg(long = "extension", value_name = "PUBLISHER.NAME", value_delimiter = ',')]
    pub extensions: Vec<ExtensionId>,
    /// No extensions.
    #[arg(long, conflicts_with = "extensions")]
    pub no_extensions: bool,
}

#[derive(Args, Debug)]
pub struct HelperCall {
    /// The agent's socket.
    pub socket: PathBuf,
    /// What git asks for: get, store or erase.
    pub operation: String,
}
