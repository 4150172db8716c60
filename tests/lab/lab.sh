#!/bin/sh
# A private lab: N libvirtd nodes named a, b, c…, each in a network and mount namespace of its own. Needs root.
# The user's own libvirt is never touched.
#
#   lab.sh up [N]           bring up N nodes (1), or the missing ones of them; prints "NAME URI", a line a node
#   lab.sh down             end guests, daemons and namespaces, remove the nodes' folders; never fails on what is not there
#   lab.sh down --under DIR the same for every lab whose folder lies below DIR
#   lab.sh start|stop|restart NODE   the libvirtd of one node; its guests keep running
#   lab.sh kill NODE        the same as stop, but with SIGKILL
#   lab.sh exec NODE CMD…   run CMD inside the node's namespaces
#   lab.sh sh [NODE]        a shell there, with LIBVIRT_DEFAULT_URI set
#   lab.sh uri|pid NODE     the URI to reach it from outside; the pid of its libvirtd
#   lab.sh list             what "up" printed, for the nodes there are
#
# JVP_LAB_DIR is the lab: two folders are two labs, side by side. A node X has $JVP_LAB_DIR/X:
#   etc lib cache log   bound over libvirt's own folders in the namespace
#   images              free for pools; has the same path inside and outside
# Its sockets lie in /run/jvp-lab/HASH/X, as a socket's path may have 107 bytes at most; HASH is of the folder's name.
# The namespace, jvp-HASH-X, has no way out: reach guests with "lab.sh exec". Use 198.18.0.0/15 in it.
set -eu

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' "$0" >&2; exit 64; }
say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ $# -ge 1 ] || usage
verb=$1; shift
case $verb in -h|--help|help) usage;; esac

[ "$(id -u)" = 0 ] || die "needs root: each node is a libvirtd in namespaces of its own"
PATH=$PATH:/usr/sbin:/sbin
for c in ip unshare nsenter flock libvirtd virsh qemu-system-x86_64 dnsmasq; do
    command -v "$c" >/dev/null || die "$c is missing; './x test --install' and './x demo --install' install what the lab needs"
done

base=$(realpath -m "${JVP_LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/jvp/lab}")
case $base in
    /|/etc/libvirt*|/run/libvirt*|/var/lib/libvirt*|/var/cache/libvirt*|/var/log/libvirt*) die "JVP_LAB_DIR can't be $base";;
esac
hash=$(printf %s "$base" | sha256sum | cut -c1-8)
run=/run/jvp-lab/$hash

