//! Hands libFuzzer's bytes to the target `ledger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jvp_fuzz::ledger::target(data));
