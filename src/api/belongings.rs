//! What whoever asks keeps for their codespaces: secrets, git servers, settings. Names go out, values never.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use http::StatusCode;

use super::{
    Services,
    account::own_account,
    body::Sent,
    identify::{By, Params, Who},
    model::{ChangePersonalSettings, GitCredential, PersonalSettings, Secret, SetGitCredential, SetSecret},
    problem::{Problem, ProblemBody},
};
use crate::{
    belongings::{KeptGit, KeptSecret, Profile, ProfileChange},
    domain::{GitHost, RepositorySource, Role, Scope, SecretName},
};

/// Lists your secrets, without their values.
#[utoipa::path(get, path = "/api/v1/user/secrets", tag = "account", responses(
    (status = 200, body = [Secret]),
))]
pub async fn secrets(State(services): State<Services>, who: Who) -> Result<Json<Vec<Secret>>, Problem> {
    let who = who.may_see_account()?;
    let kept = services.belongings.secrets(&who.user);
    Ok(Json(kept.into_iter().map(secret).collect()))
}

/// Keeps a secret, as a variable of all that starts in your codespaces from now on.
#[utoipa::path(put, path = "/api/v1/user/secrets/{name}", tag = "account", params(("name" = String, Path)), request_body = SetSecret, responses(
    (status = 200, body = Secret, description = "It took the place of the one of that name"), (status = 201, body = Secret),
    (status = 409, body = ProblemBody, description = "There are as many as there may be"), (status = 422, body = ProblemBody),
))]
pub async fn set_secret(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(name): Params<String>,
    Sent(sent): Sent<SetSecret>,
) -> Result<(StatusCode, Json<Secret>), Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let (name, repository) = (secret_name(&name)?, sent.repository.as_deref().map(repository).transpose()?);
    let value = sent.value.into();
    let kept = services.belongings.set_secret(&user.id, &name, repository.as_ref(), &value, &by);
    let (kept, is_new) = kept.await?;
    services.codespaces.tell_belongings(&user.id);
    Ok((made(is_new), Json(secret(kept))))
}

/// Forgets a secret; what runs already keeps what it was given.
#[utoipa::path(delete, path = "/api/v1/user/secrets/{name}", tag = "account", params(
    ("name" = String, Path), ("repository" = Option<String>, Query, description = "The repository that it is for; without one, the secret for all"),
), responses((status = 204), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn delete_secret(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Params(name): Params<String>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let name = secret_name(&name)?;
    let [of] = asked(query.as_deref(), ["repository"])?;
    let repository = of.as_deref().map(repository).transpose()?;
    let was_there = services.belongings.delete_secret(&who.user, &name, repository.as_ref(), &by);
    if !was_there.await? {
        return Err(Problem::not_found("You keep no secret of that name for that repository."));
    }
    services.codespaces.tell_belongings(&who.user);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the git servers for which you keep a credential, without the passwords.
#[utoipa::path(get, path = "/api/v1/user/git-credentials", tag = "account", responses(
    (status = 200, body = [GitCredential]),
))]
pub async fn git_credentials(State(services): State<Services>, who: Who) -> Result<Json<Vec<GitCredential>>, Problem> {
    let who = who.may_see_account()?;
    let kept = services.belongings.git(&who.user);
    Ok(Json(kept.into_iter().map(git_credential).collect()))
}

/// Keeps who you are at a git server; git in your codespaces has it at once.
#[utoipa::path(put, path = "/api/v1/user/git-credentials", tag = "account", request_body = SetGitCredential, responses(
    (status = 200, body = GitCredential, description = "It took the place of the one for that server"), (status = 201, body = GitCredential),
    (status = 409, body = ProblemBody, description = "There are as many as there may be"), (status = 422, body = ProblemBody),
))]
pub async fn set_git_credential(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Sent(sent): Sent<SetGitCredential>,
) -> Result<(StatusCode, Json<GitCredential>), Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let host = git_host(&sent.host)?;
    let password = sent.password.into();
    let repository = sent.repository.as_deref().map(repository).transpose()?;
    let kept = services
        .belongings
        .set_git(&user.id, &host, repository.as_ref(), &sent.username, &password, &by);
    let (kept, is_new) = kept.await?;
    services.codespaces.tell_belongings(&user.id);
    Ok((made(is_new), Json(git_credential(kept))))
}

