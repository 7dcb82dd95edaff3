//! Paths as routes write them: `/a/b`, `/u/{id}`, `/files/*`, `/admin/**`.

use crate::web::target::decode_literal;

/// Segments a path of the configuration may have: far more than anybody writes, few enough for the
/// matcher to walk by recursion.
const MAX_SEGMENTS: usize = 64;

/// One position of a path. A path is steps that end with exactly one of `Slash`, `End`, `Subtree`.
///
/// The order is the precedence: what stands first wins at the first position that differs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Step {
    /// The path ends with this slash, and only the form with the slash is meant.
    Slash,
    /// The path ends; one trailing slash is taken too.
    End,
    /// Exactly these decoded bytes, never empty.
    Literal(Box<[u8]>),
    /// Any one non-empty segment.
    Parameter,
    /// Everything at and below this position.
    Subtree,
}

/// A path pattern, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    /// The names of the parameters in order; `None` for `*`.
    names: Vec<Option<String>>,
}

/// Why a path of the configuration is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PatternError {
    #[error("a path begins with `/`")]
    NotRooted,
    #[error("a path holds no `?` and no `#`; write `%3f` and `%23`")]
    Query,
    #[error("`//` stands for nothing a request may hold")]
    EmptySegment,
    #[error("`/**` stands only at the end of a path")]
    SubtreeNotLast,
    #[error("`*`, `{{` and `}}` make up a whole segment: `/*`, `/{{name}}` or a final `/**`")]
    PartialWildcard,
    #[error("a parameter's name is letters, digits and `_`: `{{{0}}}`")]
    BadName(String),
    #[error("the parameter `{{{0}}}` stands twice in one path")]
    NameTwice(String),
    #[error("a path has at most {MAX_SEGMENTS} segments")]
    TooLong,
    #[error("the segment `{0}` cannot stand in a path: {1}")]
    Literal(String, &'static str),
}

impl Pattern {
    /// Reads a path as written in the configuration, the way targets are read.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotRooted)?;
        if rest.contains(['?', '#']) {
            return Err(PatternError::Query);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        if parts.len() > MAX_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        let mut pattern = Self { steps: Vec::with_capacity(parts.len() + 1), names: Vec::new() };
        for (index, part) in parts.iter().enumerate() {
            let is_last = index + 1 == parts.len();
            pattern.push(part, is_last)?;
        }
        if !matches!(pattern.steps.last(), Some(Step::Slash | Step::Subtree)) {
            pattern.steps.push(Step::End);
        }
        Ok(pattern)
    }

    fn push(&mut self, part: &str, is_last: bool) -> Result<(), PatternError> {
        let step = match part {
            "" if is_last => Step::Slash,
            "" => return Err(PatternError::EmptySegment),
            "**" if is_last => Step::Subtree,
            "**" => return Err(PatternError::SubtreeNotLast),
            "*" => {
                self.names.push(None);
                Step::Parameter
            }
            _ => match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => self.parameter(name)?,
                None if part.contains(['*', '{', '}']) => {
                    return Err(PatternError::PartialWildcard);
                }
                None => decode_literal(part)
                    .map(|bytes| Step::Literal(bytes.into()))
                    .map_err(|why| PatternError::Literal(part.to_owned(), why))?,
            },
        };
        self.steps.push(step);
        Ok(())
    }

    fn parameter(&mut self, name: &str) -> Result<Step, PatternError> {
        let is_good =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_good {
            return Err(PatternError::BadName(name.to_owned()));
        }
        if self.names.iter().flatten().any(|known| known == name) {
            return Err(PatternError::NameTwice(name.to_owned()));
        }
        self.names.push(Some(name.to_owned()));
        Ok(Step::Parameter)
    }

    /// The steps; equal steps are the same place.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether the same positions carry the same names. Only meaningful for equal steps.
    pub(super) fn has_names_of(&self, other: &Self) -> bool {
        self.names == other.names
    }

    /// Whether this is `/`.
    pub(super) fn is_root(&self) -> bool {
        self.steps == [Step::Slash]
    }

    /// Whether the pattern takes whatever lies below it.
    pub(super) fn is_subtree(&self) -> bool {
        self.steps.last() == Some(&Step::Subtree)
    }

    /// The steps with ASCII letters of literals in lower case.
    pub(super) fn folded_steps(&self) -> Vec<Step> {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Literal(bytes) => Step::Literal(bytes.to_ascii_lowercase().into()),
                Step::Slash | Step::End | Step::Parameter | Step::Subtree => step.clone(),
            })
            .collect()
    }

    /// Whether a literal holds an ASCII capital.
    pub(super) fn has_capital(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Literal(bytes) => bytes.iter().any(u8::is_ascii_uppercase),
            Step::Slash | Step::End | Step::Parameter | Step::Subtree => false,
        })
    }

    /// Whether everything the pattern takes lies at or below these literal segments.
    pub(super) fn is_within(&self, base: &[Box<[u8]>]) -> bool {
        base.len() < self.steps.len()
            && base.iter().zip(&self.steps).all(|(want, step)| match step {
                Step::Literal(bytes) => bytes == want,
                Step::Slash | Step::End | Step::Parameter | Step::Subtree => false,
            })
    }
}

