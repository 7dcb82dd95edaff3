//! `portcullis demo`: an ordinary configuration, the same `serve`, and what a demonstration needs
//! besides: a sample application, three people with passwords, and a text that says what to try.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::SecretString;

use super::desk::{self, Desk};
use super::failure::Failure;
use super::{sample, serve};
use crate::accounts::{Actor, Draft, People};
use crate::clock::Entropy;
use crate::config::{Config, Upstream};
use crate::identity::user::Profile;
use crate::store::Migrate;

const TEMPLATE: &str = include_str!("demo.yaml");
/// How many ports are tried for what nobody chose.
const PORTS_TRIED: u16 = 50;

/// The people: first name, role, whether a superuser, what is printed beside the password.
const PEOPLE: [(&str, Option<&str>, bool, &str); 3] = [
    ("Ann", Some("admin"), true, "administrator, role admin: may go everywhere"),
    ("Ben", Some("analyst"), false, "role analyst, of the file: may read the dashboard"),
    ("Cat", None, false, "no role: may see what asks for signing in alone"),
];

/// `demo`.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Where the configuration and its data are kept
    #[arg(long, value_name = "DIRECTORY", default_value = "portcullis-demo")]
    dir: PathBuf,
    /// Address of the gateway, on this machine alone [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

/// Runs the demonstration until it is told to stop.
///
/// # Errors
/// [`Failure::Unavailable`] when a port is taken, and those of `serve`.
pub(super) fn run(args: &DemoArgs, desk: &mut Desk) -> Result<(), Failure> {
    let listen = args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    if !listen.ip().is_loopback() {
        let message = "--listen: the demo's passwords are on the screen, so it stays on loopback";
        return Err(Failure::Usage(message.to_owned()));
    }
    let file = args.dir.join("portcullis.yaml");
    if !file.exists() {
        free(listen, "choose another with --listen")?;
        write_configuration(&args.dir, &file, listen)?;
    }
    desk.point_at(file.clone());
    let config = desk.examine()?.config;
    if let Some(asked) = args.listen
        && config.listen != [asked]
    {
        return Err(Failure::Usage(format!(
            "--listen: {} exists and says otherwise; change it there or choose another --dir",
            file.display()
        )));
    }
    for address in config.listen.iter().chain(&config.management) {
        free(*address, &format!("change it in {}, or choose another --dir", file.display()))?;
    }
    let application = listen_for_sample(&config, &file)?;
    let passwords = desk::block_on(prepare_people(&config, desk))?;
    sample::start(application)
        .map_err(|error| Failure::Failed(format!("cannot start the sample: {error}")))?;
    let scene = Scene { config: &config, file: &file, passwords: &passwords };
    scene.explain(&desk.program, &mut desk.out)?;
    serve::run(desk)
}

/// Writes the configuration, with ports that are free just now.
fn write_configuration(dir: &Path, file: &Path, listen: SocketAddr) -> Result<(), Failure> {
    let refuse = |error| Failure::Failed(format!("cannot write {}: {error}", file.display()));
    let application = next_free(listen)?;
    let management = next_free(application)?;
    let text = TEMPLATE
        .replace("@LISTEN@", &listen.to_string())
        .replace("@APP@", &application.to_string())
        .replace("@MANAGEMENT@", &management.to_string());
    fs::create_dir_all(dir).map_err(refuse)?;
    let mut to = OpenOptions::new().write(true).create_new(true).open(file).map_err(refuse)?;
    to.write_all(text.as_bytes()).map_err(refuse)
}

/// The nearest free port above an address.
fn next_free(above: SocketAddr) -> Result<SocketAddr, Failure> {
    (1..=PORTS_TRIED)
        .filter_map(|distance| above.port().checked_add(distance))
        .map(|port| SocketAddr::new(above.ip(), port))
        .find(|address| TcpListener::bind(address).is_ok())
        .ok_or_else(|| Failure::Unavailable(format!("no port just above {above} is free")))
}

/// Fails early and clearly when an address is taken; `serve` would find out after all the rest.
fn free(address: SocketAddr, advice: &str) -> Result<(), Failure> {
    bind(address, advice).map(drop)
}

fn bind(address: SocketAddr, advice: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        Failure::Unavailable(if error.kind() == io::ErrorKind::AddrInUse {
            format!("{address} is taken; {advice}")
        } else {
            format!("cannot listen on {address}: {error}; {advice}")
        })
    })
}

