//! What the gateway depends on fails: database, upstream, client, and too much of everything at once.
//! Each fault ends as the specification says, within its deadline, and the gateway serves on without
//! help.

mod client;
mod database;
mod load;
mod scripted;
mod upstream;
