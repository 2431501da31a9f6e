//! `portico ceiling`: how far owners may share at all, seen, tried and set.

use clap::{Args, Subcommand};
use http::Method;

use super::{
    args::Where,
    output::{Output, table, words},
    place,
};
use crate::api::model::{self, CeilingChanged, ClosedShare, SetCeiling};

const PATH: &str = "/api/v1/ceilings";

#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  portico ceiling                              what holds now
  portico ceiling set org --dry-run            what would be closed, without closing it
  portico ceiling set org                      nothing is public any more, from now on
  portico ceiling set private --organisation contractors
  portico ceiling set public                   takes back what was set here"
)]
pub struct Ceiling {
    #[command(subcommand)]
    command: Option<CeilingCommand>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Subcommand)]
enum CeilingCommand {
    /// Say how far owners may share; what is open above that closes at once.
    Set(CeilingSet),
}

#[derive(Args, Debug)]
struct CeilingSet {
    /// The most open that any port can be: private, org or public.
    #[arg(value_name = "VISIBILITY", value_parser = ["private", "org", "public"])]
    most: String,
    /// Share links open nothing.
    #[arg(long)]
    no_links: bool,
    /// Only for what members of this organisation share; everybody if left out.
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    /// Only list what it would close.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Where,
}

/// Runs `portico ceiling`.
pub async fn run(asked: Ceiling, output: Output) -> anyhow::Result<()> {
    match asked.command {
        Some(CeilingCommand::Set(wanted)) => set(&wanted, output).await,
        None => list(&asked.place, output).await,
    }
}

async fn list(place: &Where, output: Output) -> anyhow::Result<()> {
    let ceilings: Vec<model::Ceiling> = place::gateway(place).await?.get(PATH).await?;
    output.show(&ceilings, || {
        let row = |ceiling: &model::Ceiling| {
            let links = if ceiling.links { "yes" } else { "no" };
            let whom = ceiling.organisation.clone().unwrap_or_else(|| "everybody".into());
            vec![whom, ceiling.max_visibility.clone(), links.into(), ceiling.source.clone()]
        };
        let rows: Vec<_> = ceilings.iter().map(row).collect();
        table(&["for", "at most", "links", "from"], &rows)
    });
    Ok(())
}

async fn set(wanted: &CeilingSet, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&wanted.place).await?;
    let body = SetCeiling {
        organisation: wanted.organisation.clone(),
        max_visibility: wanted.most.clone(),
        links: Some(!wanted.no_links),
        dry_run: wanted.dry_run,
    };
    let changed: CeilingChanged = client.json(Method::PUT, PATH, Some(&body)).await?;
    output.show(&changed, || {
        let rows: Vec<_> = changed.closes.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["codespace", "owner", "port", "what", "becomes"], &rows)
        }
    });
    if !output.json {
        words(&said(&changed));
    }
    Ok(())
}

fn row(closed: &ClosedShare) -> Vec<String> {
    let what = match (&closed.link, &closed.visibility) {
        (Some(link), _) if link.name.is_empty() => format!("link {}", link.id),
        (Some(link), _) => format!("link {} ({})", link.id, link.name),
        (None, visibility) => visibility.clone().unwrap_or_default(),
    };
    let becomes = closed.becomes.clone().unwrap_or_else(|| "closed".into());
    vec![
        closed.codespace.clone(),
        closed.owner.clone(),
        closed.port.to_string(),
        what,
        becomes,
    ]
}

fn said(changed: &CeilingChanged) -> String {
    let count = match changed.closes.len() {
        0 => "nothing".to_owned(),
        1 => "1 share".to_owned(),
        count => format!("{count} shares"),
    };
    if changed.applied {
        format!("It holds now, and closed {count}.")
    } else {
        format!("It would close {count}. Nothing is changed.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_said_in_words() {
        let closed = |visibility: Option<&str>, link: Option<&str>| ClosedShare {
            codespace: "amber-otter-x7k2".into(),
            owner: "ada".into(),
            port: 3000,
            url: String::new(),
            visibility: visibility.map(Into::into),
            becomes: visibility.map(|_| "org".into()),
            link: link.map(|name| model::ClosedLink {
                id: "7".into(),
                name: name.into(),
            }),
        };
        for (share, expected) in [
            (closed(Some("public"), None), ["public", "org"]),
            (closed(None, Some("")), ["link 7", "closed"]),
            (closed(None, Some("demo")), ["link 7 (demo)", "closed"]),
        ] {
            assert_eq!(row(&share)[3..], expected);
        }
        let changed = |applied, count| CeilingChanged {
            applied,
            closes: vec![closed(None, None); count],
        };
        assert_eq!(said(&changed(true, 0)), "It holds now, and closed nothing.");
        assert_eq!(said(&changed(false, 2)), "It would close 2 shares. Nothing is changed.");
    }
}