fn listen_for_sample(config: &Config, file: &Path) -> Result<TcpListener, Failure> {
    let local = |upstream: &Upstream| {
        let ip = upstream.host.parse::<std::net::IpAddr>().ok()?;
        ip.is_loopback().then(|| SocketAddr::new(ip, upstream.port))
    };
    let address = config.upstreams.get("app").and_then(|upstream| local(upstream));
    let address = address.ok_or_else(|| {
        Failure::Failed(format!(
            "{}: the sample application needs an upstream app on 127.0.0.1; run a file of your \
             own with `portcullis serve`",
            file.display()
        ))
    })?;
    bind(address, &format!("the sample application needs it; change it in {}", file.display()))
}

/// Makes the people, or gives those of an earlier run new passwords: only digests were kept.
async fn prepare_people(config: &Config, desk: &Desk) -> Result<Vec<String>, Failure> {
    let store = desk.open_with(config, Migrate::Fully).await?;
    let people = desk.people(config, &store);
    let mut passwords = Vec::new();
    for (name, role, is_superuser, _) in PEOPLE {
        let password = invent_password(&desk.entropy);
        prepare_person(&people, name, role, is_superuser, &password).await?;
        passwords.push(password);
    }
    store.close().await;
    Ok(passwords)
}

async fn prepare_person(
    people: &People,
    name: &str,
    role: Option<&str>,
    is_superuser: bool,
    password: &str,
) -> Result<(), Failure> {
    let password = SecretString::from(password);
    if let Some(user) = people.find(&email(name)).await? {
        return Ok(people.set_password(&user, password, &Actor::cli()).await?);
    }
    let draft = Draft {
        email: email(name),
        password: Some(password),
        username: Some(name.to_lowercase()),
        profile: Profile { first_name: Some(name.to_owned()), ..Profile::default() },
        is_superuser,
        is_verified: true,
        is_active: true,
        roles: role.map(str::to_owned).into_iter().collect(),
    };
    people.create(draft, &Actor::cli()).await?;
    Ok(())
}

fn email(name: &str) -> String {
    format!("{}@example.com", name.to_lowercase())
}

/// Twelve letters and digits that no two people read differently: 58 bits, from 29 signs.
fn invent_password(entropy: &Entropy) -> String {
    const SIGNS: &[u8; 29] = b"abcdefghjkmnpqrstuvwxyz345678";
    // 232 is the largest multiple of 29 in a byte; bytes above it would favour some signs.
    let mut signs = Vec::new();
    while signs.len() < 12 {
        let fair = entropy.bytes::<16>().into_iter().filter(|byte| *byte < 232);
        signs.extend(fair.map(|byte| char::from(SIGNS[usize::from(byte % 29)])));
    }
    let group = |group: &[char]| group.iter().collect::<String>();
    signs[..12].chunks(4).map(group).collect::<Vec<_>>().join("-")
}

/// What the demonstration shows.
struct Scene<'a> {
    config: &'a Config,
    file: &'a Path,
    passwords: &'a [String],
}

impl Scene<'_> {
    /// Says what there is and what to try; `program` is how the command line was called.
    fn explain(&self, program: &str, out: &mut impl Write) -> Result<(), Failure> {
        let (site, name) = (&self.config.public_url, self.file.display());
        writeln!(out, "The demo runs {name}, an ordinary configuration.\n")?;
        writeln!(out, "  Open {site}/ in a browser.\n")?;
        for ((name, _, _, note), password) in PEOPLE.iter().zip(self.passwords) {
            writeln!(out, "  {:<16}  {password}  {note}", email(name))?;
        }
        writeln!(out, "\nWhat to try:")?;
        for (path, who, _) in sample::PAGES {
            writeln!(out, "  {site}{path:<14} {who}")?;
        }
        writeln!(
            out,
            "
  1. Open {site}/dashboard: you are asked to sign in. As Ben you land on the
     dashboard, which shows the headers that told the application who you are.
  2. As Ben, open {site}/admin: a page says what is missing.
  3. In another terminal, see why, let Ben in, and take it back. Reload his page after
     each: it is in force within a second.
       {program} -c {name} explain GET /admin --as ben@example.com
       {program} -c {name} user grant ben@example.com admin --for 10m
       {program} -c {name} user revoke ben@example.com admin
  4. Ask without a browser:
       curl -i {site}/protected
  5. Change {name} while it runs: at the path \"/admin\"
     write roles: [admin, analyst]. Now Ben may open it, and Ann still may.

Stop it with Ctrl-C. The next run keeps everything and makes new passwords."
        )?;
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_password_is_three_groups_of_four_plain_signs_and_differs_every_time() {
        let entropy = Entropy::seeded(1);
        let (one, two) = (invent_password(&entropy), invent_password(&entropy));
        assert_ne!(one, two);
        for password in [one, two] {
            let groups: Vec<&str> = password.split('-').collect();
            assert_eq!(groups.len(), 3, "{password}");
            assert!(groups.iter().all(|group| group.len() == 4), "{password}");
        }
    }
}
