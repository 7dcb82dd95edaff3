//! TLS to providers, with openssl's server at the other end: a certificate that nobody vouches for ends
//! the sign-in before a byte is sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::clock::Clock;
use portcullis::config;
use portcullis::identity::provider::{Authorization, ProviderError, Providers};
use tempfile::TempDir;

use crate::harness::{Gateway, free_port};
use crate::raw::Client;
use crate::upstream::Upstream;

/// An issuer over TLS, whose discovery document is all it has. Dropping it kills it.
struct Issuer {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

impl Issuer {
    async fn start(name: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = |file: &str| directory.path().join(file);
        let wanted = format!(
            "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = more\n[name]\nCN = {name}\n\
             [more]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:{name}\n"
        );
        fs::write(at("wanted.cnf"), wanted).unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-config"])
            .arg(at("wanted.cnf"))
            .arg("-keyout")
            .arg(at("key.pem"))
            .arg("-out")
            .arg(at("certificate.pem"))
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl: run scripts/test once").success());
        let issuer = format!("https://localhost:{port}");
        let document = serde_json::json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
        });
        fs::create_dir(at(".well-known")).unwrap();
        // With `-HTTP` a file is the whole answer.
        let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{document}");
        fs::write(at(".well-known/openid-configuration"), answer).unwrap();
        let child = Command::new("openssl")
            .args(["s_server", "-HTTP", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .args(["-cert", "certificate.pem", "-key", "key.pem"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let issuer = Self { child, port, directory };
        for _ in 0..400 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return issuer;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("openssl does not listen");
    }

    fn address(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

#[tokio::test]
async fn a_provider_with_a_certificate_that_nobody_vouches_for_is_sent_nothing() {
    let issuer = Issuer::start("localhost").await;
    let text = format!(
        "upstreams: {{ app: \"http://127.0.0.1:3000\" }}\nproviders: {{ corp: {{ kind: oidc, issuer: \
         \"{}\", client_id: us, who: anyone }} }}\n",
        issuer.address()
    );
    let none = BTreeMap::<String, String>::new();
    let config = config::load_text(&text, Path::new("p.yaml"), &none).unwrap();
    let providers = Providers::new(&config.providers, &Clock::system()).unwrap();
    let asked = Authorization {
        state: "s",
        nonce: "n",
        challenge: "c",
        redirect_uri: "https://app.example.com/auth/corp/callback",
        extra_scopes: &[],
    };
    let refused = providers.get("corp").unwrap().authorization(&asked).await.unwrap_err();
    let ProviderError::Unreachable(words) = &refused else { panic!("{refused:?}") };
    assert!(words.contains("certificate"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_a_certificate_of_an_authority_that_is_named_is_asked() {
    let (issuer, app) = (Issuer::start("localhost").await, Upstream::start());
    let other = Issuer::start("elsewhere.example").await;
    let provider = |issuer: &Issuer| {
        format!("{{ kind: oidc, issuer: \"{}\", client_id: us, who: anyone }}", issuer.address())
    };
    let yaml =
        "upstreams: { app: \"${APP}\" }\nroutes: [{ path: /, upstream: app, allow: public }]\n";
    let both = issuer.directory.path().join("both.pem");
    let certificates = [&issuer, &other]
        .map(|one| fs::read_to_string(one.directory.path().join("certificate.pem")).unwrap());
    fs::write(&both, certificates.concat()).unwrap();
    let gateway = Gateway::builder(yaml)
        .with("APP", &app.url())
        .with("SSL_CERT_FILE", &both.display().to_string())
        .key(
            "providers",
            &format!("{{ good: {}, wrong: {} }}", provider(&issuer), provider(&other)),
        )
        .spawn()
        .await;
    let ask = |name: &str| {
        let target = format!("/auth/{name}/authorize");
        async move { Client::new(gateway.address).get(&target).send().await }
    };
    let sent = ask("good").await.expect(200).json();
    let url = sent["authorization_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{}/authorize?", issuer.address())), "{url}");
    // Known, but for another name.
    ask("wrong").await.expect(502);
    assert!(gateway.stderr().contains("certificate"), "{}", gateway.stderr());
}
