//! `portico user …` and `portico token …`, with the gateway up or down.
//!
//! Where it is down, the operator's command works on the store itself; where it is up, through the administration
//! socket, so that what is revoked is revoked at once.

use http::Method;

use super::{
    args::{Token as TokenVerb, TokenCreate, TokenPlace, TokenRevoke, User as UserVerb, UserCreate, Where},
    client::Client,
    offline::Offline,
    output::{Output, table, words},
    place::{self, Found},
    prompt,
};
use crate::api::model::{CreateToken, CreateUser, NewToken, Token, User};

/// Runs `portico user`.
pub async fn user(verb: UserVerb, output: Output) -> anyhow::Result<()> {
    match verb {
        UserVerb::Create(create) => create_user(&create, output).await,
        UserVerb::List(place) => list_users(&place, output).await,
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
        let rows: Vec<Vec<String>> = users.iter().map(|user| vec![user.name.clone(), user.role.clone()]).collect();
        table(&["name", "role"], &rows)
    });
    Ok(())
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
        let row = |token: &Token| vec![token.id.clone(), token.name.clone(), token.scope.clone(), until(token)];
        table(&["id", "name", "scope", "expires"], &tokens.iter().map(row).collect::<Vec<_>>())
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
