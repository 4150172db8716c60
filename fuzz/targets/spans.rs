//! Hands libFuzzer's bytes to the target `spans`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::spans::target(data));
