//! One file for each subcommand of the `registry` binary.
