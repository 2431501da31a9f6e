//! `portico ports …`.

mod forward;

use std::time::SystemTime;

use clap::Args;
use http::Method;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    args::{Ports, PortsCommand, PortsLimit, PortsList, PortsOffer, PortsVisibility, Where, Which},
    codespace::path,
    links,
    output::{Output, plain, table, words},
    place, port_log,
};
use crate::{
    api::model::{ChangePort, Codespace, DecideOffer, Offer, OfferedShare, Port, PortLimits},
    domain::{self, Visibility},
};

/// The word for a port of which nothing is said.
const AS_THE_CODESPACE: &str = "codespace";

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  portico ports set 8443 --protocol https
  portico ports set 3000 --host-header localhost -c amber-otter-x7k2
  portico ports set 3000 --woken-by everyone     visitors start it by this port")]
pub struct PortsSet {
    /// The port's number.
    pub port: domain::Port,
    /// What the app speaks.
    #[arg(long, value_name = "PROTOCOL", value_parser = domain::Protocol::WORDS, required_unless_present_any = ["host_header", "label", "woken_by"])]
    pub protocol: Option<String>,
    /// Whether the app is asked as localhost, or as the host that the browser names.
    #[arg(long, value_name = "WORLD", value_parser = ["localhost", "preserve"])]
    pub host_header: Option<String>,
    /// What lists call it; empty for nothing.
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Whose visits to it start the codespace; codespace for what `portico codespace edit --woken-by` says.
    #[arg(long, value_name = "WHO", value_parser = ["owner", "people", "everyone", AS_THE_CODESPACE])]
    pub woken_by: Option<String>,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub place: Where,
}

/// Runs a verb; without one, lists.
pub async fn run(ports: Ports, output: Output) -> anyhow::Result<()> {
    match ports.command {
        None => list(&ports.list, output).await,
        Some(PortsCommand::List(which)) => list(&which, output).await,
        Some(PortsCommand::Visibility(change)) => visibility(&change, output).await,
        Some(PortsCommand::Set(change)) => set(&change, output).await,
        Some(PortsCommand::Forward(wish)) => forward::run(&wish, output).await,
        Some(PortsCommand::Log(asked)) => port_log::run(&asked, output).await,
        Some(PortsCommand::Limit(limits)) => limit(&limits, output).await,
        Some(PortsCommand::Offer(decision)) => offer(&decision, output).await,
        Some(PortsCommand::Share(new)) => links::share(&new, output).await,
        Some(PortsCommand::Links(which)) => links::list(&which, output).await,
        Some(PortsCommand::Unshare(which)) => links::unshare(&which, output).await,
    }
}

async fn list(which: &PortsList, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&which.place).await?;
    let name = place::codespace(&client, which.which.codespace.as_deref()).await?;
    let ports: Vec<Port> = client.get(&format!("{}/ports", path(&name))).await?;
    if ports.is_empty() && !output.json {
        words("Nothing listens. Start a server in the codespace, and its port shows up here.");
    }
    show(&ports, output);
    for port in &ports {
        if let Some(closed) = port.closed.as_ref().filter(|_| !output.json) {
            words(&format!(
                "Port {} is open to its owner alone: {} closed {}. {}",
                port.port, closed.by, closed.what, closed.reason
            ));
        }
    }
    Ok(())
}

fn show(ports: &[Port], output: Output) {
    output.show(ports, || {
        let rows: Vec<Vec<String>> = ports.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["port", "visibility", "url", "process", "label"], &rows)
        }
    });
}

fn row(port: &Port) -> Vec<String> {
    let process = match (&port.process, port.listening) {
        (Some(process), true) => process.clone(),
        (None, true) => "?".to_owned(),
        (_, false) => "-".to_owned(),
    };
    vec![
        port.port.to_string(),
        port.visibility.clone(),
        port.url.clone(),
        process,
        port.label.clone().unwrap_or_default(),
    ]
}

