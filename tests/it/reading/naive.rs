//! The places and rules of a test's table, matched as the words of the specification say, slowly.

/// Who may pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Public,
    Authenticated,
    Admin,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Nobody,
    /// Without a role.
    Cat,
    /// With the role `admin`.
    Ann,
}

impl Rule {
    /// As the configuration writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
            Self::Admin => "{roles: [admin]}",
        }
    }

    pub fn lets(self, who: Who) -> bool {
        match self {
            Self::Public => true,
            Self::Authenticated => who != Who::Nobody,
            Self::Admin => who == Who::Ann,
        }
    }
}

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    pub name: String,
    /// Empty for any.
    pub host: String,
    pub path: String,
    pub methods: Vec<String>,
    pub upstream: String,
    pub rule: Rule,
    pub permits: Vec<String>,
}

impl Route {
    /// Reads `HOST PATH UPSTREAM RULE PERMITS METHODS`; `-` stands for nothing, lists have commas.
    fn read(number: usize, line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [host, path, upstream, rule, permits, methods] = words[..] else { panic!("{line}") };
        let list = |text: &str| match text {
            "-" => Vec::new(),
            "all" => FORMS.map(str::to_owned).to_vec(),
            text => text.split(',').map(str::to_owned).collect(),
        };
        let rule = match rule {
            "public" => Rule::Public,
            "authenticated" => Rule::Authenticated,
            "admin" => Rule::Admin,
            other => panic!("{other}"),
        };
        Self {
            name: format!("r{number}"),
            host: host.replace('-', ""),
            path: path.to_owned(),
            methods: list(methods),
            upstream: upstream.to_owned(),
            rule,
            permits: list(permits),
        }
    }

    fn yaml(&self) -> String {
        let mut keys = vec![
            format!("name: {}", self.name),
            format!("path: \"{}\"", self.path),
            format!("upstream: {}", self.upstream),
            format!("allow: {}", self.rule.text()),
        ];
        if !self.host.is_empty() {
            keys.push(format!("host: \"{}\"", self.host));
        }
        if !self.methods.is_empty() {
            keys.push(format!("methods: [{}]", self.methods.join(", ")));
        }
        if !self.permits.is_empty() {
            keys.push(format!("permit_in_path: [{}]", self.permits.join(", ")));
        }
        format!("  - {{ {} }}\n", keys.join(", "))
    }
}

/// Every form a route may permit.
pub const FORMS: [&str; 5] =
    ["encoded-slash", "encoded-backslash", "semicolon", "double-slash", "non-utf8"];

/// Decoded segments; a final slash shows as a last, empty one.
pub type Segments = Vec<Vec<u8>>;

/// The routes of one configuration.
#[derive(Clone, Debug)]
pub struct Table {
    pub routes: Vec<Route>,
    /// Upstreams that tell `/A` from `/a`.
    pub case_sensitive: Vec<&'static str>,
}

impl Table {
    pub fn read(lines: &str, case_sensitive: &[&'static str]) -> Self {
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        let routes = lines.enumerate().map(|(number, line)| Route::read(number, line)).collect();
        Self { routes, case_sensitive: case_sensitive.to_vec() }
    }

    /// The routes as the configuration has them.
    pub fn yaml(&self) -> String {
        let routes: String = self.routes.iter().map(Route::yaml).collect();
        format!("routes:\n{routes}")
    }

    /// The one table of a host: the exact one, else the longest wildcard, else that of any host.
    fn of_host(&self, host: &str) -> Vec<&Route> {
        let host = host.to_ascii_lowercase();
        let host = host.split(':').next().unwrap_or_default();
        let takes = |pattern: &str| match pattern.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => pattern == host,
        };
        let patterns = self.routes.iter().map(|route| route.host.as_str());
        let best = patterns
            .filter(|pattern| pattern.is_empty() || takes(pattern))
            .max_by_key(|pattern| (!pattern.is_empty(), !pattern.starts_with('*'), pattern.len()));
        self.routes.iter().filter(|route| Some(route.host.as_str()) == best).collect()
    }

    /// The route a path leads to.
    pub fn route(&self, host: &str, segments: &Segments, method: &str) -> Option<&Route> {
        let routes = self.of_host(host);
        let takers = routes.iter().filter(|route| takes(&route.path, segments, false));
        let best = takers.map(|route| ranks(&route.path)).min()?;
        by_method(
            routes
                .into_iter()
                .filter(|route| takes(&route.path, segments, false) && ranks(&route.path) == best),
            method,
        )
    }

    /// Every route that must let a request to `route` pass for an application that ignores case:
    /// `Err` when one of those places does not take the method.
    pub fn routes_ignoring_case(
        &self,
        route: &Route,
        segments: &Segments,
        method: &str,
    ) -> Result<Vec<&Route>, String> {
        if self.case_sensitive.contains(&route.upstream.as_str()) {
            return Ok(Vec::new());
        }
        let same: Vec<&Route> = self
            .routes
            .iter()
            .filter(|other| other.host == route.host && other.upstream == route.upstream)
            .filter(|other| takes(&other.path, segments, true))
            .collect();
        let best = same.iter().map(|other| ranks(&other.path)).min();
        let mut paths: Vec<&str> = same
            .iter()
            .filter(|other| Some(ranks(&other.path)) == best)
            .map(|other| other.path.as_str())
            .collect();
        paths.dedup();
        let of = |path: &str| {
            let place = same.iter().copied().filter(|other| other.path == path);
            by_method(place, method).ok_or_else(|| format!("{path} takes no {method}"))
        };
        paths.into_iter().map(of).collect()
    }
}

