//! Providers: what each kind needs, takes and means.

use secrecy::ExposeSecret as _;

use super::*;

/// A provider of these keys, among the rest of a good file.
fn file(keys: &str) -> String {
    format!("{APP}providers:\n  corp: {{ {keys} }}\n")
}

fn provider(keys: &str) -> Provider {
    let config = good(&file(keys));
    config.providers[0].as_ref().clone()
}

const OIDC: &str = "kind: oidc, issuer: \"https://id.example.com\", client_id: us";

#[test]
fn a_provider_means_what_its_kind_does_unless_the_file_says_otherwise() {
    let least = provider(&format!("{OIDC}, who: {{ domains: [Example.COM, Bücher.example] }}"));
    assert_eq!(least.kind, ProviderKind::Oidc { issuer: "https://id.example.com".to_owned() });
    assert_eq!((least.name.as_str(), least.label.as_str()), ("corp", "corp"));
    assert!(least.client_secret.is_none() && least.client_auth.is_none());
    assert!(least.register && least.link_by_email == LinkByEmail::Never);
    let domains = ["example.com", "xn--bcher-kva.example"].map(str::to_owned).into();
    assert_eq!(least.who, Who::Any(Admission { domains, ..Admission::default() }));
    assert_eq!(least.scopes, ["openid", "email", "profile"]);
    assert_eq!(least.roles_claim.as_deref(), Some("groups"));
    assert_eq!(least.recheck, Some(Duration::from_hours(1)));
    assert_eq!(least.leeway, Duration::from_mins(1));

    let full = provider(&format!(
        "{OIDC}, client_secret: hush, client_auth: post, who: anyone, label: Corp, leeway: 5s, \
         link_by_email: verified, scopes: [groups, email], roles_claim: realm_access.roles, \
         roles: {{ staff: admin }}, recheck: off"
    ));
    assert_eq!(full.client_secret.unwrap().expose_secret(), "hush");
    assert_eq!(full.client_auth, Some(ClientAuth::Post));
    assert!(!full.register && full.link_by_email == LinkByEmail::Verified);
    assert_eq!((full.who, full.recheck, full.label.as_str()), (Who::Anyone, None, "Corp"));
    assert_eq!(full.scopes, ["openid", "email", "profile", "groups"]);
    assert_eq!(full.roles["staff"], "admin");
    assert!(provider(&format!("{OIDC}, who: anyone, register: true")).is_open());
}

#[test]
fn every_kind_has_its_own_defaults() {
    let secret = "client_id: us, client_secret: hush";
    let github = provider(&format!("kind: github, {secret}, who: {{ organisations: [Acme] }}"));
    assert_eq!((github.label.as_str(), github.recheck), ("GitHub", None));
    assert_eq!(github.scopes, ["read:user", "user:email", "read:org"]);
    assert_eq!(github.roles_claim, None);
    let by_email = provider(&format!("kind: github, {secret}, who: {{ emails: [a@b.example] }}"));
    assert_eq!(by_email.scopes, ["read:user", "user:email"]);

    let tenant = "8EAEF023-2b34-4da1-9baa-8bc8c9d6a490";
    let microsoft = provider(&format!("kind: microsoft, {secret}, who: {{ tenants: [{tenant}] }}"));
    assert_eq!(microsoft.scopes, ["openid", "email", "profile", "offline_access"]);
    let Who::Any(lists) = microsoft.who else { panic!("lists") };
    assert_eq!(lists.tenants, [tenant.to_lowercase()]);

    let gitlab = provider(&format!(
        "kind: gitlab, issuer: \"https://git.example.com\", {secret}, who: {{ groups: [a/b] }}"
    ));
    assert_eq!(gitlab.kind, ProviderKind::GitLab { issuer: "https://git.example.com".to_owned() });
    let google = provider(&format!("kind: google, {secret}, who: {{ emails: [A@Gmail.com] }}"));
    let issuer = "https://accounts.google.com".to_owned();
    assert_eq!(google.kind, ProviderKind::Google { issuer });

    let own = provider(&format!(
        "kind: oauth2, {secret}, who: anyone, authorize: \"https://a.example/a\", \
         token: \"https://a.example/t\", userinfo: \"http://127.0.0.1:7/users/@me?x=1\", \
         fields: {{ subject: user.id, email_verified: user.ok }}"
    ));
    let ProviderKind::OAuth2(own) = own.kind else { panic!("plain") };
    assert_eq!(own.userinfo.as_str(), "http://127.0.0.1:7/users/@me?x=1");
    assert_eq!(own.fields.subject, "user.id");
    assert_eq!(own.fields.email.as_deref(), Some("email"));
    assert_eq!(own.fields.email_verified.as_deref(), Some("user.ok"));
}

