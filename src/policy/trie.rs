//! A tree of path segments: finds the most specific place that takes a whole path, at a cost that
//! depends on the path and hardly on how many places there are.
//!
//! Walking literal before parameter before subtree, and going back where a branch does not take the
//! rest, visits the places in their order of precedence; so the first that takes the whole path is
//! the most specific of all that do. Every node is visited at most once.

use std::borrow::Cow;
use std::collections::HashMap;

use super::branches::{Branch, Branches, Node, Number, Trail};
use super::pattern::Step;
use crate::web::target::Segments;

/// Finds patterns by their positions in the list it was made of.
#[derive(Debug)]
pub(super) struct Trie {
    root: Node,
    branches: Branches,
}

/// What the branch of a parameter is found by: no literal is empty.
const PARAMETER: &[u8] = b"";

/// A trie while patterns are put into it.
struct Seedling {
    nodes: Vec<(Node, Trail)>,
    /// The positions of nodes by that of the node above and the segment in between.
    children: HashMap<(usize, Box<[u8]>), usize>,
}

/// How literals are compared. A folding trie holds its literals in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    Exact,
    Folded,
}

struct Search<'s, F> {
    segments: &'s Segments,
    comparison: Comparison,
    pick: F,
}

/// A node that a walk has come to, and the way there.
#[derive(Clone, Copy)]
struct Position<'t> {
    node: &'t Node,
    trail: Trail,
}

impl Seedling {
    fn new() -> Self {
        let mut seedling = Self { nodes: Vec::new(), children: HashMap::new() };
        seedling.add_node(Trail::default());
        seedling
    }

    fn add_node(&mut self, trail: Trail) -> usize {
        let position = self.nodes.len();
        // More nodes than numbers would need more memory than there is.
        let id = u32::try_from(position).unwrap_or(u32::MAX);
        let (slash, end, subtree) = (None, None, None);
        let node = Node { id, literals: 0, has_parameter: false, slash, end, subtree };
        self.nodes.push((node, trail));
        position
    }

    fn insert(&mut self, steps: &[Step], value: Option<Number>) {
        let mut at = 0;
        for step in steps {
            match step {
                Step::Literal(bytes) => {
                    let bit = self.nodes[at].1.followed_by(bytes).bit();
                    self.nodes[at].0.literals |= bit;
                    at = self.child(at, bytes);
                }
                Step::Parameter => {
                    self.nodes[at].0.has_parameter = true;
                    at = self.child(at, PARAMETER);
                }
                Step::Slash => self.nodes[at].0.slash = value,
                Step::End => self.nodes[at].0.end = value,
                Step::Subtree => self.nodes[at].0.subtree = value,
            }
        }
    }

    fn child(&mut self, at: usize, segment: &[u8]) -> usize {
        let way = (at, segment.into());
        if let Some(child) = self.children.get(&way) {
            return *child;
        }
        let child = self.add_node(self.nodes[at].1.followed_by(segment));
        self.children.insert(way, child);
        child
    }

    fn grown(self) -> Trie {
        let branch = |((from, segment), to): (&(usize, Box<[u8]>), &usize)| {
            let (node, trail) = self.nodes[*to];
            Branch::new(self.nodes[*from].0.id, segment, trail, node)
        };
        let branches = Branches::new(self.children.iter().map(branch).collect());
        Trie { root: self.nodes[0].0, branches }
    }
}

