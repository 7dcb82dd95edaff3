//! Rendering who the caller is into headers, by profile.

use http::HeaderName;

use crate::config::IdentityProfile;
use crate::identity::keys::hex;
use crate::session::Identity;
use crate::web::headers::{self, Field, Separator, UserField};

/// Longest expanded list of permissions, in bytes.
const EXPANDED: usize = 4 * 1024;
/// Longest header value an application can be expected to take.
const LONGEST: usize = 8 * 1024;

/// Renders the headers of a profile. `None` when they cannot be sent whole: then nothing is.
#[must_use]
pub fn render(profile: &IdentityProfile, identity: &Identity) -> Option<Vec<(HeaderName, String)>> {
    let mut draft = Draft::default();
    let user = user(profile.user, identity)?;
    for name in profile.preset.user_names() {
        draft.push(name, headers::encode_value(&user, None))?;
    }
    let further = profile.headers.iter().map(|(name, field)| (name, *field));
    for (name, field) in profile.preset.fields().iter().map(|(n, f)| (n, *f)).chain(further) {
        if matches!(field, Field::Permissions) {
            draft.push_permissions(name, profile.separator, identity)?;
        } else if let Some(text) = text(field, profile.separator, identity) {
            draft.push(name, text)?;
        }
    }
    Some(draft.0)
}

/// Headers being rendered, each name once.
#[derive(Default)]
struct Draft(Vec<(HeaderName, String)>);

impl Draft {
    /// A header of the preset that `identity.headers` names as well says what that says.
    fn push(&mut self, name: &HeaderName, value: String) -> Option<()> {
        if value.len() > LONGEST {
            return None;
        }
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.clone(), value)),
        }
        Some(())
    }

    /// The list goes expanded while it is short enough, then as granted, and never cut.
    fn push_permissions(
        &mut self,
        name: &HeaderName,
        separator: Separator,
        identity: &Identity,
    ) -> Option<()> {
        let access = &identity.subject.access;
        let expanded = list(access.expanded.iter().map(String::as_str), separator);
        if expanded.len() <= EXPANDED {
            return self.push(name, expanded);
        }
        let granted: Vec<String> = access.grants.iter().map(ToString::to_string).collect();
        let granted = list(granted.iter().map(String::as_str), separator);
        if granted.len() > EXPANDED {
            return None;
        }
        self.push(name, granted)?;
        let flag = HeaderName::from_bytes(format!("{name}-expanded").as_bytes()).ok()?;
        self.push(&flag, "false".to_owned())
    }
}

/// What fills the user header; policy has made sure that there is something.
fn user(field: UserField, identity: &Identity) -> Option<String> {
    match field {
        UserField::Id => Some(identity.user().id.to_string()),
        UserField::Email => identity.user().is_verified.then(|| identity.user().email.to_string()),
        UserField::Username => identity.user().username().map(str::to_owned),
    }
}

/// A field as text, encoded. `None`: nothing is known, no header is sent.
fn text(field: Field, separator: Separator, identity: &Identity) -> Option<String> {
    let user = identity.user();
    let plain = match field {
        Field::Id => Some(user.id.to_string()),
        Field::Email => user.is_verified.then(|| user.email.to_string()),
        Field::Username => user.username().map(str::to_owned),
        Field::EmailVerified => Some(user.is_verified.to_string()),
        Field::Name => display_name(identity),
        Field::FirstName => user.first_name().map(str::to_owned),
        Field::LastName => user.last_name().map(str::to_owned),
        Field::Organization => user.organization().map(str::to_owned),
        Field::Department => user.department().map(str::to_owned),
        Field::Phone => user.phone().map(str::to_owned),
        Field::Roles => {
            let names = identity.subject.access.role_names.iter().map(String::as_str);
            return Some(list(names, separator));
        }
        Field::Permissions => {
            let names = identity.subject.access.expanded.iter().map(String::as_str);
            return Some(list(names, separator));
        }
        Field::Superuser => Some(user.is_superuser.to_string()),
        Field::Session => Some(hex(&identity.session().id)),
        Field::Method => Some(identity.session().method.as_str().to_owned()),
        Field::SignedInAt => Some(identity.session().created_at.to_string()),
    };
    plain.filter(|text| !text.is_empty()).map(|text| headers::encode_value(&text, None))
}

/// First and last name, else the e-mail where it is verified.
fn display_name(identity: &Identity) -> Option<String> {
    let user = identity.user();
    let is_named = user.first_name().is_some() || user.last_name().is_some();
    (is_named || user.is_verified).then(|| user.display_name())
}

fn list<'a>(items: impl Iterator<Item = &'a str>, separator: Separator) -> String {
    let between = match separator {
        Separator::Comma => ",",
        Separator::Pipe => "|",
        Separator::Space => " ",
    };
    let items: Vec<String> =
        items.map(|item| headers::encode_value(item, Some(separator))).collect();
    items.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_once_with_what_was_said_of_it_last() {
        let (email, name) = (HeaderName::from_static("x-email"), HeaderName::from_static("x-name"));
        let mut draft = Draft::default();
        for (header, value) in [(&email, "preset"), (&name, "Ann"), (&email, "own")] {
            assert!(draft.push(header, value.to_owned()).is_some());
        }
        assert_eq!(draft.0, [(email.clone(), "own".to_owned()), (name, "Ann".to_owned())]);
        assert!(draft.push(&email, "a".repeat(LONGEST + 1)).is_none(), "sent whole or not at all");
    }
}
