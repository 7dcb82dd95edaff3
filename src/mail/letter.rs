//! What a letter says, in text and HTML, in the language of whoever asked for it.
//!
//! Nothing in a letter was typed by whoever asked for it or by its account: no name, no text; only what the
//! gateway is called and the link.

use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use minijinja::{Environment, UndefinedBehavior, context};
use secrecy::ExposeSecret as _;

use super::Addressee;
use crate::clock::Timestamp;
use crate::store::{HeldLetter, LetterKind};
use crate::web::language::Language;
use crate::web::overrides::{Fault, Overrides};

/// Templates by name. The first line of a `.txt` is the subject.
const TEMPLATES: [(&str, &str); 21] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("reset.en.txt", include_str!("templates/reset.en.txt")),
    ("reset.en.html", include_str!("templates/reset.en.html")),
    ("reset.de.txt", include_str!("templates/reset.de.txt")),
    ("reset.de.html", include_str!("templates/reset.de.html")),
    ("invite.en.txt", include_str!("templates/invite.en.txt")),
    ("invite.en.html", include_str!("templates/invite.en.html")),
    ("invite.de.txt", include_str!("templates/invite.de.txt")),
    ("invite.de.html", include_str!("templates/invite.de.html")),
    ("verify.en.txt", include_str!("templates/verify.en.txt")),
    ("verify.en.html", include_str!("templates/verify.en.html")),
    ("verify.de.txt", include_str!("templates/verify.de.txt")),
    ("verify.de.html", include_str!("templates/verify.de.html")),
    ("email-changed.en.txt", include_str!("templates/email-changed.en.txt")),
    ("email-changed.en.html", include_str!("templates/email-changed.en.html")),
    ("email-changed.de.txt", include_str!("templates/email-changed.de.txt")),
    ("email-changed.de.html", include_str!("templates/email-changed.de.html")),
    ("password-changed.en.txt", include_str!("templates/password-changed.en.txt")),
    ("password-changed.en.html", include_str!("templates/password-changed.en.html")),
    ("password-changed.de.txt", include_str!("templates/password-changed.de.txt")),
    ("password-changed.de.html", include_str!("templates/password-changed.de.html")),
];

/// Says that no person wrote it, so that no absence note answers it (RFC 3834).
const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

/// Who letters are from.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// `mail.from`.
    pub from: Mailbox,
    /// What letters call the gateway.
    pub site: String,
    /// The host of `public_url`, in which a Message-ID is unique.
    pub host: String,
}

/// What letters are made of.
pub struct Stationery {
    head: Letterhead,
    templates: Environment<'static>,
    /// As built in: written instead of one that fails.
    built_in: Environment<'static>,
}

