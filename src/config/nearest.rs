//! The nearest valid spelling of a word that is not one.

/// The candidate a misspelt word most likely means, if one is near enough to be worth saying.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let folded = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_lowercase());
            (distance, candidate)
        })
        // One slip in three letters is a slip; more is another word.
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        .min_by(|(a, first), (b, second)| {
            let likeness = |candidate| strsim::jaro_winkler(word, candidate);
            a.cmp(b).then_with(|| likeness(second).total_cmp(&likeness(first)))
        })
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let words = ["lifetime", "idle", "cache", "remember"];
        let cases = [
            ("lifetme", Some("lifetime")),
            ("Idle", Some("idle")),
            ("cahce", Some("cache")),
            ("lifespan", None),
            ("", None),
            ("cache", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, words).as_deref(), expected, "{word}");
        }
    }
}
