#!/bin/sh
# Tiny guests for tests: tiny.sh OUT_DIR makes there
#   tiny.qcow2       Debian's cloud kernel and busybox; boots by BIOS and UEFI, powers off when ACPI's button is pressed
#   tiny-deaf.qcow2  the same, but ignores the button
# and a .sha256 beside each. 48 MiB of virtual size, 13 MB of file; 96 MiB of memory will do for BIOS, UEFI needs 256 MiB.
# It says "jvp-tiny: up" on ttyS0 once it hears the button, takes an address by DHCP where there is a network card
# ("jvp-tiny: address 198.18.0.9"), and gives a shell on ttyS0. Nothing is ever written to the disk.
set -eu
[ $# = 1 ] || { echo "usage: tiny.sh OUT_DIR" >&2; exit 64; }
# shellcheck source=tests/lab/images.sh
. "$(dirname "$0")/images.sh"
need apt-get dpkg-deb cpio gzip grub-mkimage sgdisk mkfs.vfat mcopy qemu-img flock

build() (
    cd work
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64; run apt-get update"
    # Taken apart here, not installed: busybox-static would push out a busybox.
    apt-get -q -o APT::Sandbox::User=root download "$kernel" busybox-static >&2
    for deb in *.deb; do dpkg-deb -x "$deb" deb; done
    busybox=$PWD/deb/bin/busybox
    release=${kernel#linux-image-}
    tree=deb/lib/modules/$release
    "$busybox" depmod -b deb "$release"

    mkdir -p init/bin init/dev init/proc init/sys init/etc "init/lib/modules/$release"
    cp "$busybox" init/bin/busybox
    mods="button evdev virtio_pci virtio_blk virtio_scsi sd_mod virtio_net virtio_balloon virtio_console"
    # Each module with all that it needs: "path: path path…".
    for m in $mods; do
        sed -n "s|^\(.*/$m\.ko\): *\(.*\)|\1 \2|p" "$tree/modules.dep"
    done | tr ' ' '\n' | sort -u | while read -r m; do
        [ -z "$m" ] || (cd deb && cp --parents "lib/modules/$release/${m#lib/modules/"$release"/}" ../init)
    done
    "$busybox" depmod -b init "$release"

    cat >init/init <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
for m in $mods; do modprobe \$m; done
END
    cat >>init/init <<'END'
export PATH=/bin HOME=/ PS1='tiny# '
ip link set lo up
if ! grep -q jvp.deaf /proc/cmdline; then
    for e in /sys/class/input/event*; do
        case $(cat "$e/device/name") in
            *Power*) (dd if="/dev/input/${e##*/}" of=/dev/null bs=24 count=1 2>/dev/null; echo "jvp-tiny: button"; poweroff -f) & ;;
        esac
    done
fi
echo "jvp-tiny: up"
for i in /sys/class/net/e*; do
    [ -e "$i" ] && ip link set "${i##*/}" up && udhcpc -q -S -b -t 20 -T 1 -i "${i##*/}" -s /etc/udhcpc >/dev/null 2>&1 &
done
while :; do setsid cttyhack sh; sleep 1; done
END
    cat >init/etc/udhcpc <<'END'
#!/bin/sh
case $1 in bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "${router%% *}"
    echo "jvp-tiny: address $ip" >/dev/console;;
esac
END
    chmod 755 init/init init/etc/udhcpc
    (cd init && find . | sort | cpio -o -H newc --quiet --reproducible -R 0:0) | gzip -1 >initrd
    cp "deb/boot/vmlinuz-$release" vmlinuz
    cd ..

    for variant in tiny tiny-deaf; do
        cat >grub.early <<END
search --no-floppy --set=root --label JVPTINY
linux /vmlinuz console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check random.trust_cpu=1 tsc=reliable $([ $variant = tiny ] || echo jvp.deaf)
initrd /initrd
boot
END
        rm -f work/esp work/raw
        disk work/raw 48 44
        esp work/esp 44 JVPTINY
        mcopy -i work/esp work/vmlinuz work/initrd ::
        put work/esp work/raw 2
        bios work/raw
        finish work/raw $variant.qcow2
    done
)

if [ "$1" = --build ]; then build; else cached tiny "$1" "$0"; fi