/// A template that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("the mail template {0} does not parse")]
pub struct TemplateError(&'static str, #[source] minijinja::Error);

/// Why a letter could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A template fails.
    #[error("the mail template fails")]
    Template(#[source] minijinja::Error),
    /// Mail knows no such address.
    #[error("the e-mail is none that mail can be sent to")]
    Address(#[from] lettre::address::AddressError),
    /// The message cannot be put together.
    #[error("the message cannot be put together")]
    Message(#[from] lettre::error::Error),
}

impl Stationery {
    /// Reads the templates, and over them those that stand in for them: what [`Stationery::faults`] finds
    /// wrong with one leaves the built-in one in its place.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(head: Letterhead, overrides: Option<&Overrides>) -> Result<Self, TemplateError> {
        let mut built_in = Environment::new();
        built_in.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            let added = built_in.add_template(name, source);
            added.map_err(|error| TemplateError(name, error))?;
        }
        let mut templates = built_in.clone();
        for (name, text) in overrides.into_iter().flat_map(given) {
            if is_letter(name)
                && let Err(error) = templates.add_template_owned(name.to_owned(), text.to_owned())
            {
                tracing::error!(template = name, %error, "a letter's template does not parse");
            }
        }
        Ok(Self { head, templates, built_in })
    }

    /// What is wrong with the files that stand in for letters.
    #[must_use]
    pub fn faults(overrides: &Overrides) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut templates = Environment::new();
        for (name, text) in given(overrides) {
            let file = format!("mail/{name}");
            if !is_letter(name) {
                let names = TEMPLATES.iter().map(|(known, _)| (*known).to_owned());
                faults.push(overrides.unknown(&file, names));
            } else if let Err(error) =
                templates.add_template_owned(name.to_owned(), text.to_owned())
            {
                let line = error.line().unwrap_or(1);
                faults.push(overrides.fault(&file, line, format!("does not parse: {error}")));
            } else if name.rsplit_once('.').is_some_and(|(_, form)| form == "txt")
                && !text.contains("\n\n")
            {
                let message = "begins with a line for the subject, and an empty one";
                faults.push(overrides.fault(&file, 1, message));
            }
        }
        faults
    }

    /// Writes a letter. `id` makes its Message-ID, which is another for each attempt: a mail server may
    /// throw away what has the same, and only the last attempt's link works.
    pub(super) fn write(
        &self,
        letter: &HeldLetter,
        to: &Addressee,
        now: Timestamp,
        id: uuid::Uuid,
    ) -> Result<Message, WriteError> {
        let (subject, text) = self.text(letter.kind, letter.language, to)?;
        let html = self.render(letter.kind, letter.language, "html", to)?;
        let since_epoch = Duration::from_secs(u64::try_from(now.as_seconds()).unwrap_or(0));
        Ok(Message::builder()
            .from(self.head.from.clone())
            .to(Mailbox::new(None, to.email.parse()?))
            .subject(subject)
            .date(SystemTime::UNIX_EPOCH + since_epoch)
            .message_id(Some(format!("<{id}@{}>", self.head.host)))
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(text, html))?)
    }

    /// Subject and text.
    fn text(
        &self,
        kind: LetterKind,
        language: Language,
        to: &Addressee,
    ) -> Result<(String, String), WriteError> {
        let whole = self.render(kind, language, "txt", to)?;
        let (subject, text) = whole.split_once("\n\n").unwrap_or_default();
        Ok((subject.to_owned(), text.to_owned()))
    }

    fn render(
        &self,
        kind: LetterKind,
        language: Language,
        form: &str,
        to: &Addressee,
    ) -> Result<String, WriteError> {
        let name = |language: Language| format!("{}.{}.{form}", kind.as_str(), language.code());
        // Pages may speak languages that letters do not.
        let is_known = self.templates.get_template(&name(language)).is_ok();
        let language = if is_known { language } else { Language::ENGLISH };
        let context = context! {
            site => self.head.site.as_str(),
            link => to.link.expose_secret(),
            until => to.expires_at.map(until),
            language => language.code(),
        };
        let own = self.templates.get_template(&name(language));
        own.and_then(|own| own.render(&context)).or_else(|error| {
            tracing::error!(%error, "a letter's template fails; the built-in one is written");
            let is_built_in = self.built_in.get_template(&name(language)).is_ok();
            let language = if is_built_in { language } else { Language::ENGLISH };
            let template = self.built_in.get_template(&name(language));
            template.and_then(|template| template.render(&context)).map_err(WriteError::Template)
        })
    }
}

/// The files of a directory that stand in for letters, by their names below `mail`.
fn given(overrides: &Overrides) -> impl Iterator<Item = (&str, &str)> {
    overrides.files().filter_map(|(name, text)| Some((name.strip_prefix("mail/")?, text)))
}

/// Whether a template is called so: as a built-in one, or as one in a further language.
fn is_letter(name: &str) -> bool {
    let is_known = |name: &str| TEMPLATES.iter().any(|(known, _)| *known == name);
    let mut parts = name.split('.');
    let (kind, language, form) = (parts.next(), parts.next(), parts.next());
    let further = match (kind, language.and_then(Language::parse), form, parts.next()) {
        (Some(kind), Some(_), Some(form), None) => is_known(&format!("{kind}.en.{form}")),
        _ => false,
    };
    is_known(name) || further
}

