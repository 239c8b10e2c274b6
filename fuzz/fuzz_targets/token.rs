//! See `berth::auth::fuzzing::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| berth::auth::fuzzing::token(text));
