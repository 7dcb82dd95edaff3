//! Pages that look and speak as an operator wants.

use std::collections::BTreeMap;

use super::YAML;
use crate::browser::Browser;
use crate::harness::{Builder, Gateway, run};
use crate::upstream::Upstream;

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"40\">\
                    <rect width=\"40\" height=\"40\" fill=\"#1d4ed8\"/></svg>";

fn with_look(upstream: &Upstream) -> Builder {
    Gateway::builder(YAML)
        .with("APP", &upstream.url())
        .key("portal", "{ title: \"Kai & Quay\", logo: logo.svg, templates: look }")
        .file("logo.svg", LOGO)
        .file("look/style.css", "h1{letter-spacing:3px}")
        .file(
            "look/signed-in.html",
            "{% extends \"layout\" %}{% block title %}x{% endblock %}{% block content %}\
             <h1>{{ t(\"signed-in-heading\") }}</h1><p style=\"color:red\">{{ nowhere }}</p>{% endblock %}",
        )
        .file(
            "look/forgot.html",
            "{% extends \"layout\" %}{% block title %}x{% endblock %}{% block content %}\
             <h1>{{ t(\"forgot-heading\") }}</h1><p id=\"own\">Ours</p>\
             <script>document.title = 'run'</script><p style=\"color:red\">x</p>{% endblock %}",
        )
        .file("look/texts/de.ftl", "sign-in = Herein\n")
        .file(
            "look/texts/fr.ftl",
            "language-name = Français\nsign-in = Entrer\nlanguage-menu = Langue\n",
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_title_and_logo_make_the_pages_ones_own_and_no_script_runs() {
    let upstream = Upstream::start();
    let gateway = with_look(&upstream).start().await;
    let client = gateway.client();
    let site = format!("http://{}", gateway.address);
    let page = async |language: &str| {
        client.visit("/auth/login").header("Accept-Language", language).send().await
    };
    assert!(page("de").await.text().contains("<h1>Herein</h1>"));
    let french = page("fr-CA").await.text();
    assert!(french.contains("<h1>Entrer</h1>") && french.contains("lang=\"fr\""), "{french}");
    assert!(french.contains("Remember me"), "what it lacks is English: {french}");
    let browser = Browser::open().await;
    browser.goto(&format!("{site}/auth/login")).await;
    let text = browser.text().await;
    for shown in ["Kai & Quay", "Français", "Deutsch", "English"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    let width = "return document.querySelector('header img').naturalWidth";
    assert_eq!(browser.script(width, Vec::new()).await, 40);
    let spacing = "return getComputedStyle(document.querySelector('h1')).letterSpacing";
    assert_eq!(browser.script(spacing, Vec::new()).await, "3px");
    browser.goto(&format!("{site}/auth/forgot-password")).await;
    assert_eq!(browser.find("#own").await.text().await.unwrap(), "Ours");
    let title = browser.script("return document.title", Vec::new()).await;
    assert_eq!(title, "x · Kai & Quay", "a script ran");
    let colour = "return getComputedStyle(document.querySelector('main p:last-of-type')).color";
    assert_ne!(browser.script(colour, Vec::new()).await, "rgb(255, 0, 0)");
    browser.quit().await;
    // The picture is kept by browsers, and is nothing but a picture.
    let address = french.split("<img src=\"").nth(1).unwrap().split('"').next().unwrap();
    let address = address.replace("&#x2f;", "/");
    let logo = client.get(&address).send().await.expect(200);
    assert_eq!(logo.header("content-type"), Some("image/svg+xml"));
    assert_eq!(logo.header("x-content-type-options"), Some("nosniff"));
    assert!(logo.header("cache-control").unwrap().contains("max-age="));
    assert!(logo.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(logo.text(), LOGO);
    let twice = client.get(&address).header("Cookie", "portcullis=a; portcullis=b").send().await;
    assert!(twice.header("set-cookie").is_some(), "the two are cleared");
    assert_eq!(twice.header("cache-control"), Some("no-store"));
    // A template that fails when it is shown gives way to the one built in.
    let ann = gateway.person("ann").sign_in().await;
    let page = ann.visit("/auth/login").send().await.expect(200).text();
    assert!(page.contains("Use another account"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_look_is_in_force_when_the_configuration_is_read_again() {
    let upstream = Upstream::start();
    let gateway = with_look(&upstream).start().await;
    let client = gateway.client();
    let file = gateway.file.with_file_name("look").join("texts/en.ftl");
    std::fs::write(file, "sign-in = Come in\nsign-in-remember = Know me again\n").unwrap();
    gateway.reload("Kai & Quay", "Quay & Kai");
    // Words in one language stand in for no other's, but for what that one lacks.
    for (language, heading, remember) in [
        ("en", "Come in", "Know me again"),
        ("de", "Herein", "Auf diesem Gerät angemeldet bleiben"),
        ("fr", "Entrer", "Know me again"),
    ] {
        let page = client.visit("/auth/login").header("Accept-Language", language).send().await;
        let page = page.expect(200).text();
        for shown in [&*format!("<h1>{heading}</h1>"), remember, "Quay &amp; Kai"] {
            assert!(page.contains(shown), "{shown} in {page}");
        }
    }
    let error = client.visit("/auth/nothing").send().await.expect(404).text();
    assert!(error.contains("Quay &amp; Kai"), "{error}");
}

#[test]
fn check_finds_every_mistake_of_a_look_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let yaml = "listen: \"127.0.0.1:8080\"\nupstreams: { app: \"http://127.0.0.1:1\" }\n\
                routes: [{ path: \"/**\", upstream: app, allow: public }]\n\
                portal: { templates: look, logo: logo.png }\n";
    write("portcullis.yaml", yaml);
    write("logo.png", "no picture");
    write("look/logn.html", "");
    write("look/login.html", "a\n{% if %}\n");
    write("look/verify.html", "\n{{ t(\"sing-in\") }}");
    write("look/texts/de.ftl", "sign-in = a\n\nsing-out = b\n");
    let file = directory.path().join("portcullis.yaml");
    let output = run(&["check", "-c", file.to_str().unwrap()], &BTreeMap::new(), "");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    for part in [
        "logo.png is no picture",
        "logn.html:1:1: portal.templates: logn.html stands in for nothing, did you mean `login.html`?",
        "login.html:2:1: portal.templates: does not parse",
        "verify.html:2:1: portal.templates: there is no text `sing-in`, did you mean `sign-in`?",
        "de.ftl:3:1: portal.templates: there is no text `sing-out`, did you mean `sign-out`?",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
