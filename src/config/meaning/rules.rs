//! `allow`: rules as written become rules as meant, and what the schema cannot say of them.

use super::{Cursor, general};
use crate::config::route::{Allow, Rule, RuleMap, UserRef};
use crate::config::yaml::spelling::{AllowWord, Text};
use crate::config::yaml::{Allow as AllowFile, Rule as RuleFile, RuleMap as RuleMapFile};

pub(super) fn read(written: &AllowFile, at: &Cursor<'_>) -> Allow {
    let reader = Reader { inside_not: false };
    match written {
        AllowFile::Word(word) => match word.0 {
            AllowWord::Public => Allow::Public,
            AllowWord::Optional => Allow::Optional(None),
            AllowWord::Authenticated => Allow::Rule(Rule::Authenticated),
        },
        AllowFile::Optional(map) => {
            Allow::Optional(Some(reader.rule(&map.optional, &at.key("optional"))))
        }
        AllowFile::Map(map) => Allow::Rule(Rule::Map(Box::new(reader.map(map, at)))),
    }
}

#[derive(Clone, Copy)]
struct Reader {
    inside_not: bool,
}

impl Reader {
    fn rule(self, written: &RuleFile, at: &Cursor<'_>) -> Rule {
        match written {
            RuleFile::Word(_) => Rule::Authenticated,
            RuleFile::Map(map) => Rule::Map(Box::new(self.map(map, at))),
        }
    }

    fn map(self, written: &RuleMapFile, at: &Cursor<'_>) -> RuleMap {
        self.check_anonymous(written, at);
        let below = Self { inside_not: true };
        RuleMap {
            roles: texts(written.roles.as_ref()),
            permissions: texts(written.permissions.as_ref()),
            users: self.users(written.users.as_ref(), &at.key("users")),
            networks: written
                .networks
                .as_ref()
                .map(|networks| general::networks(networks, &at.key("networks")))
                .unwrap_or_default(),
            verified: written.verified.is_some(),
            superuser: written.superuser.is_some(),
            anonymous: written.anonymous.is_some(),
            any: self.rules(written.any.as_ref(), &at.key("any")),
            all: self.rules(written.all.as_ref(), &at.key("all")),
            not: written.not.as_ref().map(|rule| below.rule(rule, &at.key("not"))),
            at: at.path(),
        }
    }

    fn rules(self, written: Option<&Vec<RuleFile>>, at: &Cursor<'_>) -> Vec<Rule> {
        let each = |(index, rule)| self.rule(rule, &at.item(index));
        written.map(|rules| rules.iter().enumerate().map(each).collect()).unwrap_or_default()
    }

    /// `anonymous` is no condition: it says that nobody need sign in, so a condition on the person
    /// beside it would contradict it, and inside `not` it would mean nothing.
    fn check_anonymous(self, written: &RuleMapFile, at: &Cursor<'_>) {
        if written.anonymous.is_none() {
            return;
        }
        let at = at.key("anonymous");
        let beside = [
            ("roles", written.roles.is_some()),
            ("permissions", written.permissions.is_some()),
            ("users", written.users.is_some()),
            ("verified", written.verified.is_some()),
            ("superuser", written.superuser.is_some()),
            ("any", written.any.is_some()),
            ("all", written.all.is_some()),
            ("not", written.not.is_some()),
        ];
        let beside: Vec<&str> =
            beside.iter().filter(|(_, is_there)| *is_there).map(|(key, _)| *key).collect();
        if self.inside_not {
            at.report("`anonymous` may not stand inside `not`");
        } else if !beside.is_empty() {
            at.report(format!(
                "`anonymous` may stand only beside `networks`, not beside {}",
                beside.join(", ")
            ));
        }
    }

    fn users<K>(self, written: Option<&Vec<Text<K>>>, at: &Cursor<'_>) -> Vec<UserRef> {
        let read = |(index, user): (usize, &Text<K>)| {
            let at = at.item(index);
            if let Ok(id) = uuid::Uuid::parse_str(&user.text) {
                return Some(UserRef::Id(id));
            }
            if self.inside_not {
                at.report(
                    "an e-mail may not stand inside `not`: its owner can change it, use the id",
                );
                return None;
            }
            Some(UserRef::Email(user.text.clone()))
        };
        written.map(|users| users.iter().enumerate().filter_map(read).collect()).unwrap_or_default()
    }
}

fn texts<K>(written: Option<&Vec<Text<K>>>) -> Vec<String> {
    written.map(|texts| texts.iter().map(|text| text.text.clone()).collect()).unwrap_or_default()
}
