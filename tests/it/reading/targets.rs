//! Request targets as bytes: hostile through and through, and good ones with something done to them.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Names the tables know, and near misses.
const NAMES: &str = "
    public admin all guarded inner open p x y get slash semi back dbl bytes other edit 1 a.txt auth login
    Case case ADMIN Admin Guarded AUTH %C3%A9 %61dmin adm%69n g%75arded %70ublic a. a:b@c ~
";

/// What stands between names, or instead of them.
const PIECES: &str = r"
    / / / // /// %2f %2F %2f%2F \ %5c %5C \..\
    .. . /../ /./ /. /.. %2e /%2e%2e/ /.%2E/ /%2e/ ..%2f %2f..%2f /..%2f %2f%2e%2e%2f ..%5c %5c..%5c
    ; /;/ /..;/ /.;a/ ;a=b ;x=/y %3b %3B%2f ;.. ;%2f
    %252f %252e%252e %255c %c0%af %c0%ae %e0%80%af %f0%80%80%af %c1%9c %ff %c3 %C3%A9 %e2%80%8b
    %00 %0a %0D %7f %20 %23 %3f %25 % %2 %zz %u002f # * {id} |^
";

/// Bytes that stand raw where none may.
const RAW: [&[u8]; 12] =
    [b" ", b"\t", b"\0", b"\x7f", b"\x80", b"\xff", b"\xc3\xa9", b"\"", b"<", b"`", b"[", b"]"];

/// Good paths of the tables.
const GOOD: &str = "
    / /x/1 /x/y /x/y/ /p/1 /p/1/ /p/1/edit /public /public/ /public/a.txt /public/a/b/c /public/inner
    /admin /admin/ /admin/a.txt /admin/open /admin/open/ /Case/a /case/a /get /%C3%A9 /%C3%A9/
    /slash/a/b /slash/a%2fb /slash/guarded/a /slash/a%2Fguarded /back/a/b /back/a%5cb /back/guarded/a
    /semi/a /semi/a;b=c /semi/guarded/a /semi/a%3bb /dbl/a /dbl/a//b /dbl/guarded/a /bytes/%ff
    /bytes/a%c3 /all/a /all/a//b;c /all/guarded/a /all/other/a /all/guarded/a.txt /elsewhere/a
";

const QUERIES: [&[u8]; 16] = [
    b"",
    b"",
    b"",
    b"",
    b"",
    b"?",
    b"?a=b",
    b"?a=/../admin",
    b"?x=%2e%2e%2f",
    b"?a[]=1;b",
    b"??//",
    b"?\\",
    b"?#",
    b"?a b",
    b"?%zz",
    b"?%00",
];

/// What is done to a good path.
#[derive(Clone, Debug)]
enum Change {
    Insert(Index, Vec<u8>),
    Encode(Index, bool),
    Flip(Index),
    Slash(Index, &'static [u8]),
    Cut(Index),
    Append(Vec<u8>),
}

/// One of the words of a text.
fn word(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    select(words).prop_map(|word| word.as_bytes().to_vec())
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => word(NAMES),
        8 => word(PIECES),
        1 => select(&RAW[..]).prop_map(<[u8]>::to_vec),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    const SLASHES: [&[u8]; 10] =
        [b"//", b"///", b"%2f", b"%2F", b"%5c", b"/./", b"/%2e/", b";/", b"/;/", b"/x/../"];
    prop_oneof![
        3 => (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(at, upper)| Change::Encode(at, upper)),
        2 => any::<Index>().prop_map(Change::Flip),
        6 => (any::<Index>(), select(&SLASHES[..])).prop_map(|(at, to)| Change::Slash(at, to)),
        1 => any::<Index>().prop_map(Change::Cut),
        2 => piece().prop_map(Change::Append),
    ]
}

impl Change {
    fn apply(&self, path: &mut Vec<u8>) {
        if path.is_empty() {
            return;
        }
        match self {
            Self::Insert(at, piece) => {
                let at = 1 + at.index(path.len());
                path.splice(at..at, piece.iter().copied());
            }
            Self::Encode(at, upper) => {
                let at = at.index(path.len());
                let byte = path[at];
                let triplet = if *upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
                path.splice(at..=at, triplet.bytes());
            }
            Self::Flip(at) => {
                let at = at.index(path.len());
                let byte = &mut path[at];
                let is_lower = byte.is_ascii_lowercase();
                *byte =
                    if is_lower { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            }
            Self::Slash(at, to) => {
                let places: Vec<usize> = (0..path.len()).filter(|at| path[*at] == b'/').collect();
                if !places.is_empty() {
                    let at = *at.get(&places);
                    path.splice(at..=at, to.iter().copied());
                }
            }
            Self::Cut(at) => path.truncate(1 + at.index(path.len())),
            Self::Append(piece) => path.extend_from_slice(piece),
        }
    }
}

/// Good paths, the words of a text, with up to three things done to them.
pub fn near(paths: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![
        1 => prop::collection::vec(change(), 0..=0),
        6 => prop::collection::vec(change(), 1..=1),
        3 => prop::collection::vec(change(), 2..=3),
    ];
    (word(paths), changes).prop_map(|(mut path, changes)| {
        for change in &changes {
            change.apply(&mut path);
        }
        path
    })
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::collection::vec(piece(), 0..8);
    (prop::bool::weighted(0.9), parts).prop_map(|(has_slash, parts)| {
        let start = if has_slash { b"/".to_vec() } else { Vec::new() };
        parts.iter().fold(start, |path, part| [path, part.clone()].concat())
    })
}

/// Around the longest that is taken, 8 KiB.
fn long() -> impl Strategy<Value = Vec<u8>> {
    let part = select(&["a", "a/", "%61", "b/", ";c", "//"][..]);
    (part, 8_100_usize..8_300).prop_map(|(part, length)| {
        let mut path = b"/public/".to_vec();
        path.extend(part.bytes().cycle().take(length - path.len()));
        path
    })
}

/// How the target names the host, if it does: `{host}` stands for the one asked for.
const STARTS: [&str; 9] = [
    "http://{host}",
    "HTTP://{host}",
    "http://{host}:80",
    "http://elsewhere.test",
    "https://{host}",
    "http://u@{host}",
    "ftp://{host}",
    "//{host}",
    "{host}:80",
];

/// A target, without CR and LF; `host` is the one in `Host`.
pub fn target(host: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let path = prop_oneof![150 => near(GOOD), 50 => hostile(), 1 => long()];
    let start = prop::option::weighted(0.1, select(&STARTS[..]));
    (start, path, select(&QUERIES[..])).prop_map(move |(start, path, query)| {
        let start = start.unwrap_or_default().replace("{host}", host);
        [start.as_bytes(), &path, query].concat()
    })
}
