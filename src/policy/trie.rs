//! A tree of path segments: finds the most specific place that takes a whole path, at a cost that
//! depends on the path and hardly on how many places there are.
//!
//! Walking literal before parameter before subtree, and going back where a branch does not take the
//! rest, visits the places in their order of precedence; so the first that takes the whole path is
//! the most specific of all that do. Every node is visited at most once.

use std::borrow::Cow;
use std::collections::HashMap;

use super::pattern::Step;
use crate::web::target::Segments;

#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    literals: HashMap<Box<[u8]>, usize>,
    parameter: Option<usize>,
    slash: Option<T>,
    end: Option<T>,
    subtree: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: HashMap::new(), parameter: None, slash: None, end: None, subtree: None }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
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

impl<T> Trie<T> {
    /// Where the value of a pattern stands.
    pub(super) fn slot(&mut self, steps: &[Step]) -> &mut Option<T> {
        let mut at = 0;
        for step in steps {
            match step {
                Step::Literal(bytes) => at = self.literal_child(at, bytes),
                Step::Parameter => at = self.parameter_child(at),
                Step::Slash => return &mut self.nodes[at].slash,
                Step::End => return &mut self.nodes[at].end,
                Step::Subtree => return &mut self.nodes[at].subtree,
            }
        }
        &mut self.nodes[at].end
    }

    fn literal_child(&mut self, at: usize, bytes: &[u8]) -> usize {
        if let Some(&child) = self.nodes[at].literals.get(bytes) {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[at].literals.insert(bytes.into(), child);
        child
    }

    fn parameter_child(&mut self, at: usize) -> usize {
        if let Some(child) = self.nodes[at].parameter {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[at].parameter = Some(child);
        child
    }

    /// The most specific value that takes the whole path and that `pick` makes something of.
    pub(super) fn find<'t, R>(
        &'t self,
        segments: &Segments,
        comparison: Comparison,
        pick: impl Fn(&'t T) -> Option<R>,
    ) -> Option<R> {
        self.walk(&Search { segments, comparison, pick }, 0, 0)
    }

    fn walk<'t, R, F>(&'t self, search: &Search<'_, F>, at: usize, depth: usize) -> Option<R>
    where
        F: Fn(&'t T) -> Option<R>,
    {
        let node = &self.nodes[at];
        let subtree = || node.subtree.as_ref().and_then(&search.pick);
        let Some(segment) = search.segments.get(depth) else {
            return node.end.as_ref().and_then(&search.pick).or_else(subtree);
        };
        if segment.is_empty() {
            // Only a trailing slash is an empty segment that anything but a subtree takes.
            let is_last = depth + 1 == search.segments.len();
            let slash = || node.slash.as_ref().and_then(&search.pick);
            let end = || node.end.as_ref().and_then(&search.pick);
            return is_last.then(|| slash().or_else(end)).flatten().or_else(subtree);
        }
        node.literal(segment, search.comparison)
            .and_then(|child| self.walk(search, child, depth + 1))
            .or_else(|| node.parameter.and_then(|child| self.walk(search, child, depth + 1)))
            .or_else(subtree)
    }

    /// Whether some single value takes everything that a pattern takes.
    pub(super) fn covers(&self, steps: &[Step]) -> bool {
        self.covers_from(0, steps)
    }

    fn covers_from(&self, at: usize, steps: &[Step]) -> bool {
        let node = &self.nodes[at];
        if node.subtree.is_some() {
            return true;
        }
        let Some((step, rest)) = steps.split_first() else { return node.end.is_some() };
        let parameter = || node.parameter.is_some_and(|child| self.covers_from(child, rest));
        match step {
            Step::Literal(bytes) => {
                let literal = node.literals.get(bytes);
                literal.is_some_and(|&child| self.covers_from(child, rest)) || parameter()
            }
            Step::Parameter => parameter(),
            Step::Slash => node.slash.is_some() || node.end.is_some(),
            Step::End => node.end.is_some(),
            Step::Subtree => false,
        }
    }

    /// The most specific subtree that takes everything at and below a pattern and that `pick` makes
    /// something of.
    pub(super) fn around<'t, R>(
        &'t self,
        steps: &[Step],
        pick: &impl Fn(&'t T) -> Option<R>,
    ) -> Option<R> {
        self.around_from(0, steps, pick)
    }

    fn around_from<'t, R>(
        &'t self,
        at: usize,
        steps: &[Step],
        pick: &impl Fn(&'t T) -> Option<R>,
    ) -> Option<R> {
        let node = &self.nodes[at];
        let subtree = || node.subtree.as_ref().and_then(pick);
        let Some((step, rest)) = steps.split_first() else { return subtree() };
        let parameter = || node.parameter.and_then(|child| self.around_from(child, rest, pick));
        match step {
            Step::Literal(bytes) => node
                .literals
                .get(bytes)
                .and_then(|&child| self.around_from(child, rest, pick))
                .or_else(parameter)
                .or_else(subtree),
            Step::Parameter => parameter().or_else(subtree),
            Step::Slash | Step::End | Step::Subtree => subtree(),
        }
    }
}

impl<T> Node<T> {
    fn literal(&self, segment: &[u8], comparison: Comparison) -> Option<usize> {
        if self.literals.is_empty() {
            return None;
        }
        let key = match comparison {
            Comparison::Folded if segment.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(segment.to_ascii_lowercase())
            }
            Comparison::Folded | Comparison::Exact => Cow::Borrowed(segment),
        };
        self.literals.get(key.as_ref()).copied()
    }
}
