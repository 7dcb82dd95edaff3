//! Changing one's own profile, e-mail and password. The last two ask for the current password.

use http::StatusCode;
use secrecy::SecretString;
use serde::Serialize;

use super::account::sign_in_first;
use super::forms::{Purpose, TOKEN_FIELD, is_of_session, session_token};
use super::{Portal, render};
use crate::accounts::visit::{Answer, Visit, form_failure, see_other, store_failure};
use crate::accounts::{Change, ChangeError, Confirmation, Mistake, OwnChange};
use crate::identity::user::{Profile, ProfileField};
use crate::session::Identity;
use crate::store::Conflict;
use crate::web::failure::Failure;
use crate::web::form::{Form, RequestBody};
use crate::web::text::Text;

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Changing {
    Profile,
    Email,
    Password,
}

impl Changing {
    const fn purpose(self) -> Purpose {
        match self {
            Self::Profile => Purpose::Profile,
            Self::Email => Purpose::Email,
            Self::Password => Purpose::Password,
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Email => "change-email",
            Self::Password => "change-password",
        }
    }

    /// As the account page is told of it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Password => "password",
        }
    }
}

/// What the forms show; each takes what it needs.
#[derive(Clone, Debug, Default, Serialize)]
struct Shown {
    current_email: String,
    /// Who has no password is not asked for one.
    has_password: bool,
    email: String,
    first_name: String,
    last_name: String,
    organization: String,
    department: String,
    phone: String,
    min_length: usize,
    error: Option<Text>,
    current_error: Option<Text>,
    email_error: Option<Text>,
    password_error: Option<Text>,
    first_name_error: Option<Text>,
    last_name_error: Option<Text>,
    organization_error: Option<Text>,
    department_error: Option<Text>,
    phone_error: Option<Text>,
    token_field: &'static str,
    token: String,
}

impl Portal {
    /// GET: the form; to the sign-in page for nobody.
    pub(super) async fn show_change(
        &self,
        visit: &Visit,
        what: Changing,
    ) -> Result<Answer, Failure> {
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let user = identity.user();
        let field = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let shown = Shown {
            first_name: field(user.first_name()),
            last_name: field(user.last_name()),
            organization: field(user.organization()),
            department: field(user.department()),
            phone: field(user.phone()),
            ..Shown::default()
        };
        self.change_form(visit, identity, what, (StatusCode::OK, shown)).await
    }

    /// POST: makes the change, and goes back to the account.
    pub(super) async fn change<B: RequestBody>(
        &self,
        visit: &Visit,
        what: Changing,
        body: B,
    ) -> Result<Answer, Failure> {
        let form = Form::read(&visit.headers, body).await.map_err(|error| form_failure(&error))?;
        let Some((identity, _)) = visit.identity()? else { return Ok(sign_in_first(visit)) };
        let mut shown = read_shown(&form);
        let sessions = self.accounts.sessions();
        if !is_of_session(sessions, what.purpose(), identity, form.get(TOKEN_FIELD)) {
            shown.error = Some(Text::of("form-out-of-date"));
            let shown = (StatusCode::FORBIDDEN, shown);
            return self.change_form(visit, identity, what, shown).await;
        }
        let from = visit.actor();
        let asked = OwnChange {
            identity,
            change: change_of(what, &shown, &form),
            confirmation: confirmation_of(&form),
            from: &from,
        };
        match self.accounts.change_own(asked).await {
            Ok(_) => {
                let portal = &visit.config.portal.path;
                Ok(see_other(&format!("{portal}/account?done={}", what.as_str())))
            }
            Err(ChangeError::Gone) => Ok(sign_in_first(visit)),
            Err(error) => {
                complain(&mut shown, error)?;
                let shown = (StatusCode::UNPROCESSABLE_ENTITY, shown);
                self.change_form(visit, identity, what, shown).await
            }
        }
    }

    async fn change_form(
        &self,
        visit: &Visit,
        identity: &Identity,
        what: Changing,
        (status, mut shown): (StatusCode, Shown),
    ) -> Result<Answer, Failure> {
        shown.current_email = identity.user().email.to_string();
        shown.has_password = self.has_password(identity).await?;
        shown.min_length = visit.config.accounts.password.min_length;
        shown.token_field = TOKEN_FIELD;
        shown.token = session_token(self.accounts.sessions(), what.purpose(), identity);
        Ok(render(visit, what.template(), status, shown))
    }

    /// Whether somebody has a password at all: who came by a provider may have none.
    pub(super) async fn has_password(&self, identity: &Identity) -> Result<bool, Failure> {
        let user = self.accounts.find_user(identity.user().id).await.map_err(store_failure)?;
        Ok(user.is_some_and(|user| user.password_hash.is_some()))
    }
}

/// The current password as it was typed.
pub(super) fn confirmation_of(form: &Form) -> Confirmation {
    let typed = form.get("current_password").filter(|typed| !typed.is_empty());
    Confirmation::Asked(typed.map(SecretString::from))
}

/// What is wrong with a current password; anything else is given back.
pub(super) fn unconfirmed(error: ChangeError) -> Result<Text, ChangeError> {
    match error {
        ChangeError::Unconfirmed => Ok(Text::of("current-missing")),
        ChangeError::WrongPassword => Ok(Text::of("current-wrong")),
        other @ (ChangeError::NotRecent
        | ChangeError::TooMany(_)
        | ChangeError::Gone
        | ChangeError::Mistake(_)
        | ChangeError::Session(_)) => Err(other),
    }
}

