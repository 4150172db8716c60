#!/bin/sh
# The Debian package and a container of it: build.sh [--dev]. What is made lies in target/package: jvp_VERSION_ARCH.deb, root.tar, and
# Containerfile; with podman, buildah or a docker that answers also the image jvp. --dev packs the program of the dev profile, which is
# enough for a trial and a quarter of the time.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
here=target/package
profile=release
[ "${1:-}" != --dev ] || profile=dev
say() { printf 'package: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

for command in cargo dpkg-deb dpkg-shlibdeps mmdebstrap; do
    command -v "$command" >/dev/null || die "$command is missing: apt install dpkg-dev mmdebstrap"
done
if ! command -v cargo-deb >/dev/null; then
    [ -x "$target/tools/bin/cargo-deb" ] || cargo install cargo-deb --locked --version 3.8.0 --root "$target/tools"
    PATH=$PATH:$(realpath "$target/tools/bin")
fi

say "the program ($profile)"
cargo build --locked --profile "$profile"
folder=$profile
[ "$profile" != dev ] || folder=debug
rm -rf "$here"
mkdir -p "$here"
for shell in bash zsh fish; do "$target/$folder/jvp" completion "$shell" >"$here/completion.$shell"; done
sed 's,/usr/local/bin/jvp,/usr/bin/jvp,' docs/jvp-daemon.service >"$here/jvp-daemon.service"

say "the package"
cargo deb --locked --no-build --profile "$profile" --output "$here"
deb=$(ls "$here"/*.deb)

say "its trial in a Debian of its own"
package/try.sh "$deb" "$here/root.tar"

cp package/Containerfile "$here"
for tool in podman buildah docker; do
    if command -v "$tool" >/dev/null && { [ "$tool" != docker ] || docker info >/dev/null 2>&1; }; then
        say "the container, by $tool"
        verb=build
        [ "$tool" != buildah ] || verb=bud
        "$tool" "$verb" -t jvp -f "$here/Containerfile" "$here"
        case $tool in
            podman|docker) "$tool" run --rm jvp version;;
        esac
        break
    fi
    [ "$tool" != docker ] || say "no podman, buildah or docker here: $here/Containerfile and root.tar are what they need"
done
ls -l "$here"/*.deb "$here/root.tar" >&2