/// The decoded segments of a literal path such as `portal.path`.
pub(super) fn literal_segments(path: &str) -> Result<Vec<Box<[u8]>>, PatternError> {
    let pattern = Pattern::parse(path)?;
    let mut segments = Vec::new();
    for step in pattern.steps {
        match step {
            Step::Literal(bytes) => segments.push(bytes),
            Step::Parameter | Step::Subtree => return Err(PatternError::PartialWildcard),
            Step::Slash | Step::End => {}
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_path_is_read_like_a_target() {
        let literal = |text: &str| Step::Literal(text.as_bytes().into());
        let cases = [
            ("/", vec![Step::Slash]),
            ("/**", vec![Step::Subtree]),
            ("/a", vec![literal("a"), Step::End]),
            ("/a/", vec![literal("a"), Step::Slash]),
            ("/a/**", vec![literal("a"), Step::Subtree]),
            ("/*/b", vec![Step::Parameter, literal("b"), Step::End]),
            ("/{id}/", vec![Step::Parameter, Step::Slash]),
            ("/%61%20b", vec![literal("a b"), Step::End]),
            ("/käse", vec![literal("käse"), Step::End]),
            ("/k%C3%A4se", vec![literal("käse"), Step::End]),
        ];
        for (text, steps) in cases {
            assert_eq!(parsed(text).steps(), steps, "{text}");
        }
    }

    #[test]
    fn what_no_request_may_hold_is_refused() {
        let deep = "/a".repeat(MAX_SEGMENTS + 1);
        let cases = [
            ("a", PatternError::NotRooted),
            ("", PatternError::NotRooted),
            ("/a?b", PatternError::Query),
            ("/a#b", PatternError::Query),
            ("//", PatternError::EmptySegment),
            ("/a//b", PatternError::EmptySegment),
            ("/**/a", PatternError::SubtreeNotLast),
            ("/**/", PatternError::SubtreeNotLast),
            ("/a*", PatternError::PartialWildcard),
            ("/a**", PatternError::PartialWildcard),
            ("/x{id}", PatternError::PartialWildcard),
            ("/{id}.json", PatternError::PartialWildcard),
            ("/{}", PatternError::BadName(String::new())),
            ("/{a-b}", PatternError::BadName("a-b".into())),
            ("/{a}/{a}", PatternError::NameTwice("a".into())),
            (&deep, PatternError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
        for text in ["/a%2fb", "/a%2Fb", "/.", "/a/..", "/%2e%2e", "/a%zz", "/a%"] {
            let found = Pattern::parse(text);
            assert!(matches!(found, Err(PatternError::Literal(..))), "{text}: {found:?}");
        }
    }

    #[test]
    fn lying_below_a_path_is_judged_by_segments() {
        let base = literal_segments("/auth").unwrap_or_default();
        let cases = [
            ("/auth", true),
            ("/auth/", true),
            ("/auth/**", true),
            ("/auth/login", true),
            ("/authx", false),
            ("/**", false),
            ("/*/login", false),
            ("/", false),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text).is_within(&base), expected, "{text}");
        }
    }
}
