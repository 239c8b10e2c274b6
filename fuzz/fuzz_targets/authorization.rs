//! See `berth::auth::fuzzing::authorization`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| berth::auth::fuzzing::authorization(text));
