//! What must outlive the process: users, login sessions, tokens, codespaces, ports, audit.
//!
//! Owns the [`Store`] trait and its records. Everything is read once at start and kept in memory by the services;
//! a store is never on the path of a request. Refuses to know: HTTP, policy, runtimes.

pub mod memory;
pub mod sqlite;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use time::OffsetDateTime;

use crate::domain::{
    CodespaceName, Extent, Generation, Organisation, Phase, Port, PortLimits, Role, Scope, SessionId, ShareId, ShareTerms, TokenId, UserId,
    UserName, Visibility, Wakers, Work,
};

/// A store behind its seam.
pub type SharedStore = Arc<dyn Store>;

/// Durable state. Each call is atomic and durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Ends its use: what was written is in one place then, for whoever copies it.
    async fn close(&self) {}

    /// All users.
    async fn users(&self) -> Result<Vec<UserRecord>, StoreError>;
    /// Adds a user; [`StoreError::Conflict`] if the name is taken.
    async fn add_user(&self, user: &UserRecord) -> Result<(), StoreError>;
    /// Adds a user only while there is none at all; [`StoreError::Conflict`] otherwise. Two racing set-up forms make one admin.
    async fn add_first_user(&self, user: &UserRecord) -> Result<(), StoreError>;
    /// Overwrites a user by id; [`StoreError::Missing`] if there is none.
    async fn update_user(&self, user: &UserRecord) -> Result<(), StoreError>;

    /// Who people are elsewhere.
    async fn identities(&self) -> Result<Vec<IdentityRecord>, StoreError>;
    /// Adds a user together with who that is elsewhere; [`StoreError::Conflict`] if the name or the identity is taken.
    async fn add_user_with_identity(&self, user: &UserRecord, identity: &IdentityRecord) -> Result<(), StoreError>;
    /// Adds or overwrites an identity of a user; [`StoreError::Conflict`] if it is another user's,
    /// [`StoreError::Missing`] if there is no such user.
    async fn put_identity(&self, identity: &IdentityRecord) -> Result<(), StoreError>;
    /// Removes an identity, if it is there.
    async fn remove_identity(&self, issuer: &str, subject: &str) -> Result<(), StoreError>;

    /// Login sessions that have not been removed; expired ones may be among them.
    async fn sessions(&self) -> Result<Vec<SessionRecord>, StoreError>;
    /// Adds or overwrites a login session; [`StoreError::Missing`] if there is no such user.
    async fn put_session(&self, session: &SessionRecord) -> Result<(), StoreError>;
    /// Removes a login session, if it is there.
    async fn remove_session(&self, id: &SessionId) -> Result<(), StoreError>;

    /// All tokens, revoked ones left out.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError>;
    /// Adds a token; [`StoreError::Missing`] if there is no such user.
    async fn add_token(&self, token: &TokenRecord) -> Result<(), StoreError>;
    /// Notes when a token was last used, if it is there.
    async fn token_used(&self, id: &TokenId, at: OffsetDateTime) -> Result<(), StoreError>;
    /// Removes a token, if it is there.
    async fn remove_token(&self, id: &TokenId) -> Result<(), StoreError>;

    /// All codespaces that have not been removed.
    async fn codespaces(&self) -> Result<Vec<CodespaceRecord>, StoreError>;
    /// Adds a codespace; [`StoreError::Conflict`] if the name was ever used (SHARE-2, decision 10).
    async fn add_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError>;
    /// Overwrites a codespace by name; [`StoreError::Missing`] if there is none.
    async fn update_codespace(&self, codespace: &CodespaceRecord) -> Result<(), StoreError>;
    /// Removes a codespace with its ports, if it is there; its name stays used.
    async fn remove_codespace(&self, name: &CodespaceName) -> Result<(), StoreError>;

    /// What was set on ports, of all codespaces.
    async fn ports(&self) -> Result<Vec<PortRecord>, StoreError>;
    /// Adds or overwrites what is set on a port; [`StoreError::Missing`] if there is no such codespace.
    async fn put_port(&self, port: &PortRecord) -> Result<(), StoreError>;

    /// What owners decided on what their repositories ask to share.
    async fn offer_decisions(&self) -> Result<Vec<OfferDecisionRecord>, StoreError>;
    /// Adds or overwrites a decision; [`StoreError::Missing`] if there is no such codespace.
    async fn put_offer_decision(&self, decision: &OfferDecisionRecord) -> Result<(), StoreError>;
    /// The share links of all codespaces, those that are over among them.
    async fn shares(&self) -> Result<Vec<ShareRecord>, StoreError>;
    /// Adds or overwrites a share link; [`StoreError::Missing`] if there is no such codespace.
    async fn put_share(&self, share: &ShareRecord) -> Result<(), StoreError>;
    /// Removes a share link, if it is there.
    async fn remove_share(&self, id: &ShareId) -> Result<(), StoreError>;

    /// What all users keep for their codespaces, sealed.
    async fn belongings(&self) -> Result<Vec<BelongingRecord>, StoreError>;
    /// Adds or overwrites what a user keeps; [`StoreError::Missing`] if there is no such user.
    async fn put_belonging(&self, belonging: &BelongingRecord) -> Result<(), StoreError>;
    /// Removes what a user keeps, if it is there.
    async fn remove_belonging(&self, user: &UserId, key: &BelongingKey) -> Result<(), StoreError>;
    /// What operators have closed.
    async fn closures(&self) -> Result<Vec<ClosureRecord>, StoreError>;
    /// Adds or overwrites what is closed.
    async fn put_closure(&self, closure: &ClosureRecord) -> Result<(), StoreError>;
    /// Removes what is closed, if it is.
    async fn remove_closure(&self, extent: &Extent) -> Result<(), StoreError>;

    /// The ceilings that administrators have set.
    async fn ceilings(&self) -> Result<Vec<CeilingRecord>, StoreError>;
    /// Adds or overwrites a ceiling.
    async fn put_ceiling(&self, ceiling: &CeilingRecord) -> Result<(), StoreError>;
    /// Removes the ceiling of an organisation, or that of everybody, if it is there.
    async fn remove_ceiling(&self, organisation: Option<&Organisation>) -> Result<(), StoreError>;

    /// A secret of the gateway's own by its key, for instance the key of host cookies.
    async fn secret(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps a secret unless the key has one already; returns the one that is kept.
    async fn keep_secret(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Appends to the audit log, which changes in no other way but by growing old.
    async fn append_audit(&self, event: &AuditRecord) -> Result<(), StoreError>;
    /// The audit events that a question asks for, the newest first.
    async fn audit(&self, question: &AuditQuestion) -> Result<Vec<AuditEntry>, StoreError>;
    /// Forgets audit events from before `until`, which must be a day ago at least; tells how many. A call forgets a bounded
    /// number, so that other writes need not wait for long: call it again until it says 0.
    async fn forget_audit(&self, until: OffsetDateTime) -> Result<u64, StoreError>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct UserRecord {
    pub id: UserId,
    pub name: UserName,
    pub role: Role,
    /// An argon2id string in PHC form; none until the user sets a password.
    pub password: Option<String>,
    pub email: Option<String>,
    pub suspended: bool,
    pub created_at: OffsetDateTime,
    /// The issuer whose identity made the account by coming in; none if somebody here made it.
    pub made_by: Option<String>,
}

/// Who a user is at a provider of identities; issuer and subject together are the key (OIDC-1).
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityRecord {
    pub issuer: String,
    pub subject: String,
    pub user: UserId,
    /// The provider's name in the configuration when it was used last.
    pub provider: String,
    /// What people know it by, a login or an e-mail address; decides nothing.
    pub shown: String,
    /// The organisations that the provider named last; none if it is not asked for any.
    pub organisations: Option<Vec<Organisation>>,
    /// Whether it was asked for them when it was used last and said nothing: then those that it named before still bind,
    /// and open nothing.
    pub withheld: bool,
    pub linked_at: OffsetDateTime,
    pub used_at: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    pub id: SessionId,
    pub user: UserId,
    /// SHA-256 of the secret in the gateway host's cookie.
    pub secret_hash: [u8; 32],
    pub created_at: OffsetDateTime,
    pub last_seen_at: OffsetDateTime,
    /// The browser, as its `User-Agent` said, cut to 200 bytes.
    pub agent: String,
    /// Where the sign-in came from.
    pub address: Option<String>,
    /// When it ends whatever happens, where whoever vouched for the sign-in gave it an end.
    pub expires_at: Option<OffsetDateTime>,
    /// Who vouched for the sign-in; none if a password or a link did.
    pub origin: Option<SessionOrigin>,
}

/// Who somebody was at a provider when they signed in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionOrigin {
    pub issuer: String,
    pub subject: String,
    /// The provider's name of its own session.
    pub session: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TokenRecord {
    pub id: TokenId,
    pub user: UserId,
    pub name: String,
    pub scope: Scope,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub created_at: OffsetDateTime,
    pub expires_at: Option<OffsetDateTime>,
    pub last_used_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CodespaceRecord {
    pub name: CodespaceName,
    pub owner: UserId,
    pub display_name: String,
    /// A git URL or, for admins, a local path.
    pub repository: String,
    /// What was asked for: a branch, tag or commit; none for the default branch.
    pub reference: Option<String>,
    /// The branch that its repository opens with where nobody names one; none while nobody knows.
    pub default_branch: Option<String>,
    pub pull_request: Option<u64>,
    pub devcontainer_path: Option<String>,
    pub runtime: String,
    pub phase: Phase,
    /// Why it is `failed` or `stopped`, in plain words.
    pub reason: Option<String>,
    pub generation: Generation,
    /// SHA-256 of the agent's credential of this generation.
    pub agent_hash: Option<[u8; 32]>,
    /// SHA-256 of the credential that takes its place once it is used.
    pub agent_next_hash: Option<[u8; 32]>,
    /// Whether the repository was checked out once; from then on nothing clones again.
    pub prepared: bool,
    /// What only it had when it stopped; none while it runs, or if nobody could tell.
    pub work: Option<Work>,
    pub idle_timeout_minutes: u16,
    /// Whose visits start it.
    pub woken_by: Wakers,
    /// Whether it is told what its owner keeps.
    pub personal: bool,
    /// When the present run began, whatever happened to its agent since; none while it does not run.
    pub started_at: Option<OffsetDateTime>,
    /// Whether requests to its ports count as use.
    pub traffic_counts: bool,
    /// When its people were told that it will be deleted, if nobody used it since.
    pub announced_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PortRecord {
    pub codespace: CodespaceName,
    pub port: Port,
    pub label: Option<String>,
    pub visibility: Visibility,
    /// When the visibility falls back to private.
    pub expires_at: Option<OffsetDateTime>,
    /// `http`, `https`, `h2c` or `grpc`; none where nobody set it.
    pub protocol: Option<String>,
    /// `localhost` or `preserve`.
    pub host_header: String,
    /// People named besides the owner.
    pub users: Vec<UserId>,
    pub limits: PortLimits,
    /// How many exchanges its request log keeps; none while it is off.
    pub log_entries: Option<u16>,
    /// Whose visits to it start the codespace; none for what the codespace says.
    pub woken_by: Option<Wakers>,
    /// The service beside the codespace whose port was shared; none for the codespace's own.
    pub beside: Option<String>,
}

impl PortRecord {
    /// Whether somebody besides its owner may open it.
    pub fn is_shared(&self) -> bool {
        self.visibility != Visibility::Private || !self.users.is_empty()
    }
}

/// What an operator has closed to everybody but owners.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosureRecord {
    pub extent: Extent,
    /// What owners are told.
    pub reason: String,
    /// The account, or `operator`.
    pub by: String,
    pub at: OffsetDateTime,
}

/// What an owner decided on what the repository asks to share.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferDecisionRecord {
    pub codespace: CodespaceName,
    /// SHA-256 of what was asked.
    pub hash: [u8; 32],
    pub accepted: bool,
    pub at: OffsetDateTime,
}

/// How far owners may share, as an administrator has set it.
#[derive(Clone, Debug, PartialEq)]
pub struct CeilingRecord {
    /// Whose members may share no further; none for everybody.
    pub organisation: Option<Organisation>,
    pub most: Visibility,
    pub links: bool,
}

/// A share link.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareRecord {
    pub id: ShareId,
    pub codespace: CodespaceName,
    /// What its owner calls it; may be empty.
    pub name: String,
    pub terms: ShareTerms,
    /// The service beside the codespace whose port it opens; none for the codespace's own.
    pub beside: Option<String>,
    /// SHA-256 of the secret in its URL.
    pub secret_hash: [u8; 32],
    /// An argon2id string in PHC form, where it asks for a password.
    pub password: Option<String>,
    pub uses: u64,
    pub max_uses: Option<u64>,
    /// Who made it.
    pub created_by: String,
    pub created_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
}

/// Something that a user keeps for their codespaces. Never in clear: whoever has the file has none of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BelongingRecord {
    pub user: UserId,
    pub key: BelongingKey,
    /// Encrypted for this user and key.
    pub sealed: Vec<u8>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// Which of the things that a user keeps.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BelongingKey {
    /// `secret`, `git` or `profile`.
    pub kind: String,
    pub name: String,
    /// The repository that it is for; empty for all.
    pub repository: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    pub at: OffsetDateTime,
    /// A dotted word such as `session.created` or `port.visibility`.
    pub action: String,
    /// The account's name, `operator`, `agent:NAME` or empty.
    pub actor: String,
    pub target: String,
    pub detail: String,
    pub address: Option<String>,
    /// The id of the request in the access log.
    pub request_id: Option<String>,
}

/// An audit event with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Grows with each event; what [`AuditQuestion::before`] goes on from.
    pub id: i64,
    pub event: AuditRecord,
}

/// Which audit events are asked for; those that match all that is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditQuestion {
    /// Those that an account did or that were done to it, by its name.
    pub user: Option<String>,
    /// Those about a codespace or one of its ports.
    pub codespace: Option<String>,
    /// Those of one action, or of all actions of a group: `session` asks for `session.created` too.
    pub action: Option<String>,
    pub since: Option<OffsetDateTime>,
    /// Those before this time.
    pub until: Option<OffsetDateTime>,
    /// Those before this place in the log: the id of the last event of the page before.
    pub before: Option<i64>,
    /// Most events of one answer.
    pub limit: u32,
}

/// Why the store could not do it.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("it is there already")]
    Conflict,
    #[error("it is not there")]
    Missing,
    #[error("there is no space left on the disk that holds the data directory. Free some space, then try again")]
    Full,
    /// The store cannot be opened; says which file, why, and what to do.
    #[error("{0}")]
    Unusable(String),
    #[error("the store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
