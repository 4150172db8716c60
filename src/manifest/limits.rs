//! What a disk may read and write.
//!
//! The order of the limits is libvirt's: a rate's burst stands six places behind it, and how long that may last another seven.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::ByteSize;

/// The most that QEMU takes of anything a second.
pub const MOST: u64 = 1_000_000_000_000_000;

/// What a disk may read and write. What is left out has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskLimits {
    /// Bytes a second, read and written together. Not beside `readBytesPerSecond` or `writeBytesPerSecond`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<ByteSize>,
    /// Bytes read a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<ByteSize>,
    /// Bytes written a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second: Option<ByteSize>,
    /// Operations a second, reads and writes together. Not beside `readIOPS` or `writeIOPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub iops: Option<u64>,
    /// Reads a second.
    #[serde(rename = "readIOPS", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub read_iops: Option<u64>,
    /// Writes a second.
    #[serde(rename = "writeIOPS", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub write_iops: Option<u64>,
    /// For a burst, instead of `bytesPerSecond`; at least that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second_max: Option<ByteSize>,
    /// For a burst, instead of `readBytesPerSecond`; at least that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second_max: Option<ByteSize>,
    /// For a burst, instead of `writeBytesPerSecond`; at least that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_bytes_per_second_max: Option<ByteSize>,
    /// For a burst, instead of `iops`; at least that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub iops_max: Option<u64>,
    /// For a burst, instead of `readIOPS`; at least that.
    #[serde(rename = "readIOPSMax", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub read_iops_max: Option<u64>,
    /// For a burst, instead of `writeIOPS`; at least that.
    #[serde(rename = "writeIOPSMax", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub write_iops_max: Option<u64>,
    /// The size from which one operation counts as several. Needs a limit of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iops_size: Option<ByteSize>,
    /// How many seconds a burst at `bytesPerSecondMax` may last. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub bytes_per_second_max_length: Option<u64>,
    /// How many seconds a burst at `readBytesPerSecondMax` may last. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub read_bytes_per_second_max_length: Option<u64>,
    /// How many seconds a burst at `writeBytesPerSecondMax` may last. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub write_bytes_per_second_max_length: Option<u64>,
    /// How many seconds a burst at `iopsMax` may last. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub iops_max_length: Option<u64>,
    /// How many seconds a burst at `readIOPSMax` may last. Default: 1.
    #[serde(rename = "readIOPSMaxLength", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub read_iops_max_length: Option<u64>,
    /// How many seconds a burst at `writeIOPSMax` may last. Default: 1.
    #[serde(rename = "writeIOPSMaxLength", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_u64))]
    pub write_iops_max_length: Option<u64>,
}

/// One limit.
struct Limit {
    /// Its name in a manifest.
    name: &'static str,
    get: fn(&DiskLimits) -> Option<u64>,
    set: fn(&mut DiskLimits, Option<u64>),
}

trait Count {
    fn count(self) -> u64;
    fn of(count: u64) -> Self;
}

impl Count for u64 {
    fn count(self) -> u64 {
        self
    }
    fn of(count: u64) -> Self {
        count
    }
}

impl Count for ByteSize {
    fn count(self) -> u64 {
        self.bytes()
    }
    fn of(count: u64) -> Self {
        Self::from_bytes(count)
    }
}

macro_rules! limits {
    ($($name:literal $field:ident,)*) => {
        [$(Limit {
            name: $name,
            get: |limits| limits.$field.map(Count::count),
            set: |limits, count| limits.$field = count.map(Count::of),
        },)*]
    };
}

/// How many limits there are.
pub const LIMITS: usize = 19;

/// All limits.
static ALL: [Limit; LIMITS] = limits![
    "bytesPerSecond" bytes_per_second,
    "readBytesPerSecond" read_bytes_per_second,
    "writeBytesPerSecond" write_bytes_per_second,
    "iops" iops,
    "readIOPS" read_iops,
    "writeIOPS" write_iops,
    "bytesPerSecondMax" bytes_per_second_max,
    "readBytesPerSecondMax" read_bytes_per_second_max,
    "writeBytesPerSecondMax" write_bytes_per_second_max,
    "iopsMax" iops_max,
    "readIOPSMax" read_iops_max,
    "writeIOPSMax" write_iops_max,
    "iopsSize" iops_size,
    "bytesPerSecondMaxLength" bytes_per_second_max_length,
    "readBytesPerSecondMaxLength" read_bytes_per_second_max_length,
    "writeBytesPerSecondMaxLength" write_bytes_per_second_max_length,
    "iopsMaxLength" iops_max_length,
    "readIOPSMaxLength" read_iops_max_length,
    "writeIOPSMaxLength" write_iops_max_length,
];

impl DiskLimits {
    /// How many rates there are; they come first.
    pub const RATES: usize = 6;

    /// Each limit's name and what it is.
    pub fn all(&self) -> [(&'static str, Option<u64>); LIMITS] {
        ALL.each_ref().map(|limit| (limit.name, (limit.get)(self)))
    }

    /// What the limit at a place is.
    pub fn get(&self, place: usize) -> Option<u64> {
        ALL.get(place).and_then(|limit| (limit.get)(self))
    }

    /// Sets the limit at a place; none takes it out.
    pub fn set(&mut self, place: usize, count: Option<u64>) {
        if let Some(limit) = ALL.get(place) {
            (limit.set)(self, count);
        }
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The name of the limit at a place.
    pub fn name(place: usize) -> &'static str {
        ALL.get(place).map_or("", |limit| limit.name)
    }

    /// The place of the burst of a rate.
    pub const fn burst_of(rate: usize) -> usize {
        rate + 6
    }

    /// The place of how long the burst of a rate may last.
    pub const fn length_of(rate: usize) -> usize {
        rate + 13
    }

    /// Whether a rate is one of operations, not of bytes.
    pub const fn counts_operations(rate: usize) -> bool {
        rate >= 3 && rate < Self::RATES
    }

    /// The place of the size from which one operation counts as several.
    pub const SIZE: usize = 12;

    /// The rates that can't stand beside a rate: the sum beside its parts.
    pub const fn excluded_by(rate: usize) -> &'static [usize] {
        match rate {
            0 => &[1, 2],
            1 | 2 => &[0],
            3 => &[4, 5],
            4 | 5 => &[3],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_its_length_are_those_of_their_rate() {
        for rate in 0..DiskLimits::RATES {
            let name = DiskLimits::name(rate);
            assert_eq!(DiskLimits::name(DiskLimits::burst_of(rate)), format!("{name}Max"));
            assert_eq!(DiskLimits::name(DiskLimits::length_of(rate)), format!("{name}MaxLength"));
        }
        assert_eq!(DiskLimits::name(DiskLimits::SIZE), "iopsSize");
    }

    #[test]
    fn a_limit_is_read_and_written_under_its_name() {
        for place in 0..LIMITS {
            let mut limits = DiskLimits::default();
            limits.set(place, Some(4096));
            let value = serde_json::to_value(&limits).unwrap();
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys, [DiskLimits::name(place)]);
            assert_eq!(limits.get(place), Some(4096));
            assert_eq!(serde_json::from_value::<DiskLimits>(value).unwrap(), limits);
        }
    }
}
