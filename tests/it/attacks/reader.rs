//! A page of the gateway's own, read by the strictest reader there could be: what no template writes fails the
//! test, so whatever somebody else's text became but words is seen.

use crate::raw::Response;

/// The elements that templates are made of.
const ELEMENTS: [&str; 36] = [
    "html", "head", "meta", "title", "style", "body", "header", "img", "p", "main", "nav", "ul",
    "li", "a", "span", "h1", "h2", "h3", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th",
    "td", "code", "strong", "time", "form", "div", "pre", "label", "input", "button",
];
/// Those without an end.
const VOID: [&str; 3] = ["meta", "img", "input"];

const ATTRIBUTES: [&str; 34] = [
    "action",
    "alt",
    "aria-current",
    "aria-describedby",
    "aria-invalid",
    "aria-label",
    "autocapitalize",
    "autocomplete",
    "autofocus",
    "charset",
    "checked",
    "class",
    "content",
    "datetime",
    "download",
    "for",
    "href",
    "hreflang",
    "id",
    "inputmode",
    "lang",
    "maxlength",
    "method",
    "name",
    "readonly",
    "rel",
    "required",
    "role",
    "scope",
    "spellcheck",
    "src",
    "tabindex",
    "type",
    "value",
];
/// Those that lead somewhere.
const LEADING: [&str; 3] = ["href", "src", "action"];

/// What a page's policy is made of, in its order; the style is held to its hash in `web::page`.
const DIRECTIVES: [&str; 6] =
    ["default-src", "style-src", "img-src", "form-action", "frame-ancestors", "base-uri"];

/// Reads an answer that has to be a page. `abroad` begins every address outside of the gateway that it may
/// lead to.
pub fn read_page(answer: &Response, abroad: &str, what: &str) {
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.all(name), [value], "{what}: {name}");
    }
    let policies = answer.all("content-security-policy");
    assert_eq!(policies.len(), 1, "{what}");
    let names: Vec<&str> =
        policies[0].split("; ").filter_map(|directive| directive.split(' ').next()).collect();
    assert_eq!(names, DIRECTIVES, "{what}");
    assert!(policies[0].starts_with("default-src 'none'; style-src 'sha256-"), "{what}");
    for lax in ["unsafe", "*", "data:", "blob:", "javascript", "nonce", "script"] {
        assert!(!policies[0].contains(lax), "{what}: {}", policies[0]);
    }
    read_markup(&answer.text(), abroad, what);
}

fn read_markup(page: &str, abroad: &str, what: &str) {
    let body = page.strip_prefix("<!doctype html>\n").unwrap_or_else(|| panic!("{what}: {page}"));
    let (mut rest, mut open) = (body, Vec::new());
    while let Some(at) = rest.find('<') {
        let (words, tag) = (&rest[..at], &rest[at + 1..]);
        assert!(!words.contains('>'), "{what}: {words} in {page}");
        let end = tag.find('>').unwrap_or_else(|| panic!("{what}: a tag without end in {page}"));
        let (tag, after) = (&tag[..end], &tag[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{what}: {page}");
            continue;
        }
        let name = tag.split_whitespace().next().unwrap_or_default();
        assert!(ELEMENTS.contains(&name), "{what}: <{tag}> in {page}");
        read_attributes(&tag[name.len()..], abroad, &format!("{what}: <{tag}>"));
        if !VOID.contains(&name) {
            open.push(name);
        }
        if name == "style" {
            // Whatever stands in it: the policy has its hash.
            rest = &rest[rest.find("</style>").unwrap()..];
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{what}: {open:?} in {page}");
}

/// Each is a known name, alone or with a value in double quotes.
fn read_attributes(text: &str, abroad: &str, what: &str) {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        if trimmed.is_empty() {
            return;
        }
        assert!(trimmed.len() < rest.len(), "{what}: no space before {trimmed}");
        let end = trimmed.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(trimmed.len());
        let (name, after) = trimmed.split_at(end);
        assert!(ATTRIBUTES.contains(&name), "{what}: {name}");
        rest = after;
        let Some(quoted) = after.strip_prefix('=') else { continue };
        let quoted = quoted.strip_prefix('"').unwrap_or_else(|| panic!("{what}: {name} is bare"));
        let (value, after) = quoted.split_once('"').unwrap_or_else(|| panic!("{what}: {name}"));
        rest = after;
        if LEADING.contains(&name) {
            let address = value.replace("&#x2f;", "/");
            let is_ours = address.starts_with('/') && !address.starts_with("//");
            assert!(is_ours || address.starts_with(abroad), "{what}: it leads to {address}");
        }
    }
}

/// Reads an answer that has to be an error for a program.
pub fn read_error(answer: &Response, what: &str) {
    assert_eq!(answer.all("content-type"), ["application/json"], "{what}");
    assert_eq!(answer.all("x-content-type-options"), ["nosniff"], "{what}");
    assert!(!answer.json()["detail"].is_null(), "{what}: {}", answer.text());
}

#[test]
fn whatever_no_template_writes_is_seen() {
    let page = |inner: &str| format!("<!doctype html>\n<html><body>{inner}</body></html>\n");
    for fine in ["a &lt;b&gt;", "<a href=\"&#x2f;a\">b</a>", "<input name=\"a\" required>"] {
        read_markup(&page(fine), "https://quay.example/", "fine");
    }
    for bad in [
        "<script>x</script>",
        "<svg></svg>",
        "a > b",
        "<a href=\"javascript:x\">b</a>",
        "<a href=\"//evil.example\">b</a>",
        "<input value=\"a\"onmouseover=\"x\">",
        "<input value=\"a\" onmouseover=\"x\">",
        "<input value='a'>",
        "<p style=\"color:red\">a</p>",
        "<p>a",
        "a</p>",
    ] {
        let read = || read_markup(&page(bad), "https://quay.example/", "bad");
        assert!(std::panic::catch_unwind(read).is_err(), "{bad}");
    }
}
