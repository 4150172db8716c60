#!/bin/sh
# What one does with this checkout. Debian 12; "demo", "test" and "lab" need root.
#
#   ./x demo [--install] [--system] [--kills N [--seed SEED]]
#                                     manifests become a running Debian guest, and are taken down again; with --kills the
#                                     apply is killed N times at random moments first, and run again
#   ./x test [--install]              everything that CI checks: lints, documents, all tests, the demo
#   ./x lint                          format, clippy, documents, and cargo-deny and shellcheck where they are installed
#   ./x lab up [N]|down|sh [NODE]     private libvirtd nodes to play with; "./x lab" tells the rest
#   ./x coverage [ARGUMENTS]          which lines the tests run, by cargo-llvm-cov; fails below 80 of 100. Arguments are its own
#   ./x bench [ARGUMENTS]             speed, beside a program that makes the fewest libvirt calls
#   ./x fuzz [TARGET [SECONDS]]       a fuzz target, or each in its turn, for so long (480 s); needs cargo-fuzz and a nightly Rust
#   ./x package [--install] [--dev]   the Debian package and a container of it, tried in a Debian of its own; needs root
#   ./x docs                          the site of docs/, by mdBook, into target/book
#
# "demo", "test" and "package" install the packages that are missing: on a terminal they ask, --install says yes.
# The user's own libvirt is touched by "demo --system" alone.
# JVP_CACHE_DIR keeps the guests' images. JVP_TEST_LEVEL=unit leaves out of "test" what needs root and a libvirtd.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
target=${CARGO_TARGET_DIR:-target}
cache=${JVP_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/jvp}

build_packages="gcc libc6-dev make pkg-config libvirt-dev"
lab_packages="libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils dnsmasq-base iproute2
    nftables iptables ovmf mmdebstrap grub-common grub-efi-amd64-bin grub-pc-bin e2fsprogs dosfstools mtools gdisk cpio
    dropbear-bin"
# What a source of manifests is fetched and verified with.
git_packages="git openssh-client"
# What the Debian package is made and tried with.
package_packages="dpkg-dev mmdebstrap"
# Packages of their own since libvirt 10.
newer_packages="libvirt-daemon-driver-network libvirt-daemon-driver-storage libvirt-daemon-driver-nodedev libvirt-daemon-driver-nwfilter
    libvirt-daemon-driver-secret"

say() { printf 'x: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
step() { printf '\n== %s\n' "$*" >&2; }
usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p;}' x >&2; exit 64; }
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

newer() { dpkg --compare-versions "$1" ge 10; }

# apt's indexes, as "SUITE COMPONENT ORIGIN MIRROR"; the origin is known after an update.
indexes() {
    # shellcheck disable=SC2016 # apt's variables
    set -- --format '$(RELEASE) $(COMPONENT) $(ORIGIN) $(REPO_URI)' 'Created-By: Packages'
    apt-get indextargets "$@" | grep . || apt-get indextargets --no-release-info "$@"
}
# shellcheck disable=SC2016
mirror() { indexes | sed -n 's/^\(bookworm\|stable\) main \(Debian\|\$(ORIGIN)\) //p' | grep -m 1 . || echo MIRROR; }

# packages NAME…: sees to it that they are installed.
packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is no Debian; what is needed here is what these packages of Debian 12 hold: $*"
        return
    fi
    # shellcheck disable=SC2086 # a list
    if newer "$(dpkg-query -W -f '${Version}' libvirt-daemon 2>/dev/null)"; then set -- "$@" $newer_packages; fi
    missing=
    for p; do installed "$p" || missing="$missing $p"; done
    [ -n "$missing" ] || return 0
    # Where QEMU or libvirt came from backports, the rest must come from there.
    from=
    case $(dpkg-query -W -f '${Version}\n' qemu-utils qemu-system-common libvirt0 libvirt-daemon 2>/dev/null) in
        *bpo12*) from="-t bookworm-backports";;
    esac
    add=
    list=/etc/apt/sources.list.d/bookworm-backports.list
    if [ -n "$from" ] && ! indexes | grep -q '^bookworm-backports main '; then
        add="echo deb $(mirror) bookworm-backports main >$list && "
    fi
    line="${add}apt-get update && apt-get install -y --no-install-recommends ${from:+$from }${missing# }"
    [ "$(id -u)" = 0 ] || die "packages are missing, and only root can install them:
    $line"
    if [ "$install" = no ]; then
        [ -t 0 ] || die "packages are missing; --install installs them:
    $line"
        printf 'Packages are missing:%s\nInstall them? [Y/n] ' "$missing" >&2
        read -r answer
        case $answer in ''|[yY]*) ;; *) die "nothing installed; to do it by hand:
    $line";; esac
    fi
    say "installing:$missing"
    apt-get -q update
    if [ -n "$add" ]; then
        [ "$(mirror)" != MIRROR ] || die "QEMU is from bookworm-backports, which is not among apt's sources: add it"
        echo "deb $(mirror) bookworm-backports main" >"$list"
        apt-get -q update
    fi
    # shellcheck disable=SC2086 # options
    if newer "$(apt-cache $from policy libvirt-daemon | sed -n 's/^  Candidate: //p')"; then
        case "$missing " in *" libvirt-daemon-system "*) missing="$missing $newer_packages";; esac
    fi
    # shellcheck disable=SC2086 # lists
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $from $missing
}

