//! `portico audit`: the audit log on the command line, with the gateway up or down.

use time::{UtcOffset, macros::format_description};

use super::{
    args::Audit,
    offline::Offline,
    output::{Output, line, table, words},
    place::{self, Found},
};
use crate::api::model::AuditEvent;

/// Most events that are asked for at once.
const PAGE: u32 = 1000;

/// Runs `portico audit`.
pub async fn run(asked: Audit, output: Output) -> anyhow::Result<()> {
    let log = Log::open(&asked).await?;
    let shown = if asked.lines {
        lines(&log, &asked).await
    } else {
        list(&log, &asked, output).await
    };
    log.close().await;
    shown
}

/// The log of a gateway that runs, or of a store that nobody uses.
enum Log {
    Gateway(super::client::Client),
    Data(Offline),
}

impl Log {
    async fn open(asked: &Audit) -> anyhow::Result<Self> {
        Ok(match place::find(&asked.place).await? {
            Found::Gateway(client) => Self::Gateway(client),
            Found::Data(data) => Self::Data(Offline::open(&data).await?),
        })
    }

    async fn read(&self, query: &str) -> anyhow::Result<Vec<AuditEvent>> {
        match self {
            Self::Gateway(client) => Ok(client.get(&format!("/api/v1/audit?{query}")).await?),
            Self::Data(offline) => offline.audit(query).await,
        }
    }

    async fn close(self) {
        if let Self::Data(offline) = self {
            offline.close().await;
        }
    }
}

async fn list(log: &Log, asked: &Audit, output: Output) -> anyhow::Result<()> {
    let events = log.read(&query(asked, asked.limit, None)).await?;
    if events.is_empty() {
        words("No event matches.");
    }
    output.show(&events, || {
        table(
            &["time", "event", "who", "what", "from", "detail"],
            &events.iter().map(row).collect::<Vec<_>>(),
        )
    });
    Ok(())
}

/// Everything that matches, a JSON object in each line, the newest first.
async fn lines(log: &Log, asked: &Audit) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        let events = log.read(&query(asked, PAGE, cursor)).await?;
        for event in &events {
            line(&serde_json::to_string(event)?);
        }
        cursor = events.last().map(|last| last.id);
        if events.len() < PAGE as usize {
            return Ok(());
        }
    }
}

fn row(event: &AuditEvent) -> Vec<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let at = event.at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default();
    let from = event.address.clone().unwrap_or_default();
    let who = if event.actor.is_empty() {
        "-".to_owned()
    } else {
        event.actor.clone()
    };
    vec![at, event.event.clone(), who, event.target.clone(), from, event.detail.clone()]
}

fn query(asked: &Audit, limit: u32, cursor: Option<i64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("user", &asked.user),
        ("codespace", &asked.codespace),
        ("event", &asked.event),
        ("since", &asked.since),
        ("until", &asked.until),
    ] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("limit", &limit.to_string());
    if let Some(cursor) = cursor {
        query.append_pair("cursor", &cursor.to_string());
    }
    query.finish()
}
