//! `portico ports share|links|unshare`: links that open a port to whoever has them.

use std::io::IsTerminal;

use http::Method;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    args::{PortsLinks, PortsShare, PortsUnshare},
    codespace::path,
    output::{Output, line, table, words},
    place,
};
use crate::{
    api::model::{CreateLink, Lasting, Link, NewLink},
    web::qr,
};

/// Makes a link and prints its URL alone.
pub async fn share(new: &PortsShare, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&new.place).await?;
    let name = place::codespace(&client, new.which.codespace.as_deref()).await?;
    let password = match new.password_stdin {
        true => Some(super::prompt::password_from_stdin()?),
        false => new.password.clone(),
    };
    let body = CreateLink {
        name: new.name.clone(),
        expires_in: (!new.forever).then_some(Lasting::Seconds(new.lasting.as_secs())),
        password,
        max_uses: new.uses,
        path: new.path.clone(),
        methods: (!new.methods.is_empty()).then(|| new.methods.clone()),
        kind: new.webhook.then(|| "webhook".to_owned()),
    };
    let made: NewLink = client
        .json(Method::POST, &format!("{}/ports/{}/links", path(&name), new.port), Some(&body))
        .await?;
    output.show(&made, || made.url.clone());
    if !output.json && std::io::stdout().is_terminal() {
        if new.qr
            && let Some(drawn) = qr::blocks(&made.url)
        {
            line(&drawn);
        }
        words(&format!(
            "{}. It is shown this once. Revoke it with: portico ports unshare {}",
            lasts(&made.link),
            made.id
        ));
    }
    Ok(())
}

/// Lists the links of a codespace, those that are over only if asked for.
pub async fn list(which: &PortsLinks, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&which.place).await?;
    let name = place::codespace(&client, which.which.codespace.as_deref()).await?;
    let links: Vec<Link> = client.get(&format!("{}/links", path(&name))).await?;
    let here = |link: &&Link| which.port.is_none_or(|port| port.number() == link.port) && (which.all || link.state == "open");
    let links: Vec<Link> = links.iter().filter(here).cloned().collect();
    if links.is_empty() && !output.json {
        words("No port is shared by a link. Make one with: portico ports share PORT");
    }
    output.show(&links, || {
        let rows: Vec<Vec<String>> = links.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["id", "port", "state", "until", "uses", "path", "name"], &rows)
        }
    });
    Ok(())
}

/// Revokes links.
pub async fn unshare(which: &PortsUnshare, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&which.place).await?;
    let name = place::codespace(&client, which.which.codespace.as_deref()).await?;
    for id in &which.ids {
        client
            .call(Method::DELETE, &format!("{}/links/{id}", path(&name)), None::<&()>)
            .await?;
        if !output.json {
            words(&format!("Revoked {id}. What was opened by it is closed."));
        }
    }
    Ok(())
}

fn row(link: &Link) -> Vec<String> {
    let uses = match link.max_uses {
        Some(most) => format!("{}/{most}", link.uses),
        None => link.uses.to_string(),
    };
    let kind = if link.kind == "webhook" { "webhook " } else { "" };
    vec![
        link.id.clone(),
        link.port.to_string(),
        format!("{kind}{}", link.state),
        link.expires_at.map_or_else(|| "-".to_owned(), written),
        uses,
        link.path.clone(),
        link.name.clone(),
    ]
}

fn lasts(link: &Link) -> String {
    match link.expires_at {
        Some(at) => format!("Whoever has it can open port {} until {}", link.port, written(at)),
        None => format!("Whoever has it can open port {} until you revoke it", link.port),
    }
}

fn written(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}