/// The route of a place: one that names the method, HEAD by GET's, else the one that names none.
fn by_method<'r>(routes: impl Iterator<Item = &'r Route>, method: &str) -> Option<&'r Route> {
    let routes: Vec<&Route> = routes.collect();
    let naming = |method: &str| {
        routes.iter().find(|route| route.methods.iter().any(|named| named == method)).copied()
    };
    naming(method)
        .or_else(|| if method == "HEAD" { naming("GET") } else { None })
        .or_else(|| routes.iter().find(|route| route.methods.is_empty()).copied())
}

fn pattern_segments(path: &str) -> Segments {
    path[1..].split('/').map(|part| decode(part.as_bytes())).collect()
}

/// Exact, `*` and `{name}` one non-empty segment, each also with one trailing slash; `/**` the path
/// itself, with a slash, and everything below.
fn takes(pattern: &str, path: &Segments, ignoring_case: bool) -> bool {
    let same = |want: &[u8], part: &[u8]| match want {
        b"*" | [b'{', ..] => !part.is_empty(),
        want if ignoring_case => want.eq_ignore_ascii_case(part),
        want => want == part,
    };
    let alike = |wanted: &Segments| wanted.iter().zip(path).all(|(want, part)| same(want, part));
    if let Some(base) = pattern.strip_suffix("/**") {
        let wanted = if base.is_empty() { Vec::new() } else { pattern_segments(base) };
        return path.len() >= wanted.len() && alike(&wanted);
    }
    let wanted = pattern_segments(pattern);
    let has_slash = path.len() == wanted.len() + 1 && path.last().is_some_and(Vec::is_empty);
    alike(&wanted) && (path.len() == wanted.len() || (has_slash && !pattern.ends_with('/')))
}

/// End of path over literal over parameter over `/**`; the slash form alone over what takes both.
fn ranks(pattern: &str) -> Vec<u8> {
    let mut ranks: Vec<u8> = pattern[1..]
        .split('/')
        .map(|part| match part {
            "" => 0,
            "**" => 4,
            part if part == "*" || part.starts_with('{') => 3,
            _ => 2,
        })
        .collect();
    if !matches!(ranks.last(), Some(0 | 4)) {
        ranks.push(1);
    }
    ranks
}

/// Percent-decodes (RFC 3986 section 2.1). What is no triplet stays.
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(bytes).collect()
}

/// The path of a target, without its query.
pub fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// A target in origin form: an absolute one without its scheme and host (RFC 9112 section 3.2.2).
pub fn origin_form(target: &str) -> String {
    let Some((_, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return target.to_owned();
    };
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The decoded segments of a path as it stands: divided at raw slashes, then decoded.
pub fn segments(path: &str) -> Segments {
    path[1..].split('/').map(|part| decode(part.as_bytes())).collect()
}

/// The irregular forms of a path that a route may permit.
pub fn forms(path: &str) -> Vec<&'static str> {
    let lower = path.to_ascii_lowercase();
    let is_utf8 = segments(path).iter().all(|part| std::str::from_utf8(part).is_ok());
    let found = [
        lower.contains("%2f"),
        lower.contains("%5c"),
        lower.contains(';') || lower.contains("%3b"),
        lower.contains("//"),
        !is_utf8,
    ];
    FORMS.into_iter().zip(found).filter_map(|(form, is_found)| is_found.then_some(form)).collect()
}

/// Why no route may permit a target, if so.
pub fn fault(target: &str) -> Option<&'static str> {
    let path = path_of(target);
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
    let is_plain_in_query = |byte: u8| is_plain(byte) || b"?[]".contains(&byte);
    let query = &target[path.len()..];
    let bad_triplet = target.split('%').skip(1).any(|after| {
        !(after.len() >= 2 && after.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
    });
    let decoded = decode(path.as_bytes());
    if target.len() > 8 * 1024 {
        Some("too long")
    } else if !path.starts_with('/') {
        Some("no path")
    } else if !path.bytes().all(is_plain) || !query.bytes().all(is_plain_in_query) {
        Some("a raw byte")
    } else if bad_triplet {
        Some("a bad triplet")
    } else if decoded.iter().any(u8::is_ascii_control) {
        Some("a control byte")
    } else if segments(path).iter().any(|part| part == b"." || part == b"..") {
        Some("a dot segment")
    } else {
        None
    }
}

#[test]
fn the_naive_table_reads_a_path_by_the_words() {
    let table = Table::read(
        "- /** app public - -\n- /a app admin - GET\n- /A/{x} app admin - -\n*.t /b app public - -",
        &[],
    );
    let find = |host, path, method| {
        table.route(host, &segments(path), method).map(|route| route.path.clone())
    };
    assert_eq!(find("h", "/%61/", "HEAD").as_deref(), Some("/a"));
    assert_eq!(find("h", "/a", "POST"), None);
    assert_eq!(find("h", "/a/b", "POST").as_deref(), Some("/**"));
    assert_eq!(find("x.t", "/a", "GET"), None);
    let route = table.route("h", &segments("/a/b"), "GET").unwrap();
    let also = table.routes_ignoring_case(route, &segments("/a/b"), "GET").unwrap();
    assert_eq!(also[0].path, "/A/{x}");
    assert_eq!(fault("/%2e%2E/"), Some("a dot segment"));
    assert_eq!(forms("//a;%2F%fF%5C").len(), 5);
}
