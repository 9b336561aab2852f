#!/usr/bin/env bash
# What does it cost a load that somebody looks on?
#
#   scripts/metrics-cost.sh [PAIRS] [RATE]     16 pairs at 2,000/s, about six minutes
#
# The same load runs plain (a line of text a second) and watched (a screen of 80
# by 24, metrics, and a scrape of them each second), in pairs whose order
# alternates. Both are on a terminal that `script` makes. The figure is the
# processor time of the whole process for one answered request, in the measured
# phase, all of its threads included; the broker that answers is a process of its
# own. A pair gives a ratio; the bounds are Student's, of 95 %, on the mean of
# their logarithms. What a scrape costs curl is not the load's and not counted.
#
# BINARY names another program, OUT another file than results/metrics-cost-<date>.txt,
# SECONDS_EACH the measured time of a run (8).
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${1:-16}
rate=${2:-2000}
each=${SECONDS_EACH:-8}
binary=${BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked
  binary=target/release/mintmark
fi
out=${OUT:-results/metrics-cost-$(date -u +%Y-%m-%d).txt}
work=$(mktemp -d)
broker=
scraper=
trap 'kill $broker $scraper 2>/dev/null || true; rm -rf "$work"' EXIT

"$binary" broker --write-config "$work/app.json" --user 7 >"$work/url" 2>/dev/null &
broker=$!
until [ -s "$work/url" ]; do sleep 0.1; done
url=$(head -n 1 "$work/url")
port=19464

# One run; its record goes to a file.
run() { # file flags…
  local file=$1
  shift
  script -qfec "stty rows 24 cols 80; $binary load --url $url --config $work/app.json --user 7 \
    --rate $rate --duration ${each}s --warm-up 1s --calibrate 0s --results $work/results --json $* \
    >$file" /dev/null </dev/null >/dev/null || true
}

load_before=$(cut -d ' ' -f 1 /proc/loadavg)
for pair in $(seq "$pairs"); do
  order="plain watched"
  [ $((pair % 2)) = 0 ] && order="watched plain"
  for arm in $order; do
    if [ "$arm" = plain ]; then
      run "$work/$pair-plain.json" --no-tui
    else
      (while sleep 1; do curl -s "http://127.0.0.1:$port/metrics" -o "$work/scrape" || true; done) &
      scraper=$!
      run "$work/$pair-watched.json" --metrics "$port"
      kill "$scraper" 2>/dev/null || true
      wait "$scraper" 2>/dev/null || true
    fi
  done
done
scraped=$(grep -c mintmark_response_duration_seconds_bucket "$work/scrape" || true)

{
  echo "scripts/metrics-cost.sh $pairs $rate, $(date -u +%Y-%m-%dT%H:%MZ), $each s each"
  echo "load average before $load_before, after $(cut -d ' ' -f 1 /proc/loadavg); $(nproc) processors; $scraped buckets in the last scrape"
  echo
  python3 scripts/paired.py "$work" "$pairs" plain watched "being watched costs"
} | tee "$out"
