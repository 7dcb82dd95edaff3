//! Moving in from another program: databases that the real `FastAPI` Users has written.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::browser::python;
use crate::harness::{Gateway, Process};
use crate::postgres::Postgres;

const YAML: &str = r#"
upstreams: { app: "http://127.0.0.1:1" }
routes: [{ path: "/app", upstream: app, allow: authenticated }]
"#;

/// Has the library make tables and people; their ids by name.
fn write(url: &str, shape: &str) -> Json {
    let program =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/servers/fastapi_users_database.py");
    let output = Command::new(python())
        .arg(program)
        .args([url, shape])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(process: &Process, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["import", "--from", "fastapi-users"], more].concat();
    let output = process.run(&arguments, "");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

async fn me(process: &Process, who: &str) -> Json {
    let client = process.sign_in(who).await;
    client.get("/auth/users/me").send().await.expect(200).json()
}

fn show(process: &Process, who: &str) -> Json {
    let output = process.run(&["user", "show", &format!("{who}@example.com"), "--json"], "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// People who came along sign in with their old passwords and keep their ids and flags.
async fn came_along(process: &Process, ids: &Json) {
    for who in ["ann", "ben", "dora"] {
        assert_eq!(me(process, who).await["id"], ids[who], "{who}");
    }
    let flags = |who: &str| {
        let shown = show(process, who);
        ["is_active", "is_superuser", "is_verified"].map(|name| shown[name].as_bool().unwrap())
    };
    assert_eq!(flags("ann"), [true, true, true]);
    assert_eq!(flags("ben"), [true, false, false]);
    assert_eq!(flags("cleo"), [false, false, false]);
    let fields = [("username", "cleo@example.com"), ("password", crate::harness::PASSWORD)];
    process.client().post("/auth/jwt/login").form(&fields).send().await.expect(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_fastapi_users_on_sqlite_come_along_with_passwords_and_linked_accounts() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("app.db");
    let ids = write(&format!("sqlite+aiosqlite:///{}", file.display()), "plain");
    let process = Gateway::builder(YAML).spawn().await;
    let url = format!("sqlite:///{}", file.display());
    let url = ["--url", &url];
    let (code, said) = run(&process, &[&url[..], &["--dry-run"]].concat());
    assert_eq!((code, said.contains("would be imported: 5 accounts")), (Some(0), true), "{said}");
    assert!(said.contains("no provider `openid`"), "{said}");
    process.client().get("/auth/session").send().await.expect(200);
    let (code, said) = run(&process, &[&url[..], &["--provider", "openid=corp"]].concat());
    assert_eq!((code, said.contains("imported: 5 accounts")), (Some(0), true), "{said}");
    came_along(&process, &ids).await;
    // A bcrypt hash has given way to one of the gateway's own kind, and the password is the same.
    me(&process, "ben").await;
    let links = linked(process.directory()).await;
    let id = |who: &str| ids[who].as_str().unwrap().replace('-', "");
    assert_eq!(links.len(), 2, "{links:?}");
    assert_eq!((&*links[0].0, &*links[0].1), ("corp", "sub|eve"));
    assert_eq!(links[1], ("google".to_owned(), "google-dora".to_owned(), id("dora")));
    // All of them or nobody: now everybody is there already.
    let (code, said) = run(&process, &url);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("user:1: an account with this") && said.contains("nothing was"),
        "{said}"
    );
    let (code, said) = run(&process, &[&url[..], &["--replace", "--yes"]].concat());
    assert_eq!((code, said.contains("5 accounts: 0 added")), (Some(0), true), "{said}");
    came_along(&process, &ids).await;
}

/// Provider, subject and user id of every linked account.
async fn linked(directory: &Path) -> Vec<(String, String, String)> {
    use sqlx::{ConnectOptions as _, Row as _};
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("portcullis.db"));
    let mut connection = options.connect().await.unwrap();
    let sql =
        "SELECT provider, subject, lower(hex(user_id)) FROM linked_accounts ORDER BY provider";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_fastapi_users_on_postgresql_come_along_with_profile_and_roles() {
    let server = Postgres::start();
    let theirs = server.database().await;
    let ids = write(&theirs.replace("postgres://", "postgresql+asyncpg://"), "guide");
    let ours = server.database().await;
    let process = Gateway::builder(YAML).postgres(&ours).spawn().await;
    let arguments = ["--url", &theirs, "--provider", "openid=corp"];
    let (code, said) = run(&process, &arguments);
    assert_eq!((code, said.contains("imported: 5 accounts")), (Some(0), true), "{said}");
    assert!(said.contains("with the roles editor\n"), "{said}");
    came_along(&process, &ids).await;
    let ann = show(&process, "ann");
    assert_eq!((&ann["first_name"], &ann["organization"]), (&"Ann".into(), &"Quay".into()));
    assert_eq!(ann["created_at"], "2024-01-31T18:00:00Z");
    assert_eq!((&ann["login_count"], &ann["failed_login_count"]), (&8.into(), &2.into()));
    let me_ben = me(&process, "ben").await;
    assert_eq!(me_ben["roles"], serde_json::json!(["editor"]));
    assert_eq!(me_ben["permissions"], serde_json::json!(["articles:read", "articles:write"]));
    // The role admin is the configuration's, and stays what it is.
    assert_eq!(me(&process, "ann").await["roles"], serde_json::json!(["admin"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_such_database_is_told_and_changes_nothing() {
    let process = Gateway::builder(YAML).spawn().await;
    let own = format!("sqlite:///{}", process.directory().join("portcullis.db").display());
    let (code, said) = run(&process, &["--url", &own]);
    assert!(code != Some(0) && said.contains("hashed_password"), "{said}");
    let (code, said) = run(&process, &["--url", "sqlite:///nowhere.db"]);
    assert!(code == Some(69), "{said}");
    let (code, _) = run(&process, &["--url", "mysql://a:secret@b/c"]);
    assert_eq!(code, Some(2));
    let (code, said) = run(&process, &[]);
    assert!(code == Some(2) && said.contains("PORTCULLIS_IMPORT_URL"), "{said}");
}
