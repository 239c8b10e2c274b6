//! The `registry` binary: reads the command line and runs a command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Uploads allocate and free large buffers from many threads, which the system's allocator keeps.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    berth::commands::run(std::env::args_os())
}
