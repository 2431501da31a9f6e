//! Our account with an authority: made once, its key kept for the owner alone.

use std::{fs, io, path::Path};

use instant_acme::{Account, AccountCredentials, NewAccount};

use super::{AcmeError, Options, transport::Transport};
use crate::issuance::files;

const FILE: &str = "account.json";

/// Opens the account that is kept, or makes one if there is none with this authority.
pub(super) async fn open(options: &Options, folder: &Path, transport: Transport) -> Result<Account, AcmeError> {
    let path = folder.join(FILE);
    let file = |source| AcmeError::File {
        path: path.clone(),
        source,
    };
    let authority = |source| AcmeError::Authority {
        directory: options.directory.clone(),
        source,
    };
    let builder = Account::builder_with_http(Box::new(transport));
    match fs::read(&path) {
        Ok(kept) if is_with(&kept, &options.directory) => {
            let credentials: AccountCredentials = serde_json::from_slice(&kept).map_err(|error| file(error.into()))?;
            return builder.from_credentials(credentials).await.map_err(authority);
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(error)),
        _ => {}
    }
    let contact = options.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: options.accept_terms,
        only_return_existing: false,
    };
    let made = builder.create(&wanted, options.directory.clone(), None).await;
    let (account, credentials) = made.map_err(authority)?;
    let text = serde_json::to_vec(&credentials).map_err(|error| file(error.into()))?;
    files::write(&path, &text).map_err(file)?;
    Ok(account)
}

/// Whether kept credentials are those of an account with this authority.
fn is_with(kept: &[u8], directory: &str) -> bool {
    let value: serde_json::Value = serde_json::from_slice(kept).unwrap_or_default();
    value.get("directory").and_then(|value| value.as_str()) == Some(directory)
}