async fn visibility(change: &PortsVisibility, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&change.place).await?;
    let name = place::codespace(&client, change.which.codespace.as_deref()).await?;
    let after = change.lasting.map(|lasting| OffsetDateTime::from(SystemTime::now() + lasting));
    let until = change.until.or(after);
    let until = until.map(|until| until.format(&Rfc3339)).transpose()?;
    let mut changed = Vec::new();
    for wanted in &change.changes {
        let deadline = until.clone().filter(|_| wanted.visibility != Visibility::Private);
        let body = ChangePort {
            visibility: Some(wanted.visibility.to_string()),
            expires_at: Some(deadline),
            ..ChangePort::default()
        };
        let port: Port = client
            .json(Method::PATCH, &format!("{}/ports/{}", path(&name), wanted.port), Some(&body))
            .await?;
        changed.push(port);
    }
    show(&changed, output);
    Ok(())
}

async fn set(change: &PortsSet, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&change.place).await?;
    let name = place::codespace(&client, change.which.codespace.as_deref()).await?;
    let body = ChangePort {
        protocol: change.protocol.clone(),
        host_header: change.host_header.clone(),
        label: change.label.clone().map(|label| Some(label).filter(|label| !label.is_empty())),
        woken_by: change.woken_by.clone().map(|who| Some(who).filter(|who| who != AS_THE_CODESPACE)),
        ..ChangePort::default()
    };
    let path = format!("{}/ports/{}", path(&name), change.port);
    let port: Port = client.json(Method::PATCH, &path, Some(&body)).await?;
    if let (Some(_), false) = (&change.woken_by, output.json) {
        words(&match &port.woken_by {
            Some(who) => format!("Visits to port {} start the codespace where they are those of: {who}.", port.port),
            None => format!("Visits to port {} start the codespace as visits to its editor do.", port.port),
        });
    }
    show(&[port], output);
    Ok(())
}

async fn limit(wish: &PortsLimit, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&wish.place).await?;
    let name = place::codespace(&client, wish.which.codespace.as_deref()).await?;
    let limits = PortLimits {
        requests_per_second: wish.rate,
        connections: wish.connections,
        body_bytes: wish.body,
        addresses: wish.from.iter().map(ToString::to_string).collect(),
    };
    let body = ChangePort {
        limits: Some(Some(limits).filter(|_| !wish.none)),
        ..ChangePort::default()
    };
    let path = format!("{}/ports/{}", path(&name), wish.port);
    let port: Port = client.json(Method::PATCH, &path, Some(&body)).await?;
    words(&match &port.limits {
        Some(limits) => format!("Port {} takes {} from now on.", port.port, in_words(limits)),
        None => format!("Nothing is limited on port {}.", port.port),
    });
    show(&[port], output);
    Ok(())
}

fn in_words(limits: &PortLimits) -> String {
    let parts = [
        limits.requests_per_second.map(|rate| format!("at most {rate} requests a second")),
        limits
            .connections
            .map(|count| format!("at most {count} requests and sockets at once")),
        limits.body_bytes.map(|bytes| format!("bodies of at most {bytes} bytes")),
        (!limits.addresses.is_empty()).then(|| format!("clients from {} alone", limits.addresses.join(", "))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn offer(decision: &PortsOffer, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&decision.place).await?;
    let name = place::codespace(&client, decision.which.codespace.as_deref()).await?;
    let codespace: Codespace = client.get(&path(&name)).await?;
    let Some(offer) = codespace.offer else {
        words("The repository asks to share nothing, or you have decided on it.");
        output.show(&None::<Offer>, String::new);
        return Ok(());
    };
    if !decision.accept && !decision.dismiss {
        output.show(&offer, || {
            let row = |share: &OfferedShare| vec![share.port.to_string(), share.visibility.clone(), share.now.clone()];
            table(&["port", "asked", "now"], &offer.ports.iter().map(row).collect::<Vec<_>>())
        });
        words(&format!(
            "{} asks to share these ports. Say yes with: portico ports offer --accept -c {name}   or no with --dismiss",
            plain(&offer.source)
        ));
        return Ok(());
    }
    let body = DecideOffer {
        hash: offer.hash,
        accept: decision.accept,
    };
    let ports: Vec<Port> = client.json(Method::POST, &format!("{}/offer", path(&name)), Some(&body)).await?;
    show(&ports, output);
    Ok(())
}
