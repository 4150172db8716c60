# Nodes that are far away; read by bench.sh, on whose lab, set and functions it stands.
# shellcheck shell=sh disable=SC2154 # what bench.sh has: work, uri, runs, vms, fleet, listeners
#
# A proxy before each node's socket has every message on its way for 20 ms in each direction. The floor's program asks for one document
# after the other through such a proxy.

# far NODE [BYTES]: puts a proxy before a node's socket, over a link of so many bytes a second.
[ -p "$work/open" ] || mkfifo "$work/open"
exec 8<>"$work/open"
far() {
    rm -f "$work/far-$1"
    "$JVP_FLOOR" far "$work/far-$1" "/run/jvp-lab/$lab/$1/libvirt-sock" 20 ${2:+"$2"} <"$work/open" >/dev/null &
    proxy=$!
    listeners="$listeners $proxy"
    until [ -S "$work/far-$1" ]; do sleep 0.1; done
}
lab=$(echo "$uri" | sed 's,.*/jvp-lab/\([0-9a-f]*\)/.*,\1,')
far_uri() { echo "qemu+unix:///system?socket=$work/far-$1"; }

far a
cp -a "$work/set" "$work/set.far"
sed -i "s|$uri|$(far_uri a)|" "$work/set.far/base/node.yaml"
line=$(cd "$work/set.far" && "$JVP_FLOOR" measure 1 :: "$JVP_FLOOR" read "$(far_uri a)" :: "$JVP" --state-dir "$work/state" plan -f .)
row "plan of $vms VMs that are far away" 0.083 "$line"
kill "$proxy"

# 100 MiB beside 4 MiB, so that only the bytes count, beside what the link carries in that time.
far a 12500000
mkdir -p "$work/upload"
upload() {
    head -c "$1" /dev/urandom >"$work/upload/image.raw"
    cat >"$work/upload/all.yaml" <<END
apiVersion: jvp.dev/v1alpha1
kind: Fleet
metadata: {name: upload}
spec: {id: 5b0e1a52-7c1e-4b43-9a54-0d3e6a6f4a11}
---
apiVersion: jvp.dev/v1alpha1
kind: Node
metadata: {name: a}
spec: {uri: "$(far_uri a)"}
---
apiVersion: jvp.dev/v1alpha1
kind: StoragePool
metadata: {name: upload}
spec: {type: Dir, target: {path: $work/lab/a/images/upload}}
---
apiVersion: jvp.dev/v1alpha1
kind: Template
metadata: {name: image-$1}
spec: {pool: upload, format: raw, source: {file: image.raw}}
END
    (cd "$work/upload" && "$JVP_FLOOR" once "$JVP" --state-dir "$work/state.upload" apply -f . -y)
}
upload 4194305 >/dev/null
few=$(upload 4194304)
many=$(upload 104857600)
line="$(((104857600 - 4194304) * 10 / 125)) 0 0 $((many - few)) $((many - few)) $((many - few)) 0"
row "100 MiB to a node that is far away" 1.15 "$line"
kill "$proxy"

# Ten nodes with 100 VMs each, and one of them.
each=100 nodes="b c d e f g h i j k"
say "ten more nodes with $each VMs each are made"
JVP_LAB_DIR=$work/lab "$here/../tests/lab/lab.sh" up 11 >/dev/null
for count in 1 10; do
    mkdir -p "$work/nodes.$count"
    echo "$fleet" >"$work/nodes.$count/jvp.yaml"
done
for node in $nodes; do
    far "$node"
    awk -v n=$each -v node="$node" -v uri="$(far_uri "$node")" 'BEGIN {
        api = "---\napiVersion: jvp.dev/v1alpha1\n"
        printf api "kind: Node\nmetadata: {name: %s}\nspec: {uri: \"%s\"}\n", node, uri
        for (i = 0; i < n; i++) {
            printf api "kind: VirtualMachine\nmetadata: {name: %s-%03d}\n", node, i
            printf "spec: {node: %s, runStrategy: Halted, accelerator: TCG, cpu: {count: 1}, memory: 64Mi}\n", node
        }
    }' >"$work/nodes.10/$node.yaml"
done
cp "$work/nodes.10/b.yaml" "$work/nodes.1/"
for count in 1 10; do
    (cd "$work/nodes.$count" && quietly "$JVP" --state-dir "$work/state.$count" apply -f . -y --take-over)
    (cd "$work/nodes.$count" && quietly "$JVP" --state-dir "$work/state.$count" plan -f . --detailed-exitcode)
done
line=$("$JVP_FLOOR" measure "$runs" :: "$JVP" --state-dir "$work/state.1" plan -f "$work/nodes.1" :: "$JVP" --state-dir "$work/state.10" plan -f "$work/nodes.10")
row "plan of 10 nodes far away, one of them" 1.5 "$line"
