#!/usr/bin/env bash
# What does it cost a load that it runs as an agent of a fleet?
#
#   scripts/agent-cost.sh [PAIRS] [RATE]     16 pairs at 2,000/s, about six minutes
#
# The same scenario (RS256, signed in batches ahead of the schedule) runs alone
# (`mintmark run`) and as the one agent of a fleet, in pairs whose order is drawn.
# The broker that answers, the coordinator and the NATS server are processes of
# their own, on the same processors; the server is there in both ways. Compared is
# the processor time of one answered request in the measured phase: of the threads
# that send and sign, and of the whole process, which as an agent also packs its
# slices and tells them.
#
# BINARY names another program, OUT another file than results/agent-cost-<date>.txt,
# SECONDS_EACH the measured time of a run (8), SLICE the length of a slice (1s).
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-16}
rate=${2:-2000}
each=${SECONDS_EACH:-8}
slice=${SLICE:-1s}
binary=${BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked
  binary=target/release/mintmark
fi
nats=$(PATH=$PATH:/usr/sbin command -v nats-server) || {
  echo "skipped: nats-server is not installed"
  exit 0
}
out=${OUT:-results/agent-cost-$(date -u +%Y-%m-%d).txt}
work=$(mktemp -d)
broker=
server=
agent=
trap 'kill $broker $server $agent 2>/dev/null || true; rm -rf "$work"' EXIT

"$binary" broker --write-config "$work/app.json" --user 7 >"$work/url" 2>/dev/null &
broker=$!
"$nats" -a 127.0.0.1 -p 14299 -js -sd "$work/store" >"$work/nats.log" 2>&1 &
server=$!
until [ -s "$work/url" ]; do sleep 0.1; done
cat >"$work/scenario.toml" <<TOML
name = "agent-cost"
[target]
url = "$(head -n 1 "$work/url")"
users = ["7"]
[credentials]
config = "$work/app.json"
[signing]
backend = "batch"
mode = "mint"
[load]
open = { per_s = $rate.0, seed = 7 }
warm_up = "2s"
measure = "${each}s"
slice = "$slice"
calibrate = "0s"
TOML

# One run; its record and a summary go to files.
run() { # way, file
  if [ "$1" = alone ]; then
    "$binary" run "$work/scenario.toml" --json --results "$work/$2" >"$work/$2.json" 2>"$work/said" || true
  else
    "$binary" agent --nats nats://127.0.0.1:14299 2>"$work/agent" &
    agent=$!
    "$binary" fleet run "$work/scenario.toml" --agents 1 --nats nats://127.0.0.1:14299 \
      --json --results "$work/$2" >"$work/$2.json" 2>"$work/said" || true
    wait "$agent" || true
    agent=
  fi
  "$binary" report "$work/$2"/* --format json >"$work/$2.summary"
}

load_before=$(cut -d ' ' -f 1 /proc/loadavg)
# The order of each pair, the same whenever this is repeated.
RANDOM=7
for pair in $(seq "$pairs"); do
  order="alone agent"
  [ $((RANDOM / 64 % 2)) = 0 ] && order="agent alone"
  for way in $order; do
    run "$way" "$pair-$way"
  done
done

{
  echo "scripts/agent-cost.sh $pairs $rate, $(date -u +%Y-%m-%dT%H:%MZ), $each s each, slices of $slice"
  echo "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors; load average before $load_before, after $(cut -d ' ' -f 1 /proc/loadavg)"
  echo "commit $(git rev-parse --short HEAD), $("$nats" --version)"
  echo
  python3 scripts/paired.py "$work" "$pairs" alone agent "being an agent costs"
} | tee "$out"
