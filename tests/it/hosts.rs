//! Several hosts behind one gateway: which table a request meets, and where the portal answers.

use crate::harness::Gateway;
use crate::upstream::Upstream;

const YAML: &str = r#"
public_url: "http://auth.example.com"
upstreams: { app: "${APP}" }
routes:
  - { host: "auth.example.com", path: "/", upstream: app, allow: public }
  - { host: "wiki.example.com", path: "/**", upstream: app, allow: authenticated }
  - { host: "wiki.example.com", path: "/pub", upstream: app, allow: public }
  - { host: "*.example.com", path: "/any", upstream: app, allow: public }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_host_chooses_the_table_and_no_other_is_looked_at() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    let table = [
        ("wiki.example.com", "/pub", 200),
        ("WIKI.Example.com.:8443", "/pub", 200),
        ("wiki.example.com", "/x", 401),
        ("wiki.example.com", "/any", 401),
        ("a.example.com", "/any", 200),
        ("a.b.example.com", "/any", 200),
        ("a.example.com", "/pub", 404),
        ("example.com", "/any", 404),
        ("evil.example", "/any", 404),
        ("auth.example.com", "/", 200),
        ("auth.example.com", "/any", 404),
    ];
    for (host, path, status) in table {
        let client = gateway.client().with_host(host);
        let answer = client.get(path).send().await;
        assert_eq!(answer.status, status, "{host}{path}");
        let forwarded = client.get(path).header("X-Forwarded-Host", "a.example.com");
        let forwarded = forwarded.header("Forwarded", "host=a.example.com").send().await;
        assert_eq!(forwarded.status, status, "{host}{path} with another host in a header");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_or_two_is_refused() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    for host in ["", "a/../b", "a@b", "wiki.example.com, x", "wiki_example.com:port", "[::1"] {
        let answer = gateway.client().with_host(host).get("/pub").send().await;
        assert_eq!(answer.status, 400, "{host:?}");
    }
    let client = gateway.client().with_host("wiki.example.com");
    client.get("/pub").without("Host").send().await.expect(400);
    client.get("/pub").header("Host", "wiki.example.com").send().await.expect(400);
    client.get("http://a.example.com/pub").send().await.expect(400);
    client.get("http://u@wiki.example.com/pub").send().await.expect(400);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cookie_domain_the_portal_answers_on_every_host_a_route_takes() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder(YAML).with("APP", &upstream.url()).start().await;
    for host in ["auth.example.com", "wiki.example.com", "a.example.com"] {
        gateway.client().with_host(host).visit("/auth/login").send().await.expect(200);
    }
    gateway.client().with_host("evil.example").visit("/auth/login").send().await.expect(404);
    let wiki = gateway.client().with_host("wiki.example.com");
    let answer = wiki.visit("/x").send().await.expect(303);
    assert_eq!(answer.location(), "/auth/login?next=%2Fx");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_cookie_domain_one_signs_in_at_one_place_for_all() {
    let upstream = Upstream::start();
    let builder = Gateway::builder(YAML).with("APP", &upstream.url());
    let gateway = builder.key("sessions", "{ cookie: { domain: example.com } }").start().await;
    gateway.person("ann").create().await;
    let wiki = gateway.client().with_host("wiki.example.com");
    let answer = wiki.visit("/x").send().await.expect(303);
    let expected = "http://auth.example.com/auth/login?next=http%3A%2F%2Fwiki.example.com%2Fx";
    assert_eq!(answer.location(), expected);
    wiki.visit("/auth/login").send().await.expect(404);

    let auth = gateway.client().with_host("auth.example.com");
    let fields = [("username", "ann@example.com"), ("password", crate::harness::PASSWORD)];
    let answer = auth.post("/auth/cookie/login").form(&fields).send().await.expect(204);
    let cookies = answer.all("set-cookie").join("\n");
    assert!(cookies.contains("Domain=example.com"), "{cookies}");
    wiki.set_cookie("portcullis", &auth.cookie("portcullis").unwrap());
    wiki.get("/x").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_leave_for_a_provider_from_the_host_that_it_sends_them_back_to_alone() {
    let upstream = Upstream::start();
    let hub = "{ hub: { kind: github, client_id: us, client_secret: hush, who: anyone } }";
    let builder = Gateway::builder(YAML).with("APP", &upstream.url()).key("providers", hub);
    let gateway = builder.start().await;
    gateway.person("ann").create().await;
    for (host, status) in [("auth.example.com", 200), ("wiki.example.com", 404)] {
        let client = gateway.client().with_host(host);
        client.get("/auth/hub/authorize").send().await.expect(status);
        let fields = [("username", "ann@example.com"), ("password", crate::harness::PASSWORD)];
        client.post("/auth/cookie/login").form(&fields).send().await.expect(204);
        let answer = client.get("/auth/associate/hub/authorize").send().await.expect(status);
        assert_eq!(answer.all("set-cookie").is_empty(), status == 404, "{host}");
    }
}
