#!/usr/bin/env bash
# Checks licences, sources and bans of every dependency, and known advisories.
#
# The advisory database is a snapshot, since this runs without the network
# beyond package registries; its date is printed. Where the snapshot is absent,
# advisories are not checked, and that is printed too.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -qF "$version"; then
  # Without optimisation it is there in a third of the time, and fast enough.
  cargo install --quiet --locked --debug "cargo-deny@$version"
fi
# A build fetches what it compiles; the graph has what other builds would, too.
cargo fetch --locked --quiet
cargo deny --offline check --hide-inclusion-graph licenses bans sources

vectors=${MINTMARK_VECTORS:-../shared/vectors}
snapshot=$({ find "$vectors" -maxdepth 1 -name 'advisory-db-*.tar.xz' 2>/dev/null || true; } | sort | tail -n 1)
if [ -z "$snapshot" ]; then
  echo "advisories: not checked, no advisory-db-*.tar.xz in $vectors"
  exit 0
fi
# The folder's name is the one that cargo-deny derives from the database's URL.
database=target/advisory-db/advisory-db-3157b0e258782691
rm -rf "$database"
mkdir -p "$database"
tar -xJf "$snapshot" -C "$database"
git -C "$database" init -q
git -C "$database" add -A
git -C "$database" -c user.name=snapshot -c user.email=snapshot@localhost commit -q -m "snapshot"
echo "advisories: database $(basename "$snapshot" .tar.xz)"
cargo deny --offline check --hide-inclusion-graph advisories
