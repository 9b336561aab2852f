#!/usr/bin/env bash
# Does the container file build, and does what it builds mint tokens?
#
# Builds deploy/container/Containerfile with buildah, without a container
# registry: Debian's own packages make the base image (debootstrap), and this
# machine's Rust stands in for the image of the Rust project. Then the image
# runs the load of a second against its own broker, as its own user, and its
# result is read back. Takes about as long as a release build, and 4 GB.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "skipped: $1"
  exit 0
}
[ "$(id -u)" = 0 ] || skip "making a base image needs root"
for program in buildah debootstrap; do
  command -v "$program" >/dev/null || skip "$program is not installed (Debian package $program)"
done
rust=$(dirname "$(dirname "$(rustup which cargo)")")
cargo_home=${CARGO_HOME:-$HOME/.cargo}

work=$(mktemp -d "${TMPDIR:-/tmp}/mintmark-container.XXXXXX")
tool() { buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"; }
clean_up() {
  tool rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT

# Makes an image of Debian packages: name, then packages.
image() {
  local name=$1
  shift
  debootstrap --variant=minbase --include="$(IFS=, && echo "$*")" bookworm \
    "$work/$name" http://deb.debian.org/debian >"$work/$name.log" 2>&1 ||
    { tail -5 "$work/$name.log" && exit 1; }
  local container
  container=$(tool from scratch)
  tool copy --quiet "$container" "$work/$name" / >/dev/null
  tool config --env "PATH=/opt/rust/bin:/usr/local/bin:/usr/bin:/bin" "$container"
  tool commit --quiet --rm "$container" "localhost/$name" >/dev/null
  rm -rf "${work:?}/$name"
}
image base ca-certificates
image builder ca-certificates gcc libc6-dev

tool bud --quiet --isolation chroot --pull-never \
  --build-arg BUILD_IMAGE=localhost/builder --build-arg BASE_IMAGE=localhost/base \
  --volume "$rust:/opt/rust:ro" --volume "$cargo_home/registry:/root/.cargo/registry" \
  --file deploy/container/Containerfile --tag localhost/mintmark .

container=$(tool from --pull-never localhost/mintmark)
run() { tool run --isolation chroot "$container" -- "$@"; }
run /usr/local/bin/mintmark --version
run /usr/local/bin/mintmark load --rate 50 --duration 1s --results /tmp/results --json >"$work/result.json"
run id -u | grep -qx 65532
python3 - "$work/result.json" <<'PY'
import json, sys
accounts = json.load(open(sys.argv[1]))["steps"][0]["open"]["accounts"]
assert accounts["answered"] > 0 and accounts["failed"] == 0, accounts
print("answered in the container:", accounts["answered"])
PY
echo "size of the image: $(tool images --format '{{.Size}}' localhost/mintmark)"
