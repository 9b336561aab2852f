#!/usr/bin/env bash
# Runs a scenario for a long time and shows whether the generator's memory
# stays the same: the resident set of the process is sampled every second, and
# its slope comes with a bound of 95 %.
#
#   scripts/soak.sh [SCENARIO]     scenarios/soak.toml by default, ten minutes
#
# The first fifth is left out, in which buffers and slices grow to their size.
# Samples of neighbouring seconds are no independent witnesses, so that the
# slope is that of the means of twenty blocks, with Student's bound. The figure
# is that of the whole process, an embedded broker included.
#
# BINARY names another program, OUT another file than results/soak-<date>.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
scenario=${1:-scenarios/soak.toml}
binary=${BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked
  binary=target/release/mintmark
fi
out=${OUT:-results/soak-$(date -u +%Y-%m-%d).txt}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$binary" run "$scenario" --results "$work/results" >"$work/report.txt" 2>&1 &
pid=$!
begun=$SECONDS
while kill -0 "$pid" 2>/dev/null; do
  resident=$(sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null || true)
  [ -n "$resident" ] && echo "$((SECONDS - begun)) $resident"
  sleep 1
done >"$work/samples.txt"
status=0
wait "$pid" || status=$?

{
  echo "scripts/soak.sh $scenario, $(date -u +%Y-%m-%dT%H:%MZ), exit code of the run $status"
  echo
  awk '
    { second[NR] = $1; kib[NR] = $2 }
    END {
      first = int(NR / 5) + 1; blocks = 20; size = int((NR - first + 1) / blocks)
      if (size < 1) { print "too few samples: " NR; exit 1 }
      least = most = kib[first]
      for (b = 0; b < blocks; b++) {
        x[b] = y[b] = 0
        for (i = 0; i < size; i++) {
          at = first + b * size + i
          x[b] += second[at] / size; y[b] += kib[at] / size
          if (kib[at] < least) least = kib[at]
          if (kib[at] > most) most = kib[at]
        }
        mx += x[b] / blocks; my += y[b] / blocks
      }
      for (b = 0; b < blocks; b++) { sxx += (x[b]-mx)^2; sxy += (x[b]-mx)*(y[b]-my) }
      slope = sxy / sxx
      for (b = 0; b < blocks; b++) rest += (y[b] - my - slope * (x[b] - mx))^2
      # Student, 18 degrees of freedom, 97.5 %.
      half = 2.101 * sqrt(rest / (blocks - 2) / sxx)
      printf "resident set, every second: %d samples over %d s, the last %d counted\n", NR, second[NR], size * blocks
      printf "  first %d KiB, at a fifth %d KiB, last %d KiB; from %d to %d KiB after that\n", kib[1], kib[first], kib[NR], least, most
      printf "  slope %+.3f KiB/s, 95 %% bounds %+.3f to %+.3f KiB/s\n", slope, slope - half, slope + half
      printf "  means of the blocks, KiB:"
      for (b = 0; b < blocks; b++) printf " %d", y[b]
      printf "\n  over an hour that is %+.1f %%, at most %+.1f %%\n", slope * 3600 / my * 100, (slope + half) * 3600 / my * 100
    }' "$work/samples.txt"
  echo
  cat "$work/report.txt" | grep -v '^The record is in' || true
} >"$out"
cat "$out"
exit "$status"
