//! Hands libFuzzer's bytes to the target `load`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::load::target(data));
