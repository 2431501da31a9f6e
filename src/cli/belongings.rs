//! `portico secret`, `git-credential` and `settings`: what people keep for their codespaces.

use std::{io::Read as _, path::Path};

use anyhow::Context as _;
use http::Method;
use time::OffsetDateTime;

use super::{
    args::{GitCredential as GitVerb, HelperCall, Secret as SecretVerb, SecretSet, SettingsVerb},
    client::Client,
    failure::Usage,
    offline::Offline,
    output::{Output, line, plain, table, words},
    place::{self, Found},
    prompt,
};
use crate::{
    agent::git_credentials,
    api::model::{ChangePersonalSettings, GitCredential, PersonalSettings, Secret, SetGitCredential, SetSecret},
    domain::SecretName,
};

/// Longest text that is read: more than the gateway takes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Runs `portico secret`.
pub async fn secret(verb: SecretVerb, output: Output) -> anyhow::Result<()> {
    match verb {
        SecretVerb::Set(set) => set_secrets(&set, output).await,
        SecretVerb::List(list) => {
            let all: Vec<Secret> = place::gateway(&list.place).await?.get("/api/v1/user/secrets").await?;
            output.show(&all, || {
                let row = |one: &Secret| vec![one.name.clone(), of(&one.repository), updated(one.updated_at, one.readable)];
                table(&["name", "repository", "updated"], &all.iter().map(row).collect::<Vec<_>>())
            });
            Ok(())
        }
        SecretVerb::Delete(delete) => {
            let client = place::gateway(&delete.place).await?;
            let query = delete.repository.as_deref().map(|url| query("repository", url)).unwrap_or_default();
            let path = format!("/api/v1/user/secrets/{}{query}", delete.name);
            client.call(Method::DELETE, &path, None::<&()>).await?;
            words(&format!("{} is forgotten.", delete.name));
            Ok(())
        }
        SecretVerb::Forget(forget) => {
            let Found::Data(data) = place::find(&forget.place).await? else {
                anyhow::bail!("the gateway must be down for this, and the command run on its machine: stop it first");
            };
            let offline = Offline::open(&data).await?;
            let forgotten = offline.forget_belongings(forget.all).await;
            offline.close().await;
            words(&format!("{} secrets, passwords and settings are forgotten.", forgotten?));
            Ok(())
        }
    }
}

async fn set_secrets(set: &SecretSet, output: Output) -> anyhow::Result<()> {
    let wanted = match (&set.env_file, &set.name) {
        (Some(file), _) => pairs(&read(file)?)?,
        (None, Some(name)) => vec![(name.clone(), value(set.body.as_deref(), &format!("Value of {name}: "))?)],
        (None, None) => return Err(Usage("name a secret, or a file with --env-file".into()).into()),
    };
    let client = place::gateway(&set.place).await?;
    let mut kept: Vec<Secret> = Vec::new();
    for (name, value) in wanted {
        let body = SetSecret {
            value,
            repository: set.repository.clone(),
        };
        kept.push(
            client
                .json(Method::PUT, &format!("/api/v1/user/secrets/{name}"), Some(&body))
                .await?,
        );
        words(&format!("{name} is kept."));
    }
    match kept.as_slice() {
        [one] if set.env_file.is_none() => output.show(one, String::new),
        all => output.show(all, String::new),
    }
    Ok(())
}

/// Runs `portico git-credential`.
pub async fn git_server(verb: GitVerb, output: Output) -> anyhow::Result<()> {
    const PATH: &str = "/api/v1/user/git-credentials";
    match verb {
        GitVerb::Set(set) => {
            let body = SetGitCredential {
                host: set.host.to_string(),
                username: set.username.clone(),
                password: value(None, "Password or token: ")?,
                repository: set.repository.clone(),
            };
            let client = place::gateway(&set.place).await?;
            let kept: GitCredential = client.json(Method::PUT, PATH, Some(&body)).await?;
            words(&format!("git in your codespaces is {} at {}.", kept.username, kept.host));
            if !set.host.is_encrypted() {
                words("That server is asked without encryption: whoever is on the way can read the password.");
            }
            output.show(&kept, String::new);
        }
        GitVerb::List(list) => {
            let all: Vec<GitCredential> = place::gateway(&list.place).await?.get(PATH).await?;
            output.show(&all, || {
                let row = |one: &GitCredential| {
                    vec![
                        one.host.clone(),
                        one.username.clone(),
                        of(&one.repository),
                        updated(one.updated_at, one.readable),
                    ]
                };
                let rows: Vec<_> = all.iter().map(row).collect();
                table(&["server", "user name", "repository", "updated"], &rows)
            });
        }
        GitVerb::Delete(delete) => {
            let client = place::gateway(&delete.place).await?;
            let of = delete
                .repository
                .as_deref()
                .map(|url| query("repository", url).replacen('?', "&", 1));
            let path = format!("{PATH}{}{}", query("host", &delete.host.to_string()), of.unwrap_or_default());
            client.call(Method::DELETE, &path, None::<&()>).await?;
            words(&format!("The credential for {} is forgotten.", delete.host));
        }
    }
    Ok(())
}

