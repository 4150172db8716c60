//! The table of diagnostic codes: one row a rule, with the words that `jvp explain` shows.

use std::fmt;

use super::Severity;

/// One row of the table.
#[derive(Debug)]
pub struct CodeRow {
    /// Such as `JVP0102`. Never given to another rule.
    pub code: &'static str,
    /// In words, for people who silence or search.
    pub name: &'static str,
    /// How bad it is where nobody says otherwise.
    pub severity: Severity,
    /// What the rule is, why, and what to do.
    pub docs: &'static str,
}

macro_rules! codes {
    ($($variant:ident $code:literal $name:literal $severity:ident $docs:literal)*) => {
        /// A rule that the user's text can break.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $docs] $variant,)*
        }

        impl Code {
            /// All rules, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The rule's row.
            pub fn row(self) -> &'static CodeRow {
                match self {
                    $(Self::$variant => &CodeRow { code: $code, name: $name, severity: Severity::$severity, docs: $docs },)*
                }
            }
        }
    };
}

// 00xx: files · 01xx: YAML · 02xx: the schema · 03xx: one object · 04xx: a set of objects
codes! {
    Unreadable "JVP0001" "unreadable-file" Error "A file or folder given with `-f` can't be opened or read. Its path, or the right to read it, has to be put right."
    NotText "JVP0002" "not-text" Error "A manifest is UTF-8 text. This file holds bytes that are none: it is probably an image or an archive with the wrong name."
    TooLarge "JVP0003" "file-too-large" Error "A manifest may have 16 MiB. Larger files are never read: large data belongs beside the manifest, not in it."
    LinkOutside "JVP0004" "link-outside" Error "A symbolic link leads out of the folder that was given. Links are followed within it only, so that a checkout can't make jvp read other files."
    NoManifest "JVP0005" "no-manifest" Error "A folder or file that was given holds no manifest at all. Folders are searched for `*.yaml` and `*.yml`; hidden ones are passed over."
    NotSupported "JVP0006" "not-supported" Error "Manifests come from files, folders, standard input and http or https URLs. What else lies in a repository or a registry has to be fetched first."
    Syntax "JVP0101" "yaml-syntax" Error "The file isn't YAML. Nothing after the place shown could be read."
    Tabs "JVP0102" "yaml-tabs" Error "YAML indents with spaces; a tab before the first word of a line isn't allowed."
    TooDeep "JVP0103" "yaml-too-deep" Error "Mappings and lists may lie 128 deep. No manifest needs more; a file that does is damaged or meant to harm."
    TooBig "JVP0104" "yaml-too-big" Error "What the file holds, with its aliases written out, is more than a manifest may hold."
    DuplicateKey "JVP0105" "duplicate-key" Error "A mapping holds one key twice. YAML readers differ in which one wins, so neither is taken."
    MergeKey "JVP0106" "merge-key" Error "Merge keys (`<<`) are no part of YAML 1.2. The fields have to be written out."
    Tag "JVP0107" "yaml-tag" Error "A tag other than YAML's own (`!!str`, `!!int` …) means nothing in a manifest."
    KeyType "JVP0108" "key-not-a-word" Error "A key of a mapping has to be a word, not a list or a mapping."
    NotAnObject "JVP0201" "not-an-object" Error "A document of a manifest is a mapping with `apiVersion`, `kind`, `metadata` and `spec`."
    UnknownVersion "JVP0202" "unknown-version" Error "`apiVersion` names a language that this jvp doesn't speak."
    UnknownKind "JVP0203" "unknown-kind" Error "`kind` names no kind of this language."
    UnknownField "JVP0204" "unknown-field" Error "A field that the kind doesn't have. Unknown fields are refused, for a misspelt one would be ignored without a word."
    MissingField "JVP0205" "missing-field" Error "A field that the object can't do without isn't there."
    WrongType "JVP0206" "wrong-type" Error "The value has another type than the field: text instead of a number, a list instead of a mapping. Text that looks like a number, a truth value or nothing needs quotes."
    WrongValue "JVP0207" "wrong-value" Error "The value isn't one of those that the field can have."
    NullValue "JVP0208" "null-value" Error "A field without a value. What isn't wanted is left out; an explicit `null` says neither what is wanted nor that nothing is."
    InvalidName "JVP0209" "invalid-name" Error "Names become file names, libvirt names and DNS names, so they are 1 to 63 of a-z, 0-9, `.` and `-`, begin and end with a letter or digit and hold no `..`."
    WrongSize "JVP0210" "invalid-size" Error "A size is a whole number from 1 to 2^63-1 bytes, with a unit where wanted: Ki Mi Gi Ti Pi Ei, or k M G T P E of 1000."
    OneOf "JVP0301" "one-of" Error "Of these fields exactly one is to be written."
    Conflict "JVP0302" "conflicting-fields" Error "Two fields contradict each other."
    InvalidText "JVP0303" "invalid-text" Error "The text isn't of the form that the field asks for."
    InvalidPath "JVP0304" "invalid-path" Error "A path on a node is absolute and has no `..` in it; a file beside the manifest is given by a relative path that stays within the checkout."
    DuplicateItem "JVP0305" "duplicate-item" Error "A list whose items are known by a key holds one key twice."
    InvalidBridge "JVP0306" "invalid-bridge" Error "The name of a bridge is a name of a Linux interface: 1 to 15 bytes without white space, `/` and `:`."
    OutsideSubnet "JVP0307" "outside-subnet" Error "An address isn't one of the subnet's that it is written under."
    InvalidRange "JVP0308" "invalid-range" Error "A range begins and ends with an address of one family, and doesn't end before it begins."
    CpuCount "JVP0309" "cpu-count" Error "`cpu.count` is at most `cpu.max`, and a topology has as many CPUs as `cpu.max`, or without it as `cpu.count`."
    MemorySize "JVP0310" "memory-size" Error "`memory` is at most `maxMemory`."
    Checksum "JVP0311" "checksum-needed" Error "What comes over http can be changed on its way, so it needs a checksum."
    UriRefused "JVP0312" "uri-refused" Error "Who writes manifests governs the nodes' libvirt and nothing on the machine that runs jvp. So a Node's URI may use the transports unix, ssh, tls and libssh2 and the parameters socket, keyfile, known_hosts, sshauth and mode; `command=`, `netcat=` and `ext` would run programs here."
    InvalidXml "JVP0313" "invalid-xml" Error "`spec.xml` is a well-formed fragment of libvirt's domain XML with the root `<domain>`, without a DTD."
    UserData "JVP0314" "invalid-user-data" Error "User data that begins with `#cloud-config` has to be YAML with a mapping at its top, and no document for cloud-init may be longer than 1 MiB."
    UserDataLong "JVP0315" "long-user-data" Warning "Some images and clouds read no more than 16 KiB of user data."
    Reserved "JVP0316" "reserved-name" Error "The name is one that jvp uses for an object of its own."
    Required "JVP0317" "field-required" Error "With what else is written, the object needs this field."
    DuplicateObject "JVP0401" "duplicate-object" Error "Two documents describe one object. jvp never guesses which one is meant."
    TwoFleets "JVP0402" "two-fleets" Error "A set of manifests has one Fleet: it says whose the objects are."
    SameMac "JVP0403" "same-mac" Error "Two interfaces can't have one MAC address."
    SameAddress "JVP0404" "same-address" Error "Two guests can't have one address."
    SameBridge "JVP0405" "same-bridge" Error "Two networks of one node can't have one bridge."
    SameFile "JVP0406" "same-file" Error "Two objects of one node can't lie at one path."
    SameLibvirtName "JVP0407" "same-libvirt-name" Error "Two objects of one node can't have one name in libvirt."
    Overlap "JVP0408" "overlapping-subnets" Error "Two networks of one node can't have overlapping subnets: the node couldn't tell where a packet belongs."
    MissingReference "JVP0409" "missing-reference" Error "What the field refers to stands neither in the set nor in the inventory, nor has the node an object of that name."
    Cycle "JVP0410" "reference-cycle" Error "Objects refer to each other in a circle, so none can be made first."
    NodeNeeded "JVP0411" "node-needed" Error "Where a set has several Nodes, a VirtualMachine has to say which one it stands on."
    InUse "JVP0412" "writable-twice" Error "A volume that two VMs could write to at once would be destroyed by it."
    SharedBase "JVP0413" "clone-of-writable" Error "A linked clone needs a source that nobody writes to."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_or_name_is_given_twice_and_they_stand_in_order() {
        let rows: Vec<_> = Code::ALL.iter().map(|code| code.row()).collect();
        assert!(rows.windows(2).all(|pair| pair[0].code < pair[1].code));
        let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
    }
}
