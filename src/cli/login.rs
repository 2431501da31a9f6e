//! `portico login`, `logout` and `whoami`: a command line signed in through a browser (RFC 8628).

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http::Method;
use serde_json::json;

use super::{
    args::{Login, Logout, Where},
    client::{Client, ClientError, Place},
    failure::Usage,
    output::{Output, plain, words},
    place::{self, Found},
    saved::{Saved, SignIn},
};
use crate::{
    api::model::{AskDevice, BeginDevice, DeviceCodes, DeviceToken, Token, User},
    route::{Origin, Scheme},
};

/// Longest pause between two questions, whatever the gateway says.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Signs in: shows a code, waits for a person to grant it, keeps the token.
pub async fn login(login: Login, output: Output) -> anyhow::Result<()> {
    let mut saved = Saved::read()?;
    let gateway = gateway(login.url.as_deref(), &saved)?;
    check_transport(&gateway, login.insecure)?;
    let client = Client::new(Place::Url(gateway.clone()), None);
    let wanted = BeginDevice {
        machine: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        scope: login.scope.clone(),
        expires_in: Some(login.expires.to_string()),
    };
    let codes: DeviceCodes = client.json(Method::POST, "/api/v1/device/code", Some(&wanted)).await?;
    // From the gateway's own URL, not from its answer: that is where the person means to sign in.
    let address = format!("{gateway}/device");
    words(&format!("Open  {address}\nand type  {}\n", plain(&codes.user_code)));
    if !login.no_browser {
        open_browser(&address);
    }
    words(&format!(
        "Waiting until it is granted there, for {} minutes. Ctrl-C gives up.",
        codes.expires_in / 60
    ));
    let granted = wait(&client, &codes).await?;
    let before = saved.at(&gateway).cloned();
    let user = plain(&granted.user);
    let sign_in = SignIn {
        user: granted.user,
        token: granted.access_token,
        scope: granted.scope,
        expires_at: granted.expires_at,
    };
    let shown = json!({ "url": gateway.to_string(), "user": sign_in.user, "scope": sign_in.scope, "expires_at": until(&sign_in) });
    saved.keep(&gateway, sign_in);
    saved.write()?;
    if let Some(before) = before {
        // The one that it replaces; if that does not work, it ends by itself or in the settings.
        drop(revoke(&gateway, &before).await);
    }
    words(&format!("Signed in to {gateway} as {user}."));
    output.show(&shown, String::new);
    Ok(())
}

/// Signs out: revokes the token there and forgets it here.
pub async fn logout(logout: Logout, output: Output) -> anyhow::Result<()> {
    let mut saved = Saved::read()?;
    let gateways: Vec<String> = if logout.all {
        saved.gateways.keys().cloned().collect()
    } else {
        let nobody = || Usage("this command line is signed in nowhere".to_owned());
        let one = match &logout.url {
            Some(url) => origin(url)?.to_string(),
            None => saved.current.clone().ok_or_else(nobody)?,
        };
        vec![one]
    };
    let mut failed = Vec::new();
    for gateway in &gateways {
        let Some(sign_in) = saved.forget(gateway) else {
            return Err(Usage(format!("this command line is not signed in to {gateway}")).into());
        };
        // Forgotten first: a gateway that is gone must not keep the token here.
        saved.write()?;
        match revoke(&gateway.parse()?, &sign_in).await {
            Ok(()) => words(&format!("Signed out of {gateway}.")),
            Err(error) => failed.push(format!("{gateway}: {error}")),
        }
    }
    output.show(&json!({ "signed_out": gateways }), String::new);
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "the token is forgotten here, but could not be revoked there, so it is valid until it expires or is revoked in the settings. {}",
        failed.join("; ")
    )
}

/// Says which gateway commands talk to, and as whom.
pub async fn whoami(place: Where, output: Output) -> anyhow::Result<()> {
    let client = match place::find(&place).await? {
        Found::Gateway(client) => client,
        Found::Data(data) => bail!(
            "no gateway runs on {}, and this command line is signed in nowhere. Sign in with: portico login URL",
            data.display()
        ),
    };
    // A token tells of itself; on the administration socket there is none.
    let token: Option<Token> = match client.get("/api/v1/token").await {
        Ok(token) => Some(token),
        Err(error) if error.slug() == Some("not-found") => None,
        Err(error) => return Err(error.into()),
    };
    let user: User = client.get("/api/v1/user").await?;
    let shown = json!({ "url": client.to_string(), "user": user.name, "role": user.role, "token": token });
    output.show(&shown, || {
        let credential = token.as_ref().map_or("the operator of this machine".to_owned(), |token| {
            let until = token.expires_at.map_or("for ever".to_owned(), |at| format!("until {}", at.date()));
            format!("token {:?}, scope {}, {until}", plain(&token.name), plain(&token.scope))
        });
        format!("{} ({}) at {client}\n{credential}", plain(&user.name), plain(&user.role))
    });
    Ok(())
}

