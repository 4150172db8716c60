# What tiny.sh and image.sh share: the cache, and a disk that boots by BIOS and by UEFI. Sourced.
# shellcheck shell=sh
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C.UTF-8
export PATH LC_ALL
umask 022

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

need() {
    for c; do command -v "$c" >/dev/null || die "$c is missing; './x test --install' installs what the images need"; done
    for f in i386-pc/boot.img x86_64-efi/moddep.lst; do
        [ -e "/usr/lib/grub/$f" ] || die "GRUB's ${f%/*} is missing; './x test --install' installs what the images need"
    done
}

# cached NAME OUT_DIR SCRIPT: copies to OUT_DIR what "SCRIPT --build" leaves in the folder "out" of the folder it is called in,
# where there is a folder "work" too. Kept in JVP_CACHE_DIR under a hash of the script and this file; one build at a time,
# and a broken-off one is never seen.
cached() {
    name=$1 out=$2 script=$(realpath "$3") lib=$(dirname "$3")/images.sh
    cache=${JVP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/jvp}/images
    key=$name-$(cat "$script" "$lib" | sha256sum | cut -c1-12)
    mkdir -p "$cache" "$out"
    cache=$(realpath "$cache") out=$(realpath "$out")
    exec 9>"$cache/$name.lock"
    flock 9
    rm -rf --one-file-system "$cache/.build-$name"
    if [ ! -d "$cache/$key" ]; then
        say "building $name (once; kept in $cache)"
        mkdir -p "$cache/.build-$name/work" "$cache/.build-$name/out"
        # A process of its own, so that "set -e" is in force there. It keeps the lock, should this one be killed.
        (cd "$cache/.build-$name" && exec sh "$script" --build) || { rm -rf --one-file-system "$cache/.build-$name"; die "$name was not built"; }
        sync -f "$cache"
        mv -T "$cache/.build-$name/out" "$cache/$key"
        rm -rf "$cache/.build-$name"
    fi
    touch "$cache/$key"
    find "$cache" -mindepth 1 -maxdepth 1 -name "$name-*" -mtime +30 ! -name "$key" -exec rm -rf --one-file-system {} +
    for f in "$cache/$key"/*; do
        # Beside and then renamed, so that nobody reads half a file; not again where it is that one already.
        cmp -s "$f.sha256" "$out/${f##*/}.sha256" 2>/dev/null && [ -e "$out/${f##*/}" ] && continue
        cp --reflink=auto "$f" "$out/.${f##*/}.$$"
        mv "$out/.${f##*/}.$$" "$out/${f##*/}"
        echo "$out/${f##*/}"
    done
}

# finish RAW NAME.qcow2: the image as it is given out, with its checksum beside it.
finish() {
    qemu-img convert -c -W -m 4 -O qcow2 "$1" "out/$2"
    (cd out && sha256sum "$2" >"$2.sha256")
}

# disk RAW MIB ESP_MIB: an empty disk with GPT: a BIOS boot partition, an ESP and, if there is room, a root partition.
# Sets $root_start, in MiB.
disk() {
    root_start=$((2 + $3))
    truncate -s "$2M" "$1"
    set -- "$1" "$2" "$3" -n "1:1M:+1M" -t 1:ef02 -n "2:2M:+${3}M" -t 2:ef00
    [ "$2" -le $((root_start + 1)) ] || set -- "$@" -n "3:${root_start}M:0" -t 3:8304
    img=$1; shift 3
    sgdisk --clear "$@" "$img" >/dev/null
}

put() { dd if="$1" of="$2" bs=1M seek="$3" conv=notrunc,sparse status=none; }

# esp FILE MIB: the ESP's file system, with GRUB for UEFI that runs the lines of the file "grub.early".
esp() {
    mods="part_gpt fat ext2 search search_label search_fs_uuid linux echo serial terminal test true boot"
    # shellcheck disable=SC2086 # a list of modules
    grub-mkimage -O x86_64-efi -p /grub -c grub.early -o work/bootx64.efi $mods
    # shellcheck disable=SC2086
    grub-mkimage -O i386-pc -p /grub -c grub.early -o work/core.img biosdisk $mods
    truncate -s "$2M" "$1"
    # Big clusters: GRUB reads one at a time, and each read goes through the firmware.
    mkfs.vfat -s 64 -n "${3:-ESP}" -i 4a565001 "$1" >/dev/null
    mmd -i "$1" ::EFI ::EFI/BOOT
    mcopy -i "$1" work/bootx64.efi ::EFI/BOOT/BOOTX64.EFI
}

# le N BYTES: a number, least significant byte first.
le() {
    n=$1 b=$2
    while [ "$b" -gt 0 ]; do
        # shellcheck disable=SC2059 # an octal escape
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256)) b=$((b - 1))
    done
}

# bios RAW: GRUB for BIOS. As grub-bios-setup does, without a block device: the boot sector is told where core.img is,
# and core.img's first sector where its second one is.
bios() {
    cp /usr/lib/grub/i386-pc/boot.img work/boot.img
    le 2048 8 | dd of=work/boot.img bs=1 seek=92 conv=notrunc status=none
    le 2049 8 | dd of=work/core.img bs=1 seek=500 conv=notrunc status=none
    [ "$(stat -c %s work/core.img)" -le 1048576 ] || die "GRUB for BIOS is too big"
    dd if=work/boot.img of="$1" bs=1 count=440 conv=notrunc status=none
    put work/core.img "$1" 1
}
