//! How far owners may share, as administrators see and set it.

use super::*;

#[tokio::test]
async fn share_3_an_admin_sees_what_a_ceiling_closes_before_it_does() {
    let api = TestApi::start().await;
    let admin = api.token("ada", "all").await;
    let owner = api.token("bob", "all").await;
    let put = async |token: &str, body: Value| api.send(Call::new(Method::PUT, "/api/v1/ceilings").token(token).json(&body)).await;
    let list = async || api.send(Call::get("/api/v1/ceilings").token(&admin)).await.json();
    let all = serde_json::json!([{ "organisation": null, "max_visibility": "public", "links": true, "source": "configuration" }]);
    assert_eq!(list().await, all);
    let org = serde_json::json!({ "max_visibility": "org", "dry_run": true });
    assert_eq!(put(&owner, org.clone()).await.short(), "403 forbidden");
    assert_eq!(api.send(Call::get("/api/v1/ceilings").token(&owner)).await.short(), "403 forbidden");
    for bad in [
        serde_json::json!({ "max_visibility": "everyone" }),
        serde_json::json!({ "max_visibility": "org", "organisation": "" }),
        serde_json::json!({ "max_visibility": "org", "organisation": "a\nb" }),
    ] {
        assert_eq!(put(&admin, bad).await.short(), "422 bad-ceiling");
    }

    let codespace = "bob-x";
    let port = format!("/api/v1/codespaces/{codespace}/ports/3000");
    let visibility = async || {
        api.send(Call::get(&format!("/api/v1/codespaces/{codespace}/ports")).token(&owner))
            .await
            .json()[0]["visibility"]
            .clone()
    };
    let opened = api
        .send(
            Call::new(Method::PATCH, &port)
                .token(&owner)
                .json(&serde_json::json!({ "visibility": "public" })),
        )
        .await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let made = api
        .send(
            Call::post(&format!("{port}/links"))
                .token(&owner)
                .json(&serde_json::json!({ "name": "demo" })),
        )
        .await;
    assert_eq!(made.status, 201, "{made:?}");

    let tried = put(&admin, org).await.json();
    assert_eq!(tried["applied"], false);
    let closes = tried["closes"].as_array().expect("a list");
    assert_eq!(closes.len(), 2, "{tried}");
    assert_eq!(
        (&closes[0]["owner"], &closes[0]["visibility"], &closes[0]["becomes"]),
        (&"bob".into(), &"public".into(), &"org".into())
    );
    assert_eq!((&closes[1]["link"]["name"], &closes[1]["port"]), (&"demo".into(), &3000.into()));
    assert_eq!(
        (list().await, visibility().await),
        (all.clone(), "public".into()),
        "a dry run changes nothing"
    );

    let done = put(&admin, serde_json::json!({ "max_visibility": "org", "organisation": null }))
        .await
        .json();
    assert_eq!((&done["applied"], &done["closes"]), (&true.into(), &tried["closes"]));
    assert_eq!(visibility().await, "org");
    assert_eq!(
        list().await[1],
        serde_json::json!({ "organisation": null, "max_visibility": "org", "links": true, "source": "set" })
    );
    let told = async || {
        api.send(Call::get("/api/v1/audit?event=ceiling.changed").token(&admin))
            .await
            .json()
    };
    let detail = loop {
        if let Some(event) = told().await.get(0) {
            break event["detail"].clone();
        }
    };
    assert_eq!(detail, "org, links; closed 2");
    put(&admin, serde_json::json!({ "max_visibility": "public" })).await;
    assert_eq!(
        (list().await, visibility().await),
        (all, "public".into()),
        "what was set stays, and opens again"
    );
}
