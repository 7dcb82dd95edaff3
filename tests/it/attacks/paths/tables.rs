//! Tables of rules in which one tree is guarded, or all but one; what each permits and how its
//! application reads letters. What must come of a request is told by a reference of a few lines.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};

use super::styles::{self, Reading};
use crate::attacks::trial::Bench;
use crate::raw::{Client, Raw};

/// An irregular form of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    EncodedSlash,
    EncodedBackslash,
    Semicolon,
    DoubleSlash,
    NonUtf8,
}

const FORMS: [(Form, &str); 5] = [
    (Form::EncodedSlash, "encoded-slash"),
    (Form::EncodedBackslash, "encoded-backslash"),
    (Form::Semicolon, "semicolon"),
    (Form::DoubleSlash, "double-slash"),
    (Form::NonUtf8, "non-utf8"),
];

impl Form {
    /// Its spelling in the configuration.
    fn name(self) -> &'static str {
        FORMS.iter().find(|(known, _)| *known == self).unwrap().1
    }
}

/// The irregular forms in a path.
pub fn forms_of(path: &str) -> Vec<Form> {
    let lower = path.to_ascii_lowercase();
    let has_odd_bytes =
        || path.split('/').any(|part| String::from_utf8(styles::decode(part.as_bytes())).is_err());
    FORMS
        .into_iter()
        .map(|(form, _)| form)
        .filter(|form| match form {
            Form::EncodedSlash => lower.contains("%2f"),
            Form::EncodedBackslash => lower.contains("%5c"),
            Form::Semicolon => lower.contains(';') || lower.contains("%3b"),
            Form::DoubleSlash => lower.contains("//"),
            Form::NonUtf8 => has_odd_bytes(),
        })
        .collect()
}

/// A host and the rules of its table.
#[derive(Clone, Debug)]
pub struct Table {
    pub host: String,
    /// All is public but `/admin/**`; else nothing is but `/public/**`.
    pub is_open: bool,
    pub ignores_case: bool,
    pub permits: Vec<Form>,
}

impl Table {
    fn new(is_open: bool, ignores_case: bool, permits: &[Form]) -> Self {
        let kind = if is_open { "open" } else { "closed" };
        let case = if ignores_case { "any" } else { "exact" };
        let permitted: Vec<_> = permits.iter().map(|form| form.name()).collect();
        let host =
            format!("{kind}.{case}.{}", permitted.join(".")).trim_end_matches('.').to_owned();
        Self { host, is_open, ignores_case, permits: permits.to_vec() }
    }

    fn yaml(&self) -> String {
        let upstream = if self.ignores_case { "app" } else { "exact" };
        let permits: Vec<_> = self.permits.iter().map(|form| form.name()).collect();
        let permits = match &*permits {
            [] => String::new(),
            some => format!(", permit_in_path: [{}]", some.join(", ")),
        };
        let admin = "{ roles: [admin] }";
        let (all, tree, allow) = if self.is_open {
            ("public", "/admin/**", admin)
        } else {
            (admin, "/public/**", "public")
        };
        let route = |path: &str, allow: &str| {
            format!(
                "  - {{ host: \"{}\", path: \"{path}\", upstream: {upstream}, allow: {allow}{permits} }}\n",
                self.host
            )
        };
        format!("{}{}", route("/**", all), route(tree, allow))
    }

    /// Whether a reading of a path is one that admins alone may see.
    fn is_guarded(&self, reading: &Reading) -> bool {
        let first = reading.first().map(Vec::as_slice).unwrap_or_default();
        let is = |name: &[u8], ignoring: bool| {
            first == name || ignoring && first.eq_ignore_ascii_case(name)
        };
        if self.is_open { is(b"admin", self.ignores_case) } else { !is(b"public", false) }
    }
}

/// Every table: both kinds with both ways to read letters, with no form and with all, and one for each
/// form by itself.
pub fn tables() -> Vec<Table> {
    let all = FORMS.map(|(form, _)| form);
    let mut tables = Vec::new();
    for is_open in [true, false] {
        for ignores_case in [true, false] {
            tables.push(Table::new(is_open, ignores_case, &[]));
            tables.push(Table::new(is_open, ignores_case, &all));
        }
        for form in all {
            tables.push(Table::new(is_open, true, &[form]));
        }
    }
    tables
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    Anonymous,
    /// Signed in, without a role.
    Cat,
    /// An admin.
    Ann,
}

/// What must come of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// 400 whatever a route permits.
    Refused,
    /// What the rule for its path says, where the route permits its forms.
    Ruled,
}

/// A gateway with all tables, and people.
pub struct Maze {
    pub bench: Bench,
    tables: Vec<Table>,
    cat: Client,
    ann: Client,
}

/// A request that was made.
struct Visit {
    table: Table,
    caller: Caller,
    target: String,
    fate: Fate,
    status: u16,
}

