//! The templates of the pages, and what overrides of them may be called.

/// Every template by name: the shell (`layout`, `fields`), the page of every error, and the pages of the
/// portal.
pub(super) const TEMPLATES: [(&str, &str); 29] = [
    ("layout", include_str!("templates/layout.html")),
    ("fields", include_str!("templates/fields.html")),
    ("error", include_str!("templates/error.html")),
    ("login", include_str!("templates/login.html")),
    ("signed-in", include_str!("templates/signed-in.html")),
    ("logout", include_str!("templates/logout.html")),
    ("farewell", include_str!("templates/farewell.html")),
    ("linking", include_str!("templates/linking.html")),
    ("departure", include_str!("templates/departure.html")),
    ("account", include_str!("templates/account.html")),
    ("setup", include_str!("templates/setup.html")),
    ("setup-over", include_str!("templates/setup-over.html")),
    ("forgot", include_str!("templates/forgot.html")),
    ("check-mail", include_str!("templates/check-mail.html")),
    ("reset-password", include_str!("templates/reset-password.html")),
    ("verify", include_str!("templates/verify.html")),
    ("verified", include_str!("templates/verified.html")),
    ("link-over", include_str!("templates/link-over.html")),
    ("link-lost", include_str!("templates/link-lost.html")),
    ("register", include_str!("templates/register.html")),
    ("request-verify", include_str!("templates/request-verify.html")),
    ("profile", include_str!("templates/profile.html")),
    ("change-email", include_str!("templates/change-email.html")),
    ("change-password", include_str!("templates/change-password.html")),
    ("devices", include_str!("templates/devices.html")),
    ("delete", include_str!("templates/delete.html")),
    ("invitation", include_str!("templates/invitation.html")),
    ("invitation-over", include_str!("templates/invitation-over.html")),
    ("diagnosis", include_str!("templates/diagnosis.html")),
];

/// The style sheet of every page.
pub(super) const STYLE: &str = include_str!("templates/style.css");
