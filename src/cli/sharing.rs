//! `portico sharing …`: administrators close what people share, and open it again.

use http::Method;
use percent_encoding::utf8_percent_encode;

use super::{
    args::{Sharing, SharingClose, SharingOpen, Where},
    output::{Output, table, words},
    place,
};
use crate::api::model::{CloseSharing, ClosedSharing};

/// Runs `portico sharing`.
pub async fn run(verb: Sharing, output: Output) -> anyhow::Result<()> {
    match verb {
        Sharing::List(place) => list(&place, output).await,
        Sharing::Close(wish) => close(&wish, output).await,
        Sharing::Open(wish) => open(&wish).await,
    }
}

async fn list(place: &Where, output: Output) -> anyhow::Result<()> {
    let closed: Vec<ClosedSharing> = place::gateway(place).await?.get("/api/v1/sharing/closed").await?;
    if closed.is_empty() && !output.json {
        words("Nothing is closed.");
    }
    show(&closed, output);
    Ok(())
}

async fn close(wish: &SharingClose, output: Output) -> anyhow::Result<()> {
    let client = place::gateway(&wish.place).await?;
    let body = CloseSharing {
        reason: wish.reason.clone(),
    };
    let closed: ClosedSharing = client.json(Method::PUT, &path(&wish.what), Some(&body)).await?;
    words(&format!("Closed to everybody but its owners: {}.", closed.what));
    show(&[closed], output);
    Ok(())
}

async fn open(wish: &SharingOpen) -> anyhow::Result<()> {
    let client = place::gateway(&wish.place).await?;
    client.call(Method::DELETE, &path(&wish.what), None::<&()>).await?;
    words(&format!("Open again, as owners have set it: {}.", wish.what));
    Ok(())
}

fn show(closed: &[ClosedSharing], output: Output) {
    output.show(closed, || {
        let row = |closed: &ClosedSharing| {
            let at = closed.at.date().to_string();
            vec![closed.what.clone(), at, closed.by.clone(), closed.reason.clone()]
        };
        let rows: Vec<Vec<String>> = closed.iter().map(row).collect();
        if rows.is_empty() {
            String::new()
        } else {
            table(&["what", "since", "by", "reason"], &rows)
        }
    });
}

fn path(what: &str) -> String {
    format!(
        "/api/v1/sharing/closed/{}",
        utf8_percent_encode(what, percent_encoding::NON_ALPHANUMERIC)
    )
}
