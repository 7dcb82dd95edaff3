//! The tests of a guide to authentication with `FastAPI` Users, as a program against a running gateway.

use std::process::Command;

use crate::browser::python;
use crate::harness::Gateway;
use crate::upstream::Upstream;

const YAML: &str = r#"
accounts: { registration: open, password: { min_length: 5, deny_common: false } }
mail: { from: no-reply@example.com, directory: mail }
upstreams: { app: "${APP}" }
routes:
  - { path: "/", upstream: app, allow: public }
  - { path: "/protected", upstream: app, allow: authenticated }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_three_tests_of_a_guide_to_fastapi_users_pass() {
    let upstream = Upstream::start();
    let process = Gateway::builder(YAML).with("APP", &upstream.url()).spawn().await;
    let arguments = ["user", "create-admin", "admin@example.com", "--password-stdin"];
    let made = process.run(&arguments, "admin");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/guide.py");
    let url = format!("http://{}", process.address);
    let ran = tokio::task::spawn_blocking(move || {
        Command::new(python()).args([program, &url]).output().unwrap()
    });
    let ran = ran.await.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&ran.stdout).lines().count(), 3, "{said}");
}
