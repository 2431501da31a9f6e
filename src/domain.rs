//! The words of the house: names, ports, states and people.
//!
//! Owns the vocabulary that every other module shares, each type made only by parsing or by a constructor that
//! cannot make a wrong one. Refuses to know: async, I/O, clocks, serialisation formats, HTTP.

mod access;
mod belonging;
mod codespace;
mod extent;
mod image;
mod limits;
mod name;
mod network;
mod organisation;
mod port;
mod repository;
mod return_to;
mod share;

pub use access::{Access, Credential, Identity, Role, Scope, ScopeError, SessionId, TokenId, UserId, UserName, UserNameError};
pub use belonging::{ExtensionId, ExtensionIdError, GitHost, GitHostError, SecretName, SecretNameError};
pub use codespace::{Generation, Phase, Step, StepName, StepState, UnknownWord, Visibility, Wakers, Work};
pub use extent::{Extent, ExtentError};
pub use image::is_image_name;
pub use limits::{Exceeded, PortLimits, PortLimitsError};
pub use name::{CodespaceName, NameError};
pub use network::{Network, NetworkError, Networks, subnet};
pub use organisation::Organisation;
pub use port::{Port, PortError, Protocol};
pub use repository::{Reference, ReferenceError, RepositoryError, RepositoryKind, RepositorySource};
pub use return_to::ReturnTo;
pub use share::{ShareEnd, ShareId, ShareKind, ShareMethodError, ShareMethods, SharePath, SharePathError, ShareTerms};
