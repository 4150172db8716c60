#!/bin/sh
# A Debian cloud image, made from Debian's packages: image.sh OUT_DIR makes there debian-12-jvp.qcow2, 3 GiB of virtual
# size, and a .sha256 beside it. It boots by UEFI and BIOS and holds cloud-init (NoCloud only: a CIDATA disk on virtio),
# systemd-networkd, the QEMU guest agent and an SSH server; console on ttyS0.
# What differs from Debian's own is for speed under emulation: a lean initrd, no timers, one type of host key.
set -eu
[ $# = 1 ] || { echo "usage: image.sh OUT_DIR" >&2; exit 64; }
# shellcheck source=tests/lab/images.sh
. "$(dirname "$0")/images.sh"
need mmdebstrap apt-get grub-mkimage sgdisk mkfs.vfat mkfs.ext4 mcopy qemu-img flock
[ "$(id -u)" = 0 ] || die "needs root, for the owners of the image's files"

packages=linux-image-cloud-amd64,systemd-sysv,dbus,udev,cloud-init,cloud-guest-utils,fdisk,qemu-guest-agent,openssh-server,iproute2,sudo,ca-certificates

# The host's own sources of Debian 12, if it has some; else mmdebstrap's default.
sources() {
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SIGNED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sed -n 's/^Debian bookworm\(-updates\|-security\)\{0,1\} \(\S*\) \(\S* \S* \S*\)$/deb [signed-by=\2] \3/p' |
        sed 's/ \[signed-by=\$(SIGNED_BY)\]//' | sort -u
}

write() { mkdir -p "$(dirname "$1")"; cat >"$1"; }

# What lies there before the packages are set up: the initrd is made once, and lean.
before() {
    write "$1/etc/initramfs-tools/conf.d/lean" <<'END'
MODULES=list
COMPRESS=lz4
FSTYPE=ext4
END
    write "$1/usr/share/initramfs-tools/modules.d/jvp" <<'END'
virtio_pci
virtio_blk
virtio_scsi
sd_mod
END
    # Without udev in there (below), which costs seconds.
    write "$1/usr/share/initramfs-tools/hooks/jvp" <<'END'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
copy_exec /sbin/blkid
END
    chmod 755 "$1/usr/share/initramfs-tools/hooks/jvp"
}

after() {
    rm -f "$1"/etc/ssh/ssh_host_* "$1/var/lib/dbus/machine-id"
    : >"$1/etc/machine-id"
    echo debian >"$1/etc/hostname"
    # The boot loader mounts the root read-write; there is no other.
    : >"$1/etc/fstab"
    # Only the modules that one can ask for something here; each costs.
    write "$1/etc/cloud/cloud.cfg.d/90-jvp.cfg" <<'END'
datasource_list: [NoCloud, None]
datasource: {NoCloud: {}}
apt: {preserve_sources_list: true}
ssh_genkeytypes: [ed25519]
ssh: {emit_keys_to_console: false}
system_info: {network: {renderers: [networkd]}}
cloud_init_modules: [bootcmd, write-files, growpart, resizefs, disk_setup, mounts, set_hostname, update_hostname, update_etc_hosts, ca-certs, users-groups, ssh]
cloud_config_modules: [set-passwords, ntp, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, ssh-authkey-fingerprints, keys-to-console, phone-home, final-message, power-state-change]
END
    write "$1/etc/cloud/ds-identify.cfg" <<'END'
policy: enabled
END
    write "$1/etc/systemd/journald.conf.d/jvp.conf" <<'END'
[Journal]
Storage=volatile
END
    write "$1/etc/systemd/network/99-dhcp.network" <<'END'
[Match]
Name=en* eth*

[Network]
DHCP=yes
END
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
        getty@tty1.service modprobe@.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-network-generator.service \
        systemd-modules-load.service systemd-remount-fs.service sys-fs-fuse-connections.mount sys-kernel-config.mount systemd-pstore.service \
        systemd-update-utmp.service systemd-update-utmp-runlevel.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount; do
        ln -sf /dev/null "$1/etc/systemd/system/$unit"
    done
    chroot "$1" systemctl -q enable systemd-networkd
}

build() {
    before work/lean
    sources >work/sources.list
    set --
    [ ! -s work/sources.list ] || set -- work/sources.list
    # Its mounts are gone with it, however it ends.
    unshare -m mmdebstrap --quiet --variant=minbase --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/initramfs-tools/*/udev' --dpkgopt='path-exclude=/usr/share/initramfs-tools/scripts/*/udev' \
        --essential-hook="cp -a \"$PWD/work/lean/.\" \"\$1\"" \
        bookworm work/root "$@" >&2
    after work/root

    cat >grub.early <<'END'
search --no-floppy --set=root --label jvp-root
linux /vmlinuz root=LABEL=jvp-root rw console=tty0 console=ttyS0 quiet fsck.mode=skip mitigations=off nokaslr no_timer_check tsc=reliable random.trust_cpu=1
initrd /initrd.img
boot
END
    disk work/raw 3072 8
    esp work/esp 8
    put work/esp work/raw 2
    bios work/raw
    # The rest of the disk, but for the second table of partitions.
    mkfs.ext4 -q -L jvp-root -d work/root work/fs $((3072 - root_start - 1))M
    put work/fs work/raw "$root_start"
    finish work/raw debian-12-jvp.qcow2
}

if [ "$1" = --build ]; then build; else cached debian "$1" "$0"; fi
