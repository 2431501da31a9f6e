//! `portico ports log`: what was asked of a port and answered.
//!
//! All text in a log came from visitors and apps: nothing of it reaches the terminal with a control character.

use std::{collections::HashSet, time::Duration};

use http::Method;
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::{
    args::PortsLog,
    client::Client,
    codespace::path,
    output::{Output, line, plain, table, words},
    place,
};
use crate::api::model::{ChangePort, Exchange, ExchangeDetail, ExchangePart, Port, VisitHour, VisitNamed};

/// How often what is new is asked for.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// How often, and how many times, the end of a replay is looked for.
const LOOK_AGAIN: (Duration, u32) = (Duration::from_millis(100), 300);

/// A port's log on a gateway.
struct Log {
    client: Client,
    codespace: String,
    /// Of the port in the API.
    path: String,
}

/// Runs `portico ports log`.
pub async fn run(asked: &PortsLog, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&asked.place).await?;
    let codespace = place::codespace(&client, asked.which.codespace.as_deref()).await?;
    let path = format!("{}/ports/{}", path(&codespace), asked.port);
    let log = Log { client, codespace, path };
    if asked.on || asked.off {
        return log.switch(asked, output).await;
    }
    if let Some(id) = asked.curl {
        let detail = log.detail(id).await?;
        output.show(&detail.curl, || detail.curl.clone());
        return Ok(());
    }
    if let Some(id) = asked.show {
        let detail = log.detail(id).await?;
        output.show(&detail, || text(&detail));
        return Ok(());
    }
    if let Some(id) = asked.replay {
        return log.replay(id, output).await;
    }
    if asked.clear {
        log.client.call(Method::DELETE, &format!("{}/log", log.path), None::<&()>).await?;
        words("Forgotten. What is asked from now on is written down.");
        return Ok(());
    }
    if asked.visits {
        return log.visits(asked, output).await;
    }
    if asked.follow {
        return log.follow(asked, output).await;
    }
    log.list(asked, output).await
}

impl Log {
    async fn switch(&self, asked: &PortsLog, output: Output) -> anyhow::Result<()> {
        let change = ChangePort {
            log_entries: Some(asked.on.then_some(asked.keep)),
            ..ChangePort::default()
        };
        let port: Port = self.client.json(Method::PATCH, &self.path, Some(&change)).await?;
        if output.json {
            output.show(&port, String::new);
        }
        words(&match port.log_entries {
            Some(entries) => format!(
                "The last {entries} exchanges with port {} are written down, secrets left out. See them with: portico ports log {} -c {}",
                port.port, port.port, self.codespace
            ),
            None => format!(
                "Nothing asked of port {} is written down any more, and what was is forgotten.",
                port.port
            ),
        });
        Ok(())
    }

    async fn newest(&self, limit: u16) -> anyhow::Result<Vec<Exchange>> {
        Ok(self.client.get(&format!("{}/log?limit={limit}", self.path)).await?)
    }

    async fn detail(&self, id: u64) -> anyhow::Result<ExchangeDetail> {
        Ok(self.client.get(&format!("{}/log/{id}", self.path)).await?)
    }

    async fn list(&self, asked: &PortsLog, output: Output) -> anyhow::Result<()> {
        let newest = self.newest(asked.limit).await?;
        if newest.is_empty() {
            self.say_empty(asked).await?;
        }
        output.show(&newest, || {
            let rows: Vec<Vec<String>> = newest.iter().map(row).collect();
            table(&["id", "time", "method", "status", "took", "bytes", "who", "path"], &rows)
        });
        Ok(())
    }

    /// Says why there is nothing.
    async fn say_empty(&self, asked: &PortsLog) -> anyhow::Result<()> {
        let ports: Vec<Port> = self.client.get(&format!("{}/ports", path(&self.codespace))).await?;
        let on = ports
            .iter()
            .any(|port| port.port == asked.port.number() && port.log_entries.is_some());
        words(&if on {
            "Nothing was asked since the log was turned on.".to_owned()
        } else {
            format!(
                "The log of port {0} is off. Turn it on with: portico ports log {0} --on -c {1}",
                asked.port, self.codespace
            )
        });
        Ok(())
    }

