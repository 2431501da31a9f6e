//! One order for one name: prove it, have the certificate signed, take the proof away again.

use std::{path::Path, time::Duration};

use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy};

use super::{AcmeError, hook, plain, problem_in_words};
use crate::issuance::{Challenges, Kept};

/// How long an authority may take to look at our proof, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(5 * 60));

/// How a name is proved to be ours.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    Dns(&'a Path),
    Http(&'a Challenges),
}

/// What must be taken away when the order is done.
#[derive(Default)]
struct Shown {
    records: Vec<(String, String)>,
    _answers: Vec<Kept>,
}

/// Gets a certificate: its key and its chain in PEM.
pub(super) async fn place(account: &Account, name: &str, proof: Proof<'_>, directory: &str) -> Result<String, AcmeError> {
    let authority = |source| AcmeError::Authority {
        directory: directory.to_owned(),
        source,
    };
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.map_err(authority)?;
    let mut shown = Shown::default();
    let proved = async {
        show(&mut order, name, proof, &mut shown, &authority).await?;
        match order.poll_ready(&PATIENCE).await.map_err(authority)? {
            OrderStatus::Ready | OrderStatus::Valid => Ok(()),
            _ => Err(AcmeError::Refused {
                name: name.to_owned(),
                why: why(&mut order).await,
            }),
        }
    }
    .await;
    // Taken away whatever came of it.
    if let Proof::Dns(program) = proof {
        for (record, value) in &shown.records {
            if let Err(error) = hook::run(program, "cleanup", record, value).await {
                tracing::warn!(%error, record, "a record of ACME stays in the DNS");
            }
        }
    }
    proved?;
    let key = order.finalize().await.map_err(authority)?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(authority)?;
    Ok(format!("{key}{chain}"))
}

/// Shows a proof for whatever the authority still wants one for.
async fn show(
    order: &mut Order,
    name: &str,
    proof: Proof<'_>,
    shown: &mut Shown,
    authority: &impl Fn(instant_acme::Error) -> AcmeError,
) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(authority)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let (kind, word) = match proof {
            Proof::Dns(_) => (ChallengeType::Dns01, "dns-01"),
            Proof::Http(_) => (ChallengeType::Http01, "http-01"),
        };
        let challenge = authorization.challenge(kind);
        let mut challenge = challenge.ok_or_else(|| AcmeError::NoChallenge(word, name.to_owned()))?;
        let answer = challenge.key_authorization();
        match proof {
            Proof::Dns(program) => {
                let record = format!("_acme-challenge.{}", name.strip_prefix("*.").unwrap_or(name));
                let value = answer.dns_value();
                // Before it is there: a hook that fails half-way may have made it.
                shown.records.push((record.clone(), value.clone()));
                hook::run(program, "present", &record, &value).await?;
            }
            Proof::Http(challenges) => shown
                ._answers
                .push(challenges.put(challenge.token.clone(), answer.as_str().to_owned())),
        }
        challenge.set_ready().await.map_err(authority)?;
    }
    Ok(())
}

/// What the authority found wrong with our proof.
async fn why(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    let mut found = Vec::new();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            found.extend(
                state
                    .challenges
                    .iter()
                    .filter_map(|challenge| challenge.error.as_ref().map(problem_in_words)),
            );
        }
    }
    if found.is_empty() {
        return "it gave no reason".into();
    }
    plain(&found.join("; "))
}
