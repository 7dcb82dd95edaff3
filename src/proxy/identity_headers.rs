//! Rendering who the caller is into headers, by profile.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::config::IdentityProfile;
use crate::identity::keys::hex;
use crate::session::{HeaderSet, Identity};
use crate::web::headers::{self, Field, Separator, UserField};

/// Longest expanded list of permissions, in bytes.
const EXPANDED: usize = 4 * 1024;
/// Longest header value an application can be expected to take.
const LONGEST: usize = 8 * 1024;

/// Names and texts of a set on its way to be one.
type Draft = Vec<(HeaderName, String)>;

/// Renders the headers of a profile. `None` when they cannot be sent whole: then nothing is.
#[must_use]
pub fn render(profile: &IdentityProfile, identity: &Identity) -> Option<HeaderSet> {
    let draft = draft(profile, identity)?;
    // One text for all values: a set is kept for each of many sessions, and cloned for each request.
    let whole: String = draft.iter().map(|(_, text)| text.as_str()).collect();
    let mut rest = Bytes::from(whole);
    let fields = draft.into_iter().map(|(name, text)| {
        let value = rest.split_to(text.len());
        Some((name, HeaderValue::from_maybe_shared(value).ok()?))
    });
    fields.collect::<Option<Vec<_>>>().map(Vec::into_boxed_slice)
}

fn draft(profile: &IdentityProfile, identity: &Identity) -> Option<Draft> {
    let mut set = Draft::with_capacity(8);
    let user = user(profile.user, identity)?;
    for name in profile.preset.user_names() {
        push(&mut set, name, &headers::encode_value(&user, None))?;
    }
    let further = profile.headers.iter().map(|(name, field)| (name, *field));
    for (name, field) in profile.preset.fields().iter().map(|(n, f)| (n, *f)).chain(further) {
        if matches!(field, Field::Permissions) {
            push_permissions(&mut set, name, profile.separator, identity)?;
        } else if let Some(text) = text(field, profile.separator, identity) {
            push(&mut set, name, &text)?;
        }
    }
    Some(set)
}

fn push(set: &mut Draft, name: &HeaderName, text: &str) -> Option<()> {
    if text.len() > LONGEST {
        return None;
    }
    set.push((name.clone(), text.to_owned()));
    Some(())
}

/// The list goes expanded while it is short enough, then as granted, and never cut.
fn push_permissions(
    set: &mut Draft,
    name: &HeaderName,
    separator: Separator,
    identity: &Identity,
) -> Option<()> {
    let expanded = list(identity.expanded_permissions.iter().map(String::as_str), separator);
    if expanded.len() <= EXPANDED {
        return push(set, name, &expanded);
    }
    let granted: Vec<String> =
        identity.subject.access.grants.iter().map(ToString::to_string).collect();
    let granted = list(granted.iter().map(String::as_str), separator);
    if granted.len() > EXPANDED {
        return None;
    }
    push(set, name, &granted)?;
    let flag = HeaderName::from_bytes(format!("{name}-expanded").as_bytes()).ok()?;
    push(set, &flag, "false")
}

/// What fills the user header; policy has made sure that there is something.
fn user(field: UserField, identity: &Identity) -> Option<String> {
    match field {
        UserField::Id => Some(identity.user.id.to_string()),
        UserField::Email => identity.user.is_verified.then(|| identity.user.email.clone()),
        UserField::Username => identity.user.username.clone(),
    }
}

/// A field as text, encoded. `None`: nothing is known, no header is sent.
fn text(field: Field, separator: Separator, identity: &Identity) -> Option<String> {
    let user = &identity.user;
    let plain = match field {
        Field::Id => Some(user.id.to_string()),
        Field::Email => user.is_verified.then(|| user.email.clone()),
        Field::Username => user.username.clone(),
        Field::EmailVerified => Some(user.is_verified.to_string()),
        Field::Name => display_name(identity),
        Field::FirstName => user.profile.first_name.clone(),
        Field::LastName => user.profile.last_name.clone(),
        Field::Organization => user.profile.organization.clone(),
        Field::Department => user.profile.department.clone(),
        Field::Phone => user.profile.phone.clone(),
        Field::Roles => {
            let names = identity.subject.access.role_names.iter().map(String::as_str);
            return Some(list(names, separator));
        }
        Field::Permissions => {
            let names = identity.expanded_permissions.iter().map(String::as_str);
            return Some(list(names, separator));
        }
        Field::Superuser => Some(user.is_superuser.to_string()),
        Field::Session => Some(hex(&identity.session.id)),
        Field::Method => Some(identity.session.method.as_str().to_owned()),
        Field::SignedInAt => Some(identity.session.created_at.to_string()),
    };
    plain.filter(|text| !text.is_empty()).map(|text| headers::encode_value(&text, None))
}

/// First and last name, else the e-mail where it is verified.
fn display_name(identity: &Identity) -> Option<String> {
    let profile = &identity.user.profile;
    let is_named = profile.first_name.is_some() || profile.last_name.is_some();
    (is_named || identity.user.is_verified).then(|| identity.user.display_name())
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
