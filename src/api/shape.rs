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
    /// Its fields, in the order of complaints.
    pub(super) fields: &'static [Field],
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
const FIRST_NAME: Field = optional("first_name", Kind::Text, Null::Empty);
const LAST_NAME: Field = optional("last_name", Kind::Text, Null::Empty);
const ORGANIZATION: Field = optional("organization", Kind::Text, Null::Empty);
const DEPARTMENT: Field = optional("department", Kind::Text, Null::Empty);
const PHONE: Field = optional("phone", Kind::Text, Null::Empty);

const fn flag(name: &'static str, null: Null) -> Field {
    optional(name, Kind::Flag, null)
}

/// `POST register`. The flags are read and left out.
pub(super) const REGISTER: Shape = Shape {
    name: "UserCreate",
    is_embedded: false,
    fields: &[
        EMAIL,
        PASSWORD,
        flag("is_active", Null::Absent),
        flag("is_superuser", Null::Absent),
        flag("is_verified", Null::Absent),
        FIRST_NAME,
        LAST_NAME,
        ORGANIZATION,
        DEPARTMENT,
        PHONE,
        optional("invitation", Kind::Text, Null::Absent),
    ],
};

/// `POST invitations`.
pub(super) const INVITE: Shape = Shape {
    name: "InvitationCreate",
    is_embedded: false,
    fields: &[EMAIL, optional("roles", Kind::List, Null::Absent), FIRST_NAME, LAST_NAME],
};

/// `PATCH users/me`. The flags are read and left out.
pub(super) const OWN_CHANGE: Shape = Shape {
    name: "OwnUpdate",
    is_embedded: false,
    fields: &[
        NEW_PASSWORD,
        NEW_EMAIL,
        flag("is_active", Null::Absent),
        flag("is_superuser", Null::Absent),
        flag("is_verified", Null::Absent),
        FIRST_NAME,
        LAST_NAME,
        ORGANIZATION,
        DEPARTMENT,
        PHONE,
        optional("current_password", Kind::Password, Null::Absent),
    ],
};

/// `PATCH users/{id}`. The current password is that of a superuser who changes their own account.
pub(super) const CHANGE: Shape = Shape {
    name: "UserUpdate",
    is_embedded: false,
    fields: &[
        NEW_PASSWORD,
        NEW_EMAIL,
        flag("is_active", Null::Refused),
        flag("is_superuser", Null::Refused),
        flag("is_verified", Null::Refused),
        FIRST_NAME,
        LAST_NAME,
        ORGANIZATION,
        DEPARTMENT,
        PHONE,
        optional("current_password", Kind::Password, Null::Absent),
    ],
};

/// `POST forgot-password` and `POST request-verify-token`.
pub(super) const ASK: Shape = Shape { name: "EmailBody", is_embedded: true, fields: &[EMAIL] };

/// `POST verify`.
pub(super) const VERIFY: Shape = Shape { name: "TokenBody", is_embedded: true, fields: &[TOKEN] };

/// `POST reset-password`.
pub(super) const RESET: Shape =
    Shape { name: "ResetBody", is_embedded: true, fields: &[TOKEN, PASSWORD] };
