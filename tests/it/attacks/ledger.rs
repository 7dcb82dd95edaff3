//! What an upstream received, read from its recorded bytes by the strictest reader there could be: what
//! any two readers could disagree about fails the test.

use crate::raw::find;

/// How a request's body was framed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Neither length nor chunks: no body.
    Bare,
    Length(usize),
    Chunked,
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: String,
    pub method: String,
    pub target: String,
    pub framing: Framing,
    pub body: Vec<u8>,
    /// Whether its body came to its end.
    pub is_whole: bool,
}

impl Received {
    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        fields(&self.head).filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).collect()
    }

    /// Whether a header came at all, in any spelling that some application takes for it.
    pub fn has(&self, name: &str) -> bool {
        let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
        fields(&self.head).any(|(n, _)| fold(n) == fold(name))
    }
}

fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.split("\r\n").skip(1).filter(|line| !line.is_empty());
    lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}")))
}

/// Reads every connection's bytes into requests. A last one that broke off is not whole.
pub fn read(tapes: &[Vec<u8>]) -> Vec<Received> {
    let mut all = Vec::new();
    for tape in tapes {
        let mut rest = tape.as_slice();
        while !rest.is_empty() {
            let Some(end) = find(rest, b"\r\n\r\n") else {
                panic!("half a head went upstream: {:?}", String::from_utf8_lossy(rest));
            };
            let (head, after) = rest.split_at(end + 4);
            let mut received = read_head(head);
            rest = read_body(&mut received, after);
            all.push(received);
        }
    }
    all
}

fn read_head(head: &[u8]) -> Received {
    let text: String = head.iter().copied().map(char::from).collect();
    let whole = text.replace("\r\n", "");
    assert!(!whole.contains(['\r', '\n', '\0']), "a bare control byte went upstream: {text:?}");
    let line = text.split("\r\n").next().unwrap();
    let words: Vec<_> = line.split(' ').collect();
    assert!(words.len() == 3 && words[2] == "HTTP/1.1", "no request line: {line:?}");
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for (name, _) in fields(&text) {
        assert!(!name.is_empty() && name.bytes().all(is_token), "no name: {name:?} in {text:?}");
    }
    let mut received = Received {
        method: words[0].to_owned(),
        target: words[1].to_owned(),
        head: text,
        framing: Framing::Bare,
        body: Vec::new(),
        is_whole: true,
    };
    received.framing = framing(&received);
    received
}

/// At most one way to find the end, spelt in the one way there is.
fn framing(received: &Received) -> Framing {
    let (lengths, codings) = (received.all("content-length"), received.all("transfer-encoding"));
    let head = &received.head;
    assert_eq!(received.all("host").len(), 1, "exactly one host: {head:?}");
    assert!(!received.has("trailer") && !received.has("te"), "{head:?}");
    match (&*lengths, &*codings) {
        ([], []) => Framing::Bare,
        ([length], []) => {
            let number: usize = length.parse().unwrap_or_else(|_| panic!("no length: {head:?}"));
            assert_eq!(number.to_string(), *length, "{head:?}");
            Framing::Length(number)
        }
        ([], ["chunked"]) => Framing::Chunked,
        _ => panic!("framed in more than one way: {head:?}"),
    }
}

fn read_body<'a>(received: &mut Received, rest: &'a [u8]) -> &'a [u8] {
    match received.framing {
        Framing::Bare => rest,
        Framing::Length(length) => {
            let (body, rest) = rest.split_at(length.min(rest.len()));
            received.body = body.to_vec();
            received.is_whole = body.len() == length;
            rest
        }
        Framing::Chunked => read_chunks(received, rest).unwrap_or_else(|| {
            received.is_whole = false;
            &[]
        }),
    }
}

/// `None` where the bytes end before the chunks do.
fn read_chunks<'a>(received: &mut Received, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        let end = find(rest, b"\r\n")?;
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        let is_hex = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_hex, "no chunk size: {line:?}");
        let size = usize::from_str_radix(line, 16).unwrap();
        rest = &rest[end + 2..];
        if rest.len() < size + 2 {
            received.body.extend_from_slice(&rest[..size.min(rest.len())]);
            return None;
        }
        assert_eq!(&rest[size..size + 2], b"\r\n", "a chunk ends otherwise, or trailers follow");
        received.body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
        if size == 0 {
            return Some(rest);
        }
    }
}
