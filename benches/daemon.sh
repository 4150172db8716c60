# The daemon's figures; read by bench.sh, on whose lab, set and functions it stands.
# shellcheck shell=sh disable=SC2154 # what bench.sh has: work, uri, runs, vms, long, set

vsh() { virsh -q -c "$uri" "$@"; }
state=$work/state

# daemon [--logged] SET ARGUMENTS…: starts one, and waits until it has looked and rests. With --logged, libvirt's library writes down each call.
daemon() {
    filters=
    [ "$1" != --logged ] || { filters=1:libvirt; shift; }
    folder=$1; shift
    : >"$work/calls"
    LIBVIRT_LOG_FILTERS=$filters LIBVIRT_LOG_OUTPUTS=${filters:+1:file:$work/calls} \
        "$JVP" --state-dir "$state" daemon --source "$folder" "$@" >"$work/daemon.log" 2>&1 &
    daemon=$!
    "$JVP_FLOOR" settled "$state/daemon.sock" 4 || { cat "$work/daemon.log" >&2; die "the daemon did not begin"; }
}
ended() { kill "$daemon"; wait "$daemon" || { tail -n 20 "$work/daemon.log" >&2; die "the daemon did not end well"; }; daemon=; }

# Calls of the daemon's that went to libvirtd, since line N of what its library wrote.
calls() { tail -n +"$(($1 + 1))" "$work/calls" | sed -n 's/.* debug : \(vir[A-Za-z]*\):.*/\1/p' | grep -Evc 'Free$|IsAlive$|Get(Name|UUID|ID|Type)$|GetConnect$|SetKeepAlive$|OpenInternal$' || :; }
now() { wc -l <"$work/calls"; }

say "a daemon keeps the set: resyncs"
daemon "$work/set" --resync 8s
line=$("$JVP_FLOOR" resyncs "$runs" "$state/daemon.sock" :: "$JVP_FLOOR" read "$uri") || die "the daemon's looks could not be measured"
row "resync of $vms VMs" 1.4 "$line"
ended

rest=60
[ $long = no ] || rest=600
say "a daemon rests for $rest s"
daemon "$work/set"
line=$("$JVP_FLOOR" rest "$daemon" $rest "$runs" :: "$JVP_FLOOR" read "$uri") || die "the daemon's rest could not be measured"
say "  ${line##* } thousandths of a core"
row "a minute at rest: processor time" 2 "$line"
peak=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status")
bar "  its memory at peak" "$(awk -v kib="$peak" 'BEGIN { print kib / 1024 }')" 100 MiB
ended

# 14.4 a second for ten minutes is a day in which somebody changes something every ten seconds. What grows is looked at once each of
# 1,000 domains has been changed, after a third of it: before that a domain is new to those that remember what changed.
stirred=240
[ $long = no ] || stirred=600
say "the history is filled: 16 files of 1 MiB, as after some days of this"
history=$state/ledger/history
newest=$(find "$history" -type f | sort | tail -n 1)
mv "$newest" "$work/history"
rm -f "$history"/*
for number in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15; do
    while [ "$(cat "$history/000000$number" 2>/dev/null | wc -c)" -lt 1048576 ]; do cat "$work/history"; done >>"$history/000000$number"
done
mv "$work/history" "$history/00000016"
say "a daemon is kept busy for $stirred s"
daemon "$work/set"
line=$("$JVP_FLOOR" stir "$uri" $stirred 14.4 "$daemon" "$work/state/ledger") || die "the domains could not be changed"
# shellcheck disable=SC2086 # the fields of a line
set -- $line
say "  $1 changes by hand: memory $2 to $3 KiB, ledger $4 to $5 KiB"
bar "events of a day: memory grows by" "$(awk -v a="$2" -v b="$3" 'BEGIN { print (b - a) / a * 100 }')" 10 %
bar "  the ledger grows by" "$(awk -v a="$4" -v b="$5" 'BEGIN { print (b - a) / a * 100 }')" 10 %
ended
jvp apply -f . -y >"$work/log" 2>&1 || { cat "$work/log" >&2; die "failed: apply after the changes by hand"; }

# How many calls one event costs that asks for nothing; the first is not counted.
event() {
    vsh desc "$1" --config --title --new-desc first >/dev/null
    sleep 2
    before=$(now)
    vsh desc "$1" --config --title --new-desc second >/dev/null
    sleep 2
    calls "$before"
}
say "ten objects"
mkdir -p "$work/ten"
cat >"$work/ten/all.yaml" <<END
apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: ten}
spec: {id: 6c0e1a52-7c1e-4b43-9a54-0d3e6a6f4a10}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {name: a}
spec: {uri: $uri}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: ten}
spec: {type: Dir, target: {path: $work/lab/a/images/ten}}
---
apiVersion: jvp.dev/v1alpha1
kind: Network
metadata: {name: ten}
spec: {mode: NAT, bridge: ten, ips: [{address: 198.18.250.1/24}]}
END
for i in 1 2 3; do cat <<END; done >>"$work/ten/all.yaml"
---
apiVersion: jvp.dev/v1alpha1
kind: Volume
metadata: {name: ten-disk-$i}
spec: {pool: ten, format: raw, capacity: 1Mi}
---
apiVersion: jvp.dev/v1alpha1
kind: VirtualMachine
metadata: {name: ten-$i, labels: {app: bench}}
spec:
  runStrategy: Halted
  accelerator: TCG
  cpu: {count: 1}
  memory: 64Mi
  disks: [{name: root, volume: ten-disk-$i}]
  interfaces: [{name: eth0, network: ten}]
END
state=$work/state-ten
(cd "$work/ten" && quietly "$JVP" --state-dir "$state" apply -f . -y)
daemon --logged "$work/ten" --resync 1h
few=$(event ten-1)
ended
state=$work/state

say "ten thousand objects"
healed=4
awk -v n="$vms" -v more=$((10000 - 2 * vms - networks - 2 - 3 * healed)) -v healed=$healed -v pools="$work/lab/a/images" -v set="$work/set" '
function head(kind, name) { return "---\napiVersion: jvp.dev/v1alpha1\nkind: " kind "\nmetadata:\n  name: " name "\n" }
BEGIN {
    for (i = n; i < n + more; i++) printf "%sspec:\n  pool: bench\n  format: raw\n  capacity: 1Mi\n", head("Volume", sprintf("disk-%04d", i)) >(set sprintf("/base/volumes-%03d.yaml", i / 50))
    for (i = 0; i < healed; i++) {
        file = set "/healed.yaml"
        printf "%sspec: {type: Dir, target: {path: %s/healed-%d}}\n", head("StoragePool", "healed-" i), pools, i >file
        printf "%sspec: {mode: NAT, bridge: healed%d, ips: [{address: 198.18.%d.1/24}]}\n", head("Network", "healed-" i), i, 200 + i >file
        printf "%sspec: {runStrategy: Always, accelerator: TCG, cpu: {count: 1}, memory: 64Mi}\n", head("VirtualMachine", "healed-" i) >file
    }
}'
quietly jvp apply -f . -y
daemon --logged "$work/set" --resync 1h
objects=$(sed -n 's/.*manifests read.*objects=\([0-9]*\).*/\1/p' "$work/daemon.log" | tail -n 1)
before=$(now)
sleep 20
bar "calls in 20 s without an event" "$(calls "$before")" 0 ""

