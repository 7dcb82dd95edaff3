//! What crosses modules, in one binary: every test starts what it needs (gateway, database, upstream,
//! browser) on free ports and owns it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    unreachable_pub,
    reason = "tests fail by panicking, and nothing here is seen from outside"
)]

mod accounts_http;
mod answers;
mod application;
mod architecture;
mod attacks;
mod browser;
mod chaos;
mod cli;
mod config;
mod cross_site;
mod demo;
mod docs;
mod events;
mod example_bokeh;
mod example_fastapi;
mod example_front_end;
mod example_radicale;
mod example_websockets;
mod explain;
mod faults;
mod forwarding;
mod fuzz_corpus;
mod harness;
mod hosts;
mod languages;
mod lifecycle;
mod links;
mod mail;
mod moving;
mod observability;
mod openid_provider;
mod own;
mod pages;
mod people;
mod policy_cases;
mod postgres;
mod provider_tls;
mod providers;
mod raw;
mod reading;
mod sessions;
mod staleness;
mod store;
mod streaming;
mod transfer;
mod upstream;
mod websocket;
