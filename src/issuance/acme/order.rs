//! One order for one name: prove it, have the certificate signed, take the proof away again.

use std::{path::Path, time::Duration};

use instant_acme::{Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy};

use super::{AcmeError, handshake, hook, plain, problem_in_words};
use crate::issuance::{Challenges, Kept};

/// How long an authority may take to look at our proof, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(5 * 60));

/// How a name is proved to be ours.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    Dns(&'a Path),
    /// By the gateway itself: over plain HTTP, if it answers that, or in a handshake.
    Own {
        challenges: &'a Challenges,
        plain_http: bool,
    },
}

/// What must be taken away when the order is done.
#[derive(Default)]
struct Shown {
    records: Vec<(String, String)>,
    answers: Vec<Kept>,
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
    shown.answers.clear();
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
        let offered = |kind: &&ChallengeType| authorization.challenges.iter().any(|challenge| challenge.r#type == **kind);
        let kind = proof.kinds().iter().find(offered).cloned();
        let kind = kind.ok_or_else(|| AcmeError::NoChallenge(proof.words(), name.to_owned()))?;
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge.ok_or_else(|| AcmeError::NoChallenge(proof.words(), name.to_owned()))?;
        proof.give(kind, name, &challenge, shown).await?;
        challenge.set_ready().await.map_err(authority)?;
    }
    Ok(())
}

impl Proof<'_> {
    /// The kinds of challenges that are answered so, the preferred one first.
    fn kinds(self) -> &'static [ChallengeType] {
        match self {
            Self::Dns(_) => &[ChallengeType::Dns01],
            Self::Own { plain_http: true, .. } => &[ChallengeType::Http01, ChallengeType::TlsAlpn01],
            Self::Own { plain_http: false, .. } => &[ChallengeType::TlsAlpn01],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Dns(_) => "dns-01",
            Self::Own { plain_http: true, .. } => "http-01 or tls-alpn-01",
            Self::Own { plain_http: false, .. } => "tls-alpn-01",
        }
    }

    /// Puts the proof where the authority will look.
    async fn give(self, kind: ChallengeType, name: &str, challenge: &ChallengeHandle<'_>, shown: &mut Shown) -> Result<(), AcmeError> {
        let answer = challenge.key_authorization();
        match self {
            Self::Dns(program) => {
                let record = format!("_acme-challenge.{}", name.strip_prefix("*.").unwrap_or(name));
                let value = answer.dns_value();
                // Before it is there: a hook that fails half-way may have made it.
                shown.records.push((record.clone(), value.clone()));
                hook::run(program, "present", &record, &value).await?;
            }
            Self::Own { challenges, .. } if kind == ChallengeType::TlsAlpn01 => {
                let digest = answer.digest();
                let digest = digest.as_ref().try_into();
                let digest = digest.map_err(|_| AcmeError::Proof("its digest is none of SHA-256".into()))?;
                let certificate = handshake::certificate(name, digest)?;
                shown.answers.push(challenges.put_certificate(name.to_owned(), certificate));
            }
            Self::Own { challenges, .. } => shown
                .answers
                .push(challenges.put(challenge.token.clone(), answer.as_str().to_owned())),
        }
        Ok(())
    }
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
