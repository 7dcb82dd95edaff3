//! Moving in from another program: databases that the real `FastAPI` Users has written.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};
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

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file).connect().await.unwrap()
}

/// Provider, subject and user id of every linked account.
async fn linked(directory: &Path) -> Vec<(String, String, String)> {
    let mut connection = connect(&directory.join("portcullis.db")).await;
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
    assert_eq!(me_ben["roles"], json!(["editor"]));
    assert_eq!(me_ben["permissions"], json!(["articles:read", "articles:write"]));
    // The role admin is the configuration's, and stays what it is.
    assert_eq!(me(&process, "ann").await["roles"], json!(["admin"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_roles_need_no_more_than_names_and_one_without_them_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("app.db");
    write(&format!("sqlite+aiosqlite:///{}", file.display()), "plain");
    let mut connection = connect(&file).await;
    let tables = "CREATE TABLE roles (id INTEGER PRIMARY KEY, title TEXT); \
         CREATE TABLE user_role (user_id TEXT, role INTEGER); \
         CREATE TABLE permissions (id INTEGER PRIMARY KEY, label TEXT); \
         CREATE TABLE role_permissions (role_id INTEGER, permission INTEGER); \
         INSERT INTO roles VALUES (1, 'analyst'); \
         INSERT INTO user_role SELECT id, 1 FROM user WHERE email = 'ben@example.com'; \
         INSERT INTO permissions VALUES (7, 'dashboard:read'); \
         INSERT INTO role_permissions VALUES (1, 7); \
         ALTER TABLE oauth_account RENAME COLUMN oauth_name TO provider";
    sqlx::raw_sql(tables).execute(&mut connection).await.unwrap();
    let process = Gateway::builder(YAML).spawn().await;
    let url = format!("sqlite:///{}", file.display());
    for (lacks, mended) in [
        (
            "oauth_account of that database lacks oauth_name",
            "ALTER TABLE oauth_account RENAME COLUMN provider TO oauth_name",
        ),
        ("roles of that database lacks name", "ALTER TABLE roles RENAME COLUMN title TO name"),
        (
            "user_role of that database lacks role_id",
            "ALTER TABLE user_role RENAME COLUMN role TO role_id",
        ),
        (
            "permissions of that database lacks name",
            "ALTER TABLE permissions RENAME COLUMN label TO name",
        ),
        (
            "role_permissions of that database lacks permission_id",
            "ALTER TABLE role_permissions RENAME COLUMN permission TO permission_id",
        ),
    ] {
        let (code, said) = run(&process, &["--url", &url]);
        assert!(code != Some(0) && said.contains(lacks), "{lacks}: {said}");
        sqlx::raw_sql(mended).execute(&mut connection).await.unwrap();
    }
    let (code, said) = run(&process, &["--url", &url]);
    assert_eq!((code, said.contains("with the roles analyst\n")), (Some(0), true), "{said}");
    // In force in the running gateway within a second.
    let client = process.sign_in("ben").await;
    let me = async || client.get("/auth/users/me").send().await.expect(200).json();
    let mut ben = me().await;
    for _ in 0..50 {
        if ben["roles"] == json!(["analyst"]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        ben = me().await;
    }
    assert_eq!(ben["roles"], json!(["analyst"]));
    assert_eq!(ben["permissions"], json!(["dashboard:read"]));
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
