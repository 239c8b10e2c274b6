//! See `berth::auth::fuzzing::key_set`.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| berth::auth::fuzzing::key_set(content));
