#!/bin/sh
# From a folder of manifests to a booted guest, an empty plan, and down again: demo.sh [--system] [--kills N [--seed SEED]]
# Called by "./x demo" and, as a test, by "./x test"; JVP is the program.
#
# manifests/ is copied, and of the copy four values are set: a Node's "uri:", a pool's "path: /var/lib/libvirt/…", a Template's
# "file:" and its "checksum: sha256:…". The guest is the one VirtualMachine there. All that comes to be lies in a folder of the
# cache, and goes.
# With --system the user's own libvirt is used, at qemu:///system, and a pool folder of its own below /var/lib/libvirt/images.
# With --kills the apply is first done once as it should be, and all is taken down again; then "jvp apply" is killed (kill -9) N times
# at random moments and run again, and has to end as that first one did. The seed of the moments is printed.
set -eu
here=$(realpath "$(dirname "$0")")
: "${JVP:?the program jvp}"
cache=$(realpath -m "${JVP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/jvp}")
wait=${JVP_DEMO_WAIT:-900}
system=no kills=0 seed=
while [ $# -gt 0 ]; do
    case $1 in
        --system) system=yes;;
        --kills) kills=${2:-}; shift;;
        --seed) seed=${2:-}; shift;;
        *) echo "demo: what is $1?" >&2; exit 64;;
    esac
    shift
done
case $kills in ''|*[!0-9]*) echo "demo: --kills takes a number" >&2; exit 64;; esac
: "${seed:=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}"