/// Runs `portico settings`: changes what is named, and shows what there is.
pub async fn settings(verb: SettingsVerb, output: Output) -> anyhow::Result<()> {
    const PATH: &str = "/api/v1/user/settings";
    let set = verb.set;
    let editor_settings = match &set.editor_settings {
        Some(file) if file.as_os_str().is_empty() => Some(String::new()),
        Some(file) => Some(read(file)?),
        None => None,
    };
    let extensions: Vec<String> = set.extensions.iter().map(ToString::to_string).collect();
    let change = ChangePersonalSettings {
        git_name: set.git_name,
        git_email: set.git_email,
        dotfiles_repository: set.dotfiles,
        dotfiles_script: set.dotfiles_script,
        editor_settings,
        extensions: (set.no_extensions || !extensions.is_empty()).then_some(extensions),
    };
    let client: Client = place::gateway(&verb.place).await?;
    let nothing = serde_json::to_value(&change)? == serde_json::json!({});
    let now: PersonalSettings = match nothing {
        true => client.get(PATH).await?,
        false => client.json(Method::PATCH, PATH, Some(&change)).await?,
    };
    output.show(&now, || described(&now));
    Ok(())
}

fn described(now: &PersonalSettings) -> String {
    let or = |text: &Option<String>, none: &str| text.as_deref().map_or_else(|| none.to_owned(), plain);
    let editor = now
        .editor_settings
        .as_ref()
        .map_or("Portico's own".into(), |text| format!("{} bytes", text.len()));
    let extensions = if now.extensions.is_empty() {
        "none".into()
    } else {
        now.extensions.join(", ")
    };
    [
        ("git name", or(&now.git_name, "the account's")),
        ("git email", or(&now.git_email, "the account's")),
        ("dotfiles", or(&now.dotfiles_repository, "none")),
        ("dotfiles script", or(&now.dotfiles_script, "the first of the usual names")),
        ("editor settings", editor),
        ("extensions", extensions),
    ]
    .map(|(name, value)| format!("{name}: {value}"))
    .join("\n")
}

/// Answers git, which runs this inside a codespace. Silence is an answer: git then asks elsewhere.
pub async fn git_credential(asked: HelperCall) -> anyhow::Result<()> {
    let mut question = String::new();
    std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut question)?;
    let answer = git_credentials::ask(&asked.socket, &asked.operation, &question).await;
    let answer = answer.context("the codespace's agent does not answer")?;
    if !answer.is_empty() {
        // A password may end in blanks.
        line(answer.strip_suffix('\n').unwrap_or(&answer));
    }
    Ok(())
}

/// A value that was given, else asked for without echo, else all of standard input.
fn value(given: Option<&str>, question: &str) -> anyhow::Result<String> {
    match given {
        Some(given) => Ok(given.to_owned()),
        None if prompt::can_ask() => prompt::hidden(question),
        None => {
            let mut text = String::new();
            std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text)?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
        }
    }
}

fn of(repository: &Option<String>) -> String {
    repository.as_deref().map_or_else(|| "all".into(), plain)
}

fn updated(at: OffsetDateTime, readable: bool) -> String {
    let unreadable = if readable { "" } else { ", cannot be decrypted" };
    format!("{}{unreadable}", at.date())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let opened = std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let mut text = String::new();
    opened
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("{} cannot be read as text", file.display()))?;
    Ok(text)
}

/// Reads lines NAME=VALUE; quotes around a value go.
fn pairs(text: &str) -> anyhow::Result<Vec<(SecretName, String)>> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let wrong = |why: &str| Usage(format!("line {number}: {why}"));
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').ok_or_else(|| wrong("write NAME=VALUE"))?;
            let name = name.trim().parse::<SecretName>().map_err(|error| wrong(&error.to_string()))?;
            let value = value.trim();
            let quoted = ['"', '\'']
                .into_iter()
                .find_map(|mark| value.strip_prefix(mark)?.strip_suffix(mark));
            Ok((name, quoted.unwrap_or(value).to_owned()))
        })
        .collect()
}

fn query(name: &str, value: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("?{}", query.append_pair(name, value).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables() {
        let read = |text: &str| {
            let pairs = pairs(text).map_err(|error| error.to_string())?;
            Ok::<_, String>(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
        };
        let text = "# mine\n\nA=1\n export B = \"two words\" \nC='x=y'\nD=\n";
        assert_eq!(read(text), Ok(["A=1", "B=two words", "C=x=y", "D="].map(str::to_owned).to_vec()));
        assert!(read("A=1\nno value\n").is_err_and(|why| why.starts_with("line 2")));
        assert!(read("PATH=/x").is_err());
    }
}
