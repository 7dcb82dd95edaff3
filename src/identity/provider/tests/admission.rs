//! Whom `who` admits, and which roles groups stand for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::admission::{Domain, Facts, admits, roles};
use crate::config::{Admission, Who};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|one| (*one).to_owned()).collect()
}

fn who() -> Who {
    Who::Any(Admission {
        domains: strings(&["example.com", "xn--bcher-kva.example"]),
        emails: strings(&["ann@elsewhere.example"]),
        organisations: strings(&["acme"]),
        groups: strings(&["Staff", "umbrella:platform"]),
        tenants: Vec::new(),
    })
}

fn assert_admitted(cases: &[(&str, Facts<'_>, bool)]) {
    for (name, facts, expected) in cases {
        assert_eq!(admits(&who(), facts), *expected, "{name}");
        assert!(admits(&Who::Anyone, facts), "{name}");
        assert!(!admits(&Who::Any(Admission::default()), facts), "{name}: nobody is listed");
    }
}

const NONE: Facts<'_> = Facts {
    email: None,
    email_is_verified: false,
    domain: Domain::OfEmail,
    organisations: &[],
    groups: &[],
    folds_groups: false,
    tenant: None,
};

fn mail(email: &str) -> Facts<'_> {
    Facts { email: Some(email), email_is_verified: true, ..NONE }
}

#[test]
fn an_email_admits_by_itself_or_by_its_whole_domain_if_it_is_verified() {
    let unverified = |email| Facts { email_is_verified: false, ..mail(email) };
    let hosted = |domain, email| Facts { domain: Domain::Hosted(domain), ..mail(email) };
    assert_admitted(&[
        ("domain", mail("bob@example.com"), true),
        ("domain, folded", mail("Bob@EXAMPLE.com"), true),
        ("domain, as A-label", mail("bob@bücher.example"), true),
        ("below the domain", mail("bob@sub.example.com"), false),
        ("ends like the domain", mail("bob@notexample.com"), false),
        ("domain in the local part", mail("bob.example.com@evil.example"), false),
        ("two signs", mail("bob@evil.example@example.com"), false),
        ("e-mail", mail("ann@elsewhere.example"), true),
        ("e-mail, folded", mail("Ann@Elsewhere.Example"), true),
        ("other person there", mail("bob@elsewhere.example"), false),
        ("unverified domain", unverified("bob@example.com"), false),
        ("unverified", unverified("ann@elsewhere.example"), false),
        ("hosted", hosted(Some("Example.com"), "b@other.example"), true),
        ("not hosted", hosted(None, "bob@example.com"), false),
        ("hosted elsewhere", hosted(Some("evil.example"), "b@example.com"), false),
        ("not hosted, but listed", hosted(None, "ann@elsewhere.example"), true),
        (
            "hosted, unverified",
            Facts { domain: Domain::Hosted(Some("example.com")), ..unverified("b@example.com") },
            false,
        ),
    ]);
}

#[test]
fn one_entry_of_any_list_admits() {
    let organisations = strings(&["ACME"]);
    let (groups, folded) = (strings(&["x", "Staff"]), strings(&["staff"]));
    let lookalike = strings(&["example.com", "acme"]);
    assert_admitted(&[
        ("nothing known", NONE, false),
        ("organisation", Facts { organisations: &organisations, ..NONE }, true),
        ("group", Facts { groups: &groups, ..NONE }, true),
        ("group in other letters", Facts { groups: &folded, ..NONE }, false),
        ("group, folded", Facts { groups: &folded, folds_groups: true, ..NONE }, true),
        ("groups named like a domain", Facts { groups: &lookalike, ..NONE }, false),
    ]);
}

#[test]
fn nobody_of_a_tenant_that_is_not_listed_comes_in_by_a_group() {
    let tenants = strings(&["8eaef023-2b34-4da1-9baa-8bc8c9d6a490"]);
    let by_tenant = Admission { tenants, ..Admission::default() };
    let narrowed = Admission { groups: strings(&["Staff"]), ..by_tenant.clone() };
    let (own, other) =
        ("8EAEF023-2b34-4da1-9baa-8bc8c9d6a490", "11111111-2222-3333-4444-555555555555");
    let staff = strings(&["Staff"]);
    let cases: [(Option<&str>, &[String], bool, bool); 5] = [
        (Some(own), &[], true, false),
        (Some(own), &staff, true, true),
        (Some(other), &staff, false, false),
        (Some(other), &[], false, false),
        (None, &staff, false, false),
    ];
    for (tenant, groups, plainly, narrowly) in cases {
        let facts = Facts { groups, tenant, ..NONE };
        assert_eq!(admits(&Who::Any(by_tenant.clone()), &facts), plainly, "{tenant:?} {groups:?}");
        assert_eq!(admits(&Who::Any(narrowed.clone()), &facts), narrowly, "{tenant:?} {groups:?}");
    }
}

#[test]
fn groups_give_their_roles_once_and_other_groups_none() {
    let map: BTreeMap<String, String> =
        [("staff", "analyst"), ("boss", "admin"), ("Press", "analyst")]
            .map(|(group, role)| (group.to_owned(), role.to_owned()))
            .into();
    let cases: [(&[&str], bool, &[&str]); 6] = [
        (&[], false, &[]),
        (&["staff", "Press", "x"], false, &["analyst"]),
        (&["boss", "staff", "boss"], false, &["admin", "analyst"]),
        (&["Boss", "admin", "analyst"], false, &[]),
        (&["Boss", "press"], true, &["admin", "analyst"]),
        (&["*", ""], true, &[]),
    ];
    for (groups, folds, expected) in cases {
        assert_eq!(roles(&map, &strings(groups), folds), expected, "{groups:?}");
    }
}

proptest! {
    #[test]
    fn more_entries_never_shut_anybody_out_and_an_unverified_email_never_lets_anybody_in(
        email in "[a-c]{1,2}@[a-c]\\.(com|example)",
        listed in "[a-c]{1,2}@[a-c]\\.(com|example)",
        domain in "[a-c]\\.(com|example)",
        group in "[a-c]",
        more in "[a-c]",
        is_verified in any::<bool>(),
    ) {
        let groups = vec![group];
        let facts = Facts { email: Some(&email), email_is_verified: is_verified, groups: &groups, ..Facts::default() };
        let by_mail = Admission { domains: vec![domain.clone()], emails: vec![listed.clone()], ..Admission::default() };
        let by_both = Admission { groups: vec![more.clone()], ..by_mail.clone() };
        let is_listed = email == listed || email.ends_with(&format!("@{domain}"));
        prop_assert_eq!(admits(&Who::Any(by_mail), &facts), is_verified && is_listed);
        let is_member = groups.contains(&more);
        prop_assert_eq!(admits(&Who::Any(by_both), &facts), is_verified && is_listed || is_member);
    }
}
