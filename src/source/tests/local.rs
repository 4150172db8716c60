//! Files beside manifests, secrets, keys, and what is written for others.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::manifest::{SecretSource, TemplateFormat};
use crate::name::Name;
use crate::plan::SecretRef;
use crate::store::{MacKey, StateDir};

/// A checkout with an image and traps around it.
fn checkout() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("checkout");
    fs::create_dir_all(root.join("images/real")).unwrap();
    fs::write(root.join("images/real/disk.raw"), disk()).unwrap();
    fs::write(dir.path().join("outside"), "outside\n").unwrap();
    symlink("real/disk.raw", root.join("images/link.raw")).unwrap();
    symlink("real", root.join("images/way")).unwrap();
    symlink("../../outside", root.join("images/out")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("images/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    (dir, root)
}

#[test]
fn files_are_opened_beneath_the_checkout_and_nowhere_else() {
    let (dir, path) = checkout();
    let root = Root::open(&path).unwrap();
    let kind = |folder: &str, file: &str| {
        let Ok(relative) = root.relative(Path::new(folder), Path::new(file)) else { return "outside" };
        let word = |opened: Result<fs::File, BeneathError>| match opened {
            Ok(_) => "opened",
            Err(BeneathError::Outside { .. }) => "outside",
            Err(BeneathError::Link) => "link",
            Err(BeneathError::NotRegular) => "not regular",
            Err(error) if error.is_not_found() => "missing",
            // A link that stands where a folder is wanted.
            Err(BeneathError::Io(error)) if error.kind() == std::io::ErrorKind::NotADirectory => "link",
            Err(error) => panic!("{error}"),
        };
        let opened = word(root.file(&relative));
        assert_eq!(opened, word(root.file_by_walking(&relative)), "{file}");
        opened
    };
    assert_eq!(kind("images", "real/disk.raw"), "opened");
    assert_eq!(kind("images/real", "../real/./disk.raw"), "opened");
    assert_eq!(kind("", path.canonicalize().unwrap().join("images/real/disk.raw").to_str().unwrap()), "opened");
    assert_eq!(kind("images", "link.raw"), "link");
    assert_eq!(kind("images", "way/disk.raw"), "link");
    assert_eq!(kind("images", "out"), "link");
    assert_eq!(kind("images", "../../outside"), "outside");
    assert_eq!(kind("", "../checkout/images/real/disk.raw"), "outside");
    assert_eq!(kind("", dir.path().join("outside").to_str().unwrap()), "outside");
    assert_eq!(kind("", "/etc/passwd"), "outside");
    assert_eq!(kind("images", "real"), "not regular");
    assert_eq!(kind("images", "pipe"), "not regular");
    assert_eq!(kind("images", "none"), "missing");
}

#[test]
fn a_file_beside_a_manifest_is_hashed_once_and_kept_for_the_upload() {
    let (_dir, path) = checkout();
    let (place, root) = (Place::new(), Root::open(&path).unwrap());
    let image = |checksum: Option<&Checksum>, format| {
        place.cache().file(&object(), &root, Path::new("images"), Path::new("real/disk.raw"), checksum, format)
    };
    let facts = image(Some(&sha256(&disk())), TemplateFormat::Raw).unwrap();
    assert_eq!(facts.local_path, root.path().join("images/real/disk.raw"));
    let note = fs::read_dir(place.0.path().join("cache/images/files")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace(&facts.digest_sha256, &"0".repeat(64))).unwrap();
    assert_eq!(image(None, TemplateFormat::Raw).unwrap().digest_sha256, "0".repeat(64), "not hashed again");
    fs::write(&note, "noise").unwrap();
    assert_eq!(image(None, TemplateFormat::Raw).unwrap(), facts);

    let error = image(Some(&sha256(b"other")), TemplateFormat::Raw).unwrap_err().to_string();
    assert!(error.contains("real/disk.raw is not what its checksum says"), "{error}");
    let error = image(None, TemplateFormat::Qcow2).unwrap_err().to_string();
    assert!(error.ends_with("the image is raw, but its manifest says `format: qcow2`: correct the one or the other"), "{error}");

    let kept = place.cache().keep(&object(), &facts).unwrap();
    assert_eq!(kept.local_path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&kept.local_path).unwrap(), disk());
    let mut rotten = disk();
    *rotten.last_mut().unwrap() ^= 1;
    fs::write(&kept.local_path, rotten).unwrap();
    let error = place.cache().keep(&object(), &facts).unwrap_err().to_string();
    assert!(error.contains("no longer held what was fetched"), "{error}");
    assert_eq!(place.kept(), [""; 0], "it is fetched or copied anew");
    fs::write(&kept.local_path, disk()).unwrap();
    fs::remove_file(&kept.local_path).unwrap();
    fs::write(&facts.local_path, "something else").unwrap();
    let error = place.cache().keep(&object(), &facts).unwrap_err().to_string();
    assert!(error.contains("changed while it was being read"), "{error}");
    assert_eq!(place.kept(), [""; 0]);
}

