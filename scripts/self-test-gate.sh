#!/usr/bin/env bash
# Shows on this machine that the gate raises no false alarm and misses no
# slowdown, and keeps what is printed with the host and the date in results/aa/.
#
#   scripts/self-test-gate.sh EXPERIMENT [COUNT]
#
#   family   gates of 24 cases, a backend against itself, until COUNT cases (168)
#            are compared; none may differ, and each gate has 5 minutes
#   builds   gates of 12 cases, a build against its copy in fresh worker
#            processes, until COUNT cases (144) are compared; none may differ
#   slower   COUNT comparisons (100) with 5 % more work: 99 of 100 are found in 4 s
#   load     COUNT comparisons (60) of equal sides while every processor is busy
#            with something else: at most a tenth undecided, none different
#   beside   COUNT comparisons (80) of equal sides, by the gate's rule and by
#            the usual rule of micro-benchmarks, whose false alarms are printed
#   swap     two backends, and the same two the other way round, COUNT times (5)
#   queues   simulated endpoints, equal and slower, compared as real ones are
#
# Each takes less than 12 minutes on a quiet machine. BINARY names a program that
# is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
experiment=${1:?"expected family, builds, slower, load, beside, swap or queues"}
folder=results/aa
mkdir -p "$folder"
work=$(mktemp -d)
busy=()
trap 'kill "${busy[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
file=$folder/gate-$experiment-$(date -u +%Y-%m-%d).txt
if [ -z "${BINARY:-}" ] && [ "$experiment" != queues ]; then
  cargo build --quiet --release --locked
fi
binary=$(realpath "${BINARY:-target/release/mintmark}")

header() {
  date -u '+%Y-%m-%d %H:%M:%SZ'
  echo "host        $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
}

# Runs gates with the given flags until enough cases are compared. Equal sides
# that are called different fail the experiment, and so does a gate that is not
# over in five minutes.
equal_sides() {
  local wanted=$1 done=0 gates=0 seed=0 longest=0 begun took status
  shift
  : >"$work/all"
  while [ "$done" -lt "$wanted" ]; do
    seed=$((seed + 1))
    begun=$(date +%s)
    status=0
    "$binary" gate "$@" --seed "$seed" >"$work/gate" || status=$?
    case $status in
    0 | 1 | 4 | 5) ;;
    *) return 1 ;;
    esac
    took=$(($(date +%s) - begun))
    [ "$took" -le "$longest" ] || longest=$took
    awk '$1 ~ /^(unchanged|regressed|improved|inconclusive)$/ || /^ *not comparable/' "$work/gate" >"$work/cases"
    sed -n 's/^Control: .* is /control /p' "$work/gate" >>"$work/all"
    cat "$work/cases" >>"$work/all"
    gates=$((gates + 1))
    done=$((done + $(wc -l <"$work/cases")))
    [ -s "$work/cases" ] || { cat "$work/gate"; return 1; }
  done
  echo "gates       $gates, the longest took $longest s"
  echo "cases       $done, each a side against itself"
  for verdict in unchanged regressed improved inconclusive not; do
    printf '  %-12s %4d\n' "$verdict" "$(awk -v v=$verdict '$1 == v' "$work/all" | wc -l)"
  done
  printf '  %-12s %4d of %d\n' "controls" "$(grep -c '^control unchanged' "$work/all" || true)" "$gates"
  ! grep -qE '^ *(regressed|improved|not)|^control (regressed|improved)' "$work/all" && [ "$longest" -le 300 ]
}

self_test() {
  "$binary" bench --self-test "$@"
}

# Keeps every processor busy, half of the time of each, as other jobs do.
make_busy() {
  local cpu
  for cpu in $(seq "$(nproc)"); do
    (while :; do :; done) &
    busy+=($!)
  done
}

# The verdict of each case, one way and the other.
swap() {
  local round first second status=0
  for round in $(seq "$1"); do
    verdicts() {
      "$binary" gate --baseline "$1" --candidate "$2" --algorithms RS256,ES256 --seed "$round" |
        awk '$1 ~ /^(unchanged|regressed|improved|inconclusive)$/ { print $1 }' | paste -sd' ' || true
    }
    first=$(verdicts ring aws-lc-rs)
    second=$(verdicts aws-lc-rs ring)
    echo "ring against aws-lc-rs: $first; the other way round: $second"
    [ "$(echo "$first" | sed 's/improved/x/g; s/regressed/improved/g; s/x/regressed/g')" = "$second" ] || status=1
  done
  return $status
}

run() {
  header
  case $experiment in
  family)
    equal_sides "${1:-168}" --baseline aws-lc-rs --candidate aws-lc-rs \
      --algorithms RS256,PS256,ES256,EdDSA --claims-bytes 200,286,400,600,800,1000
    ;;
  builds)
    cp "$binary" "$work/copy"
    equal_sides "${1:-144}" --baseline-bin "$binary" --candidate-bin "$work/copy" \
      --backends aws-lc-rs,ring --algorithms RS256,ES256 --claims-bytes 286,400,600
    ;;
  slower) self_test uniform --effect 5 --trials "${1:-100}" ;;
  load)
    make_busy
    self_test aa --trials "${1:-60}" >"$work/text"
    cat "$work/text"
    awk '$1 == "trials" { all = $2 + 0 } $1 == "undecided" { n = $2 } END { exit !(n <= all / 10) }' "$work/text"
    ;;
  beside) self_test beside --trials "${1:-80}" ;;
  swap) swap "${1:-5}" ;;
  queues)
    cargo test --quiet --release --locked --lib -- --ignored --nocapture a_thousand_comparisons
    ;;
  *)
    echo "no experiment $experiment" >&2
    return 2
    ;;
  esac
}

status=0
shift
begun=$(date +%s)
run "$@" >"$work/out" 2>&1 || status=$?
{
  echo "scripts/self-test-gate.sh $experiment $*"
  cat "$work/out"
  echo "took        $(($(date +%s) - begun)) s"
} | tee "$file"
[ "$status" -eq 0 ] || echo "$experiment: missed its goal, see $file"
exit "$status"
