#!/bin/sh
# try.sh DEB [TAR]: installs the package into a Debian 12 made for it, looks whether all is there and works, and purges it; TAR is that
# Debian with the package, before the purge. Needs root.
set -eu
here=$(dirname "$(realpath "$0")")
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C.UTF-8
export PATH LC_ALL
die() { echo "try: $*" >&2; exit 1; }
deb=$(realpath "$1") tar=${2:-}
for command in mmdebstrap dpkg-scanpackages; do command -v "$command" >/dev/null || die "$command is missing: apt install mmdebstrap dpkg-dev"; done
# Where packages come from is for the guests' image to know.
eval "$(sed -n '/^sources()/,/^}/p' "$here/../tests/lab/image.sh")"
[ "$(id -u)" = 0 ] || die "needs root, for the owners of the files"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

cp "$deb" "$work/jvp.deb"
chmod 755 "$work"
{ sources; echo "deb [trusted=yes] copy:$work ./"; } >"$work/sources"
(cd "$work" && dpkg-scanpackages . >Packages 2>/dev/null)
mmdebstrap --quiet --variant=apt --include=jvp,git,openssh-client,ca-certificates,systemd,bash-completion,man-db \
    --dpkgopt='path-include=/usr/share/man/*' --setup-hook="mkdir -p \"\$1$work\" && cp $work/jvp.deb $work/Packages \"\$1$work\"" \
    bookworm "$root" "$work/sources"
in_root() { chroot "$root" "$@"; }

in_root jvp version
in_root dpkg --verify jvp
in_root systemd-analyze verify --man=no jvp-daemon.service
[ "$(in_root systemctl is-enabled jvp-daemon 2>/dev/null || :)" = disabled ] || die "the unit is not to be enabled by itself"
in_root man -w jvp-vm-start >/dev/null || die "no manual page"
# shellcheck disable=SC2016 # the inner shell's
in_root sh -c 'zcat -f "$(man -w jvp-apply)"' | grep -q 'allow.*data.*loss' || die "the manual page tells nothing"
# shellcheck disable=SC2016 # the inner shell's
in_root bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader jvp || :; complete -p jvp' >/dev/null || die "no completion"
in_root sh -c 'cd /tmp && mkdir try && cd try && jvp init --name try && cp -r /usr/share/doc/jvp/examples/networks . && jvp validate -f networks && cd .. && rm -r try'
[ -e "$root/etc/jvp/daemon.yaml" ] || die "no configuration"
[ -z "$tar" ] || tar -C "$root" --one-file-system -cf "$tar" --exclude=./var/cache/apt/archives/* --exclude=./var/lib/apt/lists/* .

in_root systemctl enable --quiet jvp-daemon
mkdir -p "$root/var/lib/jvp/keypairs"
in_root apt-get -qq purge -y jvp >/dev/null
left=$(find "$root" -xdev \( -name 'jvp*' -o -name '_jvp*' \) -not -path "$root/var/lib/jvp*" -not -path "$root$work*" -not -path "$root/proc/*" | sed "s,^$root,,")
[ -z "$left" ] || die "a purge leaves: $left"
[ -d "$root/var/lib/jvp/keypairs" ] || die "a purge takes the state directory away"
[ ! -e "$root/etc/jvp" ] || die "a purge leaves /etc/jvp"
echo "the package installs, works, and is purged"
