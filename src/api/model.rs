//! What travels over the API, in both directions; the command line reads the same types.
//!
//! Only shapes: no decision is made here, and no type of the domain or the store is serialised.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

mod activity;
mod machines;
mod belongings;
mod change;
mod ceilings;
mod container;
mod explanation;
mod left_behind;
mod tokens;
mod links;
mod log;
mod ports;
mod sharing;

pub use activity::{Activity, IdleEvent, Lease, TakeLease, TakenLease};
pub use belongings::{ChangePersonalSettings, GitCredential, PersonalSettings, Secret, SetGitCredential, SetSecret};
pub use ceilings::{Ceiling, CeilingChanged, ClosedLink, ClosedShare, SetCeiling};
pub use change::ChangeCodespace;
pub use container::{Notice, Step};
pub use explanation::{ExplainedLimit, ExplainedUpstream, ExplainedVisibility, ExplainedYou, Explanation, PortAdvice, RecentTrouble};
pub use left_behind::LeftBehind;
pub use links::{CreateLink, Lasting, Link, NewLink};
pub use log::{Exchange, ExchangeDetail, ExchangeField, ExchangePart, VisitHour, VisitNamed};
pub use machines::{JoinMachine, JoinedMachine, MachineRegistration, WaitingMachine};
pub use ports::{ChangePort, DecideOffer, Offer, OfferedShare, Port, PortEvent, PortLimits};
pub use sharing::{CloseSharing, ClosedSharing};
pub use tokens::{NewToken, Token};

/// A codespace as its people see it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Codespace {
    /// Its name, one DNS label; never re-used.
    #[schema(example = "amber-quiet-otter-x7k2")]
    pub name: String,
    pub display_name: String,
    /// `creating`, `starting`, `running`, `stopping`, `stopped`, `failed` or `deleting`.
    pub state: String,
    /// Why it is in this state, in plain words.
    pub reason: Option<String>,
    pub repository: String,
    /// The branch, tag or commit that was asked for.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    pub pull_request: Option<u64>,
    /// The account's name.
    pub owner: String,
    /// `external` for a machine of its owner's own, which nobody else starts or stops.
    pub runtime: String,
    pub editor_url: String,
    /// `absent`, `starting`, `ready`, `failed` or `unknown`.
    pub editor: String,
    /// Whether its agent is connected.
    pub connected: bool,
    pub steps: Vec<Step>,
    /// Whether `devcontainer.json` now asks for another container: a rebuild makes it.
    #[serde(default)]
    pub rebuild_offered: bool,
    /// Why it is a container of the default image, although the repository asks for another.
    #[serde(default)]
    pub recovery: Option<String>,
    /// What of `devcontainer.json` is not heeded, and why.
    #[serde(default)]
    pub notices: Vec<Notice>,
    pub ports: Vec<Port>,
    /// What the repository's `devcontainer.json` asks to share, until its owner has decided on it; nothing is open before.
    #[serde(default)]
    pub offer: Option<Offer>,
    pub idle_timeout_minutes: u16,
    /// Whose visits start it: `owner`, `people` who are signed in and may open what they visit, or `everyone` who may.
    #[serde(default)]
    pub woken_by: String,
    /// Whether it is told what its owner keeps: secrets, passwords for git, dotfiles and settings.
    #[serde(default = "belongings::yes")]
    pub personal: bool,
    /// Why it is awake; empty when nothing keeps it so.
    pub awake_because: Vec<String>,
    /// Whether requests to its ports count as use.
    #[serde(default)]
    pub traffic_counts: bool,
    pub stopped_because: Option<String>,
    /// Why it was started again by itself, since somebody last started it.
    #[serde(default)]
    pub restarted_because: Option<String>,
    /// Why nobody can say how it is, while its connection is down.
    #[serde(default)]
    pub away_because: Option<String>,
    /// What in it ran out of memory since it was started, while it runs on.
    #[serde(default)]
    pub out_of_memory: Option<String>,
    /// When it stops, if nothing happens until then or in any case; none unless it runs.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub stops_at: Option<OffsetDateTime>,
    /// Whether that is so soon that its people should hear of it.
    #[serde(default)]
    pub stops_soon: bool,
    /// Whether it stops then whatever happens in it: it has run for as long as the operator lets one run.
    #[serde(default)]
    pub stops_anyway: bool,
    /// The processes that keep it awake for as long as they run.
    #[serde(default)]
    pub leases: Vec<Lease>,
    /// When it is deleted unless somebody uses it until then; none unless that was announced.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deletes_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: OffsetDateTime,
}

/// A certificate with which the gateway speaks TLS, or the want of one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Certificate {
    /// `gateway` or `codespaces`.
    pub hosts: String,
    /// The name that it is for.
    #[schema(example = "*.example-codespaces.net")]
    pub name: String,
    /// `files`, `local` or `acme`; none if nobody gives one.
    pub source: Option<String>,
    /// `good`, `expires_soon`, `expired`, `not_yet` or `missing`.
    pub state: String,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
    /// What went wrong at the last try, in plain words; none if that went well.
    pub last_error: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_error_at: Option<OffsetDateTime>,
    /// When the gateway renews it by itself, or tries again; none if that is not its to do.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try_at: Option<OffsetDateTime>,
}

/// What to create a codespace of.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCodespace {
    /// A git URL; admins may also name a local path.
    #[schema(example = "https://github.com/octocat/Hello-World")]
    pub repository: String,
    /// A branch, tag or commit.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devcontainer_path: Option<String>,
    /// 5 to 240.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_minutes: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Whether it is told what you keep: your secrets, passwords for git, dotfiles and settings. Everything that runs in it can
    /// read that. True if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub personal: Option<bool>,
}

