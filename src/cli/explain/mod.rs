//! `portcullis explain`: what becomes of a request, and why.

mod caller;
mod request;

use std::io::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::caller::Supposed;
use self::request::Asked;
use super::desk::Desk;
use super::failure::Failure;
use super::output::printable;
use crate::policy::{Explanation, Facts, Located, Verdict};
use crate::proxy::sanitise;
use crate::server::dispatch::{self, Answerer, Question, RefusedMethod};
use crate::server::examine::Examined;
use crate::session::Carrier;
use crate::web::fields::Fields;
use crate::web::headers::{self, Hygiene, Unambiguous};
use crate::web::target::{Target, TargetError};

/// Exit code of `--exit-code` for a request that is denied.
const DENIED: u8 = 10;
/// Exit code of `--exit-code` for a request that is challenged.
const CHALLENGED: u8 = 11;

/// `explain`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// Method of the request, such as GET
    method: String,
    /// URL of the request; a path alone is one of `public_url`
    url: String,
    /// The caller: `anonymous`, or the e-mail, username or id of an account [default: anonymous]
    #[arg(long = "as", value_name = "EMAIL")]
    who: Option<String>,
    /// Suppose somebody signed in who holds this role; may be repeated
    #[arg(long = "role", value_name = "ROLE", conflicts_with = "who")]
    roles: Vec<String>,
    /// Suppose somebody signed in who holds this permission; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION", conflicts_with = "who")]
    permissions: Vec<String>,
    /// Suppose somebody signed in whose e-mail is verified
    #[arg(long, conflicts_with = "who")]
    verified: bool,
    /// Suppose somebody signed in who is a superuser
    #[arg(long, conflicts_with = "who")]
    superuser: bool,
    /// The address the request comes from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// A header of the request, such as `Origin: https://example.com`; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 0 for allow, 10 for deny, 11 for challenge
    #[arg(long)]
    exit_code: bool,
}

/// What becomes of a request.
#[derive(Debug, Serialize)]
struct Outcome {
    method: String,
    url: String,
    caller: String,
    address: Option<IpAddr>,
    /// What decides.
    decision: Verdict,
    /// The status of the gateway's answer; `None` when the request is forwarded. A browser that is
    /// challenged gets a redirect to the sign-in page instead of 401, unless the route says otherwise.
    status: Option<u16>,
    /// Why, where no rule was asked.
    reason: Option<String>,
    /// What the rules said, where they were asked.
    rules: Option<Explanation>,
    notes: Vec<String>,
}

/// Explains what becomes of a request.
///
/// # Errors
/// [`Failure`].
pub(super) async fn run(args: &ExplainArgs, desk: &mut Desk) -> Result<ExitCode, Failure> {
    let examined = desk.examine()?;
    let asked = Asked::read(args, &examined.config)?;
    let caller = Supposed::find(args, &examined, desk).await?;
    let outcome = decide(&asked, &caller, &examined);
    if args.json {
        desk.out.json(&outcome)?;
    } else {
        write(&outcome, &caller, &mut desk.out)?;
    }
    Ok(match outcome.decision {
        Verdict::Deny if args.exit_code => ExitCode::from(DENIED),
        Verdict::Challenge if args.exit_code => ExitCode::from(CHALLENGED),
        Verdict::Allow | Verdict::Deny | Verdict::Challenge => ExitCode::SUCCESS,
    })
}

/// What was found before or after the rules, in words.
struct Found {
    decision: Verdict,
    status: Option<u16>,
    reason: Option<String>,
    rules: Option<Explanation>,
}

impl Found {
    fn refused(status: u16, reason: impl Into<String>) -> Self {
        let reason = Some(reason.into());
        Self { decision: Verdict::Deny, status: Some(status), reason, rules: None }
    }

    /// By the gateway itself.
    fn answered(status: Option<u16>, reason: &str) -> Self {
        let reason = Some(reason.to_owned());
        Self { decision: Verdict::Allow, status, reason, rules: None }
    }
}

fn decide(asked: &Asked, caller: &Supposed, examined: &Examined) -> Outcome {
    let found = find(asked, caller, examined);
    Outcome {
        method: asked.method.to_string(),
        url: asked.url(),
        caller: caller.label.clone(),
        address: asked.client.ok().flatten(),
        decision: found.decision,
        status: found.status,
        reason: found.reason,
        rules: found.rules,
        notes: caller.notes.clone(),
    }
}

