//! What a directory of overrides makes of the pages, and everything that is wrong with it.

use std::collections::BTreeMap;

use super::catalog::BUILT_IN;
use super::language::Language;
use super::overrides::{Fault, Overrides};
use super::templates::TEMPLATES;
use super::wording::{Wording, line_at, read_calls, read_texts};

/// The style sheet's name.
const STYLE: &str = "style.css";

/// The parts of the pages that a directory overrides.
#[derive(Debug, Default)]
pub(super) struct Restyled {
    pub(super) style: Option<String>,
    /// Templates by name.
    pub(super) templates: Vec<(&'static str, String)>,
    /// Texts by language; one that is not built in is offered as well.
    pub(super) texts: BTreeMap<Language, String>,
    /// What lacks texts, in words.
    pub(super) warnings: Vec<String>,
}

/// Reads what a directory overrides. What is wrong is told and left out.
pub(super) fn read(overrides: &Overrides, faults: &mut Vec<Fault>) -> Restyled {
    let known = read_texts(BUILT_IN[0].1).0;
    let mut restyled = Restyled::default();
    for (name, text) in overrides.files().filter(|(name, _)| !name.starts_with("mail/")) {
        let before = faults.len();
        if name == STYLE {
            // It stands between tags, of which no style sheet needs any.
            if let Some(at) = text.find("</") {
                let line = line_at(text, at);
                faults.push(overrides.fault(name, line, "a style sheet holds no `</`"));
            } else {
                restyled.style = Some(text.to_owned());
            }
        } else if let Some(template) = template_of(name) {
            check_calls(overrides, (name, text), &known, faults);
            if faults.len() == before {
                restyled.templates.push((template, text.to_owned()));
            }
        } else if let Some(language) = language_of(name) {
            let texts = check_texts(overrides, (name, text), &known, faults);
            let is_new = !Language::BUILT_IN.contains(&language);
            if is_new && faults.len() == before {
                check_new(overrides, name, &known, &texts, (&mut restyled.warnings, faults));
            }
            if faults.len() == before {
                restyled.texts.insert(language, text.to_owned());
            }
        } else {
            faults.push(overrides.unknown(name, names()));
        }
    }
    restyled
}

/// Every name that pages know.
fn names() -> impl Iterator<Item = String> {
    let templates = TEMPLATES.iter().map(|(name, _)| format!("{name}.html"));
    let texts = Language::BUILT_IN.into_iter().map(|l| format!("texts/{}.ftl", l.code()));
    templates.chain(texts).chain([STYLE.to_owned()])
}

fn template_of(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".html")?;
    TEMPLATES.iter().map(|(known, _)| *known).find(|known| *known == name)
}

fn language_of(name: &str) -> Option<Language> {
    let code = name.strip_prefix("texts/")?.strip_suffix(".ftl")?;
    Language::parse(code).filter(|language| language.code() == code)
}

type Known = BTreeMap<String, Wording>;

/// A file: its name and what it holds.
type File<'a> = (&'a str, &'a str);

/// What a template says has to be there, and to be given what it takes.
fn check_calls(
    overrides: &Overrides,
    (name, text): File<'_>,
    known: &Known,
    faults: &mut Vec<Fault>,
) {
    for call in read_calls(text) {
        let message = match known.get(&call.key) {
            None => format!("there is no text `{}`", call.key),
            Some(wording) => {
                let mut lacking = wording.values.difference(&call.values);
                let Some(value) = lacking.next() else { continue };
                format!("the text `{}` takes a value `{value}`", call.key)
            }
        };
        let near = known.keys().filter(|_| !known.contains_key(&call.key)).cloned().collect();
        let fault = overrides.fault(name, call.line, message);
        faults.push(Fault { candidates: near, ..fault });
    }
}

