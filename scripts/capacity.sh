#!/usr/bin/env bash
# Searches the capacity of an endpoint whose capacity is known, for real.
#
#   scripts/capacity.sh [SEARCHES]     3 by default, about ten minutes each
#
# A broker process behaves as a single server with a queue and a service time
# of 5 ms: with Poisson arrivals an M/D/1 queue, for which the rate at which 1 %
# take longer than 50 ms follows from theory (Erlang 1909). Each search has
# other starts.
#
# On a machine that is busy with other things, run it under `chrt -r 5`: broker
# and generator need some percent of a processor, and need them in time.
#
# QUICK=1 halves the looks; BINARY names another program, OUT another file than
# results/capacity-<date>.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
searches=${1:-3}
binary=${BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked
  binary=target/release/mintmark
fi
out=${OUT:-results/capacity-$(date -u +%Y-%m-%d).txt}
quick=${QUICK:+--quick}
work=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; rm -rf "$work"' EXIT

"$binary" broker --write-config "$work/app.json" --app-user 1000001 \
  --service-time constant:5ms --queue >"$work/url" &
broker=$!
until [ -s "$work/url" ]; do sleep 0.05; done
cat >"$work/capacity.toml" <<TOML
name = "capacity-of-a-known-queue"
description = "An M/D/1 queue with a service time of 5 ms"
objective = "p99<50ms,errors<0.1%"
[target]
url = "$(cat "$work/url")"
users = ["1000001"]
[credentials]
config = "$work/app.json"
[signing]
mode = "mint"
[load]
open = { per_s = 50 }
connections = 128
measure = "10s"
TOML

# The rate at which a response takes longer than the limit with a chance of 1 %:
# P(W <= t) = (1 - load) * sum over k of (-x)^k / k! * e^x, x = rate (t - k D).
theory=$(awk 'BEGIN {
  D = 0.005; t = 0.050 - D; low = 1; high = 0.999 / D
  for (step = 0; step < 60; step++) {
    rate = (low + high) / 2; sum = 0; factorial = 1
    for (k = 0; k * D <= t + 1e-12; k++) {
      if (k > 0) factorial *= k
      x = rate * (t - k * D); if (x < 0) x = 0
      power = 1; for (i = 0; i < k; i++) power *= -x
      sum += power / factorial * exp(x)
    }
    if ((1 - rate * D) * sum >= 0.99) low = rate; else high = rate
  }
  printf "%.2f", low }')

{
  echo "scripts/capacity.sh $searches, $(date -u +%Y-%m-%dT%H:%MZ), $("$binary" --version), $(nproc) processors"
  echo "scheduling: $(chrt -p $$ 2>/dev/null | sed 's/.*current //' | paste -sd, - || echo unknown)"
  echo "M/D/1, 5 ms, p99 < 50 ms: theory $theory/s"
  for ((i = 1; i <= searches; i++)); do
    echo
    echo "search $i, load average $(cut -d' ' -f1-3 /proc/loadavg)"
    "$binary" capacity "$work/capacity.toml" $quick --seed "$i" --results "$work/results" | tee "$work/search.txt" || true
    sed -n 's/^sustains \([0-9.,]*\)\/s.*/\1/p' "$work/search.txt" | tr -d , |
      awk -v theory="$theory" '{ printf "  %+.1f %% of theory\n", ($1 / theory - 1) * 100 }'
  done
} | tee "$out"
