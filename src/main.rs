//! The `registry` binary: reads the command line and runs a command.

fn main() {}