#[test]
fn secrets_are_read_where_they_may_be_and_shown_nowhere() {
    let (dir, path) = checkout();
    fs::write(path.join("images/vnc"), "CANARY\n\n").unwrap();
    let outside = dir.path().join("secrets");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("vnc2"), "CANARY2\r\n").unwrap();
    fs::write(outside.join("long"), vec![b'x'; 70_000]).unwrap();
    let (root, secrets, key) = (Root::open(&path).unwrap(), Root::open(&outside).unwrap(), MacKey::new([1; 32]));
    let env = |name: &str| (name == "JVP_VAR_X").then(|| "CANARY3".into());
    let reader = SecretReader { checkout: Some(&root), secrets_dir: Some(&secrets), env: &env, key: &key };
    let from_file = |file: &str| reader.read(&SecretSource { file: Some(file.to_owned()), env: None }, Path::new("images"));
    let from_env = |name: &str| reader.read(&SecretSource { file: None, env: Some(name.to_owned()) }, Path::new(""));

    let (secret, reference) = from_file("vnc").unwrap();
    assert_eq!((secret.expose().as_str(), reference.source.as_str()), ("CANARY\n", "file:images/vnc"));
    assert!(!format!("{secret} {secret:?} {reference:?}").contains("CANARY"));
    assert_eq!(reader.again(&reference).unwrap().expose(), "CANARY\n");
    let (secret, inside) = from_file("vnc2").unwrap();
    assert_eq!((secret.expose().as_str(), inside.source.as_str()), ("CANARY2", "secrets-dir:vnc2"));
    assert!(from_file(outside.join("vnc2").to_str().unwrap()).is_err() == (outside.canonicalize().unwrap() != outside));
    let (secret, variable) = from_env("JVP_VAR_X").unwrap();
    assert_eq!(secret.expose(), "CANARY3");
    assert_eq!(reader.again(&variable).unwrap(), secret);

    fs::write(path.join("images/vnc"), "CANARY4\n").unwrap();
    let changed = reader.again(&reference).unwrap_err().to_string();
    assert_eq!(changed, "the secret from file:images/vnc changed since the plan was made: plan again");
    let forged = SecretRef { source: "file:../outside".into(), mac: String::new() };
    assert!(matches!(reader.again(&forged), Err(SecretError::File { .. })));
    for (failed, words) in [
        (from_env("PATH"), "only names that begin with JVP_VAR_"),
        (from_env("JVP_VAR_Y"), "is not set"),
        (from_file("out"), "it is a link"),
        (from_file("pipe"), "no regular file"),
        (from_file("../../outside"), "can't be read"),
        (from_file("long"), "longer than 64 KiB"),
        (from_file("none"), "can't be read"),
    ] {
        let failed = failed.unwrap_err().to_string();
        assert!(failed.contains(words) && !failed.contains("CANARY"), "{failed}");
    }
}

#[test]
fn a_key_pair_is_made_once() {
    let place = Place::new();
    let (keys, ops): (_, Name) = (KeyPairs::new(place.0.path()), "ops".parse().unwrap());
    assert_eq!(keys.public(&ops, None).unwrap(), None);
    assert!(!place.0.path().join("keypairs").exists(), "looking makes nothing");
    let public = keys.generate(&ops, None).unwrap();
    assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" ops"), "{public}");
    assert_eq!(keys.generate(&ops, Some(&public)).unwrap(), public);
    let path = keys.private_path(&ops);
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
    assert_eq!(fs::read_to_string(path.with_extension("pub")).unwrap(), format!("{public}\n"));

    // A bit that was altered is noticed, or it is the same pair.
    let bytes = fs::read(&path).unwrap();
    let pair = |text: &[u8]| {
        let key = ssh_key::PrivateKey::from_openssh(text).unwrap();
        key.key_data().ed25519().unwrap().to_bytes()
    };
    let (mut tried, mut noticed) = (0, 0);
    for bit in (0..bytes.len() * 8).step_by(11) {
        tried += 1;
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &altered).unwrap();
        match keys.public(&ops, None) {
            Ok(Some(_)) => assert_eq!(pair(&altered), pair(&bytes), "bit {bit}"),
            answer => noticed += usize::from(answer.is_err()),
        }
    }
    assert!(noticed * 10 > tried * 7, "{noticed} of {tried}");
    fs::write(&path, bytes).unwrap();

    fs::remove_file(path.with_extension("pub")).unwrap();
    assert_eq!(keys.generate(&ops, None).unwrap(), public, "a kill between the two files");
    assert!(path.with_extension("pub").exists());

    let other = keys.generate(&"other".parse().unwrap(), None).unwrap();
    assert!(matches!(keys.public(&ops, Some(&other)), Err(KeyPairError::Other { .. })));
    fs::remove_file(&path).unwrap();
    for known in [None, Some(public.as_str())] {
        let missing = keys.generate(&ops, known).unwrap_err().to_string();
        assert!(
            missing.starts_with("KeyPair/ops: its private half ") && missing.ends_with("make a KeyPair of another name"),
            "{missing}"
        );
    }
    assert_ne!(keys.rotate(&ops).unwrap(), public);
    fs::write(&path, "noise").unwrap();
    assert!(matches!(keys.public(&ops, None), Err(KeyPairError::Unreadable { .. })));
}

