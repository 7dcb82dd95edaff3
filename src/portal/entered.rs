//! What somebody new enters about themselves, on whichever page, and what is wrong with it.

use serde::Serialize;

use super::Portal;
use super::forms::{Browser, Purpose, TOKEN_FIELD};
use crate::accounts::Mistake;
use crate::accounts::visit::{Visit, store_failure};
use crate::identity::user::{Profile, ProfileField};
use crate::web::failure::Failure;
use crate::web::form::Form;
use crate::web::text::Text;

/// What the form shows.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Entered {
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) min_length: usize,
    pub(super) error: Option<Text>,
    pub(super) email_error: Option<Text>,
    pub(super) password_error: Option<Text>,
    pub(super) first_name_error: Option<Text>,
    pub(super) last_name_error: Option<Text>,
    pub(super) token_field: &'static str,
    pub(super) token: String,
}

impl Entered {
    pub(super) fn read(form: &Form) -> Self {
        let field = |name| form.get(name).unwrap_or_default().trim().to_owned();
        Self {
            email: field("email"),
            first_name: field("first_name"),
            last_name: field("last_name"),
            ..Self::default()
        }
    }

    pub(super) fn profile(&self) -> Profile {
        Profile {
            first_name: Some(self.first_name.clone()),
            last_name: Some(self.last_name.clone()),
            ..Profile::default()
        }
    }

    /// Says what is wrong, beside the field it is wrong with if there is one.
    ///
    /// # Errors
    /// What no form can show.
    pub(super) fn complain(&mut self, mistake: Mistake) -> Result<(), Failure> {
        match mistake {
            Mistake::Email => self.email_error = Some(Text::of("email-wrong")),
            Mistake::Domain => self.email_error = Some(Text::of("email-domain")),
            Mistake::Password(reason) => self.password_error = Some(reason.text()),
            Mistake::Profile(ProfileField::FirstName) => {
                self.first_name_error = Some(Text::of("field-wrong"));
            }
            Mistake::Profile(ProfileField::LastName) => {
                self.last_name_error = Some(Text::of("field-wrong"));
            }
            Mistake::Profile(
                ProfileField::Organization | ProfileField::Department | ProfileField::Phone,
            )
            | Mistake::Username
            | Mistake::Role(_)
            | Mistake::Conflict(_) => self.error = Some(Text::of("cannot-store")),
            Mistake::TooMany(after) => return Err(Failure::too_many(after)),
            Mistake::Store(error) => return Err(store_failure(error)),
            mistake @ (Mistake::Closed | Mistake::Session(_)) => return Err(mistake.into()),
        }
        Ok(())
    }
}

impl Portal {
    /// The form as it is shown to a browser.
    pub(super) fn shown_to(
        &self,
        visit: &Visit,
        (browser, purpose): (&Browser, Purpose),
        entered: Entered,
    ) -> Entered {
        Entered {
            min_length: visit.config.accounts.password.min_length,
            token_field: TOKEN_FIELD,
            token: browser.token(self.accounts.sessions(), purpose),
            ..entered
        }
    }
}
