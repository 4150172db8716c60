//! The formats of text that the schemas name: each is checked by the type that it is read into, so the schema and the type
//! can't differ.

use std::net::IpAddr;

use crate::diag::Code;
use crate::name::{ByteSize, DeviceName, LibvirtName, MacAddr, Name};

/// One format.
pub(super) struct Format {
    /// As in a schema's `format`.
    pub(super) name: &'static str,
    /// What is said where a text isn't of it.
    pub(super) code: Code,
    /// Reads a text of it; the error is a whole sentence.
    pub(super) check: fn(&str) -> Result<(), String>,
}

fn newtype<T: std::str::FromStr<Err = crate::name::InvalidValue>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(drop).map_err(|error| error.to_string())
}

fn other<T: std::str::FromStr>(text: &str, expected: &'static str) -> Result<(), String> {
    text.parse::<T>().map(drop).map_err(|_| crate::name::InvalidValue::new(text, expected).to_string())
}

/// All formats.
pub(super) const FORMATS: &[Format] = &[
    Format { name: "name", code: Code::InvalidName, check: newtype::<Name> },
    Format { name: "device-name", code: Code::InvalidName, check: newtype::<DeviceName> },
    Format { name: "libvirt-name", code: Code::InvalidName, check: newtype::<LibvirtName> },
    Format { name: "size", code: Code::WrongSize, check: newtype::<ByteSize> },
    Format { name: "mac", code: Code::WrongValue, check: newtype::<MacAddr> },
    Format {
        name: "ip",
        code: Code::WrongValue,
        check: |text| other::<IpAddr>(text, "an IP address such as `10.10.0.9` or `fd00::9`"),
    },
    Format {
        name: "cidr",
        code: Code::WrongValue,
        check: |text| {
            other::<ipnet::IpNet>(text, "an address with the length of its prefix, such as `10.10.0.1/24` or `fd00::1/64`")
        },
    },
    Format { name: "cron", code: Code::WrongValue, check: |text| super::window::cron(text).map(drop) },
    Format { name: "time-zone", code: Code::WrongValue, check: |text| super::window::time_zone(text).map(drop) },
    Format {
        name: "uuid",
        code: Code::WrongValue,
        check: |text| other::<uuid::Uuid>(text, "a UUID such as `5f0c2a9e-2d5c-4c1b-9f53-0f3c8f1c7b52`"),
    },
];

/// The format of that name.
pub(super) fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}
