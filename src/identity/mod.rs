//! Who somebody is: users, roles and permissions and their interner, password hashing, tokens,
//! providers that vouch.

pub mod access;
pub mod bearer;
pub mod grant;
pub mod hashing;
pub mod keys;
pub mod password;
pub mod provider;
pub mod sealing;
pub mod user;
