//! `portico agent tokens`: what may still make a machine a codespace, and its end.

use http::Method;

use super::{
    args::MachineTokens,
    output::{Output, table, words},
    place,
};
use crate::api::model::WaitingMachine;

const PATH: &str = "/api/v1/machines/registrations";

/// Lists the tokens, or revokes one.
pub async fn tokens(asked: MachineTokens, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&asked.place).await?;
    if let Some(id) = asked.revoke {
        let segment = percent_encoding::utf8_percent_encode(&id, percent_encoding::NON_ALPHANUMERIC);
        client.call(Method::DELETE, &format!("{PATH}/{segment}"), None::<&()>).await?;
        words("The token is revoked: no machine joins with it.");
        output.show(&serde_json::json!({ "id": id }), String::new);
        return Ok(());
    }
    let waiting: Vec<WaitingMachine> = client.get(PATH).await?;
    if waiting.is_empty() {
        words("No token waits for a machine. The page for a new codespace makes one.");
    }
    output.show(&waiting, || {
        let row = |one: &WaitingMachine| vec![one.id.clone(), one.made_at.to_string(), one.expires_at.to_string()];
        table(&["id", "made", "expires"], &waiting.iter().map(row).collect::<Vec<_>>())
    });
    Ok(())
}