began=$(date +%s)
say() { printf '\n== [%3ds] %s\n' $(($(date +%s) - began)) "$*"; }
run() { printf '$ %s\n' "$*" | sed "s|^\\$ $JVP --state-dir [^ ]*|\$ jvp|"; "$@"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
jvp() { run "$JVP" --state-dir "$dir/state" "$@"; }
virsh() { timeout 60 virsh -q -c "$uri" "$@"; }
agent() { virsh qemu-agent-command --timeout 20 "$vm" "$1" 2>/dev/null; }
# field NAME: a number or a word of the agent's JSON.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

# inside COMMAND…: runs it in the guest through the agent and prints what it said.
inside() {
    path=$1; shift
    deadline=$(($(date +%s) + wait))
    args=
    for a; do args="$args${args:+,}\"$a\""; done
    job=$(agent "{\"execute\":\"guest-exec\",\"arguments\":{\"path\":\"$path\",\"arg\":[$args],\"capture-output\":true}}" | field pid)
    [ -n "$job" ] || return 1
    until answer=$(agent "{\"execute\":\"guest-exec-status\",\"arguments\":{\"pid\":$job}}"); [ "$(echo "$answer" | field exited)" = true ]; do
        late && return 1
        sleep 1
    done
    echo "$answer" | field out-data | base64 -d
    [ "$(echo "$answer" | field exitcode)" = 0 ]
}

late() { [ "$(date +%s)" -gt "$deadline" ]; }

# What is there, so that two ends can be compared: names, documents (without what is measured) and volumes.
inventory() {
    for x in $(virsh list --all --name | sort); do echo "domain $x $(virsh domstate "$x")"; virsh dumpxml --inactive "$x"; done
    for x in $(virsh net-list --all --name | sort); do echo "network $x"; virsh net-info "$x"; virsh net-dumpxml --inactive "$x"; done
    for x in $(virsh pool-list --all --name | sort); do
        echo "pool $x"
        virsh pool-refresh "$x" >/dev/null
        virsh pool-dumpxml "$x" | grep -vE '<(capacity|allocation|available)'
        virsh vol-list "$x" | sort
    done
}

# moments COUNT WITHIN: so many random numbers of seconds.
moments() {
    awk -v seed="$seed" -v count="$1" -v within="$2" 'BEGIN { srand(seed); while (count-- > 0) printf "%.2f\n", 0.02 + rand() * within }'
}

# Kills the apply at random moments until it was killed often enough; what has come to its end before is taken down and begun anew.
survive() {
    say "jvp apply, once as it should be: what it comes to"
    start=$(date +%s.%N)
    jvp apply -f . -y >"$dir/clean.log" 2>&1 || { cat "$dir/clean.log" >&2; die "the apply failed"; }
    within=$(echo "$(date +%s.%N) $start" | awk '{ print $1 - $2 }')
    inventory >"$dir/clean"
    jvp delete -f . -y --with-data --force-stop "VM/$vm" >/dev/null 2>&1 || die "the delete failed"
    say "jvp apply, killed $kills times within the $within s that it takes (--seed $seed)"
    killed=0
    for moment in $(moments $((kills * 10)) "$within"); do
        [ $killed -lt "$kills" ] || break
        "$JVP" --state-dir "$dir/state" apply -f . -y >"$dir/killed.log" 2>&1 &
        apply=$!
        sleep "$moment"
        if kill -9 $apply 2>/dev/null; then
            code=0; wait $apply || code=$?
            [ $code = 137 ] || die "the apply ended with $code before it was killed: $(cat "$dir/killed.log")"
            killed=$((killed + 1))
            echo "killed after $moment s, at: $(tail -n 1 "$dir/killed.log")"
        else
            wait $apply || { cat "$dir/killed.log" >&2; die "an apply after a kill failed"; }
            echo "ended before $moment s: taken down, and begun anew"
            jvp delete -f . -y --with-data --force-stop "VM/$vm" >/dev/null 2>&1 || die "the delete failed"
        fi
    done
    [ $killed -eq "$kills" ] || die "it was killed $killed times only"
}

# The pools of the manifests stay when they are deleted (reclaimPolicy: Retain). In a libvirt of somebody's they go too, with their
# folders where these are empty.
retire() {
    for x in $(virsh pool-list --all --name); do
        case $(virsh pool-dumpxml "$x" | sed -n 's|.*<path>\(.*\)</path>.*|\1/|p') in
            "$pool"/*) virsh pool-destroy "$x" >/dev/null 2>&1 || :; virsh pool-undefine "$x" >/dev/null || return 1;;
        esac
    done
    for x in "$pool/_templates_" "$pool"; do [ ! -d "$x" ] || rmdir "$x" || return 1; done
}

dir=$cache/demo.$$
applied=no
# shellcheck disable=SC2329 # by trap
leave() {
    code=$?
    trap - EXIT INT TERM HUP
    if [ $applied = yes ] && [ $system = yes ]; then
        say "taking down what was made"
        { (cd "$dir/checkout" && "$JVP" --state-dir "$dir/state" delete -f . -y --with-data --force-stop "VM/$vm") && retire; } || {
            echo "demo: not all is gone; the manifests and the state are kept in $dir" >&2; exit 1; }
    fi
    [ $system = yes ] || JVP_LAB_DIR=$dir/lab "$here/lab.sh" down || code=1
    rm -rf --one-file-system "$dir"
    exit $code
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What a demo left that was killed.
for d in "$cache"/demo.*; do
    if [ -d "$d" ] && [ ! -e "/proc/${d##*.}" ] && [ ! -e "$d/system" ]; then
        JVP_LAB_DIR=$d/lab "$here/lab.sh" down && rm -rf --one-file-system "$d"
    fi
done
mkdir -p "$dir/checkout"

if [ $system = yes ]; then
    say "your own libvirt is used, at qemu:///system"
    uri=qemu:///system
    pool=/var/lib/libvirt/images/jvp-demo
    : >"$dir/system"
    virsh uri >/dev/null || die "libvirt does not answer at $uri: is libvirtd running, and are you root or in the group libvirt?"
else
    say "a private libvirt, in namespaces of its own; your own is not touched"
    uri=$(JVP_LAB_DIR=$dir/lab "$here/lab.sh" up 1 | sed -n 's/^a //p')
    pool=$dir/lab/a/images/demo
    echo "$uri"
fi

say "a Debian cloud image, made from Debian's packages"
"$here/image.sh" "$dir/checkout/images" >/dev/null
(cd "$dir/checkout/images" && sha256sum -c debian-12-jvp.qcow2.sha256)
sum=$(cut -d' ' -f1 "$dir/checkout/images/debian-12-jvp.qcow2.sha256")

say "the manifests"
cp -R "$here/../../manifests/." "$dir/checkout"
cd "$dir/checkout"
find . -name '*.yaml' -exec sed -i \
    -e "s|^\( *uri:\) .*|\1 $uri|" \
    -e "s|path: /var/lib/libvirt/[^ }]*|path: $pool|" \
    -e "s|file: [^ }]*\.qcow2|file: images/debian-12-jvp.qcow2|" \
    -e "s|checksum: sha256:.*|checksum: sha256:$sum|" {} +
vm=$(find . -name '*.yaml' -exec cat {} + | awk '/^(kind|---)/ { vm = /VirtualMachine/ } vm' | sed -n 's/.*\<name: *\([a-z0-9.-]*\).*/\1/p' | head -n 1)
[ -n "$vm" ] || die "there is no VirtualMachine in manifests/"
find . -name '*.yaml' -exec cat {} +

say "jvp validate"
jvp validate -f .

say "jvp plan: what would be made"
jvp plan -f .

applied=yes
[ "$kills" = 0 ] || survive
say "jvp apply"
jvp apply -f . -y
if [ "$kills" != 0 ]; then
    inventory >"$dir/found"
    diff -u "$dir/clean" "$dir/found" || die "it didn't end as the clean apply did"
    say "all is as after the clean apply: no orphan, no duplicate"
fi

say "waiting for the guest: its agent, cloud-init, its address"
jvp wait -f . "vm/$vm" --timeout "${wait}s" || die "the guest was not ready within $wait s"
inside /usr/bin/cloud-init status --long || die "cloud-init failed"
jvp get vms -f . -o wide

say "jvp plan, again: nothing is to be done"
jvp plan -f . --detailed-exitcode || die "the plan after the apply is not empty"

say "jvp delete"
jvp delete -f . -y --with-data
if virsh list --all --name | grep -qxF "$vm"; then die "the guest is still defined"; fi
[ $system = no ] || retire || die "not all is gone; see virsh pool-list --all and $pool"
applied=no
if [ $system = no ]; then
    left=$(find "$pool" -type f -name "$vm*" 2>/dev/null || :)
    [ -z "$left" ] || die "left behind: $left"
fi

say "done"
