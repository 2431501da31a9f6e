//! What can be written on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod agent;
mod belongings;
mod codespace;
mod create;
mod life;
mod links;
mod log;
mod ports;
mod sharing;

pub use self::agent::{Agent, AgentVerb, Join, MachineTokens};
pub use self::belongings::{GitCredential, HelperCall, Secret, SecretSet, SettingsVerb};
pub use self::codespace::{Copy, Exec, Ssh};
pub use self::create::Create;
pub use self::life::{Edit, Keepalive};
pub use self::links::{PortsLinks, PortsShare, PortsUnshare, PortsVisibility};
pub use self::log::PortsLog;
pub use self::ports::{PortMapping, PortsForward, PortsLimit, PortsOffer};
pub use self::sharing::{Sharing, SharingClose, SharingOpen};

/// A self-hosted browser IDE gateway: open a repository in a real VS Code, run its app, share its port.
#[derive(Debug, Parser)]
#[command(
    name = "portico",
    version,
    max_term_width = 110,
    disable_help_subcommand = true,
    after_help = "Examples:
  portico up                                     the repository in this directory, in the browser
  portico up https://github.com/octocat/Hello-World
  portico login https://portico.example.com      sign this command line in to a gateway
  portico codespace list
  portico ports visibility 3000:public --for 2h  share the app on port 3000 for two hours

Where: client commands talk to PORTICO_URL with PORTICO_TOKEN, else to the gateway that `portico login` \
signed in to, else to the gateway of this machine through DATA/portico.sock (--data asks for that one).

Exit codes: 0 done, 1 it could not be done, 2 wrong usage, 3 not signed in or not allowed, \
4 there is no such thing, 5 the gateway cannot be reached. `codespace exec` gives the command's own."
)]
pub struct Cli {
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a gateway and a codespace for a repository, and print the link that opens it.
    Up(Up),
    /// Run the gateway.
    Serve(Serve),
    /// Say what is wrong with the configuration before a user meets it.
    Check(Check),
    /// Ask the gateway of this machine whether it is well; for containers and supervisors.
    #[command(hide = true)]
    Healthcheck(Check),
    /// Work with codespaces.
    #[command(subcommand, visible_alias = "cs")]
    Codespace(Codespace),
    /// List ports and say who may open them.
    Ports(Ports),
    /// Say why a URL of a codespace opens or does not, and what the app behind it answers.
    Explain(super::explain::Explain),
    /// Make, list and revoke personal access tokens.
    #[command(subcommand)]
    Token(Token),
    /// Make and list accounts.
    #[command(subcommand)]
    User(User),
    /// Close what people share, and open it again. For administrators.
    #[command(subcommand)]
    Sharing(Sharing),
    /// Sign this command line in to a gateway, through a browser.
    Login(Login),
    /// Revoke what `login` got, and forget it.
    Logout(Logout),
    /// Say which gateway commands talk to, and as whom.
    Whoami(Where),
    /// Show and set how far owners may share at all. For administrators.
    Ceiling(super::ceiling::Ceiling),
    /// Show the audit log: who did what, from where. For administrators.
    Audit(Audit),
    /// Keep secrets, which are variables of everything in your codespaces.
    #[command(subcommand)]
    Secret(Secret),
    /// Keep passwords or tokens for git servers, which git in your codespaces uses.
    #[command(subcommand)]
    GitCredential(GitCredential),
    /// Show and change what follows you to each codespace: git's name, dotfiles, the editor's settings.
    Settings(SettingsVerb),
    /// Inside a codespace: keep it awake for as long as a process runs.
    Keepalive(Keepalive),
    /// Install an editor.
    #[command(subcommand)]
    Editor(Editor),
    /// Make this machine a codespace, from behind any network: `agent join`.
    Agent(Agent),
}

/// The configuration, as flags; each is also a key of the file and a `PORTICO_…` variable.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The directory that holds the gateway's state.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The address to listen on, for instance 127.0.0.1:8080.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The gateway's own URL, as browsers see it.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The domain under which codespaces get their hosts.
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Where codespaces live.
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// Speak TLS with a certificate of an authority of your own, made once in the data directory: for development.
    #[arg(long, value_name = "HOW", value_parser = ["local"])]
    pub tls: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico up                 the git repository of the current directory
  portico up ~/src/app       a local path
  portico up https://github.com/octocat/Hello-World --ref main")]