/// What no form can show.
pub(super) fn change_failure(error: ChangeError) -> Failure {
    match error {
        ChangeError::TooMany(after) => {
            Failure::too_many(after).explanation(Text::of("link-too-many"))
        }
        ChangeError::Mistake(Mistake::Store(error)) => store_failure(error),
        other @ (ChangeError::Unconfirmed
        | ChangeError::WrongPassword
        | ChangeError::NotRecent
        | ChangeError::Gone
        | ChangeError::Mistake(_)
        | ChangeError::Session(_)) => other.into(),
    }
}

/// Says what is wrong beside the field it is wrong with.
fn complain(shown: &mut Shown, error: ChangeError) -> Result<(), Failure> {
    let mistake = match unconfirmed(error) {
        Ok(text) => {
            shown.current_error = Some(text);
            return Ok(());
        }
        Err(ChangeError::NotRecent) => {
            shown.error = Some(Text::of("not-recent"));
            return Ok(());
        }
        Err(ChangeError::Mistake(mistake)) => mistake,
        Err(error) => return Err(change_failure(error)),
    };
    let wrong = || Some(Text::of("field-wrong"));
    match mistake {
        Mistake::Email => shown.email_error = Some(Text::of("email-wrong")),
        Mistake::Domain => shown.email_error = Some(Text::of("email-domain")),
        Mistake::Conflict(Conflict::Email) => shown.email_error = Some(Text::of("email-taken")),
        Mistake::Password(reason) => shown.password_error = Some(reason.text()),
        Mistake::Profile(field) => match field {
            ProfileField::FirstName => shown.first_name_error = wrong(),
            ProfileField::LastName => shown.last_name_error = wrong(),
            ProfileField::Organization => shown.organization_error = wrong(),
            ProfileField::Department => shown.department_error = wrong(),
            ProfileField::Phone => shown.phone_error = wrong(),
        },
        other @ (Mistake::Username
        | Mistake::Role(_)
        | Mistake::Closed
        | Mistake::TooMany(_)
        | Mistake::Conflict(_)
        | Mistake::Store(_)
        | Mistake::Session(_)) => return Err(change_failure(ChangeError::Mistake(other))),
    }
    Ok(())
}

/// What a form asks for. A password of nothing is judged like any other.
fn change_of(what: Changing, shown: &Shown, form: &Form) -> Change {
    match what {
        Changing::Profile => Change {
            profile: Profile {
                first_name: Some(shown.first_name.clone()),
                last_name: Some(shown.last_name.clone()),
                organization: Some(shown.organization.clone()),
                department: Some(shown.department.clone()),
                phone: Some(shown.phone.clone()),
            },
            ..Change::default()
        },
        Changing::Email => Change { email: Some(shown.email.clone()), ..Change::default() },
        Changing::Password => {
            let password = form.get("password").unwrap_or_default();
            Change { password: Some(password.into()), ..Change::default() }
        }
    }
}

fn read_shown(form: &Form) -> Shown {
    let field = |name| form.get(name).unwrap_or_default().trim().to_owned();
    Shown {
        email: field("email"),
        first_name: field("first_name"),
        last_name: field("last_name"),
        organization: field("organization"),
        department: field("department"),
        phone: field("phone"),
        ..Shown::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::page_of;
    use super::*;

    #[tokio::test]
    async fn out_02_every_field_keeps_what_was_typed_as_the_words_it_is() {
        let markup = || "\" onfocus=\"alert(1)".to_owned();
        let shown = Shown {
            current_email: "ann@example.com".into(),
            has_password: true,
            email: markup(),
            first_name: markup(),
            last_name: markup(),
            organization: markup(),
            department: markup(),
            phone: markup(),
            ..Shown::default()
        };
        for (what, fields) in
            [(Changing::Profile, 5), (Changing::Email, 1), (Changing::Password, 0)]
        {
            let page = page_of(what.template(), shown.clone()).await;
            let kept = page.matches("value=\"&quot; onfocus=&quot;alert(1)\"").count();
            assert_eq!(kept, fields, "{what:?}: {page}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_beside_its_field() {
        let mistake = |mistake| ChangeError::Mistake(mistake);
        for (error, what, marked) in [
            (ChangeError::Unconfirmed, Changing::Email, "current_password-error"),
            (ChangeError::WrongPassword, Changing::Password, "current_password-error"),
            (mistake(Mistake::Email), Changing::Email, "email-error"),
            (mistake(Mistake::Domain), Changing::Email, "email-error"),
            (mistake(Mistake::Conflict(Conflict::Email)), Changing::Email, "email-error"),
            (mistake(Mistake::Profile(ProfileField::Phone)), Changing::Profile, "phone-error"),
            (
                mistake(Mistake::Profile(ProfileField::Department)),
                Changing::Profile,
                "department-error",
            ),
        ] {
            let mut shown = Shown { has_password: true, ..Shown::default() };
            assert!(complain(&mut shown, error).is_ok());
            let page = page_of(what.template(), shown).await;
            assert!(page.contains(&format!("aria-describedby=\"{marked}\"")), "{marked}: {page}");
        }
        let page = page_of("change-email", Shown::default()).await;
        assert!(!page.contains("type=\"password\""), "who has none is asked for none: {page}");
    }
}