#[test]
fn presets_know_their_service_and_single_keys_replace_what_they_say() {
    let secret = "kind: oauth2, client_id: us, client_secret: hush, who: anyone";
    let discord = provider(&format!("{secret}, preset: discord"));
    assert_eq!((discord.label.as_str(), discord.client_auth), ("Discord", Some(ClientAuth::Post)));
    assert_eq!(discord.scopes, ["identify", "email"]);
    let ProviderKind::OAuth2(addresses) = discord.kind else { panic!("plain") };
    assert_eq!(addresses.userinfo.as_str(), "https://discord.com/api/users/@me");
    assert_eq!(addresses.fields.email_verified.as_deref(), Some("verified"));
    let facebook = provider(&format!("{secret}, preset: facebook, token: \"https://a.example/t\""));
    let ProviderKind::OAuth2(addresses) = facebook.kind else { panic!("plain") };
    assert_eq!(addresses.token.as_str(), "https://a.example/t");
    assert_eq!(addresses.authorize.host_str(), Some("www.facebook.com"));
    assert_eq!(addresses.fields.email_verified, None);
}

/// Each has one mistake, below `providers.corp`. `ANY` stands for keys that are good beside
/// any kind.
fn assert_faults(cases: &[(&str, &str, &str)]) {
    for (keys, path, words) in cases {
        let keys = keys.replace("ANY", "client_id: us, client_secret: hush, who: anyone");
        let text = file(&keys.replace("OIDC", OIDC));
        assert_mistakes(&[(&text, &format!("providers.corp{path}"), words)]);
    }
}

#[test]
fn what_a_kind_lacks_or_does_not_take_is_said_where_it_stands() {
    assert_faults(&[
        ("kind: oidc, ANY", "", "needs `issuer`"),
        ("kind: oidc, issuer: \"http://id.example.com\", ANY", ".issuer", "only https"),
        ("kind: oidc, issuer: \"https://id.example.com?x=1\", ANY", ".issuer", "address"),
        ("kind: google, ANY, issuer: \"https://a.example\"", ".issuer", "means nothing"),
        ("kind: github, ANY, roles_claim: x", ".roles_claim", "means nothing"),
        ("kind: github, client_id: us, who: anyone", "", "needs `client_secret`"),
        ("kind: github, ANY, base_url: \"http://git.example.com\"", ".base_url", "only https"),
        ("kind: microsoft, ANY, link_by_email: verified", ".link_by_email", "never links"),
        ("kind: oauth2, ANY, preset: myspace", ".preset", "expected one of"),
        ("kind: oauth2, ANY, preset: discord, roles: { a: admin }", ".roles", "`roles_claim`"),
        (
            "kind: oauth2, ANY, preset: discord, userinfo: \"https://me@a.example/x\"",
            ".userinfo",
            "expected an address",
        ),
        ("kind: okta, ANY", ".kind", "expected one of"),
        ("OIDC, who: anyone, recheck: never", ".recheck", "or off"),
        ("OIDC, who: anyone, leeway: 1h", ".leeway", "more than 10m"),
        (
            "OIDC, who: anyone, client_secret: a, client_secret_file: b",
            ".client_secret_file",
            "contradict",
        ),
        ("OIDC, who: anyone, scopes: [\"a b\"]", ".scopes[0]", "a scope"),
    ]);
}

