#!/bin/sh
# Fuzzes the batch engine, as `cargo fuzz run` would, with the
# pinned stable compiler: coverage and AddressSanitizer are nightly features
# that RUSTC_BOOTSTRAP opens.
#
# `batch_multiply` holds the arithmetic against num-bigint, `batch_sign` whole
# signatures against AWS-LC, which is compiled along and takes its time.
#
# Usage: scripts/fuzz.sh [SECONDS [TARGET]]
set -eu
name="${2:-batch_multiply}"
features=
if [ "$name" = batch_sign ]; then features=whole; fi
cd "$(dirname "$0")/../fuzz"
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Zsanitizer=address --cfg fuzzing"
cargo build --release --target "$target" --bin "$name" --features "$features"
mkdir -p "corpus/$name" artifacts
exec "target/$target/release/$name" "corpus/$name" \
  -artifact_prefix=artifacts/ -max_len=4500 -len_control=0 \
  -max_total_time="${1:-60}" -print_final_stats=1
