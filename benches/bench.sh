#!/bin/sh
# jvp's speed beside a floor: a program that asks of libvirt what any program must, through the same crate, in the same run.
# Needs root, as the lab does. benches/README.md tells what is measured and keeps the figures.
#
#   bench.sh [--no-fail] [--runs N] [--vms N] [--only commands|daemon|nodes|planner] [--long] [--keep]
#
#   --no-fail   don't exit with 1 where an aim is missed
#   --runs N    runs of each that count (4)
#   --vms N     VMs, and volumes (1000)
#   --only X    measure commands, the daemon, nodes that are far away, or the planner, alone
#   --long      ten minutes each of rest and of events, instead of one
#   --keep      leave the lab and its folder, and say where
#
# JVP, JVP_FLOOR and JVP_PLANNER are programs that were built before; else they are built.
set -eu
here=$(realpath "$(dirname "$0")")
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 64; }
say() { printf 'bench: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

fail=yes runs=4 vms=1000 keep=no long=no only=
while [ $# -gt 0 ]; do
    case $1 in
        --no-fail) fail=no;;
        --keep) keep=yes;;
        --long) long=yes;;
        --only)
            case ${2:-} in commands|daemon|nodes|planner) only=$2;; *) usage;; esac
            shift;;
        --runs|--vms)
            case ${2:-} in ''|0|*[!0-9]*) usage;; esac
            [ "$1" = --runs ] && runs=$2 || vms=$2
            shift;;
        *) usage;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "needs root: its libvirtd has namespaces of its own"

if [ -z "${JVP:-}" ] || [ -z "${JVP_FLOOR:-}" ] || [ -z "${JVP_PLANNER:-}" ]; then
    say "building"
    (cd "$here/.." && cargo build --release --locked --features bench --bins)
    release=$(realpath "${CARGO_TARGET_DIR:-$here/../target}")/release
    JVP=$release/jvp JVP_FLOOR=$release/jvp-floor JVP_PLANNER=$release/jvp-planner
fi

daemon='' listeners=''
work=$(mktemp -d "${TMPDIR:-/tmp}/jvp-bench.XXXXXX")
leave() {
    code=$?
    trap - EXIT INT TERM HUP
    # shellcheck disable=SC2086 # a list
    [ -z "$daemon$listeners" ] || kill $daemon $listeners 2>/dev/null || :
    if [ $keep = yes ]; then
        say "kept: $work (tests/lab/lab.sh down --under $work takes its lab away)"
    else
        "$here/../tests/lab/lab.sh" down --under "$work" || code=1
        rm -rf --one-file-system "$work"
    fi
    exit $code
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What is measured is what people run, an installed copy. A file that a linker wrote lies in memory in single pages, one that was copied
# in long pieces: as it comes from the linker a short command takes 5 % more of the same program.
mkdir "$work/bin"
cp "$JVP" "$work/bin/jvp"
cp "$JVP_FLOOR" "$work/bin/jvp-floor"
cp "$JVP_PLANNER" "$work/bin/jvp-planner"
JVP=$work/bin/jvp JVP_FLOOR=$work/bin/jvp-floor JVP_PLANNER=$work/bin/jvp-planner

uri=$(JVP_LAB_DIR=$work/lab "$here/../tests/lab/lab.sh" up 1 | sed -n 's/^a //p')
networks=20

# The set: base/ is the pool, the networks and the volumes, vms/ what is defined in them; small/ is a set as people begin.
mkdir -p "$work/set/base" "$work/set/vms" "$work/small"
fleet='apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: bench}
spec: {id: 5b0e1a52-7c1e-4b43-9a54-0d3e6a6f4a10}'
echo "$fleet" | tee "$work/small/jvp.yaml" >"$work/set/jvp.yaml"
awk -v n="$vms" -v networks=$networks -v uri="$uri" -v pool="$work/lab/a/images/bench" -v set="$work/set" -v small="$work/small" '
function head(kind, name) { return "---\napiVersion: jvp.dev/v1alpha1\nkind: " kind "\nmetadata:\n  name: " name "\n" }
function network(i) {
    return head("Network", sprintf("net-%02d", i)) \
        sprintf("spec:\n  mode: NAT\n  bridge: bench%02d\n  ips:\n    - address: 198.18.%d.1/24\n", i, i)
}
function volume(i) {
    return head("Volume", sprintf("disk-%04d", i)) "spec:\n  pool: bench\n  format: raw\n  capacity: 1Mi\n"
}
function machine(i) {
    return head("VirtualMachine", sprintf("vm-%04d", i)) \
        "  labels:\n    app: bench\nspec:\n  runStrategy: Halted\n  accelerator: TCG\n  cpu:\n    count: 1\n  memory: 64Mi\n" \
        sprintf("  disks:\n    - name: root\n      volume: disk-%04d\n", i) \
        sprintf("  interfaces:\n    - name: eth0\n      network: net-%02d\n", i % networks)
}
BEGIN {
    common = head("Node", "a") "spec:\n  uri: " uri "\n" \
        head("StoragePool", "bench") "spec:\n  type: Dir\n  target:\n    path: " pool "\n"
    printf "%s", common >(set "/base/node.yaml")
    for (i = 0; i < networks; i++) printf "%s", network(i) >(set "/base/networks.yaml")
    # A file for fifty.
    for (i = 0; i < n; i++) {
        part = sprintf("%02d.yaml", i / 50)
        printf "%s", volume(i) >(set "/base/volumes-" part)
        printf "%s", machine(i) >(set "/vms/" part)
    }
    printf "%s%s%s%s", common, network(0), volume(0), machine(0) >(small "/all.yaml")
}'

jvp() { (cd "$work/set" && "$JVP" --state-dir "$work/state" "$@"); }
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "failed: $*"; }; }

