//! Files beside the file: includes, secrets, paths, which file it is.

use super::*;

#[test]
fn paths_are_relative_to_the_file_and_the_database_to_the_data() {
    let at = |text: &str, env: &Env| load_text(text, Path::new("/etc/pc/p.yaml"), env).unwrap();
    let database = |config: &Config| match &config.database.url {
        DatabaseUrl::Sqlite(path) => path.clone(),
        DatabaseUrl::Postgres(_) => PathBuf::new(),
    };
    let plain = at("telemetry: { access_log: log/access }", &Env::new());
    assert_eq!(plain.data, Path::new("/etc/pc"));
    assert_eq!(database(&plain), Path::new("/etc/pc/portcullis.db"));
    assert_eq!(plain.telemetry.access_log, AccessLog::File("/etc/pc/log/access".into()));
    let moved = at("data: ../var\ndatabase: sqlite://x/y.db", &Env::new());
    assert_eq!(database(&moved), Path::new("/etc/pc/../var/x/y.db"));
    let overridden = at("data: ../var", &env(&[("PORTCULLIS_DATA", "/data")]));
    assert_eq!(overridden.data, Path::new("/data"));
    assert_eq!(database(&overridden), Path::new("/data/portcullis.db"));
    let absolute = at("database: sqlite:///srv/a.db", &Env::new());
    assert_eq!(database(&absolute), Path::new("/srv/a.db"));
}

#[test]
fn included_files_add_routes_upstreams_and_roles() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    std::fs::create_dir(directory.path().join("routes.d")).unwrap();
    write(
        "portcullis.yaml",
        &format!(
            "include: [\"routes.d/*.yaml\"]\n{APP}routes: [{{ path: /, upstream: b, allow: public }}]"
        ),
    );
    write(
        "routes.d/b.yaml",
        "upstreams: { b: http://b }\nroutes: [{ path: /b, upstream: app, allow: public }]",
    );
    write(
        "routes.d/a.yaml",
        "roles: { r: {} }\nroutes:\n  - { path: /a, upstream: b, allow: public }",
    );
    write("routes.d/.hidden.yaml", "nonsense");
    let path = directory.path().join("portcullis.yaml");
    let config = super::super::load(&path, &Env::new()).unwrap_or_else(|f| panic!("{}", shown(&f)));
    let paths: Vec<&str> = config.routes.iter().map(|route| route.path.as_str()).collect();
    assert_eq!(paths, ["/", "/a", "/b"]);
    assert!(config.roles.contains_key("r"));
    let problem = Problem { at: config.routes[1].at.clone(), message: "odd".into() };
    let name = directory.path().join("routes.d/a.yaml");
    assert_eq!(
        config.diagnose(&problem).to_string(),
        format!("{}:3:5: routes[0]: odd", name.display())
    );
    let directories = config.sources.directories();
    assert_eq!(directories, [directory.path().to_owned(), directory.path().join("routes.d")]);

    write(
        "routes.d/c.yaml",
        "include: [x]\nlisten: 1.2.3.4:5\nroles: { R: {} }\nupstreams: { b: http://c }",
    );
    let found = super::super::load(&path, &Env::new()).expect_err("four mistakes");
    let messages = shown(&found);
    for words in [
        "c.yaml:1:1: include: only the main file",
        "c.yaml:2:1: listen: only the main file",
        "c.yaml:3:13: roles.R: `R` differs from `r` only in case",
        "c.yaml:4:17: upstreams.b: `b` is declared in",
    ] {
        assert!(messages.contains(words), "{words}\n{messages}");
    }
    assert_eq!(found.len(), 4, "{messages}");
}

#[cfg(unix)]
#[test]
fn a_file_whose_name_is_not_utf_8_is_included_like_any_other() {
    use std::os::unix::ffi::OsStrExt as _;
    let directory = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.yaml");
    let route = "routes: [{ path: /b, upstream: app, allow: authenticated }]";
    std::fs::write(directory.path().join(name), route).unwrap();
    let text = format!("include: [\"*.yaml\"]\n{APP}");
    let config = load_text(&text, &directory.path().join("main.yml"), &Env::new());
    assert_eq!(config.unwrap().routes.len(), 1);
}