impl Trie {
    /// A trie of different patterns.
    pub(super) fn new<'s>(patterns: impl Iterator<Item = &'s [Step]>) -> Self {
        let mut seedling = Seedling::new();
        for (position, steps) in patterns.enumerate() {
            seedling.insert(steps, Number::of(position));
        }
        seedling.grown()
    }

    fn root(&self) -> Position<'_> {
        Position { node: &self.root, trail: Trail::default() }
    }

    fn literal(&self, at: Position<'_>, segment: &[u8]) -> Option<Position<'_>> {
        if at.node.literals == 0 {
            return None;
        }
        let trail = at.trail.followed_by(segment);
        if at.node.literals & trail.bit() == 0 {
            return None;
        }
        let node = self.branches.get(at.node.id, segment, trail)?;
        Some(Position { node, trail })
    }

    fn parameter(&self, at: Position<'_>) -> Option<Position<'_>> {
        if !at.node.has_parameter {
            return None;
        }
        let trail = at.trail.followed_by(PARAMETER);
        let node = self.branches.get(at.node.id, PARAMETER, trail)?;
        Some(Position { node, trail })
    }

    /// The most specific pattern that takes the whole path and that `pick` makes something of.
    pub(super) fn find<R>(
        &self,
        segments: &Segments,
        comparison: Comparison,
        pick: impl Fn(usize) -> Option<R>,
    ) -> Option<R> {
        self.walk(&Search { segments, comparison, pick }, self.root(), 0)
    }

    fn walk<R, F>(&self, search: &Search<'_, F>, at: Position<'_>, depth: usize) -> Option<R>
    where
        F: Fn(usize) -> Option<R>,
    {
        let pick = |value: Option<Number>| value.and_then(|value| (search.pick)(value.position()));
        let node = at.node;
        let Some(segment) = search.segments.get(depth) else {
            return pick(node.end).or_else(|| pick(node.subtree));
        };
        if segment.is_empty() {
            // Only a trailing slash is an empty segment that anything but a subtree takes.
            let is_last = depth + 1 == search.segments.len();
            let closed = || pick(node.slash).or_else(|| pick(node.end));
            return is_last.then(closed).flatten().or_else(|| pick(node.subtree));
        }
        self.literal(at, &search.comparison.key(segment))
            .and_then(|child| self.walk(search, child, depth + 1))
            .or_else(|| self.parameter(at).and_then(|child| self.walk(search, child, depth + 1)))
            .or_else(|| pick(node.subtree))
    }

    /// Whether some single pattern takes everything that another takes.
    pub(super) fn covers(&self, steps: &[Step]) -> bool {
        self.covers_from(self.root(), steps)
    }

    fn covers_from(&self, at: Position<'_>, steps: &[Step]) -> bool {
        let node = at.node;
        if node.subtree.is_some() {
            return true;
        }
        let Some((step, rest)) = steps.split_first() else { return node.end.is_some() };
        let parameter = || self.parameter(at).is_some_and(|child| self.covers_from(child, rest));
        match step {
            Step::Literal(bytes) => {
                let literal = self.literal(at, bytes);
                literal.is_some_and(|child| self.covers_from(child, rest)) || parameter()
            }
            Step::Parameter => parameter(),
            Step::Slash => node.slash.is_some() || node.end.is_some(),
            Step::End => node.end.is_some(),
            Step::Subtree => false,
        }
    }

    /// The most specific subtree that takes everything at and below a pattern and that `pick` makes
    /// something of.
    pub(super) fn around<R>(
        &self,
        steps: &[Step],
        pick: &impl Fn(usize) -> Option<R>,
    ) -> Option<R> {
        self.around_from(self.root(), steps, pick)
    }

    fn around_from<R>(
        &self,
        at: Position<'_>,
        steps: &[Step],
        pick: &impl Fn(usize) -> Option<R>,
    ) -> Option<R> {
        let subtree = || at.node.subtree.and_then(|value| pick(value.position()));
        let Some((step, rest)) = steps.split_first() else { return subtree() };
        let parameter = || self.parameter(at).and_then(|child| self.around_from(child, rest, pick));
        match step {
            Step::Literal(bytes) => self
                .literal(at, bytes)
                .and_then(|child| self.around_from(child, rest, pick))
                .or_else(parameter)
                .or_else(subtree),
            Step::Parameter => parameter().or_else(subtree),
            Step::Slash | Step::End | Step::Subtree => subtree(),
        }
    }
}

impl Comparison {
    /// What the branch of a segment is found by.
    fn key(self, segment: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Folded if segment.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(segment.to_ascii_lowercase())
            }
            Self::Folded | Self::Exact => Cow::Borrowed(segment),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::policy::pattern::Pattern;
    use crate::web::target::Target;

    #[test]
    fn each_of_many_patterns_is_found_and_nothing_beside_them() {
        let path = |n: usize| format!("/{}/{}{}", n / 7, "x".repeat(n % 50), n);
        let patterns: Vec<Pattern> = (0..5000).map(|n| Pattern::parse(&path(n)).unwrap()).collect();
        let trie = Trie::new(patterns.iter().map(Pattern::steps));
        let find = |path: &str| {
            let target = Target::parse(path).unwrap();
            trie.find(target.segments(), Comparison::Exact, Some)
        };
        for n in 0..5000 {
            assert_eq!(find(&path(n)), Some(n));
            assert_eq!(find(&format!("{}x", path(n))), None, "{}x", path(n));
            // The segment of another branch.
            let elsewhere = path(n).replacen('/', "/1", 1);
            assert_eq!(find(&elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_look_up_in_a_table_of_many_segments_compares_few() {
        let paths: Vec<Pattern> =
            (0..20_000).map(|n| Pattern::parse(&format!("/item{n}")).unwrap()).collect();
        let trie = Trie::new(paths.iter().map(Pattern::steps));
        assert!(trie.branches.longest_run() < 64, "{}", trie.branches.longest_run());
    }
}