netns() { echo "jvp-$hash-$1"; }
pidfile() { echo "$run/$1/libvirtd.pid"; }
uri() { echo "qemu+unix:///system?socket=$run/$1/libvirt-sock"; }
vsh() { n=$1; shift; timeout 60 virsh -q -c "$(uri "$n")" "$@"; }
nodes() { for d in "$base"/*/.jvp-lab-node; do [ ! -e "$d" ] || basename "${d%/*}"; done; }

check() {
    case $1 in [a-z]) ;; *) die "a node is called by one letter, not '$1'";; esac
    [ -e "$base/$1/.jvp-lab-node" ] || die "there is no node $1 in $base; 'lab.sh up' makes it"
}

# The pid of a node's libvirtd if it is alive and really that one.
pid() {
    p=$(cat "$(pidfile "$1")" 2>/dev/null) || return 1
    [ -n "$p" ] && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = libvirtd ] &&
        ip netns pids "$(netns "$1")" 2>/dev/null | grep -qx "$p" && echo "$p"
}

# Runs a command in fresh namespaces of a node. Folders are bound, so each such mount namespace sees the same ones,
# and each is gone with its last process: there is nothing to unmount.
inside() {
    n=$1; shift
    # shellcheck disable=SC2016 # for the inner shell
    ip netns exec "$(netns "$n")" unshare -m --propagation private sh -euc '
        d=$1 r=$2; shift 2
        mkdir -p /etc/libvirt /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
        mount --bind "$d/etc" /etc/libvirt
        mount --bind "$r" /run/libvirt
        mount --bind "$d/lib" /var/lib/libvirt
        mount --bind "$d/cache" /var/cache/libvirt
        mount --bind "$d/log" /var/log/libvirt
        exec "$@"' sh "$base/$n" "$run/$n" "$@"
}

make() {
    d=$base/$1
    if [ ! -e "$d/.jvp-lab-node" ]; then
        [ ! -e "$d" ] || die "$d is in the way: it is not a node of a lab"
        mkdir -p "$d"
        : >"$d/.jvp-lab-node"
    fi
    mkdir -p "$d/etc" "$d/lib" "$d/cache" "$d/log" "$d/images" "$run/$1"
    [ -e "$d/etc/libvirtd.conf" ] || cat >"$d/etc/libvirtd.conf" <<END
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
END
    [ -e "$d/etc/qemu.conf" ] || cat >"$d/etc/qemu.conf" <<END
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
END
    if [ ! -e "/run/netns/$(netns "$1")" ]; then
        ip netns add "$(netns "$1")" || die "this machine gives root no network namespaces (a container without CAP_SYS_ADMIN?): the lab can't run here"
    fi
    inside "$1" true || die "this machine gives root no mount namespaces: the lab can't run here"
    ip -n "$(netns "$1")" link set lo up
}

start() {
    if pid "$1" >/dev/null; then return; fi
    # An unreachable bus: no machined, polkit or firewalld of the host has a say in here. The lock's descriptor (9) stays out.
    inside "$1" env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent \
        libvirtd -d -p /run/libvirt/libvirtd.pid </dev/null >/dev/null 2>"$base/$1/log/start.log" 9>&- ||
        { tail -q -n 20 "$base/$1/log/start.log" "$base/$1/log/libvirtd.log" >&2 || :; die "libvirtd of node $1 does not start"; }
    i=0
    until vsh "$1" uri >/dev/null 2>&1; do
        i=$((i + 1))
        [ $i -le 100 ] || die "libvirtd of node $1 does not answer; see $base/$1/log/libvirtd.log"
        sleep 0.1
    done
}

# Ends processes by pid: asks, waits, then kills.
end() {
    [ $# -gt 0 ] || return 0
    kill -CONT "$@" 2>/dev/null || :
    kill -TERM "$@" 2>/dev/null || :
    i=0
    while [ $i -lt 100 ]; do
        left=
        for p; do case $(cut -d' ' -f3 "/proc/$p/stat" 2>/dev/null) in ''|Z) ;; *) left="$left $p";; esac; done
        [ -n "$left" ] || return 0
        # shellcheck disable=SC2086 # a list of pids
        [ $i -ne 80 ] || kill -KILL $left 2>/dev/null || :
        i=$((i + 1))
        sleep 0.1
    done
    say "processes that did not end:$left"
}

stop() {
    p=$(pid "$1") || return 0
    end "$p"
    rm -f "$(pidfile "$1")"
}

destroy() {
    ns=$(netns "$1")
    if [ -e "/run/netns/$ns" ]; then
        if p=$(pid "$1"); then kill -CONT "$p"; fi
        # Whatever runs besides libvirtd is ended by libvirt, if need be by a new one.
        if ip netns pids "$ns" | grep -qvx "${p:-0}"; then
            [ -n "$p" ] || (start "$1") || :
            for x in $(vsh "$1" list --id 2>/dev/null); do vsh "$1" destroy "$x" >/dev/null || :; done
            for x in $(vsh "$1" net-list --uuid 2>/dev/null); do vsh "$1" net-destroy "$x" >/dev/null || :; done
        fi
        stop "$1"
        # What is still there after that (a shell, a guest of a daemon that can't start) is the lab's own too.
        # shellcheck disable=SC2046 # a list of pids
        end $(ip netns pids "$ns" | grep -vx $$)
        ip netns del "$ns"
    fi
    # Mounts that a test made below the node, innermost first.
    awk -v d="$base/$1/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r m; do umount "$m"; done
    rm -rf --one-file-system "${run:?}/$1" "${base:?}/$1"
}

# One change to a lab at a time. The file goes with the lab, so the one that was locked may no longer be the one of that name.
lock() {
    while :; do
        mkdir -p /run/jvp-lab
        exec 9>"$run.lock" || continue
        flock -w 120 9 || die "another lab.sh is at work on $base"
        [ "$(stat -L -c %d:%i /proc/self/fd/9)" != "$(stat -c %d:%i "$run.lock" 2>/dev/null)" ] || return 0
    done
}

# libvirt asks each QEMU what it can do: seconds, once a node. It notices itself when what it kept is out of date,
# so nodes hand it on through the cache.
capabilities() {
    shared=${JVP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/jvp}/capabilities own=$base/$1/cache/qemu/capabilities
    case $2 in
        take) if [ -d "$shared" ] && [ ! -d "$own" ]; then mkdir -p "$own" && cp "$shared"/*.xml "$own"; fi;;
        give)
            vsh "$1" capabilities >/dev/null
            mkdir -p "$shared"
            for f in "$own"/*.xml; do
                cmp -s "$f" "$shared/${f##*/}" || { cp "$f" "$shared/.$hash.$$" && mv "$shared/.$hash.$$" "$shared/${f##*/}"; }
            done;;
    esac
}

