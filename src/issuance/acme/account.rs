//! Our account with an authority: made once, its key kept for the owner alone.

use std::{fs, io, path::Path};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use super::{AcmeError, Options, transport::Transport};
use crate::issuance::files;

const FILE: &str = "account.json";
/// Largest file of a binding's key: authorities give some dozen bytes.
const MAX_KEY_BYTES: usize = 4096;
/// What authorities write such keys in, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    let binding = binding(options)?;
    let made = builder.create(&wanted, options.directory.clone(), binding.as_ref()).await;
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

/// Reads with what a new account is bound to one that the authority knows already (RFC 8555 §7.3.4); none if it need not be.
pub(super) fn binding(options: &Options) -> Result<Option<ExternalAccountKey>, AcmeError> {
    let (Some(id), Some(path)) = (&options.eab_key_id, &options.eab_key_file) else {
        return Ok(None);
    };
    let text = fs::read_to_string(path).map_err(|source| AcmeError::File {
        path: path.clone(),
        source,
    })?;
    // Some show it in the other alphabet.
    let text = text.trim().replace('+', "-").replace('/', "_");
    let key = Some(text)
        .filter(|text| !text.is_empty() && text.len() <= MAX_KEY_BYTES)
        .and_then(|text| BASE64.decode(text).ok());
    let key = key.ok_or_else(|| AcmeError::Binding(path.clone()))?;
    Ok(Some(ExternalAccountKey::new(id.clone(), &key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_bindings() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let options = Options {
            eab_key_id: Some("kid-1".into()),
            eab_key_file: Some(path.clone()),
            ..Options::default()
        };
        let unread = binding(&options).err().expect("there is no file");
        assert!(unread.to_string().contains("key cannot be read"), "{unread}");
        let check = |text: &str, good: bool| {
            fs::write(&path, text).expect("written");
            assert_eq!(binding(&options).is_ok_and(|key| key.is_some()), good, "{text:?}");
        };
        for good in ["zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG4\n", "_-8", "/+8=\n", " AAECAw== "] {
            check(good, true);
        }
        for bad in ["", "\n", "no base64!", "AAECAw=x", &"A".repeat(5000)] {
            check(bad, false);
        }
        assert!(binding(&Options::default()).is_ok_and(|key| key.is_none()));
    }
}