    async fn follow(&self, asked: &PortsLog, output: Output) -> anyhow::Result<()> {
        let mut shown: HashSet<u64> = HashSet::new();
        let mut first = true;
        loop {
            let newest = self.newest(crate::inspect::DEFAULT_ENTRIES).await?;
            if first && newest.is_empty() {
                self.say_empty(asked).await?;
            }
            first = false;
            for exchange in newest.iter().rev().filter(|exchange| exchange.took_ms.is_some()) {
                if shown.insert(exchange.id) {
                    line(&match output.json {
                        true => serde_json::to_string(exchange)?,
                        false => row(exchange).iter().map(|cell| plain(cell)).collect::<Vec<_>>().join("  "),
                    });
                }
            }
            shown.retain(|id| newest.iter().any(|exchange| exchange.id == *id));
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    async fn replay(&self, id: u64, output: Output) -> anyhow::Result<()> {
        let path = format!("{}/log/{id}/replay", self.path);
        let made: Exchange = self.client.json(Method::POST, &path, Some(&serde_json::json!({}))).await?;
        let (pause, tries) = LOOK_AGAIN;
        let mut detail = self.detail(made.id).await?;
        for _ in 0..tries {
            if detail.exchange.took_ms.is_some() {
                break;
            }
            tokio::time::sleep(pause).await;
            detail = self.detail(made.id).await?;
        }
        output.show(&detail, || text(&detail));
        Ok(())
    }

    async fn visits(&self, asked: &PortsLog, output: Output) -> anyhow::Result<()> {
        let hours: Vec<VisitHour> = self.client.get(&format!("{}/visits", self.path)).await?;
        if hours.is_empty() {
            words(&format!(
                "Nobody else came while the log of port {} was on, or it is off. Visits are counted while it is on.",
                asked.port
            ));
        }
        output.show(&hours, || {
            let rows: Vec<Vec<String>> = hours.iter().map(hour).collect();
            table(&["hour (UTC)", "requests", "people", "links", "strangers"], &rows)
        });
        Ok(())
    }
}

fn clock(at: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second]");
    at.to_offset(UtcOffset::UTC).format(format).unwrap_or_default()
}

fn row(exchange: &Exchange) -> Vec<String> {
    vec![
        exchange.id.to_string(),
        clock(exchange.at),
        exchange.method.clone(),
        status(exchange),
        took(exchange.took_ms),
        format!("{}/{}", exchange.sent_bytes, exchange.received_bytes),
        who(exchange),
        exchange.target.clone(),
    ]
}

fn status(exchange: &Exchange) -> String {
    match (exchange.status, exchange.took_ms) {
        (Some(status), _) => status.to_string(),
        (None, Some(_)) => "failed".to_owned(),
        (None, None) => "waiting".to_owned(),
    }
}

fn took(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "open".to_owned(),
        Some(milliseconds) if milliseconds < 1000.0 => format!("{milliseconds:.1} ms"),
        Some(milliseconds) => format!("{:.2} s", milliseconds / 1000.0),
    }
}

fn who(exchange: &Exchange) -> String {
    match exchange.kind.as_str() {
        "link" if exchange.who.is_empty() => "a link".to_owned(),
        "link" => format!("link {}", exchange.who),
        "anyone" => exchange.address.clone(),
        _ => exchange.who.clone(),
    }
}