impl Maze {
    pub async fn start() -> Self {
        let tables = tables();
        let mut yaml = String::from(
            "upstreams:\n  app: \"${APP}\"\n  exact: { targets: [\"${APP}\"], case_sensitive: true }\nroutes:\n",
        );
        yaml.extend(tables.iter().map(Table::yaml));
        let bench = Bench::start(&yaml).await;
        let cat = bench.gateway.person("cat").sign_in().await;
        let ann = bench.gateway.person("ann").role("admin").sign_in().await;
        Self { bench, tables, cat, ann }
    }

    /// Asks for each target in the tables, as a caller and by a method that change in turn. What is
    /// refused everywhere, and tables that permit one form, are asked in turn as well.
    pub async fn walk(&self, targets: &[String], fate: Fate) {
        let methods = ["GET", "POST", "HEAD", "DELETE", "OPTIONS"];
        let mut asked = Vec::new();
        for (number, target) in targets.iter().enumerate() {
            for (index, table) in self.tables.iter().enumerate() {
                let every = match (fate, table.permits.len()) {
                    (Fate::Refused, _) => 4,
                    (Fate::Ruled, 1) => 5,
                    (Fate::Ruled, _) => 1,
                };
                if (number + index) % every == 0 {
                    let caller =
                        [Caller::Cat, Caller::Anonymous, Caller::Ann][(number / 3 + index / 2) % 3];
                    asked.push((
                        table,
                        target,
                        caller,
                        methods[(number + index / 3) % methods.len()],
                    ));
                }
            }
        }
        let visits = stream::iter(asked)
            .map(|(table, target, caller, method)| {
                self.visit(table, target, (caller, method), fate)
            })
            .buffer_unordered(16);
        let visits: Vec<_> = visits.collect().await;
        let received = self.bench.received();
        let mut arrivals: HashMap<&str, Vec<&str>> = HashMap::new();
        for received in &received {
            arrivals.entry(word_of(&received.target)).or_default().push(&received.target);
        }
        let faults: Vec<_> = visits
            .iter()
            .filter_map(|visit| {
                let arrived = arrivals.get(word_of(&visit.target)).cloned().unwrap_or_default();
                let Visit { table, caller, target, status, .. } = visit;
                fault_of(visit, &arrived).map(|fault| {
                    format!("{caller:?} at {} for {target}: {status}: {fault}", table.host)
                })
            })
            .collect();
        assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), visits.len(), faults.join("\n"));
        // Refusing everything would be no proof.
        let passed = visits.iter().filter(|visit| visit.status == 200).count();
        assert!(fate == Fate::Refused || passed > 0, "nothing passed of {targets:?}");
    }

    async fn visit(
        &self,
        table: &Table,
        target: &str,
        (caller, method): (Caller, &str),
        fate: Fate,
    ) -> Visit {
        let mark = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{mark}{}", self.bench.word());
        let cookies = match caller {
            Caller::Anonymous => String::new(),
            Caller::Cat => format!("Cookie: {}\r\n", self.cat.cookies()),
            Caller::Ann => format!("Cookie: {}\r\n", self.ann.cookies()),
        };
        let mut raw = Raw::connect(self.bench.gateway.address).await;
        raw.send(format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{cookies}\r\n", table.host))
            .await;
        let status = raw.try_response(method).await.map_or(0, |answer| answer.status);
        Visit { table: table.clone(), caller, target, fate, status }
    }
}

/// The word by which a request is known: the last of its query.
fn word_of(target: &str) -> &str {
    target.rsplit(['?', '&']).next().unwrap()
}

fn fault_of(visit: &Visit, arrived: &[&str]) -> Option<String> {
    let Visit { table, caller, target, fate, status } = visit;
    let expected = if *status == 200 { vec![&**target] } else { Vec::new() };
    if *arrived != *expected {
        return Some(format!("the upstream received {arrived:?}"));
    }
    let path = target.split('?').next().unwrap();
    let forms = forms_of(path);
    let is_permitted = forms.iter().all(|form| table.permits.contains(form));
    if *fate == Fate::Refused || !is_permitted {
        return (*status != 400).then(|| "must be 400".to_owned());
    }
    let received: Reading =
        path[1..].split('/').map(|part| styles::decode(part.as_bytes())).collect();
    if forms.is_empty() {
        let must_be = match caller {
            _ if !table.is_guarded(&received) => 200,
            Caller::Ann => 200,
            Caller::Cat => 403,
            Caller::Anonymous => 401,
        };
        return (*status != must_be).then(|| format!("must be {must_be}"));
    }
    if ![200, 400, 401, 403].contains(status) {
        return Some("must be decided on".to_owned());
    }
    let may_see_all = *caller == Caller::Ann;
    let mut readings = styles::readings(path);
    readings.push(("as received", received));
    let seen = readings.iter().find(|(_, reading)| table.is_guarded(reading));
    let (style, reading) = seen.filter(|_| *status == 200 && !may_see_all)?;
    let shown: Vec<_> = reading.iter().map(|part| String::from_utf8_lossy(part)).collect();
    Some(format!("{style} reads /{}", shown.join("/")))
}