/// Asks for the token until somebody decides or the code expires.
async fn wait(client: &Client, codes: &DeviceCodes) -> anyhow::Result<DeviceToken> {
    let until = Instant::now() + Duration::from_secs(codes.expires_in);
    let mut pause = Duration::from_secs(codes.interval.max(1));
    let ask = AskDevice {
        device_code: codes.device_code.clone(),
    };
    loop {
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        if Instant::now() >= until {
            bail!("nobody granted it in time. Begin again with: portico login");
        }
        match client.json(Method::POST, "/api/v1/device/token", Some(&ask)).await {
            Ok(granted) => return Ok(granted),
            Err(error) => match error.slug() {
                Some("authorization-pending") => {}
                Some("slow-down") => pause += Duration::from_secs(5),
                Some("access-denied") => bail!("it was declined in the browser"),
                Some("expired-token") => bail!("the code is no longer good. Begin again with: portico login"),
                // The gateway or the network is away for a moment.
                None if matches!(error, ClientError::Unreachable { .. } | ClientError::Broken(_)) => {}
                _ => return Err(error.into()),
            },
        }
    }
}

async fn revoke(gateway: &Origin, sign_in: &SignIn) -> Result<(), ClientError> {
    let client = Client::new(Place::Url(gateway.clone()), Some(sign_in.token.clone()));
    match client.call(Method::DELETE, "/api/v1/token", None::<&()>).await {
        // It was over already.
        Err(ClientError::Refused(problem)) if problem.status == 401 => Ok(()),
        other => other.map(drop),
    }
}

fn gateway(given: Option<&str>, saved: &Saved) -> anyhow::Result<Origin> {
    match given {
        Some(url) => origin(url),
        None => match saved.current() {
            Some((origin, _)) => Ok(origin),
            None => Err(Usage("say which gateway: portico login https://portico.example.com".to_owned()).into()),
        },
    }
}

/// A gateway's URL; a name alone means https.
fn origin(text: &str) -> anyhow::Result<Origin> {
    let url = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    url.parse().with_context(|| format!("{text:?} is no gateway's URL"))
}

/// A token does not go over a network in the clear unless the person says so.
fn check_transport(gateway: &Origin, insecure: bool) -> anyhow::Result<()> {
    let host = gateway.host.trim_matches(['[', ']']);
    let here = host == "localhost" || host.ends_with(".localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if gateway.scheme == Scheme::Https || here || insecure {
        return Ok(());
    }
    Err(Usage(format!(
        "{gateway} would send the token over plain HTTP. Use https, or --insecure if you trust the network"
    ))
    .into())
}

/// Opens a browser where there is a display to open one on; the address is shown in any case.
pub fn open_browser(address: &str) {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| place::variable(name).is_some());
    let program = place::variable("BROWSER").filter(|program| !program.contains([' ', ':', '%']));
    let Some(program) = program.or_else(|| display.then(|| "xdg-open".to_owned())) else {
        return;
    };
    let mut command = Command::new(program);
    command
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    drop(command.spawn());
}

fn until(sign_in: &SignIn) -> Option<String> {
    sign_in
        .expires_at
        .and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_go_over_networks_in_the_clear() {
        let check = |url: &str, insecure, allowed| {
            let origin = origin(url).expect("a URL");
            assert_eq!(check_transport(&origin, insecure).is_ok(), allowed, "{url}");
        };
        check("portico.example.com", false, true);
        check("http://portico.example.com", false, false);
        check("http://portico.example.com", true, true);
        check("http://localhost.example.com", false, false);
        check("http://portico.localhost:8080", false, true);
        check("http://127.0.0.1:8080", false, true);
        check("http://[::1]:8080", false, true);
        check("http://10.0.0.1", false, false);
    }
}
