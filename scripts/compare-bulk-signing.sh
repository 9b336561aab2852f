#!/usr/bin/env bash
# Writes a file of assertions with mintmark, Python and Node, in turn, and
# prints what each assertion costs: processor time of the whole process, user
# and system, start-up included, and lines a second of the wall.
#
# Needs python3 with pip, and node with npm; PyJWT and jsonwebtoken are
# installed under target/peers.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-3}
ours=${OURS:-60000}
theirs=${THEIRS:-4000}
peers=target/peers
mkdir -p "$peers"
cargo build --quiet --release --locked
[ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
"$peers/venv/bin/pip" install --quiet 'PyJWT==2.15.1' 'cryptography==50.0.2'
(cd "$peers" && npm install --silent --no-audit --no-fund jsonwebtoken@9 >/dev/null)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
app=$work/app.json
target/release/mintmark broker --write-config "$app" >"$work/url" &
broker=$!
until [ -s "$work/url" ]; do :; done
kill "$broker"
wait "$broker" 2>/dev/null || true

# Runs a command, prints "name count cpu-seconds wall-seconds".
timed() {
  local name=$1 count=$2
  shift 2
  TIMEFORMAT='%U %S %R'
  local spent
  spent=$({ time "$@" >/dev/null; } 2>&1 | tail -n 1)
  [ "$(wc -l <"$work/out.txt")" = "$count" ] || { echo "$name wrote too few lines" >&2; exit 1; }
  echo "$name $count $spent" >>"$work/times"
}

mint() { target/release/mintmark sign --config "$app" --count "$ours" --out "$work/out.txt" "$@"; }
for _ in $(seq "$rounds"); do
  timed "mintmark(batch)" "$ours" mint --backend batch
  timed "mintmark(aws-lc-rs)" "$ours" mint --backend aws-lc-rs
  timed "node:crypto" "$theirs" node scripts/peers/sign.mjs "$app" "$theirs" "$work/out.txt" crypto
  timed "node-jsonwebtoken" "$theirs" env -C "$peers" node "$PWD/scripts/peers/sign.mjs" "$app" "$theirs" "$work/out.txt" jsonwebtoken
  timed "PyJWT" "$theirs" "$peers/venv/bin/python" scripts/peers/sign.py "$app" "$theirs" "$work/out.txt"
done

echo "$(date -u +%Y-%m-%dT%H:%MZ)  $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
echo "RS256, 2048 bits; mintmark on all processors, the others on one; medians of $rounds rounds in turn"
echo "python: $("$peers/venv/bin/python" --version), $("$peers/venv/bin/pip" list 2>/dev/null | awk '/PyJWT|cryptography/ {printf "%s %s ", $1, $2}'); node: $(node --version), openssl $(node -p process.versions.openssl)"
awk '
  { cpu[$1, ++n[$1]] = ($3 + $4) / $2 * 1e6; rate[$1, n[$1]] = $2 / $5; if (!($1 in seen)) { order[++kinds] = $1; seen[$1] = 1 } }
  function median(values, name,    i, j, count, sorted, swap) {
    count = n[name]
    for (i = 1; i <= count; i++) sorted[i] = values[name, i]
    for (i = 1; i < count; i++) for (j = i + 1; j <= count; j++)
      if (sorted[j] < sorted[i]) { swap = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swap }
    return sorted[int((count + 1) / 2)]
  }
  END {
    base = median(cpu, order[1])
    printf "%-22s %14s %12s %16s\n", "writer", "CPU/assertion", "× the first", "assertions/s"
    for (i = 1; i <= kinds; i++) {
      name = order[i]
      printf "%-22s %11.0f µs %12.2f %16.0f\n", name, median(cpu, name), median(cpu, name) / base, median(rate, name)
    }
  }' "$work/times"