case $verb in
    up)
        count=${1:-1}
        case $count in ''|*[!0-9]*) usage;; esac
        if [ "$count" -lt 1 ] || [ "$count" -gt 26 ]; then die "from 1 to 26 nodes"; fi
        lock
        mkdir -p "$base" "$run"
        echo "$base" >"$run/dir"
        for n in $(printf %s abcdefghijklmnopqrstuvwxyz | cut -c1-"$count" | sed 's/./& /g'); do
            make "$n"
            capabilities "$n" take || :
            start "$n"
            capabilities "$n" give || :
            echo "$n $(uri "$n")"
        done;;
    down)
        if [ "${1:-}" = --under ] && [ $# = 2 ]; then
            for d in /run/jvp-lab/*/dir; do
                [ -e "$d" ] || continue
                lab=$(cat "$d")
                case $lab in "$(realpath -m "$2")"/*) JVP_LAB_DIR=$lab "$0" down;; esac
            done
            exit
        fi
        [ $# = 0 ] || usage
        lock
        for n in $(nodes); do destroy "$n" || say "node $n: not all is gone"; done
        # A namespace whose folder somebody has removed.
        for f in /run/netns/jvp-"$hash"-?; do
            [ ! -e "$f" ] || destroy "${f##*-}" || say "${f##*/}: not all is gone"
        done
        rm -f "$run/dir"
        rmdir "$run" "$base" 2>/dev/null || :
        rm -f "$run.lock"
        # The last lab takes the mount that "ip netns" made with it.
        if rmdir /run/jvp-lab 2>/dev/null && [ -z "$(ls /run/netns 2>/dev/null)" ]; then umount /run/netns 2>/dev/null || :; fi;;
    start|stop|restart|kill)
        [ $# = 1 ] || usage
        check "$1"
        lock
        case $verb in
            start) make "$1"; start "$1";;
            stop) stop "$1";;
            restart) stop "$1"; start "$1";;
            kill) if p=$(pid "$1"); then kill -KILL "$p"; end "$p"; rm -f "$(pidfile "$1")"; fi;;
        esac;;
    exec|sh)
        n=${1:-a}
        [ $# = 0 ] || shift
        check "$n"
        if [ "$verb" = sh ]; then
            say "node $n, $(netns "$n"); exit with ^D"
            set -- env LIBVIRT_DEFAULT_URI=qemu:///system PS1="lab $n# " sh -i
        fi
        [ $# -gt 0 ] || usage
        # The daemon's own namespaces where it runs, for its mounts.
        if p=$(pid "$n"); then exec nsenter -t "$p" -m -n -- "$@"; fi
        inside "$n" "$@";;
    uri) [ $# = 1 ] || usage; check "$1"; uri "$1";;
    pid) [ $# = 1 ] || usage; check "$1"; pid "$1";;
    list) for n in $(nodes); do echo "$n $(uri "$n")"; done;;
    *) usage;;
esac
