# Planning by itself, and its memory; read by bench.sh, on whose lab, set and functions it stands.
# shellcheck shell=sh disable=SC2154 # what bench.sh has: here, work, runs, vms, fleet

say "planning by itself"
mkdir -p "$work/pure"
for what in same new; do
    for objects in 1000 10000 100000; do
        # A second of each, and three runs at least.
        count=$((200000 / objects)); [ $count -ge $runs ] || count=$runs; [ $count -le 50 ] || count=50
        line=$("$JVP_PLANNER" $objects $count $what "$work/pure") || die "failed: planning $objects objects"
        say "  $(echo "$line" | cut -d ' ' -f 8-)"
        line=$(echo "$line" | cut -d ' ' -f -7)
        case $what in
            same) row "$objects objects as wanted, YAML" 3 "$line";;
            new) row "$objects objects, all new, YAML" 3 "$line";;
        esac
    done
    # Sets as a command meets them: not planned a moment ago. By turns, so that both meet what else the machine does.
    ratios=''
    for turn in 1 2 3 4 5; do
        once=''
        for sets in "1000 30" "100000 1"; do
            # shellcheck disable=SC2086 # two words
            line=$("$JVP_PLANNER" $sets $what "$work/pure" once) || die "failed: planning $sets sets once"
            say "  turn $turn, $sets, each once: $line"
            once="$once $(echo "$line" | cut -d ' ' -f 4)"
        done
        # shellcheck disable=SC2086 # two times
        ratios="$ratios$(awk -v both="$once" 'BEGIN { split(both, time, " "); print time[2] / time[1] }')
"
    done
    bar "  100000 beside 1000, met once" "$(printf %s "$ratios" | sort -n | sed -n 3p)" 130 ""
done

# Ten nodes of their own with as many VMs each as the set has, a volume to each.
nodes="a b c d e f g h i j"
say "ten nodes with $vms VMs each are made"
JVP_LAB_DIR=$work/many-lab "$here/../tests/lab/lab.sh" up 10 >"$work/nodes.list"
mkdir -p "$work/many"
echo "$fleet" | sed 's/a10}$/a12}/' >"$work/many/jvp.yaml"
for node in $nodes; do
    awk -v n="$vms" -v node="$node" -v uri="$(sed -n "s/^$node //p" "$work/nodes.list")" -v pool="$work/many-lab/$node/images/many" -v set="$work/many" '
    function head(kind, name) { return "---\napiVersion: jvp.dev/v1alpha1\nkind: " kind "\nmetadata:\n  name: " name "\n" }
    BEGIN {
        printf "%sspec:\n  uri: %s\n", head("Node", node), uri >(set "/" node ".yaml")
        printf "%sspec:\n  nodes: [%s]\n  type: Dir\n  target:\n    path: %s\n", head("StoragePool", "many-" node), node, pool >(set "/" node ".yaml")
        for (i = 0; i < n; i++) {
            file = sprintf("%s/%s-%02d.yaml", set, node, i / 50)
            name = sprintf("%s-%04d", node, i)
            printf "%sspec:\n  pool: many-%s\n  format: raw\n  capacity: 1Mi\n", head("Volume", name), node >file
            printf "%s  labels:\n    app: bench\nspec:\n  node: %s\n  runStrategy: Halted\n  accelerator: TCG\n", head("VirtualMachine", "vm-" name), node >file
            printf "  cpu:\n    count: 1\n  memory: 64Mi\n  disks:\n    - name: root\n      volume: %s\n", name >file
            if (i % 50 == 49) close(file)
        }
    }'
done
(cd "$work/many" && quietly "$JVP" --state-dir "$work/state.many" apply -f . -y --take-over)
(cd "$work/many" && quietly "$JVP" --state-dir "$work/state.many" plan -f . --detailed-exitcode)
line=$(cd "$work/many" && "$JVP_FLOOR" measure 1 :: "$JVP_FLOOR" link :: "$JVP" --state-dir "$work/state.many" plan -f .)
bar "plan of 10 x $vms VMs: memory" "$((${line##* } / 1024))" 300 MiB
JVP_LAB_DIR=$work/many-lab "$here/../tests/lab/lab.sh" down
