//! Hands libFuzzer's bytes to the target `image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::image::target(data));
