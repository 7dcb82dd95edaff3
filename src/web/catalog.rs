//! The texts of one language, as pages say them: escaped, with their arguments filled in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use minijinja::HtmlEscape;
use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};
use unic_langid::LanguageIdentifier;

use super::language::Language;

/// The texts that are built in, by language.
pub(super) const BUILT_IN: [(Language, &str); 2] = [
    (Language::ENGLISH, include_str!("texts/en.ftl")),
    (Language::GERMAN, include_str!("texts/de.ftl")),
];

/// The key under which each language says its own name.
const NAME: &str = "language-name";

/// The texts of one language; what it lacks is said in English.
pub(super) struct Catalog {
    bundle: FluentBundle<FluentResource>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("locales", &self.bundle.locales).finish_non_exhaustive()
    }
}

impl Catalog {
    /// The texts of a language over those in English, and over what is built in of each what `own` says in it.
    /// What does not parse is left out, and told by [`super::wording::read_texts`].
    pub(super) fn new(language: Language, own: &BTreeMap<Language, String>) -> Self {
        let locale: LanguageIdentifier = language.code().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![locale]);
        // The marks are for texts whose direction is not known; the page says which language it is in.
        bundle.set_use_isolating(false);
        bundle.set_transform(Some(escape));
        let other = Some(language).filter(|language| *language != Language::ENGLISH);
        for spoken in iter::once(Language::ENGLISH).chain(other) {
            let built_in = BUILT_IN.iter().filter(|(known, _)| *known == spoken);
            let own = own.get(&spoken).map(String::as_str);
            for source in built_in.map(|(_, source)| *source).chain(own) {
                let resource = FluentResource::try_new(source.to_owned());
                bundle.add_resource_overriding(resource.unwrap_or_else(|(resource, _)| resource));
            }
        }
        Self { bundle }
    }

    /// What the language calls itself.
    pub(super) fn name(&self) -> String {
        self.say(NAME, None).map(Cow::into_owned).unwrap_or_default()
    }

    fn say(&self, key: &str, arguments: Option<&FluentArgs<'_>>) -> Result<Cow<'_, str>, Error> {
        let failed = |why: String| Error::new(ErrorKind::InvalidOperation, why);
        let pattern = self.bundle.get_message(key).and_then(|message| message.value());
        let pattern = pattern.ok_or_else(|| failed(format!("there is no text {key:?}")))?;
        let mut errors = Vec::new();
        let said = self.bundle.format_pattern(pattern, arguments, &mut errors);
        match errors.first() {
            None => Ok(said),
            Some(error) => Err(failed(format!("the text {key:?}: {error}"))),
        }
    }

    /// Says what a template asks for by `t(…)`: a key with named arguments, or a [`super::text::Text`]
    /// that code made. The answer is safe: the text itself and every argument are escaped.
    pub(super) fn fill(&self, what: &Value, named: &Kwargs) -> Result<Value, Error> {
        let mut arguments = FluentArgs::new();
        for name in named.args() {
            arguments.set(name.to_owned(), argument(&named.get::<Value>(name)?));
        }
        let key = if what.as_str().is_some() {
            what.clone()
        } else {
            for pair in what.get_attr("arguments")?.try_iter()? {
                let name = pair.get_item_by_index(0)?.to_string();
                arguments.set(name, argument(&pair.get_item_by_index(1)?));
            }
            what.get_attr("key")?
        };
        let said = self.say(key.as_str().unwrap_or_default(), Some(&arguments))?;
        Ok(Value::from_safe_string(said.into_owned()))
    }
}

/// An argument as it goes into a text: escaped, unless a template made it of safe parts.
fn argument(value: &Value) -> FluentValue<'static> {
    match value.as_i64().filter(|_| value.is_number()) {
        Some(number) => FluentValue::from(number),
        None if value.is_safe() => FluentValue::from(value.to_string()),
        None => FluentValue::from(HtmlEscape(&value.to_string()).to_string()),
    }
}

/// Escapes the words of a text: no translator writes HTML, on purpose or not.
fn escape(words: &str) -> Cow<'_, str> {
    if words.contains(['<', '>', '&', '"', '\'']) {
        HtmlEscape(words).to_string().into()
    } else {
        words.into()
    }
}
