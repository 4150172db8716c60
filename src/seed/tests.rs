//! What a guest reads of a seed.

use std::io::{Cursor, Read};

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::manifest::{CloudFile, CloudUser};

const MIB: usize = 1024 * 1024;
const UID: Uuid = Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_7777_8888);
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ops";

fn seed_of(hostname: &str, keys: &[&str], cloud_init: &CloudInit) -> Result<Seed, SeedError> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    build(&SeedInput { uid: UID, hostname, public_keys: &keys, cloud_init })
}

fn raw(text: &str) -> CloudInit {
    CloudInit { user_data: Some(text.to_owned()), ..CloudInit::default() }
}

fn structured() -> CloudInit {
    CloudInit {
        users: vec![CloudUser {
            name: "ann".into(),
            groups: vec!["sudo".into(), "adm".into()],
            ssh_authorized_keys: vec![KEY.into()],
            sudo: Some("ALL=(ALL) NOPASSWD:ALL".into()),
            shell: Some("/bin/bash".into()),
            password_hash: Some("$6$salt$hash".into()),
        }],
        packages: vec!["nginx".into()],
        run_cmd: vec!["echo \"hi\"".into(), "systemctl enable --now nginx".into()],
        write_files: vec![CloudFile {
            path: "/etc/motd".into(),
            content: "line one\nüber: \u{7f}\u{85}\u{2028}😀\n".into(),
            permissions: Some("0644".into()),
            owner: Some("ann:ann".into()),
        }],
        timezone: Some("Europe/Berlin".into()),
        ..CloudInit::default()
    }
}

