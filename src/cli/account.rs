//! `portico user …` and `portico token …`, with the gateway up or down.
//!
//! Where it is down, the operator's command works on the store itself; where it is up, through the administration
//! socket, so that what is revoked is revoked at once.

use http::Method;

use super::{
    args::{Token as TokenVerb, TokenCreate, TokenPlace, TokenRevoke, User as UserVerb, UserCreate, UserNamed, UserRole, Where},
    client::Client,
    offline::Offline,
    output::{Output, table, words},
    place::{self, Found},
    prompt,
};
use crate::api::model::{ChangeUser, CreateToken, CreateUser, NewToken, SignInLink, Token, User};

/// Runs `portico user`.
pub async fn user(verb: UserVerb, output: Output) -> anyhow::Result<()> {
    match verb {
        UserVerb::Create(create) => create_user(&create, output).await,
        UserVerb::List(place) => list_users(&place, output).await,
        UserVerb::Role(change) => set_role(&change, output).await,
        UserVerb::Suspend(named) => set_suspended(&named, true, output).await,
        UserVerb::Resume(named) => set_suspended(&named, false, output).await,
        UserVerb::Link(named) => print_link(&named, output).await,
    }
}

/// Runs `portico token`.
pub async fn token(verb: TokenVerb, output: Output) -> anyhow::Result<()> {
    match verb {
        TokenVerb::Create(create) => create_token(&create, output).await,
        TokenVerb::List(of) => list_tokens(&of, output).await,
        TokenVerb::Revoke(revoke) => revoke_token(&revoke, output).await,
    }
}

async fn create_user(create: &UserCreate, output: Output) -> anyhow::Result<()> {
    let password = match create.password_stdin {
        true => prompt::password_from_stdin()?,
        false => prompt::new_password()?,
    };
    let body = CreateUser {
        name: create.name.clone(),
        password: Some(password),
        admin: create.admin,
    };
    let made: User = match place::find(&create.place).await? {
        Found::Gateway(client) => client.json(Method::POST, "/api/v1/users", Some(&body)).await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let made = offline.create_user(body).await;
            offline.close().await;
            made?
        }
    };
    words(&format!("The account {} is there.", made.name));
    output.show(&made, String::new);
    Ok(())
}

async fn list_users(place: &Where, output: Output) -> anyhow::Result<()> {
    let users: Vec<User> = match place::find(place).await? {
        Found::Gateway(client) => client.get("/api/v1/users").await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let users = offline.users();
            offline.close().await;
            users
        }
    };
    output.show(&users, || {
        let rows: Vec<Vec<String>> = users
            .iter()
            .map(|user| vec![user.name.clone(), user.role.clone(), state(user)])
            .collect();
        table(&["name", "role", "state"], &rows)
    });
    Ok(())
}

async fn set_role(change: &UserRole, output: Output) -> anyhow::Result<()> {
    let body = ChangeUser {
        role: Some(change.role.clone()),
    };
    let path = format!("/api/v1/users/{}", segment(&change.name));
    let user: User = match place::find(&change.place).await? {
        Found::Gateway(client) => client.json(Method::PATCH, &path, Some(&body)).await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let changed = offline.set_role(&change.name, &change.role).await;
            offline.close().await;
            changed?
        }
    };
    words(&format!(
        "{} is {} now, and signed out everywhere.",
        user.name,
        with_article(&user.role)
    ));
    output.show(&user, String::new);
    Ok(())
}

async fn set_suspended(named: &UserNamed, suspended: bool, output: Output) -> anyhow::Result<()> {
    let verb = if suspended { "suspend" } else { "resume" };
    let path = format!("/api/v1/users/{}/{verb}", segment(&named.name));
    let user: User = match place::find(&named.place).await? {
        Found::Gateway(client) => client.json(Method::POST, &path, None::<&()>).await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let changed = offline.set_suspended(&named.name, suspended).await;
            offline.close().await;
            changed?
        }
    };
    words(&format!("{} is {} now.", user.name, state(&user)));
    output.show(&user, String::new);
    Ok(())
}

async fn print_link(named: &UserNamed, output: Output) -> anyhow::Result<()> {
    let Found::Gateway(client) = place::find(&named.place).await? else {
        anyhow::bail!("a link lives in the gateway that runs. Start it first: portico serve");
    };
    let path = format!("/api/v1/users/{}/link", segment(&named.name));
    let made: SignInLink = client.json(Method::POST, &path, None::<&()>).await?;
    words(&format!("This link signs {} in, once, within 30 minutes:", named.name));
    output.show(&made, || made.url.clone());
    Ok(())
}

fn with_article(role: &str) -> &str {
    if role == "admin" { "an administrator" } else { "a member" }
}

fn state(user: &User) -> String {
    if user.suspended { "suspended" } else { "active" }.to_owned()
}

async fn create_token(create: &TokenCreate, output: Output) -> anyhow::Result<()> {
    let body = CreateToken {
        name: create.name.clone(),
        scope: create.scope.clone(),
        expires_in: create.expires.map(|duration| duration.to_string()),
    };
    let made: NewToken = match find(&create.of).await? {
        Found::Gateway(client) => client.json(Method::POST, "/api/v1/tokens", Some(&body)).await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let made = offline.create_token(create.of.user.as_deref(), &body).await;
            offline.close().await;
            made?
        }
    };
    output.show(&made, || made.token.clone());
    Ok(())
}

async fn list_tokens(of: &TokenPlace, output: Output) -> anyhow::Result<()> {
    let tokens: Vec<Token> = match find(of).await? {
        Found::Gateway(client) => client.get("/api/v1/tokens").await?,
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let tokens = offline.tokens(of.user.as_deref());
            offline.close().await;
            tokens?
        }
    };
    output.show(&tokens, || {
        let until = |token: &Token| token.expires_at.map_or("never".to_owned(), |at| at.date().to_string());
        let used = |token: &Token| token.last_used_at.map_or("never".to_owned(), |at| at.date().to_string());
        let row = |token: &Token| vec![token.id.clone(), token.name.clone(), token.scope.clone(), until(token), used(token)];
        table(
            &["id", "name", "scope", "expires", "last used"],
            &tokens.iter().map(row).collect::<Vec<_>>(),
        )
    });
    Ok(())
}

async fn revoke_token(revoke: &TokenRevoke, output: Output) -> anyhow::Result<()> {
    match find(&revoke.of).await? {
        Found::Gateway(client) => {
            client
                .call(Method::DELETE, &format!("/api/v1/tokens/{}", segment(&revoke.id)), None::<&()>)
                .await?;
        }
        Found::Data(data) => {
            let offline = Offline::open(&data).await?;
            let revoked = offline.revoke_token(revoke.of.user.as_deref(), &revoke.id).await;
            offline.close().await;
            revoked?;
        }
    }
    words("The token is revoked.");
    output.show(&serde_json::json!({ "id": revoke.id }), String::new);
    Ok(())
}

/// Writes text as one segment of a path.
fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

async fn find(of: &TokenPlace) -> anyhow::Result<Found> {
    Ok(match place::find(&of.place).await? {
        Found::Gateway(client) => Found::Gateway(Client::acting_as(client, of.user.as_deref())),
        Found::Data(data) => Found::Data(data),
    })
}
