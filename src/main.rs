//! The `portcullis` program: sets what must be set once in a process and runs the command line.

use std::process::ExitCode;

/// Small allocations on many threads are what the data plane does all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A second installation is refused, and there is none before this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    portcullis::cli::run(std::env::args_os())
}
