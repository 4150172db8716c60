//! Hands libFuzzer's bytes to the target `xml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::xml::target(data));
