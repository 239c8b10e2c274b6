//! See `berth::auth::fuzzing::scopes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| berth::auth::fuzzing::scopes(text));
