//! Who may do what; knows the words of the specification only.

mod config;

pub use config::*;
