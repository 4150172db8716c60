//! Paths of fields as JSON pointers, where an item of a list stands by its key: `/disks/root/bus`, `/ips/10.0.0.1~124/dhcp`.

/// The pointer of these segments.
pub(super) fn join(segments: &[&str]) -> String {
    let mut pointer = String::new();
    for segment in segments {
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// The segments of a pointer.
pub(super) fn split(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_splits_into_what_it_was_joined_from() {
        let segments = ["ips", "10.0.0.1/24", "a~1"];
        assert_eq!(join(&segments), "/ips/10.0.0.1~124/a~01");
        assert_eq!(split(&join(&segments)), segments);
    }
}
