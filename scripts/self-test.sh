#!/bin/sh
# Shows on this machine that the comparison finds what is there and nothing
# else, and keeps the figures with the host and the date in results/aa/.
#
#   scripts/self-test.sh [TRIALS]     300 by default: about 25 minutes for the
#                                     null experiment, 10 for the others
#
# BACKEND names the backend that signs, ring by default. A quiet machine is
# faster, a busy one is the harder test.
set -eu
cd "$(dirname "$0")/.."
trials=${1:-300}
backend=${BACKEND:-ring}
fewer=$(((trials + 2) / 3))
folder=results/aa
mkdir -p "$folder"
cargo build --release --locked
status=0
run() {
    name=$1
    count=$2
    shift 2
    file="$folder/$name-$backend-$(date -u +%Y-%m-%d).txt"
    echo "$name: $count trials, into $file"
    {
        echo "mintmark bench --self-test $name --trials $count $*"
        ./target/release/mintmark bench --self-test "$name" --trials "$count" "$@"
    } >"$file" || {
        echo "$name: missed its goal, see $file"
        status=1
    }
    cat "$file"
}
run aa "$trials" --backends "$backend"
run uniform "$fewer" --backends "$backend"
run rare "$fewer" --backends "$backend"
backend=aws-lc-rs
run cost "$fewer"
exit $status