#[test]
fn whom_a_provider_may_vouch_for_has_to_be_said_in_words_its_kind_knows() {
    assert_faults(&[
        ("OIDC", "", "`who` is missing"),
        ("OIDC, who: {}", ".who", "admits nobody"),
        ("OIDC, who: { domains: [] }", ".who", "admits nobody"),
        ("OIDC, who: everyone", ".who", "anyone"),
        ("OIDC, who: { domains: [localhost] }", ".who.domains[0]", "is no domain"),
        ("OIDC, who: { emails: [ann] }", ".who.emails[0]", "e-mail"),
        ("OIDC, who: { organisations: [acme] }", ".who.organisations", "it takes domains"),
        ("OIDC, who: { tenants: [acme] }", ".who.tenants[0]", "tenant's id"),
        (
            "kind: microsoft, client_id: us, client_secret: x, who: { groups: [staff] }",
            ".who.groups",
            "needs `who.tenants`",
        ),
        ("kind: microsoft, ANY, roles: { Data.Reader: admin }", ".roles", "needs `who.tenants`"),
        (
            "kind: microsoft, client_id: us, client_secret: x, who: { domains: [a.example] }",
            ".who.domains",
            "not verified",
        ),
    ]);
}

#[test]
fn names_and_addresses_of_providers_are_checked() {
    let anyone = "client_id: us, client_secret: hush, who: anyone";
    for name in ["login", "users", "jwt", "associate", "authorize", "callback"] {
        let text = format!("{APP}providers: {{ {name}: {{ {OIDC}, who: anyone }} }}");
        assert_mistakes(&[(&text, &format!("providers.{name}"), "own addresses")]);
    }
    for name in ["Corp", "corp_x", "1corp"] {
        let text = format!("{APP}providers: {{ {name}: {{ {OIDC}, who: anyone }} }}");
        assert_mistakes(&[(&text, &format!("providers.{name}"), "not allowed as a name")]);
    }
    let found = load(&file(&format!("kind: oauth2, {anyone}"))).expect_err("no addresses");
    assert_eq!(found.len(), 3, "{}", shown(&found));
}

#[test]
fn providers_stand_in_the_order_of_the_file_and_change_without_a_restart() {
    let text = format!(
        "{APP}providers:\n  zebra: {{ {OIDC}, who: anyone }}\n  ant: {{ {OIDC}, who: anyone }}\n"
    );
    let config = good(&text);
    let names: Vec<&str> = config.providers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ant"]);
    assert!(good(APP).restart_keys(&config).is_empty());
    assert_eq!(good(APP).with_reloadable(config).providers.len(), 2);
}

#[test]
fn a_change_of_any_key_makes_another_provider_but_a_change_of_place_does_not() {
    let one = provider(&format!("{OIDC}, client_secret: a, who: anyone"));
    let text = format!("# moved\n{}", file(&format!("{OIDC}, client_secret: a, who: anyone")));
    assert!(one.is_same(&good(&text).providers[0]));
    for keys in ["client_secret: b, who: anyone", "client_secret: a, who: anyone, leeway: 1s"] {
        assert!(!one.is_same(&provider(&format!("{OIDC}, {keys}"))), "{keys}");
    }
}

#[test]
fn what_lets_more_in_than_meant_is_warned_of() {
    let route = "routes: [{ path: /, upstream: app, allow: authenticated }]\n";
    let open = format!("{}{route}", file(&format!("{OIDC}, who: anyone, register: true")));
    let strict = format!(
        "{}sessions: {{ cookie: {{ same_site: strict }} }}\n",
        file(&format!("{OIDC}, who: {{ domains: [a.example] }}, roles: {{ staff: admn }}"))
    );
    let cases = [
        (open, "routes[0].allow", "`corp` admits anyone"),
        (strict.clone(), "sessions.cookie.same_site", "strict cookie"),
        (strict, "providers.corp.roles.staff", "there is `admin`"),
    ];
    for (text, path, words) in cases {
        let found = warnings(&good(&text));
        let is_there = |one: &Problem| one.at.path == path && one.message.contains(words);
        assert!(found.iter().any(is_there), "{path}: {found:#?}");
    }
    let narrow = format!("{}{route}", file(&format!("{OIDC}, who: {{ domains: [a.example] }}")));
    assert!(warnings(&good(&narrow)).iter().all(|one| !one.message.contains("anybody")));
}