fn read_back(bytes: Vec<u8>, name: &str) -> String {
    let fs = fatfs::FileSystem::new(Cursor::new(bytes), fatfs::FsOptions::new()).unwrap();
    assert_eq!(fs.volume_label(), "CIDATA");
    let mut text = String::new();
    fs.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_image_holds_what_the_documents_say() {
    let cloud = CloudInit { network_config: Some("version: 2\n".into()), ..structured() };
    let seed = seed_of("web-1", &[KEY], &cloud).unwrap();
    let bytes = image(&seed).unwrap();
    assert_eq!(bytes.len(), MIB);
    assert_eq!(read_back(bytes.clone(), "user-data"), seed.user_data);
    assert_eq!(read_back(bytes.clone(), "meta-data"), seed.meta_data);
    assert_eq!(read_back(bytes, "network-config"), "version: 2\n");
}
#[test]
fn the_bytes_of_an_image_never_change() {
    let seed = seed_of("web-1", &[KEY], &structured()).unwrap();
    let bytes = image(&seed).unwrap();
    assert_eq!(bytes, image(&seed).unwrap());
    assert_eq!(
        (seed.digest.as_str(), hex::encode(Sha256::digest(bytes)).as_str()),
        (
            "0fb4c16a6c372f5f9c20d89d487999a5c69fbbbe131240fcf9896e0ef0a07571",
            "fe61cb792642726c0648bc413fc6ce84772acdf525ebc99c47ccc1446667761f"
        ),
        "every running VM would be told that its seed is stale: change this only with a line in the changelog"
    );
}

#[test]
fn structured_fields_become_a_cloud_config() {
    let seed = seed_of("web-1", &[KEY], &structured()).unwrap();
    insta::assert_snapshot!(seed.user_data, @r#"
    #cloud-config
    users:
      - "default"
      - name: "ann"
        groups:
          - "sudo"
          - "adm"
        shell: "/bin/bash"
        sudo: "ALL=(ALL) NOPASSWD:ALL"
        lock_passwd: false
        hashed_passwd: "$6$salt$hash"
        ssh_authorized_keys:
          - "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ops"
    timezone: "Europe/Berlin"
    packages:
      - "nginx"
    write_files:
      - path: "/etc/motd"
        owner: "ann:ann"
        defer: true
        permissions: "0644"
        content: "line one\nüber: \x7f\x85\u2028😀\n"
    runcmd:
      - "echo \"hi\""
      - "systemctl enable --now nginx"
    "#);
    insta::assert_snapshot!(seed.meta_data, @r#"
    instance-id: "5d79111e-990b-5baf-8110-2234ea678dde"
    local-hostname: "web-1"
    public-keys:
      - "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ops"
    "#);
    let back: serde_json::Value = serde_yaml::from_str(&seed.user_data).unwrap();
    assert_eq!(back["write_files"][0]["content"], structured().write_files[0].content);
    assert_eq!(seed.warnings(), Vec::<String>::new());
}

#[test]
fn without_user_data_there_is_a_cloud_config_that_says_nothing() {
    let seed = seed_of("web-1", &[], &CloudInit::default()).unwrap();
    assert_eq!(seed.user_data, "#cloud-config\n{}\n");
    assert!(!seed.meta_data.contains("public-keys"));
}

#[test]
fn the_instance_stays_unless_user_data_or_keys_change() {
    let base = seed_of("web-1", &[KEY, "ssh-rsa AAAA two"], &raw("#cloud-config\n")).unwrap();
    let turned = seed_of("web-1", &["ssh-rsa AAAA two", KEY], &raw("#cloud-config\n")).unwrap();
    assert_eq!(base, turned, "the order of keys says nothing");
    let renamed = seed_of("web-2", &[KEY, "ssh-rsa AAAA two"], &raw("#cloud-config\n")).unwrap();
    assert_eq!(base.instance_id, renamed.instance_id);
    assert_ne!(base.digest, renamed.digest);
    let network = CloudInit { network_config: Some("version: 2\n".into()), ..raw("#cloud-config\n") };
    let network = seed_of("web-1", &[KEY, "ssh-rsa AAAA two"], &network).unwrap();
    assert_eq!(base.instance_id, network.instance_id);
    assert_ne!(base.digest, network.digest);
    assert_ne!(base.instance_id, seed_of("web-1", &[KEY], &raw("#cloud-config\n")).unwrap().instance_id);
    assert_ne!(
        base.instance_id,
        seed_of("web-1", &[KEY, "ssh-rsa AAAA two"], &raw("#cloud-config\na: 1\n")).unwrap().instance_id
    );
}

#[test]
fn what_cloud_init_could_not_read_is_refused() {
    let both = CloudInit { timezone: Some("UTC".into()), ..raw("#cloud-config\n") };
    assert_eq!(seed_of("a", &[], &both), Err(SeedError::Both { field: "timezone" }));
    assert!(matches!(seed_of("a", &[], &raw("#cloud-config\na: [\n")), Err(SeedError::NotYaml { field: "userData", .. })));
    assert!(matches!(seed_of("a", &[], &raw("#cloud-config\n- a\n")), Err(SeedError::NotYaml { .. })));
    assert!(seed_of("a", &[], &raw("#!/bin/sh\na: [\n")).is_ok());
    let network = CloudInit { network_config: Some("]".into()), ..CloudInit::default() };
    assert!(matches!(seed_of("a", &[], &network), Err(SeedError::NotYaml { field: "networkConfig", .. })));
    let long = raw(&format!("#!/bin/sh\n{}", "#".repeat(MAX_BYTES)));
    assert!(matches!(seed_of("a", &[], &long), Err(SeedError::TooLong { field: "userData", .. })));
    for name in ["", "-a", "a..b", "a b", "a\nb", &"a".repeat(64)] {
        assert!(matches!(seed_of(name, &[], &CloudInit::default()), Err(SeedError::Hostname { .. })), "{name:?}");
    }
    assert!(matches!(seed_of("a", &["ssh-rsa A\nB"], &CloudInit::default()), Err(SeedError::Key { .. })));
}

#[test]
fn binary_and_tagged_values_are_yaml_too() {
    let text = "#cloud-config\nwrite_files:\n- content: !!binary |\n    SGVsbG8=\n  path: /x\n";
    assert!(seed_of("a", &[], &raw(text)).is_ok());
}

#[test]
fn what_cloud_init_would_ignore_is_warned_of() {
    let ignored = seed_of("a", &[], &raw("packages: [nginx]\n")).unwrap();
    assert!(ignored.warnings()[0].contains("will be ignored"), "{:?}", ignored.warnings());
    let long = seed_of("a", &[], &raw(&format!("#!/bin/sh\n{}", "#".repeat(WARN_BYTES)))).unwrap();
    assert!(long.warnings()[0].starts_with("userData is 17 KiB long"), "{:?}", long.warnings());
}

#[test]
fn a_seeds_file_is_named_by_its_content() {
    let seed = seed_of("web-1", &[], &CloudInit::default()).unwrap();
    assert_eq!(file_name(&"web-1".parse().unwrap(), &seed.digest), format!("web-1.seed-{}.img", &seed.digest[..8]));
}

#[test]
fn a_seed_shows_no_user_data() {
    let seed = seed_of("web-1", &[], &raw("#!/bin/sh\nCANARY")).unwrap();
    assert!(!format!("{seed:?}").contains("CANARY"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_text_comes_back_from_yaml(text in any::<String>()) {
        let value: serde_json::Value = serde_yaml::from_str(&yaml::document(&serde_json::json!({"a": [{"b": text}]}))).unwrap();
        prop_assert_eq!(value["a"][0]["b"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn documents_of_any_length_fit_their_image(user in 0usize..MAX_BYTES - 8, network in 0usize..MAX_BYTES - 8) {
        let cloud = CloudInit { network_config: Some("#".repeat(network)), ..raw(&format!("#!{}", "x".repeat(user))) };
        let seed = seed_of("a", &[], &cloud).unwrap();
        let bytes = image(&seed).unwrap();
        prop_assert_eq!(read_back(bytes.clone(), "user-data"), seed.user_data);
        prop_assert_eq!(read_back(bytes, "network-config").len(), network);
    }
}