pub struct Up {
    /// A git URL or a local path; the current directory if left out.
    pub repository: Option<String>,
    /// A branch, tag or commit.
    #[arg(long = "ref", value_name = "REF")]
    pub reference: Option<String>,
    /// Do not install an editor, even if there is none.
    #[arg(long)]
    pub no_install: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  portico serve --config /etc/portico/portico.toml --data /var/lib/portico")]
pub struct Serve {
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  portico check --config /etc/portico/portico.toml")]
pub struct Check {
    #[command(flatten)]
    pub settings: Settings,
}

/// Which gateway, and as whom.
#[derive(Args, Clone, Debug, Default)]
pub struct Where {
    /// The gateway's URL; PORTICO_TOKEN says who you are [env: PORTICO_URL].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The data directory of the gateway on this machine [env: PORTICO_DATA].
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub data: Option<PathBuf>,
}

/// Which codespace, where a verb needs one.
#[derive(Args, Clone, Debug, Default)]
pub struct Which {
    /// The codespace; the only one if left out.
    #[arg(short, long, value_name = "NAME", env = "CODESPACE_NAME")]
    pub codespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Codespace {
    /// List your codespaces.
    #[command(visible_alias = "ls")]
    List(Where),
    /// Show one codespace.
    View(Named),
    /// Create a codespace and wait until it can be used.
    Create(Create),
    /// Stop a codespace; uncommitted work stays.
    Stop(Named),
    /// Start a stopped codespace and wait until it can be used.
    Start(Named),
    /// Change a codespace: its name for people, when it stops, whose visits start it.
    Edit(Edit),
    /// Make a codespace's container anew as its devcontainer.json says now; its files stay.
    Rebuild(Named),
    /// Delete a codespace and its files.
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// Run a command inside a codespace; its exit status becomes ours.
    Exec(Exec),
    /// Print what the checkout and the editor said.
    Logs(Named),
    /// Open a shell inside a codespace, or run one command line in it.
    Ssh(Ssh),
    /// Copy files between here and a codespace.
    Cp(Copy),
    /// Open a codespace's editor in the browser.
    Code(Named),
}

#[derive(Args, Debug)]
pub struct Named {
    /// The codespace; CODESPACE_NAME or the only one if left out.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

impl Named {
    /// The name that was given in either way.
    pub fn given(&self) -> Option<&str> {
        self.name.as_deref().or(self.which.codespace.as_deref())
    }
}

#[derive(Args, Debug)]
pub struct Delete {
    #[command(flatten)]
    pub named: Named,
    /// Delete even if work is not pushed, and do not ask.
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Ports {
    #[command(subcommand)]
    pub command: Option<PortsCommand>,
    #[command(flatten)]
    pub list: PortsList,
}

#[derive(Debug, Subcommand)]
pub enum PortsCommand {
    /// List the ports of a codespace.
    #[command(visible_alias = "ls")]
    List(PortsList),
    /// Say who may open ports: private, org or public.
    Visibility(PortsVisibility),
    /// Say what the app on a port speaks, and as what host it is asked.
    Set(super::ports::PortsSet),
    /// Make a link that opens a port to whoever has it, without an account.
    Share(PortsShare),
    /// List the links that open ports.
    Links(PortsLinks),
    /// Revoke links; what was opened by them is closed at once.
    Unshare(PortsUnshare),
    /// Bring TCP ports of a codespace to this machine, for databases and whatever else speaks no HTTP.
    Forward(PortsForward),
    /// Limit what a port lets through: requests a second, connections, bodies, addresses.
    Limit(PortsLimit),
    /// Write down what is asked of a port, see it, and ask for it again; who visited.
    Log(PortsLog),
    /// Show what the repository's devcontainer.json asks to share, and take it or leave it.
    Offer(PortsOffer),
}

#[derive(Args, Debug)]
pub struct PortsList {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it, alone; it is never shown again.
    Create(TokenCreate),
    /// List tokens, without their secrets.
    #[command(visible_alias = "ls")]
    List(TokenPlace),
    /// Revoke a token at once.
    Revoke(TokenRevoke),
}

#[derive(Args, Debug)]
pub struct TokenPlace {
    /// The account, for the operator on the gateway's machine.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico token create --user ada --scope all --data /var/lib/portico
  portico token create --name ci --scope codespace:amber-otter-x7k2 --expires 30d")]
pub struct TokenCreate {
    /// What the token may do: all, read, codespace:NAME or port:NAME:PORT.
    #[arg(long, default_value = "all", value_parser = parse_scope)]
    pub scope: String,
    /// What it is for.
    #[arg(long, default_value = "command line", value_name = "TEXT")]
    pub name: String,
    /// How long it is valid, for instance 30d; for ever if left out.
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<humantime::Duration>,
    #[command(flatten)]
    pub of: TokenPlace,
}

fn parse_scope(text: &str) -> Result<String, String> {
    match text.parse::<crate::domain::Scope>() {
        Ok(crate::domain::Scope::Inside(_)) | Err(_) => Err(crate::domain::ScopeError.to_string()),
        Ok(scope) => Ok(scope.to_string()),
    }
}

#[derive(Args, Debug)]
pub struct TokenRevoke {
    /// The token's id, as `token list` shows it.
    pub id: String,
    #[command(flatten)]
    pub of: TokenPlace,
}

#[derive(Debug, Subcommand)]
pub enum User {
    /// Make an account.
    Create(UserCreate),
    /// List accounts.
    #[command(visible_alias = "ls")]
    List(Where),
    /// Make an account an administrator or a member; it is then signed out everywhere.
    Role(UserRole),
    /// Suspend an account: it is signed out everywhere and its tokens are refused.
    Suspend(UserNamed),
    /// Lift an account's suspension.
    Resume(UserNamed),
    /// Print a link that signs an account in once, within 30 minutes; on the gateway's own machine alone.
    Link(UserNamed),
}

#[derive(Args, Debug)]
pub struct UserNamed {
    /// The account's name.
    pub name: String,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  portico user role ada admin")]
pub struct UserRole {
    /// The account's name.
    pub name: String,
    /// admin or member.
    #[arg(value_parser = ["admin", "member"])]
    pub role: String,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico user create ada --admin
  echo \"$PASSWORD\" | portico user create ada --admin --password-stdin --data /var/lib/portico")]
pub struct UserCreate {
    /// The account's name.
    pub name: String,
    /// Make it an admin.
    #[arg(long)]
    pub admin: bool,
    /// Read the password from standard input instead of asking for it.
    #[arg(long)]
    pub password_stdin: bool,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico login https://portico.example.com
  portico login portico.example.com --scope read --expires 8h

It shows a code and an address. Open the address in any browser, sign in there, type the code and check what is \
asked for. The token is kept in portico/credentials.json of your configuration directory, for you alone to read. \
PORTICO_URL with PORTICO_TOKEN go before it; --data DIR asks for the gateway of this machine.")]
pub struct Login {
    /// The gateway's URL; the one signed in to before if left out.
    #[arg(value_name = "URL", env = "PORTICO_URL")]
    pub url: Option<String>,
    /// What the token may do: all, read, codespace:NAME or port:NAME:PORT.
    #[arg(long, default_value = "all", value_parser = parse_scope)]
    pub scope: String,
    /// How long it is valid.
    #[arg(long, default_value = "90d", value_name = "DURATION")]
    pub expires: humantime::Duration,
    /// Do not open a browser.
    #[arg(long)]
    pub no_browser: bool,
    /// Send the token over plain HTTP to a gateway that is not on this machine; anyone on the way can read it.
    #[arg(long)]
    pub insecure: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  portico logout")]
pub struct Logout {
    /// The gateway's URL; the one that is in use if left out.
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// Sign out of all gateways.
    #[arg(long, conflicts_with = "url")]
    pub all: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico audit --since 1d
  portico audit --event session.refused --limit 1000
  portico audit --codespace amber-otter-x7k2 --since 2026-01-31T00:00:00Z
  portico audit --lines --since 30d > audit.jsonl    all that match, one JSON object a line")]
pub struct Audit {
    /// What an account did, or what was done to it.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// What concerns a codespace or one of its ports.
    #[arg(short, long, value_name = "NAME")]
    pub codespace: Option<String>,
    /// One event such as session.created, or all of a kind such as session.
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// From this time on, or so long ago, for instance 7d.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Before this time, or so long ago.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Most events to show, the newest.
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Print all that match, page after page, one JSON object in each line.
    #[arg(long, conflicts_with_all = ["limit", "json"])]
    pub lines: bool,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Debug, Subcommand)]
pub enum Editor {
    /// Install code-server with npm, for all codespaces of this gateway.
    Install(EditorInstall),
}

#[derive(Args, Debug)]
pub struct EditorInstall {
    /// The gateway's data directory [env: PORTICO_DATA].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_whole_and_fits_a_terminal() {
        fn look(command: &clap::Command) {
            let name = command.get_name();
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = after.lines().collect();
            for pair in lines.windows(2) {
                let is_prose = |line: &str| !line.is_empty() && !line.starts_with("  ") && !line.starts_with("Example");
                // What is prose is broken where the terminal ends, so it must not be broken before.
                assert!(!(is_prose(pair[0]) && is_prose(pair[1])), "{name}: {pair:?}");
            }
            for line in lines.iter().filter(|line| line.starts_with("  ")) {
                assert!(line.chars().count() <= 100, "{name}: {line}");
            }
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{name}: {} says nothing", argument.get_id());
            }
            command.get_subcommands().filter(|inner| !inner.is_hide_set()).for_each(look);
        }
        look(&Cli::command());
    }