say "a pool, $networks networks and $vms volumes are made"
mv "$work/set/vms" "$work/vms"
quietly jvp apply -f . -y
mv "$work/vms" "$work/set/vms"
cp -a "$work/state" "$work/state.base"
jvp plan -f . -o json >"$work/plan.json"

cat >"$work/reset" <<END
#!/bin/sh
set -e
"$JVP_FLOOR" undefine "$uri"
rm -rf "$work/state"
cp -a "$work/state.base" "$work/state"
END
chmod +x "$work/reset"

missed=no
printf '%-34s %10s %10s %7s %7s  %s\n' what jvp floor ratio aim ""
# row WHAT AIM LINE
row() {
    # shellcheck disable=SC2086 # the fields of a line
    set -- "$1" "$2" $3
    shown=$(awk -v what="$1" -v aim="$2" -v floor="$3" -v jvp="$6" 'BEGIN {
        ratio = jvp / floor
        printf "%-34s %7.1f ms %7.1f ms %7.2f %7.2f  %s\n", what, jvp / 1000, floor / 1000, ratio, aim, ratio <= aim ? "met" : "missed"
    }')
    echo "$shown"
    case $shown in *missed) missed=yes;; esac
    say "  $1: floor $4 to $5 µs, jvp $7 to $8 µs"
}
# A figure beside a bar: bar WHAT FIGURE BAR UNIT
bar() {
    shown=$(awk -v what="$1" -v figure="$2" -v bar="$3" -v unit="$4" 'BEGIN {
        printf "%-34s %7.1f %-3s %20.1f %-3s %s\n", what, figure, unit, bar, unit, figure <= bar ? "met" : "missed"
    }')
    echo "$shown"
    case $shown in *missed) missed=yes;; esac
}
# measure NAME COMMAND… : what the floor program prints, or the end
measure() { (cd "$work/set" && "$JVP_FLOOR" measure "$@") || die "failed: $*"; }

commands() {
    few=$((runs * 20 + 1))
    line=$(measure $few :: "$JVP_FLOOR" link :: "$JVP" version)
    row "version" 1.3 "$line"
    line=$(measure $few :: "$JVP_FLOOR" link :: "$JVP" validate -f "$work/small")
    row "validate, 6 objects" 1.3 "$line"

    line=$(measure "$runs" :: "$JVP_FLOOR" define "$uri" "$work/plan.json" :: "$JVP" --state-dir "$work/state" apply -f . -y :: "$work/reset")
    row "apply that defines $vms VMs" 1.3 "$line"

    # They are defined since the last of these runs.
    jvp plan -f . --detailed-exitcode >"$work/log" || { cat "$work/log"; die "a plan right after an apply is not empty"; }
    line=$(measure "$runs" :: "$JVP_FLOOR" read "$uri" :: "$JVP" --state-dir "$work/state" plan -f .)
    row "plan with nothing to do, $vms VMs" 1.4 "$line"
    peak=$((${line##* } / 1024))
    verdict=met
    if [ $peak -gt 120 ]; then verdict=missed missed=yes; fi
    printf '%-34s %6d MiB %10s %7s %3d MiB  %s\n' "  its memory at peak" $peak "" "" 120 $verdict

    # Each time another value, for the floor as for jvp, so that there is always something to be done.
    cp "$work/set/vms/00.yaml" "$work/first.yaml"
    echo 64 >"$work/count"
    cat >"$work/next" <<END
#!/bin/sh
set -e
count=\$((\$(cat "$work/count") + 1))
echo \$count >"$work/count"
sed "0,/  memory: 64Mi/s//  memory: \${count}Mi/" "$work/first.yaml" >"$work/set/vms/00.yaml"
END
    chmod +x "$work/next"
    line=$(measure "$runs" :: "$JVP_FLOOR" change "$uri" vm-0000 :: "$JVP" --state-dir "$work/state" apply -f . -y :: "$work/next")
    row "apply of one changed VM of $vms" 1.4 "$line"
    jvp plan -f . --detailed-exitcode >"$work/log" || { cat "$work/log"; die "a plan right after that apply is not empty"; }
    memory=$(JVP_LAB_DIR=$work/lab "$here/../tests/lab/lab.sh" exec a virsh -q dominfo vm-0000 | sed -n 's/^Max memory: *//p')
    [ "$memory" = "$(($(cat "$work/count") * 1024)) KiB" ] || die "the changed VM has $memory"
}
case $only in ''|commands) commands;; daemon|nodes) quietly jvp apply -f . -y;; esac
# shellcheck source=benches/nodes.sh
case $only in ''|nodes) . "$here/nodes.sh";; esac
# shellcheck source=benches/planner.sh
case $only in ''|planner) . "$here/planner.sh";; esac
# shellcheck source=benches/daemon.sh
case $only in ''|daemon) . "$here/daemon.sh";; esac

if [ $missed = yes ] && [ $fail = yes ]; then exit 1; fi
