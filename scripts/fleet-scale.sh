#!/usr/bin/env bash
# How many agents does one coordinator keep up with? Simulated agents publish
# through a real nats-server on this machine; see benches/fleet.rs.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "# $(date -u +%F), $(nproc) processors, load average $(cut -d' ' -f1 /proc/loadavg)"
cargo bench --quiet --no-run --bench fleet
for agents in ${*:-100 400 1000}; do
  AGENTS=$agents LENGTH=10 cargo bench --quiet --bench fleet
done
