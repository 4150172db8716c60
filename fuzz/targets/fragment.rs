//! Hands libFuzzer's bytes to the target `fragment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::fragment::target(data));