/// The steps of a request's way through the gateway, in their order.
fn find(asked: &Asked, caller: &Supposed, examined: &Examined) -> Found {
    if let Err(error) = asked.client {
        return Found::refused(400, error.to_string());
    }
    if let Err(error) = dispatch::check_method(&asked.method) {
        let status = match error {
            RefusedMethod::NotTaken => 405,
            RefusedMethod::Malformed => 400,
        };
        return Found::refused(status, error.to_string());
    }
    let fields = Fields::of(&asked.headers);
    let checked = match headers::check_request(&fields) {
        Ok(checked) => checked,
        Err(error) => return Found::refused(400, error.0),
    };
    let target = match Target::parse(&asked.target) {
        Ok(target) => target,
        Err(error @ TargetError::TooLong) => return Found::refused(414, error.to_string()),
        Err(error @ TargetError::Malformed(_)) => return Found::refused(400, error.to_string()),
    };
    let (host, method) = (asked.authority.host(), &asked.method);
    let question = Question { host, target: &target, method, fields: &fields };
    match dispatch::answerer(&examined.config, &examined.policy, &question) {
        Answerer::Api => {
            Found::answered(None, "an address of the gateway's own API: nothing is forwarded")
        }
        Answerer::Portal => {
            Found::answered(None, "one of the gateway's own addresses: nothing is forwarded")
        }
        Answerer::Nobody => Found::refused(
            404,
            "one of the gateway's own addresses, which are not served on this host",
        ),
        Answerer::Preflight(..) => Found::answered(
            Some(204),
            "a preflight from a listed origin, which the gateway answers: nothing is forwarded",
        ),
        Answerer::Routes => locate(asked, &target, &checked, caller, examined),
    }
}

fn locate(
    asked: &Asked,
    target: &Target,
    checked: &Unambiguous,
    caller: &Supposed,
    examined: &Examined,
) -> Found {
    let policy = &examined.policy;
    let destination = match policy.locate(asked.authority.host(), target, &asked.method) {
        Located::NoPlace => return Found::refused(404, "no route takes this host and path"),
        Located::Ambiguous(why) => return Found::refused(400, why),
        Located::MethodNotAllowed(methods) => {
            let methods: Vec<String> = methods.iter().map(ToString::to_string).collect();
            let methods = if methods.is_empty() { "none".to_owned() } else { methods.join(", ") };
            return Found::refused(405, format!("the place takes other methods: {methods}"));
        }
        Located::Route(destination) => destination,
    };
    let cookie = &examined.config.sessions.cookie.wire_name;
    let credentials = match sanitise::credentials(&Fields::of(&asked.headers), cookie) {
        Ok(credentials) => credentials,
        Err(error) => return Found::refused(400, error.0),
    };
    // What goes out of the head is no matter here, only whether it can be told.
    let mut left = asked.headers.clone();
    let sanitised = headers::sanitise_request(&mut left, &Hygiene::default(), checked);
    if let Err(error) = sanitised {
        return Found::refused(400, error.0);
    }
    let client = asked.client.ok().flatten();
    let facts = Facts { caller: caller.subject.as_ref(), client };
    let rules = policy.explain(&destination, &facts);
    // Supposed callers come with a cookie, unless the request carries a token of ours.
    let carrier = if credentials.bearer.is_some() { Carrier::Bearer } else { Carrier::Cookie };
    let is_known = policy.needs_caller(&destination) && caller.subject.is_some();
    judge(asked, rules, is_known.then_some(carrier), examined)
}

/// What the rules said, unless it is another site that asks.
fn judge(
    asked: &Asked,
    rules: Explanation,
    carrier: Option<Carrier>,
    examined: &Examined,
) -> Found {
    let status = match rules.decision {
        Verdict::Allow => None,
        Verdict::Challenge => Some(401),
        Verdict::Deny => Some(403),
    };
    let must_be_own = dispatch::must_be_own_site(carrier, rules.is_by_network);
    if status.is_none() && must_be_own && asked.is_cross_site(&examined.config) {
        return Found { rules: Some(rules), ..Found::refused(403, "Cross-site request") };
    }
    Found { decision: rules.decision, status, reason: None, rules: Some(rules) }
}

fn write(outcome: &Outcome, caller: &Supposed, out: &mut impl Write) -> Result<(), Failure> {
    let Outcome { method, url, .. } = outcome;
    let from = outcome
        .address
        .map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    writeln!(out, "{method} {}", printable(url))?;
    writeln!(out, "by {} from {from}", printable(&outcome.caller))?;
    for note in &outcome.notes {
        writeln!(out, "note: {}", printable(note))?;
    }
    if let Some(rules) = &outcome.rules {
        write!(out, "\n{rules}")?;
    }
    if let Some(reason) = &outcome.reason {
        let but = if outcome.rules.is_some() { "but another site asks: " } else { "\n" };
        writeln!(out, "{but}{}: {reason}", outcome.decision)?;
    }
    if let Some(status) = outcome.status {
        writeln!(out, "answer: {}", describe(status))?;
    }
    let lacking = outcome.rules.as_ref().and_then(|rules| rules.missing.roles.first());
    if let (Some(account), Some(role)) = (&caller.account, lacking) {
        writeln!(out, "would help: portcullis user grant {account} \"{role}\"")?;
    }
    Ok(())
}

fn describe(status: u16) -> String {
    match status {
        401 => "401, or the sign-in page for a browser".to_owned(),
        other => other.to_string(),
    }
}
