//! Times, sizes and lists as a person reads them at a glance. Rounded: whoever computes with them takes the JSON.

use jiff::Timestamp;

/// How long ago a time of RFC 3339 was: `45s`, `5m`, `3h`, `2d`; `-` where it isn't known.
pub(super) fn age(created_at: &str, now: Timestamp) -> String {
    let Ok(then) = created_at.parse::<Timestamp>() else { return "-".into() };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

const UNITS: [(&str, u64); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

/// A size to three digits or so: `20Gi`, `1.4Gi`, `328Mi`.
pub(super) fn size(bytes: u64) -> String {
    let Some((name, unit)) = UNITS.iter().find(|(_, unit)| bytes >= *unit) else { return bytes.to_string() };
    let tenths = (u128::from(bytes) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
    if tenths.is_multiple_of(10) || tenths >= 1_000 {
        format!("{}{name}", tenths / 10)
    } else {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    }
}

/// Part of a whole in per cent; `-` of nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{}%", u128::from(part) * 100 / u128::from(whole)) }
}

/// A version as libvirt counts it.
pub(super) fn version(number: u64) -> String {
    if number == 0 { "-".into() } else { format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000) }
}

/// The first three of a list and how many more there are; `-` of none.
pub(super) fn few<T: AsRef<str>>(list: &[T]) -> String {
    let first: Vec<&str> = list.iter().take(3).map(AsRef::as_ref).collect();
    match list.len() {
        0 => "-".into(),
        1..=3 => first.join(","),
        more => format!("{} +{}", first.join(","), more - 3),
    }
}

/// A text, or `-` for none.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

/// `yes` or `no`.
pub(super) fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let now: Timestamp = "2024-05-10T12:00:00Z".parse().unwrap();
        for (then, wanted) in [
            ("2024-05-10T11:59:15Z", "45s"),
            ("2024-05-10T11:55:00Z", "5m"),
            ("2024-05-10T08:30:00Z", "3h"),
            ("2024-05-08T11:00:00Z", "2d"),
            ("2024-05-10T12:00:03Z", "0s"),
            ("", "-"),
        ] {
            assert_eq!(age(then, now), wanted, "{then}");
        }
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(20 << 30), "20Gi");
        assert_eq!(size((1 << 30) + (400 << 20)), "1.4Gi");
        assert_eq!(size(343_932_928), "328Mi");
        assert_eq!(size(512), "512");
        assert_eq!(size(u64::MAX), "16Ei");
        assert_eq!(percent(1, 0), "-");
        assert_eq!(percent(u64::MAX / 2, u64::MAX), "49%");
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(few::<&str>(&[]), "-");
        assert_eq!(few(&["a", "b"]), "a,b");
        assert_eq!(few(&["a", "b", "c", "d"]), "a,b,c +1");
    }
}