bar "calls for an event among $objects" "$(event vm-0000)" "$few" ""

# What libvirt tells a listener of its own, with its time, beside the time of the daemon's call.
stdbuf -oL virsh -q -c "$uri" event --loop --event lifecycle --timestamp >"$work/events-vm" & listeners=$!
stdbuf -oL virsh -q -c "$uri" net-event --loop --event lifecycle --timestamp >"$work/events-net" & listeners="$listeners $!"
stdbuf -oL virsh -q -c "$uri" pool-event --loop --event lifecycle --timestamp >"$work/events-pool" & listeners="$listeners $!"
sleep 1
until_started() {
    for _ in $(seq 100); do
        case $1 in
            vm) [ "$(vsh domstate "$2")" != running ] || return 0;;
            net) ! vsh net-info "$2" | grep -q '^Active: *yes' || return 0;;
            pool) ! vsh pool-info "$2" | grep -q '^State: *running' || return 0;;
        esac
        sleep 0.1
    done
    die "$2 was not started again"
}
# Four times each: what is changed five times in ten minutes is healed more slowly. Networks come last, as each that is started again
# has everything looked at for guests that hung on it.
for what in vm pool net; do
    for _ in 1 2 3 4; do
        for i in $(seq 0 $((healed - 1))); do
            case $what in
                vm) vsh destroy healed-"$i";;
                pool) vsh pool-destroy healed-"$i";;
                net) vsh net-destroy healed-"$i";;
            esac
            sleep 0.5
            until_started $what healed-"$i"
        done
    done
done >/dev/null
# The looks that came of the networks.
"$JVP_FLOOR" settled "$state/daemon.sock" 4
# shellcheck disable=SC2086 # a list
kill $listeners
listeners=
# The median time from a line of the first file to the next of the daemon's calls, by a pattern for each; less so many ms.
between() {
    time='^\([0-9-]* [0-9:.]*\)+0000: .*'
    { sed -n "s/$time$2.*/\1 event/p" "$1"; sed -n "s/$time$3.*/\1 call/p" "$work/calls"; } | sort | awk -v less="$4" '
        { split($2, t, ":"); ms = ((t[1] * 60 + t[2]) * 60 + t[3]) * 1000 }
        $3 == "event" { at = ms; waits = 1; next }
        waits { print ms - at - less; waits = 0 }' | sort -n >"$work/times"
    say "  $(wc -l <"$work/times") times, $(head -n 1 "$work/times") to $(tail -n 1 "$work/times") ms"
    awk '{ all[NR] = $1 } END { if (NR) print all[int((NR + 1) / 2)]; else print 99999 }' "$work/times"
}
bar "VM destroyed: event to start" "$(between "$work/events-vm" ': Stopped' 'virDomainCreateWithFlags:' 0)" 50 ms
bar "network stopped: event to start" "$(between "$work/events-net" ': Stopped' 'virNetworkCreate:' 0)" 50 ms
bar "pool stopped: event to start" "$(between "$work/events-pool" ': Stopped' 'virStoragePoolCreate:' 0)" 50 ms

# As an editor saves: another file under the name. Each time another value of another VM.
: >"$work/saved"
before=$(now)
for i in $(seq 0 9); do
    file=$work/set/vms/0$i.yaml
    sed '0,/  memory: [0-9]*Mi/s//  memory: 200Mi/' "$file" >"$work/new.yaml"
    mv "$work/new.yaml" "$file"
    date -u '+%Y-%m-%d %H:%M:%S.%3N+0000: saved' >>"$work/saved"
    sleep 2
done
# A folder is read once nothing in it changed for 100 ms.
bar "manifest saved: settled to effect" "$(between "$work/saved" 'saved' 'virDomainDefineXMLFlags:' 100)" 150 ms
ended
