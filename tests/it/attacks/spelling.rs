//! Variants of what an attacker writes, made by rule: names, and the places lines stand in.

/// A header's name as applications compare it that know it from a CGI or WSGI variable: lower case,
/// `_` and `.` as `-`.
pub fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// The name in lower case, upper case, title case and with every other letter large.
pub fn cases(name: &str) -> [String; 4] {
    let lower = name.to_ascii_lowercase();
    let mut title = String::new();
    for letter in lower.chars() {
        let begins = title.chars().last().is_none_or(|last| !last.is_ascii_alphanumeric());
        title.push(if begins { letter.to_ascii_uppercase() } else { letter });
    }
    let alternate = |(at, letter): (usize, char)| {
        if at % 2 == 0 { letter.to_ascii_uppercase() } else { letter }
    };
    let alternating = lower.chars().enumerate().map(alternate).collect();
    [lower.to_ascii_uppercase(), lower, title, alternating]
}

/// The name with each of its hyphens as `-`, `_` or `.`: every combination, the name itself first.
pub fn separators(name: &str) -> Vec<String> {
    let mut written = vec![String::new()];
    for part in name.split_inclusive('-') {
        let (word, hyphen) = part.strip_suffix('-').map_or((part, ""), |word| (word, "-"));
        let signs: &[&str] = if hyphen.is_empty() { &[""] } else { &["-", "_", "."] };
        let longer = |start: &String| {
            signs.iter().map(|sign| format!("{start}{word}{sign}")).collect::<Vec<_>>()
        };
        written = written.iter().flat_map(longer).collect();
    }
    written
}

/// The name in every case, and every combination of separators, each in one case or another.
pub fn spellings(name: &str) -> Vec<String> {
    let combined = separators(name).into_iter().enumerate();
    let others = combined.skip(1).map(|(at, written)| cases(&written)[at % 4].clone());
    cases(name).into_iter().chain(others).collect()
}

/// The words of a text: a table of what holds no white space.
pub fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The text once for each of its letters, that letter in the other case.
pub fn with_one_letter_swapped(text: &str) -> Vec<String> {
    let letters = text.char_indices().filter(|(_, letter)| letter.is_ascii_alphabetic());
    let swapped = |(at, letter): (usize, char)| {
        let other = char::from(u8::try_from(letter).unwrap() ^ 0x20);
        format!("{}{other}{}", &text[..at], &text[at + 1..])
    };
    letters.map(swapped).collect()
}

/// Where forged lines stand among the request's own ones.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Before all others, `Host` included.
    First,
    /// After all others.
    Last,
    /// The others between them.
    Between,
    /// Once before and once after.
    Doubled,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 4] = [Self::First, Self::Last, Self::Between, Self::Doubled];

    /// Puts lines together.
    pub fn arrange(self, own: &[String], forged: &[String]) -> Vec<String> {
        let (front, back) = forged.split_at(forged.len() / 2);
        match self {
            Self::First => [forged, own].concat(),
            Self::Last => [own, forged].concat(),
            Self::Between => [front, own, back].concat(),
            Self::Doubled => [forged, own, forged].concat(),
        }
    }
}

/// A request's bytes without a body, its lines as they are.
pub fn request(method: &str, target: &str, lines: &[String]) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// Numbers that look random and are the same in each run (the linear congruential generator of
/// Knuth's MMIX).
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[test]
fn every_separator_is_tried_with_every_other() {
    let written = separators("a-b-c");
    assert_eq!(written.len(), 9);
    assert_eq!(written[0], "a-b-c");
    assert!(written.contains(&"a_b.c".to_owned()) && written.contains(&"a.b-c".to_owned()));
    assert_eq!(cases("x-auth"), ["X-AUTH", "x-auth", "X-Auth", "X-AuTh"]);
    assert!(spellings("x-a-b").iter().all(|name| fold(name) == "x-a-b"));
}