/// The end of a link, to the minute: `2027-01-31 18:00 UTC`.
fn until(end: Timestamp) -> String {
    let text = end.to_string();
    let minutes = text.get(..16).map(|minutes| minutes.replace('T', " "));
    minutes.map_or(text, |minutes| format!("{minutes} UTC"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use uuid::Uuid;

    use super::*;

    fn stationery() -> Stationery {
        let head = Letterhead {
            from: "Portcullis <no-reply@example.com>".parse().unwrap(),
            site: "The Quay & Sons".to_owned(),
            host: "auth.example.com".to_owned(),
        };
        Stationery::new(head, None).unwrap()
    }

    fn addressee(email: &str) -> Addressee {
        let link = "https://auth.example.com/auth/reset-password?token=abc_-1".to_owned().into();
        let expires_at = Some(Timestamp::from_seconds(1_800_000_000));
        Addressee { user: None, email: email.to_owned(), link, expires_at }
    }

    fn letter(kind: LetterKind, language: Language) -> HeldLetter {
        HeldLetter {
            id: 1,
            kind,
            recipient: "ann@xn--bcher-kva.example".to_owned(),
            language,
            subject: None,
            queued_at: Timestamp::from_seconds(0),
            attempts: 0,
            holder: Uuid::nil(),
        }
    }

    #[test]
    fn every_letter_has_subject_text_and_html_in_every_language() {
        let stationery = stationery();
        let mut subjects = std::collections::BTreeSet::new();
        for kind in LetterKind::ALL {
            for language in Language::BUILT_IN {
                let to = addressee("Ann@bücher.example");
                let (subject, text) = stationery.text(kind, language, &to).unwrap();
                assert!(!subject.contains('\n') && subject.contains("The Quay & Sons"));
                assert!(subjects.insert(subject), "each says what it is about");
                let link = to.link.expose_secret();
                assert!(text.lines().any(|line| line == link), "on a line of its own: {text}");
                assert!(text.lines().all(|line| line.len() <= 78), "{text}");
                let html = stationery.render(kind, language, "html", &to).unwrap();
                let tag = format!("<html lang=\"{}\">", language.code());
                assert!(html.contains(&tag) && html.contains("The Quay &amp; Sons"), "{html}");
                let escaped = link.replace('/', "&#x2f;");
                assert!(html.contains(&format!("<a href=\"{escaped}\">")), "{html}");
                let names_end = kind == LetterKind::Invite;
                for form in [&text, &html] {
                    assert_eq!(form.contains("2027-01-15 08:00 UTC"), names_end, "{form}");
                }
            }
        }
    }

    #[test]
    fn a_directory_stands_in_for_letters_and_one_that_fails_gives_way() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(directory.path().join("mail")).unwrap();
            std::fs::write(directory.path().join("mail").join(name), text).unwrap();
        };
        write("reset.de.txt", "Neu: {{ site }}\n\n{{ link }}\n");
        write("reset.fr.txt", "Nouveau\n\n{{ link }}\n");
        write("verify.de.txt", "A\n\n{{ nowhere }}");
        let overrides = Overrides::read(directory.path()).unwrap();
        assert_eq!(Stationery::faults(&overrides), []);
        let head = stationery().head;
        let own = Stationery::new(head, Some(&overrides)).unwrap();
        let subject = |kind, language: &str| {
            let language = Language::parse(language).unwrap();
            own.text(kind, language, &addressee("ann@example.com")).unwrap().0
        };
        assert_eq!(subject(LetterKind::Reset, "de"), "Neu: The Quay & Sons");
        assert_eq!(subject(LetterKind::Reset, "fr"), "Nouveau");
        assert!(subject(LetterKind::Verify, "de").contains("The Quay & Sons"), "as built in");
        write("rest.de.txt", "");
        write("verify.de.txt", "A\n{% if %}\n\n");
        write("reset.de.txt", "only a subject");
        let faults = Stationery::faults(&Overrides::read(directory.path()).unwrap());
        let said: Vec<_> = faults.iter().map(|fault| (fault.line, &*fault.message)).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.contains(&(1, "mail/rest.de.txt stands in for nothing")), "{said:?}");
        assert!(said.iter().any(|(line, text)| *line == 2 && text.contains("does not parse")));
    }

    #[test]
    fn a_message_names_who_it_is_from_and_to() {
        let id = Uuid::from_u128(7);
        let letter = letter(LetterKind::Reset, Language::GERMAN);
        let now = Timestamp::from_seconds(1_800_000_000);
        let to = addressee("Ann@xn--bcher-kva.example");
        let message = stationery().write(&letter, &to, now, id).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        for line in [
            "From: Portcullis <no-reply@example.com>\r\n",
            "To: Ann@xn--bcher-kva.example\r\n",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000\r\n",
            "Message-ID: <00000000-0000-0000-0000-000000000007@auth.example.com>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn an_address_with_a_line_break_makes_no_header() {
        let letter = letter(LetterKind::Verify, Language::ENGLISH);
        let now = Timestamp::from_seconds(0);
        for email in ["ann\r\nBcc: eve@example.com", "ann\n", "a b", ""] {
            let to = addressee(&format!("{email}@example.com"));
            let written = stationery().write(&letter, &to, now, Uuid::nil());
            assert!(matches!(written, Err(WriteError::Address(_))), "{email}");
        }
    }
}
