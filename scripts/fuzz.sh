#!/bin/sh
# Fuzzes the batch engine's arithmetic, as `cargo fuzz run` would, with the
# pinned stable compiler: coverage and AddressSanitizer are nightly features
# that RUSTC_BOOTSTRAP opens.
#
# Usage: scripts/fuzz.sh [SECONDS]
set -eu
cd "$(dirname "$0")/../fuzz"
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Zsanitizer=address --cfg fuzzing"
cargo build --release --target "$target"
mkdir -p corpus/batch_multiply artifacts
exec "target/$target/release/batch_multiply" corpus/batch_multiply \
  -artifact_prefix=artifacts/ -max_len=4500 -len_control=0 \
  -max_total_time="${1:-60}" -print_final_stats=1
