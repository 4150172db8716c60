//! Cases: calls in the order in which they are made, and what is shown in between.

use std::path::PathBuf;

use jvp::manifest::DiskLimits;
use jvp::plan::{Edit, Op, Plug, Section, Side};
use serde::Deserialize;

/// A case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Case {
    /// Which row it is of, and a word.
    pub(crate) name: String,
    /// Whether libvirt's test driver comes to the same outcomes.
    #[serde(default)]
    pub(crate) test_driver: bool,
    /// Whether it shows the hints that each call gives.
    #[serde(default)]
    pub(crate) hints: bool,
    /// The calls.
    pub(crate) steps: Vec<Step>,
}

/// A step: a call of the port's, or something that others do on the node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    PoolDefine(String),
    PoolBuild(String),
    PoolStart(String),
    PoolAutostart(String),
    PoolRefresh(String),
    PoolStop(String),
    PoolUndefine(String),
    NetworkDefine(String),
    NetworkStart(String),
    NetworkAutostart(String),
    NetworkStop(String),
    NetworkUndefine(String),
    DhcpAdd(Dhcp),
    DhcpRemove(Dhcp),
    NetworkUpdate(Update),
    /// Plugs in all guests of a network that are cut off.
    NetworkReplug(String),
    DomainBlockResize(Resize),
    /// Plugs a device in, changes it or unplugs it.
    DomainDevice(Device),
    DomainVcpus(Amount),
    DomainMemory(Amount),
    DomainBlockLimits(Box<Throttle>),
    VolumeCreate(In),
    VolumeClone(In),
    VolumeUpload(Upload),
    VolumeGrow(Grow),
    VolumeDelete(Volume),
    DomainDefine(String),
    DomainValidate(String),
    DomainStart(String),
    DomainShutdown(Shutdown),
    DomainDestroy(String),
    DomainUndefine(Undefine),
    DomainAutostart(String),
    DomainMetadata(Metadata),
    DomainRename(Rename),
    /// Defines what is there once more, with words replaced.
    Redefine(Redefine),
    /// Shows a document, or parts of it.
    Show(Show),
    /// Shows the facts beside a document.
    Facts(String),
    /// `virsh managedsave NAME`, `virsh snapshot NAME`.
    Virsh(String),
    /// Something that only the fake must be told: `ignores NAME`.
    Fake(String),
    /// Makes a raw file of 4096 bytes behind libvirt's back.
    FileMake(String),
    /// Removes a file behind libvirt's back.
    FileRemove(String),
    /// Whether a file is there.
    FileShow(String),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dhcp {
    pub(crate) network: String,
    pub(crate) host: String,
    #[serde(default = "anywhere")]
    pub(crate) index: i32,
}

/// `section: dhcp-host`, `edit: add`, `side: both`, as the plan writes them.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    pub(crate) network: String,
    pub(crate) section: String,
    pub(crate) edit: String,
    #[serde(default)]
    pub(crate) side: String,
    pub(crate) xml: String,
    #[serde(default = "anywhere")]
    pub(crate) index: i32,
}

impl Update {
    pub(crate) fn op(&self) -> Op {
        Op::NetworkUpdate {
            name: self.network.clone(),
            section: match self.section.as_str() {
                "dhcp-host" => Section::DhcpHost,
                "dhcp-range" => Section::DhcpRange,
                "dns-host" => Section::DnsHost,
                other => panic!("what is the section '{other}'?"),
            },
            edit: match self.edit.as_str() {
                "add" => Edit::Add,
                "modify" => Edit::Modify,
                "delete" => Edit::Delete,
                other => panic!("what is the edit '{other}'?"),
            },
            xml: self.xml.clone(),
            parent_index: self.index,
            side: match self.side.as_str() {
                "" | "both" => Side::Both,
                "live" => Side::Live,
                "definition" => Side::Definition,
                other => panic!("what is the side '{other}'?"),
            },
        }
    }
}

/// A device of a domain, and which documents are changed.
#[derive(Debug, Deserialize)]
pub(crate) struct Device {
    pub(crate) domain: String,
    pub(crate) how: How,
    #[serde(default)]
    pub(crate) live: bool,
    #[serde(default)]
    pub(crate) config: bool,
    pub(crate) xml: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    Attach,
    Update,
    Detach,
}

impl From<How> for Plug {
    fn from(how: How) -> Self {
        match how {
            How::Attach => Self::Attach,
            How::Update => Self::Update,
            How::Detach => Self::Detach,
        }
    }
}

/// How many vCPUs a domain has, or how much memory in KiB.
#[derive(Debug, Deserialize)]
pub(crate) struct Amount {
    pub(crate) domain: String,
    pub(crate) to: u32,
    #[serde(default)]
    pub(crate) live: bool,
    #[serde(default)]
    pub(crate) config: bool,
}

/// What a disk may read and write, as a manifest says it.
#[derive(Debug, Deserialize)]
pub(crate) struct Throttle {
    pub(crate) domain: String,
    pub(crate) target: String,
    pub(crate) limits: DiskLimits,
    #[serde(default)]
    pub(crate) live: bool,
    #[serde(default)]
    pub(crate) config: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resize {
    pub(crate) domain: String,
    pub(crate) target: String,
    pub(crate) pool: String,
    pub(crate) volume: String,
    pub(crate) to: u64,
}

fn anywhere() -> i32 {
    -1
}

#[derive(Debug, Deserialize)]
pub(crate) struct In {
    pub(crate) pool: String,
    #[serde(default)]
    pub(crate) from: String,
    pub(crate) xml: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Upload {
    pub(crate) pool: String,
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: usize,
    /// The size in its qcow2 header; raw bytes without.
    pub qcow2: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Grow {
    pub(crate) pool: String,
    pub(crate) name: String,
    pub(crate) to: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Volume {
    pub(crate) pool: String,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shutdown {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) power_off: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Undefine {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) nvram: bool,
    #[serde(default)]
    pub(crate) saved: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) mark: Option<String>,
    #[serde(default)]
    pub(crate) live: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rename {
    pub(crate) name: String,
    pub(crate) to: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Redefine {
    /// `domain a`, `network b`, `pool c`.
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) replace: Vec<(String, String)>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Show {
    /// `domain a`, `live domain a`, `network b`, `pool c`, `volume c d`.
    pub(crate) what: String,
    /// Paths of elements below the root; the whole document without.
    #[serde(default)]
    pub(crate) parts: Vec<String>,
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/host/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        // By way of JSON: a step is a mapping of one key, which the YAML reader would take for a tag only.
        let read: serde_json::Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let read: Vec<Case> = serde_json::from_value(read).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        cases.extend(read);
    }
    for (index, case) in cases.iter().enumerate() {
        assert!(cases[..index].iter().all(|other| other.name != case.name), "{} is there twice", case.name);
    }
    cases
}
