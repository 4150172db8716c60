//! Which of many cases a run of the tests takes: a few, that a number chooses, or with `JVP_TEST_CALLS=all` all of them. The number is
//! another one each time and is told; `JVP_TEST_CALLS=N` takes those of a number again.

#![allow(dead_code, clippy::panic, clippy::print_stderr, reason = "each test uses its part, and tells which sample it took")]

/// The number that chooses; none where all are to be taken. `what` says what is taken of what.
pub(crate) fn chosen(what: &str) -> Option<u64> {
    let said = std::env::var("JVP_TEST_CALLS").ok();
    if said.as_deref() == Some("all") {
        return None;
    }
    let wrong = |said: &String| said.parse().unwrap_or_else(|_| panic!("JVP_TEST_CALLS is `all` or a number, and not {said}"));
    let number = said.as_ref().map_or_else(|| u64::from(std::process::id()), wrong);
    eprintln!("{what}: JVP_TEST_CALLS={number} takes these again, JVP_TEST_CALLS=all takes all");
    Some(number)
}

/// A number below `bound` that follows from the one that chooses and from what it is for, and says nothing of what it is for others.
pub(crate) fn below(number: u64, what: &str, bound: u64) -> u64 {
    let mixed = what.bytes().fold(mix(number), |mixed, byte| mix(mixed ^ u64::from(byte)));
    mixed % bound.max(1)
}

/// Of many cases each so manieth, or all.
pub(crate) fn sampled<T>(cases: Vec<T>, stride: usize, what: &str) -> Vec<T> {
    match chosen(what) {
        Some(number) => {
            let first = usize::try_from(below(number, what, stride as u64)).unwrap_or_default();
            cases.into_iter().skip(first).step_by(stride).collect()
        }
        None => cases,
    }
}

/// One step of splitmix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
