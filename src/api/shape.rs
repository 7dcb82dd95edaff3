//! The bodies that the JSON endpoints take, one table each: what is read, what is complained about and
//! what the document of the API says come from the same rows.

/// A JSON body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    /// Its name in the document.
    pub(super) name: &'static str,
    /// The fields are parameters of their own, as `FastAPI` has it: what is no object has none of them,
    /// and is not complained about as a whole.
    pub(super) is_embedded: bool,
    /// Its fields, in the order of complaints, in groups that several bodies have.
    groups: &'static [&'static [Field]],
}

impl Shape {
    /// Its fields, in the order of complaints.
    pub(super) fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.groups.iter().copied().flatten()
    }
}

/// A field of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_needed: bool,
    pub(super) null: Null,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An e-mail address.
    Email,
    /// A text.
    Text,
    /// A password.
    Password,
    /// A list of texts.
    List,
    /// Yes or no, in any of the spellings that pydantic takes for one.
    Flag,
}

/// What `null` means in a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Null {
    /// It is refused.
    Refused,
    /// As if the field were not there.
    Absent,
    /// A text of nothing: what is there is removed.
    Empty,
}

const fn needed(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_needed: true, null: Null::Refused }
}

const fn optional(name: &'static str, kind: Kind, null: Null) -> Field {
    Field { name, kind, is_needed: false, null }
}

const EMAIL: Field = needed("email", Kind::Email);
const PASSWORD: Field = needed("password", Kind::Password);
const TOKEN: Field = needed("token", Kind::Text);
const NEW_EMAIL: Field = optional("email", Kind::Email, Null::Refused);
const NEW_PASSWORD: Field = optional("password", Kind::Password, Null::Absent);
const CURRENT_PASSWORD: Field = optional("current_password", Kind::Password, Null::Absent);
const NAMES: &[Field] = &[
    optional("first_name", Kind::Text, Null::Empty),
    optional("last_name", Kind::Text, Null::Empty),
];
const WORK: &[Field] = &[
    optional("organization", Kind::Text, Null::Empty),
    optional("department", Kind::Text, Null::Empty),
    optional("phone", Kind::Text, Null::Empty),
];
/// Flags that are read and left out.
const FLAGS_IN_VAIN: &[Field] = &flags(Null::Absent);
const FLAGS: &[Field] = &flags(Null::Refused);

const fn flags(null: Null) -> [Field; 3] {
    [
        optional("is_active", Kind::Flag, null),
        optional("is_superuser", Kind::Flag, null),
        optional("is_verified", Kind::Flag, null),
    ]
}

/// `POST register`.
pub(super) const REGISTER: Shape = Shape {
    name: "UserCreate",
    is_embedded: false,
    groups: &[
        &[EMAIL, PASSWORD],
        FLAGS_IN_VAIN,
        NAMES,
        WORK,
        &[optional("invitation", Kind::Text, Null::Absent)],
    ],
};

/// `POST invitations`.
pub(super) const INVITE: Shape = Shape {
    name: "InvitationCreate",
    is_embedded: false,
    groups: &[&[EMAIL, optional("roles", Kind::List, Null::Absent)], NAMES],
};

/// `PATCH users/me`.
pub(super) const OWN_CHANGE: Shape = Shape {
    name: "OwnUpdate",
    is_embedded: false,
    groups: &[&[NEW_PASSWORD, NEW_EMAIL], FLAGS_IN_VAIN, NAMES, WORK, &[CURRENT_PASSWORD]],
};

/// `PATCH users/{id}`. The current password is that of a superuser who changes their own account.
pub(super) const CHANGE: Shape = Shape {
    name: "UserUpdate",
    is_embedded: false,
    groups: &[&[NEW_PASSWORD, NEW_EMAIL], FLAGS, NAMES, WORK, &[CURRENT_PASSWORD]],
};

/// `POST forgot-password` and `POST request-verify-token`.
pub(super) const ASK: Shape = Shape { name: "EmailBody", is_embedded: true, groups: &[&[EMAIL]] };

/// `POST verify`.
pub(super) const VERIFY: Shape =
    Shape { name: "TokenBody", is_embedded: true, groups: &[&[TOKEN]] };

/// `POST reset-password`.
pub(super) const RESET: Shape =
    Shape { name: "ResetBody", is_embedded: true, groups: &[&[TOKEN, PASSWORD]] };
