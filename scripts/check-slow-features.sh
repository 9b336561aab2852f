#!/usr/bin/env bash
# Checks the features that build a C library for minutes: OpenSSL from source
# needs perl and make, BoringSSL needs cmake, a C++ compiler and libclang.
set -euo pipefail
cd "$(dirname "$0")/.."

for feature in openssl-vendored boring; do
  echo "-- features: $feature"
  cargo clippy --quiet --locked --features "$feature" -- -D warnings
done