#[test]
fn a_missing_or_odd_include_is_refused() {
    assert_mistakes(&[
        ("include: [nowhere.yaml]", "", "cannot be read"),
        ("include: [\"nowhere.d/*.yaml\"]", "include[0]", "cannot read the directory"),
        ("include: [\"*/x.yaml\"]", "include[0]", "last part"),
    ]);
}

#[cfg(unix)]
#[test]
fn a_secret_file_must_be_private_and_loses_one_newline() {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let text = "secret_file: secret\ndatabase: postgres://u:p@db/x";
    let at = directory.path().join("portcullis.yaml");
    for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        match load_text(text, &at, &Env::new()) {
            Ok(config) => {
                assert!(is_private, "{mode:o}");
                assert_eq!(config.secret.unwrap().expose_secret(), SECRET);
            }
            Err(found) => {
                assert!(!is_private, "{mode:o} {}", shown(&found));
                assert!(shown(&found).contains("open to others"), "{}", shown(&found));
                assert_eq!(found.len(), 1);
            }
        }
    }
    let found = load_text("secret_file: nowhere", &at, &Env::new()).expect_err("no such file");
    assert!(shown(&found).contains("cannot read"), "{}", shown(&found));
}

#[test]
fn the_file_is_the_one_named_then_the_environments() {
    let set = env(&[("PORTCULLIS_CONFIG", "/b.yaml")]);
    let named = Path::new("/a.yaml");
    assert_eq!(find_file(Some(named), &set).unwrap(), named);
    assert_eq!(find_file(None, &set).unwrap(), Path::new("/b.yaml"));
}

#[test]
fn mail_goes_to_a_server_or_into_a_directory_of_the_data() {
    use secrecy::ExposeSecret as _;
    let delivery = |written: &str| {
        let text = format!("data: /var/pc\nmail: {{ from: \"P <p@example.com>\", {written} }}");
        let mail = good(&text).mail.unwrap();
        assert_eq!(mail.from.to_string(), "P <p@example.com>");
        mail.delivery
    };
    assert!(good("mail: null").mail.is_none());
    let directory = delivery("directory: out");
    assert!(matches!(directory, Delivery::Directory(path) if path == Path::new("/var/pc/out")));
    let cases = [
        ("smtp://mail.example.com", "mail.example.com", 587, MailSecurity::StartTls, None),
        ("smtp://u:p%40%2F@h:25", "h", 25, MailSecurity::StartTls, Some(("u", "p@/"))),
        ("smtps://u%40h:p@h", "h", 465, MailSecurity::Tls, Some(("u@h", "p"))),
        (
            "smtp://u:p@127.0.0.1:2525?tls=none",
            "127.0.0.1",
            2525,
            MailSecurity::Plain,
            Some(("u", "p")),
        ),
        ("smtp://[::1]:25?tls=none", "::1", 25, MailSecurity::Plain, None),
    ];
    for (url, host, port, security, credentials) in cases {
        let Delivery::Smtp(server) = delivery(&format!("smtp: \"{url}\"")) else { panic!("{url}") };
        assert_eq!((&*server.host, server.port, server.security), (host, port, security), "{url}");
        let found = server.credentials.as_ref();
        let found = found.map(|(user, password)| (user.as_str(), password.expose_secret()));
        assert_eq!(found, credentials, "{url}");
    }
}

#[test]
fn the_mail_server_may_stand_in_a_file_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("mail.url");
    std::fs::write(&secret, "smtps://u:p@mail.example.com\n").unwrap();
    let path = directory.path().join("portcullis.yaml");
    std::fs::write(&path, "mail: { from: p@example.com, smtp_file: mail.url }").unwrap();
    let mode = |mode| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode));
    mode(0o600).unwrap();
    let config = super::super::load(&path, &Env::new()).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert!(matches!(config.mail.unwrap().delivery, Delivery::Smtp(server) if server.port == 465));
    mode(0o644).unwrap();
    let found = super::super::load(&path, &Env::new()).unwrap_err();
    assert!(shown(&found).contains("mail.smtp_file: ") && shown(&found).contains("open to others"));
}
