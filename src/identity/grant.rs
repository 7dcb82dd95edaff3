//! Role names, permissions and grants: their spelling and what covers what.

/// Bytes of a resource at most.
const MAX_RESOURCE: usize = 50;
/// Bytes of an action at most.
const MAX_ACTION: usize = 20;
/// Bytes of a role name at most.
const MAX_ROLE_NAME: usize = 50;

/// A permission (`dashboard:read`, `admin:users:read`) or a grant, in which `*` may stand for the
/// whole resource or the whole action.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Grant {
    resource: String,
    action: String,
}

/// The text is no permission or grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a permission: expected resource:action, such as dashboard:read")]
pub struct InvalidGrant;

impl Grant {
    /// Reads `resource:action`; the last colon divides. Resources are parts of `[a-z0-9_.-]+` joined
    /// by single colons, 50 characters in all; actions `[a-z0-9_.-]{1,20}`; either may be `*`.
    ///
    /// # Errors
    /// [`InvalidGrant`].
    pub fn parse(text: &str) -> Result<Self, InvalidGrant> {
        let (resource, action) = text.rsplit_once(':').ok_or(InvalidGrant)?;
        let is_resource =
            resource == "*" || resource.len() <= MAX_RESOURCE && resource.split(':').all(is_part);
        let is_action = action == "*" || action.len() <= MAX_ACTION && is_part(action);
        if !is_resource || !is_action {
            return Err(InvalidGrant);
        }
        Ok(Self { resource: resource.to_owned(), action: action.to_owned() })
    }

    /// Whether resource or action is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.resource == "*" || self.action == "*"
    }

    /// Whether holding this grant gives `permission`: `admin:*` covers every action on `admin` and
    /// everything below it (`admin:users:read`), not `administrator:…`; `*:read` every `…:read`.
    #[must_use]
    pub fn covers(&self, permission: &Self) -> bool {
        match (self.resource.as_str(), self.action.as_str()) {
            ("*", "*") => true,
            ("*", action) => action == permission.action,
            (resource, "*") => permission
                .resource
                .strip_prefix(resource)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
            (resource, action) => resource == permission.resource && action == permission.action,
        }
    }
}

impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.resource, self.action)
    }
}

/// Whether a role name matches `[A-Za-z0-9][A-Za-z0-9 ._-]{0,49}`.
#[must_use]
pub fn is_role_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_ROLE_NAME
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b" ._-".contains(&byte))
}

/// Whether a text is one part of a resource, or an action: `[a-z0-9_.-]+`.
fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Grant {
        Grant::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn grants_are_read_as_they_are_written() {
        let longest = format!("{}:{}", "r".repeat(50), "a".repeat(20));
        let good = [
            "dashboard:read",
            "admin:users:read",
            "a.b_c-d:0",
            "admin:*",
            "admin:users:*",
            "*:read",
            "*:*",
            &longest,
        ];
        for text in good {
            assert_eq!(grant(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        let (long_resource, long_action) =
            (format!("{}:read", "r".repeat(51)), format!("a:{}", "a".repeat(21)));
        let bad = [
            "",
            ":",
            "read",
            "a:",
            ":read",
            "a::read",
            ":a:read",
            "a b:read",
            "A:read",
            "a:Read",
            "ad*:read",
            "admin:re*",
            "*:users:read",
            "admin:*:read",
            "**:read",
            "a:read ",
            "ä:read",
            &long_resource,
            &long_action,
        ];
        for text in bad {
            assert_eq!(Grant::parse(text), Err(InvalidGrant), "{text}");
        }
    }

    #[test]
    fn only_a_star_for_the_whole_part_is_a_wildcard() {
        for (text, expected) in
            [("a:read", false), ("a:*", true), ("*:read", true), ("*:*", true), ("a:b:*", true)]
        {
            assert_eq!(grant(text).is_wildcard(), expected, "{text}");
        }
    }

    #[test]
    fn a_grant_covers_itself_what_lies_below_and_nothing_that_only_looks_like_it() {
        let cases = [
            ("admin:read", "admin:read", true),
            ("admin:read", "admin:write", false),
            ("admin:read", "admin:users:read", false),
            ("admin:users:read", "admin:read", false),
            ("admin:*", "admin:read", true),
            ("admin:*", "admin:users:read", true),
            ("admin:*", "admin:users:write", true),
            ("admin:*", "administrator:read", false),
            ("admin:users:*", "admin:users:read", true),
            ("admin:users:*", "admin:users:keys:read", true),
            ("admin:users:*", "admin:read", false),
            ("admin:users:*", "admin:user:read", false),
            ("*:read", "administrator:read", true),
            ("*:read", "admin:users:read", true),
            ("*:read", "admin:write", false),
            ("*:*", "anything:at:all", true),
        ];
        for (held, asked, expected) in cases {
            assert_eq!(grant(held).covers(&grant(asked)), expected, "{held} covers {asked}");
            assert_eq!(is_role_of_use(held, asked), expected, "the configuration: {held} {asked}");
        }
    }

    /// Whether `check` takes a role with this grant for one that a rule for the permission uses.
    fn is_role_of_use(held: &str, asked: &str) -> bool {
        let yaml = format!(
            "upstreams: {{ app: \"http://127.0.0.1:1\" }}\nroles: {{ r: {{ permissions: [\"{held}\"] }} }}\n\
             routes: [{{ path: /, upstream: app, allow: {{ permissions: [\"{asked}\"] }} }}]"
        );
        let path = std::path::Path::new("portcullis.yaml");
        let environment = std::collections::BTreeMap::<String, String>::new();
        let config = crate::config::load_text(&yaml, path, &environment)
            .unwrap_or_else(|found| panic!("{held} {asked}: {found:?}"));
        crate::config::warnings(&config).iter().all(|warning| warning.at.path != "roles.r")
    }

    #[test]
    fn role_names_are_fifty_plain_characters_at_most() {
        let (longest, too_long) = ("r".repeat(50), "r".repeat(51));
        for name in ["admin", "A", "0", "Team lead", "a.b_c-d", &longest] {
            assert!(is_role_name(name), "{name}");
        }
        for name in ["", " a", ".a", "-a", "_a", "a:b", "a/b", "ä", "a\n", "a\t", &too_long] {
            assert!(!is_role_name(name), "{name:?}");
        }
    }
}