/// All of one exchange.
fn text(detail: &ExchangeDetail) -> String {
    let exchange = &detail.exchange;
    let mut lines = vec![
        format!(
            "exchange  {} at {} UTC, trace {}",
            exchange.id,
            clock(exchange.at),
            plain(&exchange.trace_id)
        ),
        format!(
            "from      {} ({}) by {}",
            plain(&who(exchange)),
            plain(&exchange.address),
            exchange.protocol
        ),
        format!(
            "time      first byte {}, all {}",
            exchange.first_byte_ms.map_or_else(|| "-".to_owned(), |first| took(Some(first))),
            took(exchange.took_ms)
        ),
    ];
    if let Some(of) = exchange.replay_of {
        lines.push(format!("replay    of exchange {of}"));
    }
    if let Some(trouble) = &exchange.trouble {
        lines.push(format!("trouble   {}", plain(trouble)));
    }
    lines.push(String::new());
    lines.push(plain(&format!("{} {}", exchange.method, exchange.target)));
    lines.extend(part(&detail.request, exchange.sent_bytes));
    lines.push(String::new());
    lines.push(format!("status {}", status(exchange)));
    lines.extend(part(&detail.response, exchange.received_bytes));
    lines.join("\n")
}

fn part(part: &ExchangePart, bytes: u64) -> Vec<String> {
    let mut lines: Vec<String> = part
        .fields
        .iter()
        .map(|field| plain(&format!("{}: {}", field.name, field.value)))
        .collect();
    if part.fields_cut {
        lines.push("(there were more fields than are kept)".to_owned());
    }
    match &part.body {
        Some(body) => {
            lines.push(String::new());
            lines.extend(body.lines().map(|line| plain(&line.replace('\t', "    "))));
            if part.body_cut {
                lines.push(format!("(the beginning of {bytes} bytes)"));
            }
        }
        None if bytes > 0 => lines.push(format!("({bytes} bytes that are not kept)")),
        None => {}
    }
    lines
}

fn hour(hour: &VisitHour) -> Vec<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:00");
    let names = |list: &[VisitNamed]| {
        let names = list.iter().map(|named| {
            let name = if named.name.is_empty() { "(no name)" } else { &named.name };
            format!("{name} {}", named.requests)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let more = if hour.more { "+" } else { "" };
    vec![
        hour.hour.to_offset(UtcOffset::UTC).format(format).unwrap_or_default(),
        hour.requests.to_string(),
        names(&hour.users),
        names(&hour.links),
        format!("{}{more}", hour.strangers),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_came_from_outside_drives_the_terminal() {
        let hostile = "\u{1b}]0;x\u{7}\u{202e}\r";
        let exchange = Exchange {
            id: 1,
            at: OffsetDateTime::UNIX_EPOCH,
            trace_id: hostile.into(),
            method: "GET".into(),
            target: hostile.into(),
            protocol: "HTTP/1.1".into(),
            kind: "link".into(),
            who: hostile.into(),
            address: "192.0.2.1".into(),
            status: Some(200),
            websocket: false,
            replay_of: None,
            sent_bytes: 0,
            received_bytes: 5,
            first_byte_ms: Some(1.5),
            took_ms: Some(2500.0),
            trouble: Some(hostile.into()),
        };
        let field = crate::api::model::ExchangeField {
            name: "x".into(),
            value: hostile.into(),
            removed: false,
        };
        let part = |body: Option<&str>| ExchangePart {
            fields: vec![field.clone()],
            fields_cut: false,
            body: body.map(str::to_owned),
            body_cut: true,
            body_removed: false,
        };
        let detail = ExchangeDetail {
            request: part(None),
            response: part(Some(&format!("a\n\u{9b}31m{hostile}"))),
            curl: String::new(),
            not_replayable: None,
            exchange,
        };
        let shown = text(&detail) + &table(&["a"], &[row(&detail.exchange)]);
        let drives = |char: char| (char.is_control() && !matches!(char, '\n' | '\t')) || char == '\u{202e}';
        assert!(!shown.contains(drives), "{shown:?}");
        assert!(
            shown.contains("first byte 1.5 ms, all 2.50 s") && shown.contains("(the beginning of 5 bytes)"),
            "{shown}"
        );
    }
}