/// A file of texts says what is known, with values that are given.
fn check_texts(
    overrides: &Overrides,
    (name, text): File<'_>,
    known: &Known,
    faults: &mut Vec<Fault>,
) -> Known {
    let (texts, flaws) = read_texts(text);
    faults.extend(flaws.into_iter().map(|flaw| overrides.fault(name, flaw.line, flaw.message)));
    for (key, wording) in &texts {
        match known.get(key) {
            None => {
                let fault =
                    overrides.fault(name, wording.line, format!("there is no text `{key}`"));
                faults.push(Fault { candidates: known.keys().cloned().collect(), ..fault });
            }
            Some(built_in) => {
                for value in wording.values.difference(&built_in.values) {
                    let message = format!("the text `{key}` is given no value `{value}`");
                    let fault = overrides.fault(name, wording.line, message);
                    let candidates = built_in.values.iter().cloned().collect();
                    faults.push(Fault { candidates, ..fault });
                }
            }
        }
    }
    texts
}

/// A language that is not built in says at least its own name; what else it lacks is said in English.
fn check_new(
    overrides: &Overrides,
    name: &str,
    known: &Known,
    texts: &Known,
    (warnings, faults): (&mut Vec<String>, &mut Vec<Fault>),
) {
    if !texts.contains_key("language-name") {
        let message = "a language says its own name: `language-name`";
        faults.push(overrides.fault(name, 1, message));
        return;
    }
    let lacking: Vec<&str> =
        known.keys().filter(|key| !texts.contains_key(*key)).map(String::as_str).collect();
    if let Some(first) = lacking.first() {
        warnings.push(format!(
            "{name} lacks {} of {} texts, which are said in English; the first is `{first}`",
            lacking.len(),
            known.len()
        ));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn read_all(files: &[(&str, &str)]) -> (Restyled, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut faults = Vec::new();
        let restyled = read(&Overrides::read(directory.path()).unwrap(), &mut faults);
        let said = faults.iter().map(|fault| {
            let file = fault.file.strip_prefix(directory.path()).unwrap().display();
            format!("{file}:{}: {}", fault.line, fault.message)
        });
        (restyled, said.collect())
    }

    #[test]
    fn what_is_good_stands_in_for_what_is_built_in() {
        let (restyled, faults) = read_all(&[
            ("login.html", "{{ t(\"sign-in\") }}"),
            ("style.css", "p{color:red}"),
            ("texts/de.ftl", "sign-in = Rein\nsigned-in-as = { $who } ist da\n"),
            ("texts/fr.ftl", "language-name = Français\n"),
            ("mail/anything.txt", "not for pages to judge"),
        ]);
        assert_eq!(faults, [""; 0]);
        assert_eq!(restyled.templates.len(), 1);
        assert_eq!(restyled.texts.len(), 2);
        assert!(restyled.style.is_some());
        assert!(restyled.warnings[0].starts_with("texts/fr.ftl lacks"), "{:?}", restyled.warnings);
    }

    #[test]
    fn everything_wrong_is_told_with_file_and_line() {
        let (_, faults) = read_all(&[
            ("logn.html", ""),
            ("login.html", "\n{{ t(\"sing-in\") }}\n{{ t(\"signed-in-as\") }}"),
            ("style.css", "a{}\n</style>"),
            ("texts/de.ftl", "sign-in = a\nsing-out = b\nsigned-in-as = { $name }\nbroken { \n"),
            ("texts/fr.ftl", "sign-in = a\n"),
            ("texts/french.ftl", ""),
        ]);
        for expected in [
            "logn.html:1: logn.html stands in for nothing",
            "login.html:2: there is no text `sing-in`",
            "login.html:3: the text `signed-in-as` takes a value `who`",
            "style.css:2: a style sheet holds no `</`",
            "texts/de.ftl:2: there is no text `sing-out`",
            "texts/de.ftl:3: the text `signed-in-as` is given no value `name`",
            "texts/fr.ftl:1: a language says its own name: `language-name`",
            "texts/french.ftl:1: texts/french.ftl stands in for nothing",
        ] {
            assert!(faults.iter().any(|fault| fault == expected), "{expected} in {faults:#?}");
        }
        assert!(faults.iter().any(|f| f.starts_with("texts/de.ftl:4: is no text")), "{faults:#?}");
    }
}
