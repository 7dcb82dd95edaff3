//! Many accounts or roles at once: from a file into the database, all or nothing, and back.
//!
//! `read` turns JSON lines and CSV into records, `record` an account's record into what is stored,
//! `people` puts a file of accounts in force and writes one, `roles` does so with roles, and `foreign` reads
//! what other programs call an account. Kept out:
//! where a file comes from, and asking whether it is meant.

mod foreign;
mod people;
mod read;
mod record;
mod roles;

pub use foreign::Meaning;
pub use people::{ExportError, Step, Summary, UserImport};
pub use read::{Fault, Faults, Format};
pub use roles::{MAX_DESCRIPTION, RoleImport, RoleSummary};
