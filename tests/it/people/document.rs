//! The document of the API: what stands in it, and that schemathesis finds nothing that is not.

use std::process::Command;

use super::YAML;
use crate::application::bearer;
use crate::browser::python;
use crate::harness::{Gateway, Process, Stopwatch, report};
use crate::upstream::Upstream;

/// Checks of whether what is answered is what is documented.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance";

async fn start(upstream: &Upstream) -> Process {
    Gateway::builder(YAML)
        .with("APP", &upstream.url())
        .key("accounts", "{ registration: open }")
        .key("mail", "{ from: no-reply@example.com, directory: mail }")
        .key("limits", "off")
        .key("hashing", "{ queue: 1000 }")
        .spawn()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_lists_every_address_with_its_answers() {
    let upstream = Upstream::start();
    let (_upstream, gateway) = {
        let builder = super::with_accounts(&upstream, "{ registration: open }");
        (upstream, builder.start().await)
    };
    let answer = gateway.client().get("/auth/openapi.json").send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in ["/auth/register", "/auth/users/me", "/users/me", "/users/{id}", "/auth/jwt/login"]
    {
        assert!(paths.contains_key(path), "{path} in {:?}", paths.keys());
    }
    let register = &paths["/auth/register"]["post"]["responses"];
    for status in ["201", "400", "403", "413", "422", "429"] {
        assert!(!register[status].is_null(), "{status}");
    }
    let user = &document["components"]["schemas"]["UserRead"];
    assert_eq!(user["properties"]["id"]["format"], "uuid");
    assert!(!user.to_string().contains("hash"), "{user}");
}

/// Every way in which schemathesis looks.
const PHASES: &str = "examples,coverage,fuzzing,stateful";

/// Runs schemathesis as somebody over everything but what `left_out` matches.
pub async fn examine(process: &Process, token: Option<String>, phases: &str, left_out: &str) {
    let watch = Stopwatch::start();
    let url = format!("http://{}/auth/openapi.json", process.address);
    let mut command = Command::new(python().with_file_name("schemathesis"));
    command
        .current_dir(process.directory())
        .env("HYPOTHESIS_STORAGE_DIRECTORY", process.directory());
    command.args(["run", &url, "--checks", CHECKS, "--max-examples", "6", "--seed", "7"]);
    command.args([
        "--max-time",
        "20",
        "--request-timeout",
        "10",
        "--no-color",
        "--warnings",
        "off",
    ]);
    command.args(["--phases", phases, "--suppress-health-check", "all"]);
    command.args(["--exclude-path-regex", left_out]);
    if let Some(token) = &token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    report(&format!("schemathesis took {:?}", watch.elapsed()));
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer_as_nobody() {
    let upstream = Upstream::start();
    let process = start(&upstream).await;
    examine(&process, None, PHASES, "^$").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer_as_a_user() {
    let upstream = Upstream::start();
    let process = start(&upstream).await;
    process.create_user("ann", &[]);
    let token = bearer(&process, "ann").await;
    // Signing out would leave the rest to nobody; what is no id below `users_path` is the application's.
    examine(&process, Some(token), PHASES, "logout$|^/users/.id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer_as_a_superuser() {
    let upstream = Upstream::start();
    let process = start(&upstream).await;
    process.create_user("root", &["--superuser"]);
    let token = bearer(&process, "root").await;
    examine(&process, Some(token), PHASES, "logout$|^/users/.id").await;
}
