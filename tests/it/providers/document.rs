//! The addresses of providers in the document of the API: schemathesis finds nothing there that is not in it.

use super::YAML;
use super::double::{Double, gitlab};
use super::github::GitHub;
use crate::application::bearer;
use crate::harness::Gateway;
use crate::people::document::examine;
use crate::upstream::Upstream;

/// Every address but those of providers.
const ELSEWHERE: &str = "^(?!/auth/(associate|gitlab|github)\\b)";

/// No answer here leads on to another address.
const PHASES: &str = "examples,coverage,fuzzing";

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer_at_the_addresses_of_providers() {
    let (app, gitlab, github) = (Upstream::start(), Double::start(gitlab()), GitHub::start());
    let github = (github.written("who: anyone, register: true"), github);
    let providers = format!("{{ {}, {} }}", gitlab.written(), github.0);
    let builder = Gateway::builder(YAML).with("APP", &app.url()).key("providers", &providers);
    let process = builder.key("limits", "off").spawn().await;
    let document = process.client().get("/auth/openapi.json").send().await.expect(200).json();
    for path in ["gitlab/callback", "github/authorize", "associate/github/callback", "associate"] {
        assert!(document["paths"][format!("/auth/{path}")].is_object(), "{path}");
    }
    examine(&process, None, PHASES, ELSEWHERE).await;
    process.create_user("ann", &[]);
    let token = bearer(&process, "ann").await;
    examine(&process, Some(token), PHASES, ELSEWHERE).await;
}
