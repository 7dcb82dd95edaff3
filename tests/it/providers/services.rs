//! People of Google, Microsoft, GitLab, Discord and Facebook, each through a whole gateway.

use serde_json::json;

use super::double::{Double, Said, Service, gateway_of, services};
use super::{me, with_parameter};
use crate::harness::Gateway;
use crate::raw::Client;
use crate::upstream::Upstream;

async fn start(service: Service) -> (Upstream, Double, Gateway) {
    let (app, double) = (Upstream::start(), Double::start(service));
    let gateway = gateway_of(&app, &[&double]).await;
    (app, double, gateway)
}

async fn is_refused(double: &Double, client: &Client) -> String {
    double.sign_in(client).await.expect(400).detail()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_every_service_sign_in_and_keep_their_account_as_long_as_they_may_come() {
    for service in services() {
        let (_app, double, gateway) = start(service).await;
        let Service { name, ann, foreign, left, .. } = double.service();
        let people = gateway.running.accounts().people();
        let refuse_foreign = async || {
            if *foreign != Said::default() {
                double.says(ann.with(foreign));
                let why = is_refused(&double, &gateway.client()).await;
                assert_eq!(why, "LOGIN_BAD_CREDENTIALS", "{name}");
            }
        };
        refuse_foreign().await;
        assert!(people.find("ann@example.com").await.unwrap().is_none(), "{name}");
        double.says(ann.clone());
        let client = gateway.client();
        double.sign_in(&client).await.expect(204);
        let user = me(&client).await;
        assert_eq!(user["email"], "ann@example.com", "{name}");
        assert!(user["first_name"].as_str().unwrap().starts_with("Ann"), "{name}");
        assert_eq!(user["is_verified"], *name != "facebook", "{name}");
        let has_groups = *left != Said::default();
        assert_eq!(user["roles"], if has_groups { json!(["night"]) } else { json!([]) }, "{name}");
        // The same account, whichever e-mail it has meanwhile; its roles are those of now.
        double.says(ann.with(left).with_email("new@example.com"));
        let again = gateway.client();
        double.sign_in(&again).await.expect(204);
        let now = me(&again).await;
        assert_eq!((&now["id"], &now["email"]), (&user["id"], &user["email"]), "{name}");
        assert_eq!(now["roles"], json!([]), "{name}");
        client.get("/night/x").send().await.expect(403);
        refuse_foreign().await;
        let events = gateway.running.store().list_events(None, 100).await.unwrap();
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        assert_eq!((count("register"), count("sign-in")), (1, 2), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oid_05_an_account_is_joined_only_where_the_service_itself_vouches_for_the_email() {
    for service in services() {
        let (_app, double, gateway) = start(service).await;
        let name = double.service().name;
        let ann = gateway.person("ann").create().await;
        let client = gateway.client();
        let came = double.sign_in(&client).await;
        let links = gateway.running.store().list_links(ann.id).await.unwrap();
        if matches!(name, "microsoft" | "facebook") {
            assert_eq!(came.expect(400).detail(), "OAUTH_USER_ALREADY_EXISTS", "{name}");
            assert_eq!(links, [], "{name}");
        } else {
            came.expect(204);
            assert_eq!(me(&client).await["id"], json!(ann.id), "{name}");
            assert_eq!(links.len(), 1, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_microsoft_admits_people_of_a_listed_tenant_alone() {
    let [_, mut microsoft, ..] = services();
    let narrowed = "who: { groups: [Night.Reader], tenants:";
    microsoft.keys = microsoft.keys.replace("who: { tenants:", narrowed);
    let (_app, double, gateway) = start(microsoft).await;
    let Service { ann, foreign, left, .. } = double.service();
    for refused in [foreign, left] {
        double.says(ann.with(refused));
        assert_eq!(is_refused(&double, &gateway.client()).await, "LOGIN_BAD_CREDENTIALS");
    }
    double.says(ann.clone());
    let client = gateway.client();
    double.sign_in(&client).await.expect(204);
    assert_eq!(me(&client).await["roles"], json!(["night"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn facebook_vouches_for_no_domain() {
    let [.., mut facebook] = services();
    facebook.keys = facebook.keys.replace("who: anyone", "who: { domains: [example.com] }");
    let (_app, double, gateway) = start(facebook).await;
    assert_eq!(is_refused(&double, &gateway.client()).await, "LOGIN_BAD_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_refuses_with_is_told_by_its_meaning_alone() {
    for service in services() {
        let (_app, double, gateway) = start(service).await;
        let name = double.service().name;
        let client = gateway.client();
        let back = double.go(&client).await;
        let bad = with_parameter(&back, "code", Some("made-up"));
        let refused = client.get(&bad).send().await;
        // Facebook has one error for all that it does not take.
        let expected = if name == "facebook" { (502, "Bad Gateway") } else { (400, "Bad Request") };
        assert_eq!((refused.status, refused.detail().as_str()), expected, "{name}");
        for word in ["invalid_grant", "code", "OAuth", "AADSTS", &double.server.url()] {
            assert!(!refused.text().contains(word), "{name}: {word}: {}", refused.text());
        }
        let back = double.go(&client).await;
        let denied = with_parameter(&back, "code", None);
        let denied = format!("{denied}&error=access_denied&error_reason=user_denied");
        assert_eq!(
            client.get(&denied).send().await.expect(400).detail(),
            "access_denied",
            "{name}"
        );
        client.get("/auth/users/me").send().await.expect(401);
    }
}