/// What is not pushed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Work {
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub head: Option<String>,
    #[serde(default)]
    pub uncommitted_files: u64,
    #[serde(default)]
    pub unpushed_commits: u64,
    #[serde(default)]
    pub has_upstream: bool,
    #[serde(default)]
    pub repository: bool,
}

/// A terminal that lives in the codespace.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Terminal {
    pub id: String,
    #[serde(default)]
    pub title: String,
    pub cols: u16,
    pub rows: u16,
    pub running: bool,
    #[serde(default)]
    pub exit_status: Option<i32>,
    #[serde(default)]
    pub created_at: String,
    /// Bytes of output so far.
    #[serde(default)]
    pub seq: u64,
}

/// What to open a terminal with.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTerminal {
    #[serde(default = "eighty")]
    pub cols: u16,
    #[serde(default = "twenty_four")]
    pub rows: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
}

fn eighty() -> u16 {
    80
}

fn twenty_four() -> u16 {
    24
}

/// The account of whoever asks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct User {
    pub id: String,
    pub name: String,
    /// `admin` or `member`.
    pub role: String,
    pub has_password: bool,
    /// Of one's own account: whether it may have a password and identities besides that of the provider that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_have_own_ways: Option<bool>,
    pub email: Option<String>,
    /// Whether the account is suspended: it cannot sign in, and its tokens are refused.
    #[serde(default)]
    pub suspended: bool,
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub created_at: Option<OffsetDateTime>,
}

/// What to change of an account; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeUser {
    /// `admin` or `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// An account to make.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(default)]
    pub admin: bool,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// Required where the account has one.
    #[serde(default)]
    pub current: Option<String>,
    pub new: String,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub name: String,
    pub password: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignOut {
    /// All login sessions of the account, not this one alone.
    #[serde(default)]
    pub everywhere: bool,
}

/// The provider at which whoever signed out here is signed in still.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct SignedOut {
    /// The provider's name.
    pub label: String,
    /// Where to sign out there, too.
    pub url: String,
    /// Whether the browser shall go there at once; otherwise it is offered.
    pub at_once: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SetupState {
    /// Whether there is no account yet.
    pub needed: bool,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The secret of the one-time link.
    pub secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SetupDone {
    /// `first_admin` or `sign_in`.
    pub kind: String,
    /// Where to go now.
    pub next: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    #[serde(default)]
    pub name: String,
    #[schema(example = "read")]
    pub scope: String,
    /// A duration such as `30d` or `12h`; without one the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "30d")]
    pub expires_in: Option<String>,
}

/// What a command line asks for when it signs in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginDevice {
    /// The machine's name, for the person who decides.
    #[serde(default)]
    pub machine: String,
    #[schema(example = "all")]
    pub scope: String,
    /// A duration such as `90d`; without one the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct DeviceCodes {
    /// What the program asks for its token with.
    pub device_code: String,
    /// What the person types, such as `BCDF-GHJK`.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// Seconds for which the codes are good.
    pub expires_in: u64,
    /// Seconds between two questions of the program.
    pub interval: u64,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskDevice {
    pub device_code: String,
}

/// The token that was granted; it is in this answer and nowhere else.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct DeviceToken {
    pub access_token: String,
    /// `bearer`.
    pub token_type: String,
    pub id: String,
    pub scope: String,
    /// The account that granted it.
    pub user: String,
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<OffsetDateTime>,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TypedCode {
    pub user_code: String,
}

/// What the program of a code asks for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DeviceSeen {
    /// The machine's name as it says itself.
    pub machine: String,
    /// The address that the request came from.
    pub address: Option<String>,
    pub scope: String,
    /// Until when the token would be valid; none for ever.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub token_expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: OffsetDateTime,
}

#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideDevice {
    pub user_code: String,
    pub grant: bool,
}

/// Something that happened, as the audit log tells it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AuditEvent {
    /// Grows with each event.
    pub id: i64,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// What happened, for instance `session.created` or `port.visibility`.
    pub event: String,
    /// Who did it: an account, `operator`, `agent:NAME`, or empty for nobody known or the gateway itself.
    pub actor: String,
    /// To whom or what: an account, a codespace, or a port as `NAME:PORT`.
    pub target: String,
    pub detail: String,
    /// Where it came from.
    pub address: Option<String>,
    /// The request's id in the access log.
    pub request_id: Option<String>,
}

/// A login session of whoever asks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Session {
    pub id: String,
    /// The browser, as it named itself.
    pub agent: String,
    /// The address that the sign-in came from.
    #[serde(default)]
    pub address: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: OffsetDateTime,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The data of a `removed` event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Removed {
    pub name: String,
}

/// A link that signs somebody in, once.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct SignInLink {
    pub url: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: OffsetDateTime,
}

/// How people sign in.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SignInWays {
    /// Whether names and passwords do.
    pub passwords: bool,
    /// Whether a proxy in front says who people are.
    pub trusted_header: bool,
    pub providers: Vec<Provider>,
}

/// A provider of identities.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Provider {
    pub id: String,
    pub label: String,
    /// Where a browser starts to sign in with it; `?next=` names the path to come back to.
    pub url: String,
}

/// Who an account is elsewhere.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Identities {
    pub identities: Vec<Identity>,
    /// The organisations that follow from them; `everybody` where no provider says anything.
    pub organisations: Vec<String>,
    pub ways: SignInWays,
}

/// An identity at a provider that signs in to the account.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Identity {
    pub id: String,
    /// The provider's id.
    pub provider: String,
    pub label: String,
    /// What the person is known by there.
    pub shown: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub linked_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub used_at: OffsetDateTime,
}

/// An empty body.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartLink {}

/// Where the browser goes on to.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct Departure {
    pub url: String,
}
