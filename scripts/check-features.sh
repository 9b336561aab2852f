#!/usr/bin/env bash
# Checks the cargo features as users combine them. `boring` and
# `openssl-vendored` build a C library for minutes: scripts/check-slow-features.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
  echo "-- features: $*"
  cargo clippy --quiet --locked --features "$*" -- -D warnings
}

echo "-- features: none"
cargo clippy --quiet --locked --all-targets --no-default-features -- -D warnings
check count-allocations
check jsonwebtoken-rust-crypto
check otlp
if pkg-config --exists openssl 2>/dev/null; then
  check openssl
  check openssl,count-allocations,jsonwebtoken-rust-crypto
else
  echo "-- features: openssl skipped, pkg-config finds no OpenSSL"
fi
