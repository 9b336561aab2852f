#!/bin/sh
# Runs the tests of the batch engine under AddressSanitizer.
#
# The engine is the one module with `unsafe` arithmetic. The sanitizer is a
# nightly feature; RUSTC_BOOTSTRAP lets the pinned stable compiler have it. It
# watches loads and stores through intrinsics too, since these are compiled as
# Rust. Frames grow, so that test threads need a larger stack.
#
# Usage: scripts/asan.sh [FILTER]
set -eu
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes"
export RUST_MIN_STACK=67108864
# AWS-LC keeps state for the life of the process.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}"
exec cargo test --lib --target "$target" --target-dir target/asan -- "${1:-signer::batch}"
