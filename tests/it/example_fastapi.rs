//! `examples/fastapi` run for real: uvicorn, the gateway's file as it stands in the example, Chromium
//! and curl.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::application::{Application, example};
use crate::browser::Browser;
use crate::harness::{PASSWORD, Process, free_port};

async fn start() -> (Application, Process) {
    let application = Application::prepare("fastapi", &["-m", "uvicorn", "app:app"])
        .argument("--log-level=warning")
        .argument("--port={port}")
        .start()
        .await;
    let process = application.behind_the_gateway().await;
    process.create_user("ann", &["--role", "analyst"]);
    let created =
        process.run(&["user", "create-admin", "root@example.com", "--password-stdin"], PASSWORD);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    (application, process)
}

#[test]
fn the_application_holds_nothing_of_signing_in() {
    let application = fs::read_to_string(example("fastapi").join("app.py")).unwrap();
    for word in ["jwt", "cookie", "bcrypt", "fastapi_users"] {
        assert!(!application.to_lowercase().contains(word), "{word}");
    }
}

/// Runs curl and returns status and body.
fn curl(process: &Process, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("http://{}{path}", process.address);
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"])
        .args(more)
        .arg(&url)
        .output()
        .expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_what_the_roles_allow() {
    let (_application, process) = start().await;
    let token = |email: &str| {
        let username = format!("username={email}");
        let password = format!("password={PASSWORD}");
        let fields = ["--data-urlencode", &username, "--data-urlencode", &password];
        let (status, body) = curl(&process, "/auth/jwt/login", &fields);
        assert_eq!(status, 200, "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        format!("Authorization: Bearer {}", json["access_token"].as_str().unwrap())
    };
    let (ann, root) = (token("ann@example.com"), token("root@example.com"));
    let table: [(&str, u16, u16, u16); 5] = [
        ("/", 200, 200, 200),
        ("/protected", 401, 200, 200),
        ("/admin", 401, 403, 200),
        ("/dashboard", 401, 200, 200),
        ("/users/manage", 401, 403, 200),
    ];
    for (path, nobody, analyst, administrator) in table {
        assert_eq!(curl(&process, path, &[]).0, nobody, "nobody at {path}");
        assert_eq!(curl(&process, path, &["-H", &ann]).0, analyst, "Ann at {path}");
        assert_eq!(curl(&process, path, &["-H", &root]).0, administrator, "root at {path}");
    }
    let (_, body) = curl(&process, "/protected", &["-H", &ann]);
    assert!(body.contains("\"email\":\"ann@example.com\""), "{body}");
    let (_, body) = curl(&process, "/admin", &["-H", &root]);
    assert!(body.contains("\"roles\":[\"admin\"]"), "{body}");
    let (status, _) = curl(&process, "/admin", &["-H", "X-Auth-Roles: admin"]);
    assert_eq!(status, 401, "a header from outside is no role");
    let (_, body) =
        curl(&process, "/protected", &["-H", &ann, "-H", "X-Auth-Email: root@example.com"]);
    assert!(body.contains("ann@example.com") && !body.contains("root@"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_browser_one_signs_in_and_lands_where_one_wanted_to_go() {
    let (_application, process) = start().await;
    let site = format!("http://{}", process.address);
    let browser = Browser::open().await;
    browser.goto(&site).await;
    assert!(browser.text().await.contains("This is a public endpoint"));
    browser.goto(&format!("{site}/dashboard")).await;
    browser.sign_in("ann@example.com", PASSWORD).await;
    browser.wait_for_address(|address| address.ends_with("/dashboard")).await;
    assert!(browser.text().await.contains("Dashboard access granted"));
    browser.goto(&format!("{site}/admin")).await;
    let refused = browser.text().await;
    assert!(refused.contains("ann@example.com"), "{refused}");
    browser.quit().await;
}

#[test]
fn ports_are_free_and_never_given_twice() {
    let ports: std::collections::BTreeSet<_> = (0..50).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 50);
    assert!(ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()));
}
