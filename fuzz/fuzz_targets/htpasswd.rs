//! See `berth::auth::fuzzing::htpasswd`.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| berth::auth::fuzzing::htpasswd(content));
