#!/bin/sh
# The Debian package and a container of it: build.sh [--dev] [--no-container]. What is made lies in target/package: jvp_VERSION_ARCH.deb,
# root.tar and Containerfile; and the image jvp, by podman, buildah or a docker that answers. Without any of these it fails, unless
# --no-container leaves the image out. --dev packs the program of the dev profile, which is enough for a trial and a quarter of the time.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
here=target/package
profile=release
container=yes
say() { printf 'package: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
for word; do
    case $word in
        --dev) profile=dev;;
        --no-container) container=no;;
        *) say "there is no $word; what there is: --dev, --no-container"; exit 64;;
    esac
done

# What makes the image; said before the rest takes its time.
tool=
if [ $container = yes ]; then
    for candidate in podman buildah docker; do
        command -v "$candidate" >/dev/null || continue
        [ "$candidate" != docker ] || docker info >/dev/null 2>&1 || continue
        tool=$candidate
        break
    done
    [ -n "$tool" ] || die "no podman, no buildah and no docker that answers: apt install podman, or leave the image out: --no-container"
fi

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

# run_by_buildah IMAGE: runs the program in it. Where buildah can run nothing at all, as in a container with few rights, it says so.
run_by_buildah() {
    working=$(buildah from "$1")
    isolation=
    for candidate in oci chroot; do
        if buildah run --isolation "$candidate" "$working" -- /bin/true >/dev/null 2>&1; then isolation=$candidate; break; fi
    done
    if [ -z "$isolation" ]; then
        say "buildah can't run anything here: the image is built, and was not run"
    elif ! buildah run --isolation "$isolation" "$working" -- /usr/bin/jvp version; then
        buildah rm "$working" >/dev/null
        die "jvp doesn't run in the image"
    fi
    buildah rm "$working" >/dev/null
}

cp package/Containerfile "$here"
if [ -n "$tool" ]; then say "the container, by $tool"; else say "the container is left out"; fi
case $tool in
    podman|docker)
        "$tool" build -t jvp -f "$here/Containerfile" "$here"
        "$tool" run --rm jvp version;;
    buildah)
        buildah bud -t jvp -f "$here/Containerfile" "$here"
        run_by_buildah localhost/jvp;;
esac
ls -l "$here"/*.deb "$here/root.tar" >&2
