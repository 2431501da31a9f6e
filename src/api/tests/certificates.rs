//! What administrators are told about the gateway's certificates.

use time::Duration;

use super::*;
use crate::issuance::{Source, Trouble, Validity};

#[tokio::test]
async fn an_admin_sees_how_long_each_certificate_is_good_and_what_went_wrong() {
    let api = TestApi::start().await;
    let ask = async |credential: Call| api.send(credential).await;
    let call = || Call::get("/api/v1/certificates");
    assert_eq!(ask(call()).await.short(), "401 sign-in-required");
    let member = api.token("bob", "all").await;
    assert_eq!(ask(call().token(&member)).await.short(), "403 forbidden");
    let again = || Call::post("/api/v1/certificates/try");
    assert_eq!(ask(again().token(&member)).await.short(), "403 forbidden");
    let admin = api.token("ada", "all").await;
    assert_eq!(ask(again().token(&admin)).await.status, 202);
    let list = async || ask(call().token(&admin)).await.json();
    assert_eq!(list().await, serde_json::json!([]));

    let now = api.clock.now();
    let ledger = &api.services.certificates;
    let trouble = Trouble {
        text: "the authority is away".into(),
        at: now,
    };
    ledger.planned("portico.example", Source::Acme, now + Duration::minutes(5));
    ledger.tried("portico.example", Some(trouble));
    ledger.shown("*.codespaces.example", None);
    let told = list().await;
    assert_eq!(told[0]["state"], "missing");
    assert_eq!(told[0]["last_error"], "the authority is away");
    assert_eq!(told[0]["last_error_at"], "2027-01-15T08:00:00Z");
    assert_eq!(told[0]["next_try_at"], "2027-01-15T08:05:00Z");
    assert_eq!((&told[1]["source"], &told[1]["state"]), (&Value::Null, &"missing".into()));

    for (from, until, state) in [
        (-30, 60, "good"),
        (-80, 10, "expires_soon"),
        (-90, 0, "expired"),
        (1, 90, "not_yet"),
    ] {
        let validity = Validity {
            from: now + Duration::days(from),
            until: now + Duration::days(until),
        };
        ledger.shown("*.codespaces.example", Some((Source::Files, validity)));
        let told = list().await;
        assert_eq!((&told[1]["source"], &told[1]["state"]), (&"files".into(), &state.into()));
    }
    assert_eq!(list().await[1]["expires_at"], "2027-04-15T08:00:00Z");
}
