//! Sizes as libvirt reads them: a whole number and a unit of any case.

/// Bytes of a number in a unit; none where either is malformed.
pub(super) fn bytes(number: &str, unit: &str) -> Option<u64> {
    let number: u64 = if number.bytes().all(|byte| byte.is_ascii_digit()) { number.parse().ok()? } else { return None };
    let unit = unit.to_ascii_lowercase();
    let factor: u64 = match unit.as_str() {
        "b" | "byte" | "bytes" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "p" | "pib" => 1 << 50,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The same in KiB, rounded up; libvirt's default unit for memory is KiB.
pub(super) fn kib(number: &str, unit: Option<&str>) -> Option<u64> {
    bytes(number, unit.unwrap_or("KiB")).map(|bytes| bytes.div_ceil(1024))
}