rust() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust $(msrv) or later with rustup, with clippy and rustfmt"
    have=$(rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\).*/\1/')
    [ "$(printf '%s\n' "$(msrv)" "$have" | sort -V | head -n 1)" = "$(msrv)" ] || die "Rust $have is too old: $(msrv) or later is needed (rustup update)"
}
msrv() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }

root() { [ "$(id -u)" = 0 ] || die "needs root: each libvirtd of the lab has namespaces of its own${1:+; $1}"; }

lint() {
    for c in fmt clippy; do cargo $c --version >/dev/null 2>&1 || die "cargo $c is missing: rustup component add rustfmt clippy"; done
    step "format" && cargo fmt --check
    step "clippy" && cargo clippy --locked --all-targets --features bench -- -D warnings
    step "documents" && RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
    if command -v shellcheck >/dev/null; then step "shellcheck" && shellcheck -x x tests/lab/*.sh benches/*.sh package/*.sh package/deb/*; fi
    if [ -e deny.toml ] && command -v cargo-deny >/dev/null; then step "cargo deny" && cargo deny check bans licenses sources; fi
}

# A folder in memory for the tests' small files, where there is room: each step of an apply waits for the disk several times.
in_memory() {
    free=$(df -k --output=avail /dev/shm 2>/dev/null | tail -n 1)
    if [ "${free:-0}" -ge 4194304 ] && [ -w /dev/shm ]; then mktemp -d /dev/shm/jvp-test.XXXXXX; else mktemp -d; fi
}

# No program of tests takes longer than this, in seconds, on a machine that is busy with other work: one that does hangs, and is ended, so
# that the rest is still tried.
patience=2400
end_hung() {
    programs=$(realpath "$target")/debug/deps/
    while sleep 20; do
        ps -eo pid=,etimes=,args= | awk -v l=$patience -v p="$programs" '$2 > l && index($3, p) == 1 { print $1, $3 }' |
            while read -r pid program; do say "$program hangs, and is ended"; kill -9 "$pid"; done
    done
}

# The runner's output as it comes, and its closing lines once more at the end.
tests() {
    log=$(mktemp) memory=$(in_memory)
    step "tests"
    end_hung &
    watch=$!
    { TMPDIR=$memory RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))} cargo test --locked --no-fail-fast 2>&1 && echo passed >"$log.end"; } | tee "$log"
    step "closing lines of the test runner"
    grep -E '^ *(Running|Doc-tests)|^test result:|^test .* FAILED|^error: .*target' "$log" || :
    kill "$watch" || :
    watch=''
    passed=no
    [ ! -e "$log.end" ] || passed=yes
    rm -f "$log" "$log.end"
    [ $passed = yes ] || die "tests failed"
}

run_demo() {
    step "jvp is built" && cargo build --locked
    JVP=$(realpath "$target/debug/jvp") tests/lab/demo.sh "$@"
}

# What a target finds besides its corpus lies in fuzz/target/found, what breaks it in fuzz/artifacts. Nothing that is fuzzed is unsafe, so
# no sanitizer slows it down.
fuzz() {
    command -v cargo-fuzz >/dev/null || die "cargo-fuzz is missing: cargo install cargo-fuzz --locked"
    names=${1:-$(sed -n 's|^path = "targets/\(.*\)\.rs"$|\1|p' fuzz/Cargo.toml)}
    case ${2:-0} in *[!0-9]*) usage;; esac
    for name in $names; do
        [ -e "fuzz/targets/$name.rs" ] || die "there is no fuzz target $name in fuzz/targets"
        step "$name"
        mkdir -p "fuzz/target/found/$name"
        cargo +nightly fuzz run --sanitizer none "$name" "fuzz/target/found/$name" "fuzz/corpus/$name" -- \
            -max_total_time="${2:-480}" -rss_limit_mb=2048 -timeout=25 -print_final_stats=1
    done
}

# Whatever tests left, broken off ones of their labs too.
sweep() {
    [ -z "$watch" ] || kill "$watch" || :
    [ -z "$memory" ] || rm -rf "$memory"
    [ "$(id -u)" != 0 ] || ! command -v libvirtd >/dev/null || tests/lab/lab.sh down --under "$target/tmp" || :
}

[ $# -ge 1 ] || usage
verb=$1; shift
install=no system='' kills='' memory='' watch='' dev=''
case $verb in demo|test|package)
    while [ $# -gt 0 ]; do
        case $verb$1 in
            *--install) install=yes;;
            package--dev) dev=--dev;;
            demo--system) system=--system;;
            demo--kills|demo--seed)
                case ${2:-} in ''|*[!0-9]*) usage;; esac
                kills="$kills $1 $2"
                shift;;
            *) usage;;
        esac
        shift
    done;;
esac

case $verb in
    demo)
        # shellcheck disable=SC2086 # lists
        packages $build_packages $lab_packages
        rust
        [ -n "$system" ] || root
        # shellcheck disable=SC2086
        run_demo $system $kills;;
    test)
        if [ "${JVP_TEST_LEVEL:-}" = unit ]; then
            # shellcheck disable=SC2086
            packages $build_packages $git_packages
            rust
            lint
            trap sweep EXIT
            tests
            say "left out by JVP_TEST_LEVEL=unit: the lab's tests and the demo"
            exit
        fi
        # shellcheck disable=SC2086
        packages $build_packages $lab_packages $git_packages
        rust
        root "JVP_TEST_LEVEL=unit leaves out what needs it"
        mkdir -p "$cache"
        images=
        trap '[ -z "$images" ] || kill -- "-$images" 2>/dev/null || :; sweep' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        sweep
        # The guests' images are built beside the compiler, in a process group of their own.
        # shellcheck disable=SC2016 # for the inner shell
        setsid sh -c 'tests/lab/tiny.sh "$0/tiny" && tests/lab/image.sh "$0/debian"' "$target/tmp" >"$cache/images.log" 2>&1 </dev/null &
        images=$!
        lint
        wait "$images" || { cat "$cache/images.log" >&2; images=; die "the guests' images were not built"; }
        images=
        tests
        run_demo
        step "all passed";;
    lint) rust; lint;;
    lab)
        [ $# -ge 1 ] || exec tests/lab/lab.sh --help
        # shellcheck disable=SC2086
        [ "$1" != up ] || packages $build_packages $lab_packages
        exec tests/lab/lab.sh "$@";;
    coverage)
        rust
        cargo llvm-cov --version >/dev/null 2>&1 ||
            die "cargo-llvm-cov is missing: rustup component add llvm-tools && cargo install cargo-llvm-cov --locked"
        [ "${JVP_TEST_LEVEL:-}" = unit ] || root "JVP_TEST_LEVEL=unit leaves out what needs it"
        trap sweep EXIT
        memory=$(in_memory)
        TMPDIR=$memory cargo llvm-cov --locked --no-fail-fast --ignore-filename-regex '/(tests|benches)/' --fail-under-lines 80 "$@";;
    fuzz) rust; fuzz "$@";;
    bench) rust; exec benches/bench.sh "$@";;
    package)
        # shellcheck disable=SC2086 # lists
        packages $build_packages $package_packages
        rust
        [ "$(id -u)" = 0 ] || die "needs root, for the owners of the files in the Debian that the package is tried in"
        # shellcheck disable=SC2086 # it may be empty
        exec package/build.sh $dev;;
    docs)
        command -v mdbook >/dev/null || die "mdbook is missing: cargo install mdbook --locked"
        exec mdbook build docs;;
    *) usage;;
esac