    #[test]
    fn fixed_spellings_parse() {
        for line in [
            "portico serve --config f --data d --listen 127.0.0.1:8080 --url http://portico.localhost:8080 --domain codespaces.localhost",
            "portico serve --runtime process",
            "portico up",
            "portico up . --no-install",
            "portico check --config f",
            "portico user create ada --admin --password-stdin --data d",
            "portico token create --user ada --scope all --data d",
            "portico codespace exec amber-x -- ls -la",
            "portico codespace exec -c amber-x -- ls",
            "portico --json codespace list",
            "portico codespace list --json",
            "portico codespace delete amber-x --force",
            "portico ports",
            "portico ports -c amber-x --json",
            "portico ports list -c amber-x",
            "portico ports visibility 3000:public 8000:private -c amber-x --for 2h",
            "portico ports visibility 3000:org --until 2026-12-24T18:00:00+01:00",
            "portico ports offer --accept -c amber-x",
            "portico ports limit 3000 --rate 5 --from 10.0.0.0/8,::1 -c amber-x",
            "portico ports limit 3000 --none",
            "portico sharing close port:amber-x:3000 --reason phishing",
            "portico sharing open all --data /tmp/x",
            "portico ports forward 5432 80:0 5432:15432 -c amber-x --bind 0.0.0.0 --json",
            "portico ports share 3000 --for 2h --password sesame --uses 5 --path /x --name N",
            "portico ports share 8000 --webhook --forever --method POST,PUT -c amber-x",
            "portico ports links 3000 --all",
            "portico ports unshare 0190-a 0190-b",
            "portico agent --bootstrap f",
            "portico editor install",
            "portico login",
            "portico login https://portico.example.com --scope read --expires 8h --no-browser",
            "portico logout --all",
            "portico whoami --json",
            "portico user role ada admin --data d",
            "portico user suspend ada",
            "portico audit --user ada --event session.refused --since 7d --limit 1000",
            "portico audit --lines -c amber-x",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "portico ports visibility 3000",
            "portico ports visibility 0:public",
            "portico ports offer --accept --dismiss",
            "portico ports forward",
            "portico ports forward 0:5432",
            "portico ports forward 1:2:3",
            "portico ports share 0",
            "portico ports share 3000 --webhook --password x",
            "portico ports share 3000 --for 2h --forever",
            "portico ports unshare",
            "portico ports unshare ../tokens",
            "portico ports limit 3000",
            "portico sharing close all",
            "portico ports limit 3000 --none --rate 5",
            "portico ports visibility 3000:everyone",
            "portico codespace exec amber-x",
            "portico token create --scope inside:amber-x",
            "portico login --scope inside:amber-x",
            "portico logout https://portico.example.com --all",
            "portico user role ada owner",
            "portico audit --limit 1001",
            "portico audit --lines --limit 5",
            "portico audit --lines --json",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
