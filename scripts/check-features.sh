#!/usr/bin/env bash
# Checks the cargo features, each by itself, as users combine them.
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
  echo "-- features: ${*:-none}"
  cargo clippy --quiet --locked --features "${*:-}" -- -D warnings
}

if pkg-config --exists openssl 2>/dev/null; then
  check openssl
else
  echo "-- features: openssl skipped, pkg-config finds no OpenSSL"
fi