/// Forgets who you are at a git server, in your codespaces too.
#[utoipa::path(delete, path = "/api/v1/user/git-credentials", tag = "account", params(
    ("host" = String, Query, description = "The server as the list shows it"),
    ("repository" = Option<String>, Query, description = "The repository that it is for; without one, the credential for all"),
), responses((status = 204), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
pub async fn delete_git_credential(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    let who = who.in_full()?;
    let [host, of] = asked(query.as_deref(), ["host", "repository"])?;
    let host = git_host(&host.unwrap_or_default())?;
    let of = of.as_deref().map(repository).transpose()?;
    if !services.belongings.delete_git(&who.user, &host, of.as_ref(), &by).await? {
        return Err(Problem::not_found("You keep no credential for that git server and repository."));
    }
    services.codespaces.tell_belongings(&who.user);
    Ok(StatusCode::NO_CONTENT)
}

/// Shows the settings that follow you to each codespace; the text of the editor's to a token of scope `all` alone, since
/// people keep tokens of other services in it.
#[utoipa::path(get, path = "/api/v1/user/settings", tag = "account", responses(
    (status = 200, body = PersonalSettings),
))]
pub async fn settings(State(services): State<Services>, who: Who) -> Result<Json<PersonalSettings>, Problem> {
    let who = who.may_see_account()?;
    let mut settings = shown(&services, services.belongings.profile(&who.user));
    settings.editor_settings = settings.editor_settings.filter(|_| who.scope == Scope::All);
    Ok(Json(settings))
}

/// Changes the settings that follow you: those of git at the next start of a codespace, the others in new codespaces.
#[utoipa::path(patch, path = "/api/v1/user/settings", tag = "account", request_body = ChangePersonalSettings, responses(
    (status = 200, body = PersonalSettings), (status = 409, body = ProblemBody, description = "They cannot be decrypted"),
    (status = 422, body = ProblemBody),
))]
pub async fn change_settings(
    State(services): State<Services>,
    who: Who,
    By(by): By,
    Sent(sent): Sent<ChangePersonalSettings>,
) -> Result<Json<PersonalSettings>, Problem> {
    let who = who.in_full()?;
    let user = own_account(&services, &who)?;
    let change = ProfileChange {
        git_name: sent.git_name,
        git_email: sent.git_email,
        dotfiles_repository: sent.dotfiles_repository,
        dotfiles_script: sent.dotfiles_script,
        editor_settings: sent.editor_settings,
        extensions: sent.extensions,
    };
    let allow_local = user.role == Role::Admin;
    let profile = services.belongings.change_profile(&user.id, change, allow_local, &by).await?;
    services.codespaces.tell_belongings(&user.id);
    Ok(Json(shown(&services, Some(profile))))
}

fn made(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}

fn secret(kept: KeptSecret) -> Secret {
    Secret {
        name: kept.name,
        repository: kept.repository,
        readable: kept.readable,
        created_at: kept.created_at,
        updated_at: kept.updated_at,
    }
}

fn git_credential(kept: KeptGit) -> GitCredential {
    GitCredential {
        host: kept.host,
        username: kept.username,
        repository: kept.repository,
        readable: kept.readable,
        created_at: kept.created_at,
        updated_at: kept.updated_at,
    }
}

fn shown(services: &Services, profile: Option<Profile>) -> PersonalSettings {
    let readable = profile.is_some();
    let profile = profile.unwrap_or_default();
    PersonalSettings {
        readable,
        kept_apart: services.codespaces.keeps_apart(),
        git_name: profile.git_name,
        git_email: profile.git_email,
        dotfiles_repository: profile.dotfiles_repository,
        dotfiles_script: profile.dotfiles_script,
        editor_settings: profile.editor_settings,
        extensions: profile.extensions,
    }
}

fn secret_name(text: &str) -> Result<SecretName, Problem> {
    text.parse()
        .map_err(|error| Problem::unprocessable("bad-name", "That name will not do", format!("{}.", sentence(&error))))
}

fn repository(text: &str) -> Result<RepositorySource, Problem> {
    text.parse::<RepositorySource>()
        .and_then(RepositorySource::without_user)
        .map_err(|error| Problem::unprocessable("bad-repository", "That is no repository", format!("{}.", sentence(&error))))
}

fn git_host(text: &str) -> Result<GitHost, Problem> {
    text.parse()
        .map_err(|error| Problem::unprocessable("bad-host", "That is no git server", format!("{}.", sentence(&error))))
}

fn sentence(error: &dyn std::fmt::Display) -> String {
    super::refusals::capitalised(&error.to_string())
}

/// The parameters that a query may have.
fn asked<const N: usize>(query: Option<&str>, names: [&str; N]) -> Result<[Option<String>; N], Problem> {
    let mut found = [const { None }; N];
    for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let place = names.iter().position(|name| *name == key).and_then(|place| found.get_mut(place));
        match place {
            Some(place) if place.is_none() => *place = Some(value.into_owned()),
            _ => {
                return Err(Problem::unprocessable(
                    "bad-query",
                    "The query is not right",
                    format!("It takes {} once, and nothing else.", names.join(" and ")),
                ));
            }
        }
    }
    Ok(found)
}