#[test]
fn key_pairs_of_names_that_look_alike_do_not_meet() {
    let place = Place::new();
    let keys = KeyPairs::new(place.0.path());
    let (a, b): (Name, Name) = ("a".parse().unwrap(), "a.pub".parse().unwrap());
    let first = keys.generate(&a, None).unwrap();
    let second = keys.generate(&b, None).map_err(|error| error.to_string());
    assert_eq!(keys.public(&a, None).unwrap(), Some(first));
    assert_eq!(second.unwrap_err(), "KeyPair/a.pub: a pair whose name ends in `.pub` can't be made: name it otherwise");
    assert!(keys.rotate(&b).is_err());
}

#[test]
fn metadata_is_written_for_other_tools() {
    let place = Place::new();
    let state = StateDir::open(place.0.path()).unwrap();
    let files = MetadataFiles::new(&state);
    let kvm1: Name = "kvm1".parse().unwrap();
    let template = TemplateMetadata {
        name: "debian-12".parse().unwrap(),
        uuid: uuid::Uuid::from_u128(1),
        kind: "cloud",
        created_at: "2026-01-01T00:00:00Z".into(),
        updated_at: "2026-01-02T00:00:00Z".into(),
        storage: StorageMetadata {
            pool: "default".into(),
            path: "/var/lib/libvirt/images/_templates_/debian-12-0123456789ab.qcow2".into(),
            format: "qcow2".into(),
            size: 2 << 30,
        },
        os: OsMetadata { name: "debian".into(), version: "12".into(), ..OsMetadata::default() },
        source: SourceMetadata { url: Some("https://example.org/d.qcow2".into()), ..SourceMetadata::default() },
        features: FeaturesMetadata { cloud_init: true, ..FeaturesMetadata::default() },
        usage: UsageMetadata { vm_count: 2, last_used: None },
        tags: ["production".to_owned()].into(),
        description: "what web servers run on".into(),
    };
    let path = files.write_template(&kvm1, &template).unwrap();
    assert_eq!(path, state.path().join("metadata/kvm1/debian-12/metadata.yaml"));
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o644);
    insta::assert_snapshot!(fs::read_to_string(&path).unwrap(), @r#"
    name: debian-12
    uuid: 00000000-0000-0000-0000-000000000001
    type: cloud
    created_at: 2026-01-01T00:00:00Z
    updated_at: 2026-01-02T00:00:00Z
    storage:
      pool: default
      path: /var/lib/libvirt/images/_templates_/debian-12-0123456789ab.qcow2
      format: qcow2
      size: 2147483648
    os:
      name: debian
      version: '12'
      arch: ''
      kernel: ''
    source:
      url: https://example.org/d.qcow2
      checksum: ''
    features:
      cloud_init: true
      virtio: false
      qemu_guest_agent: false
    usage:
      vm_count: 2
    tags:
    - production
    description: what web servers run on
    "#);
    files.remove_template(&kvm1, &template.name).unwrap();
    files.remove_template(&kvm1, &template.name).unwrap();
    assert!(!path.parent().unwrap().exists());

    let node = NodeMetadata {
        name: kvm1.clone(),
        uuid: uuid::Uuid::from_u128(2),
        uri: "qemu:///system".into(),
        enabled: true,
        created_at: "2026-01-01T00:00:00Z".into(),
        updated_at: "2026-01-01T00:00:00Z".into(),
    };
    let path = files.write_node(&node).unwrap();
    assert_eq!(path, state.path().join("metadata/nodes/kvm1.yaml"));
    insta::assert_snapshot!(fs::read_to_string(path).unwrap(), @r#"
    name: kvm1
    uuid: 00000000-0000-0000-0000-000000000002
    uri: qemu:///system
    enabled: true
    created_at: 2026-01-01T00:00:00Z
    updated_at: 2026-01-01T00:00:00Z
    "#);
    files.remove_node(&kvm1).unwrap();
}

#[test]
fn several_nodes_may_want_one_image_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    StateDir::open(&state).unwrap();
    let image = dir.path().join("disk.img");
    std::fs::write(&image, vec![7u8; 3 << 20]).unwrap();
    let cache = ImageCache::new(&state);
    let object: ObjectRef = "Template/disk".parse().unwrap();
    let digest = {
        use sha2::{Digest, Sha256};
        hex::encode(Sha256::digest(std::fs::read(&image).unwrap()))
    };
    let facts = SourceFacts {
        digest_sha256: digest,
        size: 3 << 20,
        virtual_size: 3 << 20,
        format: crate::manifest::TemplateFormat::Raw,
        local_path: image,
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| cache.keep(&object, &facts))).collect();
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
}
