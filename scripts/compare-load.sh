#!/usr/bin/env bash
# Sends the same token request to the same nginx with mintmark's transports, wrk,
# autocannon and Locust, in turn, and prints what a request costs the generator:
# processor time, user and system, start-up included. What starting costs
# mintmark, which opens a key and makes its library gather entropy, is measured
# apart, and its share without that is printed as well; wrk's is a millisecond.
# The server's own counter says how many requests there were.
#
# With FRESH=1 every request carries an RS256 signature of its own, by a key of
# 2048 bits: mintmark signs in batches and with AWS-LC, wrk calls OpenSSL through
# LuaJIT, Locust calls PyJWT.
#
# Needs nginx and wrk (Debian), node with npm, python3 with pip. Peers that are
# not there are left out. The table goes to results/load-peers.txt as well, with
# FRESH=1 to results/load-peers-fresh.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
connections=64
port=${PORT:-18437}
peers=target/peers
binary=target/release/mintmark
[ -x "$binary" ] || cargo build --quiet --release --locked
mkdir -p "$peers"
work=$(mktemp -d)
chmod 755 "$work"

# shellcheck source=scripts/peers/nginx.sh
. scripts/peers/nginx.sh
start_nginx "$work" "$port"
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
url=http://127.0.0.1:$port/oauth2/token
count() { curl -s "http://127.0.0.1:$port/status" | awk 'NR == 3 { print $3 }'; }
until curl -s -o /dev/null "$url"; do :; done

form="grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&client_id=x&client_secret=y&assertion=$(head -c 850 /dev/zero | tr '\0' a)"
cat >"$work/post.lua" <<LUA
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.body = "$form"
LUA
printf '%s' "$form" >"$work/form"
cat >"$work/locustfile.py" <<PY
from locust import FastHttpUser, task
FORM = open("$work/form").read()
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}
class Client(FastHttpUser):
    @task
    def token(self):
        self.client.post("/oauth2/token", data=FORM, headers=HEADERS)
PY

# Runs a command and notes "name requests cpu-seconds wall-seconds".
timed() {
  local name=$1 before spent
  shift
  before=$(count)
  TIMEFORMAT='%U %S %R'
  # A peer that does not run is left out; one that finds fault with its own
  # run, as mintmark does with a thread that is busy throughout, is not.
  if ! spent=$({ time { "$@" >/dev/null 2>&1 || [ $? -lt 126 ]; }; } 2>&1 | tail -n 1); then
    echo "$name failed" >&2
    return 0
  fi
  # The two looks at the counter are requests themselves.
  echo "$name $(($(count) - before - 1)) $spent" >>"$work/times"
}

# Takes a transport, where assertions come from, and more flags.
ours() {
  local transport=$1 signing=$2
  shift 2
  timed "mintmark($transport${*:+,${*: -1}})" "$binary" load --saturate --transport "$transport" --signing "$signing" "$@" --url "$url" \
    --config tests/fixtures/keys/app-config.json --user 1 --connections $connections \
    --duration "${seconds}s" --warm-up 0s --calibrate 0s --json --results "$work/results" || true
}

has_autocannon=
if command -v npm >/dev/null && (cd "$peers" && npm install --silent --no-audit --no-fund autocannon@9 >/dev/null 2>&1); then
  has_autocannon=yes
fi
locust=
if [ -x "$peers/venv/bin/locust" ] || { python3 -m venv "$peers/venv" && "$peers/venv/bin/pip" install --quiet 'locust==2.47.0'; } >/dev/null 2>&1; then
  [ -x "$peers/venv/bin/locust" ] && locust=$PWD/$peers/venv/bin/locust
fi

start_up() {
  local spent
  TIMEFORMAT='%U %S'
  spent=$({ time "$binary" load --saturate --signing repeat --url "$url" \
    --config tests/fixtures/keys/app-config.json --user 1 --connections $connections \
    --duration 1ms --warm-up 0s --calibrate 0s --json --results "$work/results" >/dev/null 2>&1 || true; } 2>&1 | tail -n 1)
  echo "start-up 1 $spent 1" >>"$work/times"
}

fresh_round() {
  start_up
  ours lean mint --backend batch
  ours lean inline --backend aws-lc-rs
  if command -v wrk >/dev/null; then
    timed wrk wrk -t1 -c$connections -d"${seconds}s" -s scripts/peers/fresh.lua "$url"
  fi
  if [ -n "$locust" ]; then
    timed locust "$locust" --headless -f scripts/peers/locust_fresh.py -H "http://127.0.0.1:$port" \
      -u $connections -r $connections -t "${seconds}s" --only-summary
  fi
}

results=results/load-peers.txt
what="the same request each time"
if [ -n "${FRESH:-}" ]; then
  results=results/load-peers-fresh.txt
  what="a fresh RS256 signature for each request, RSA-2048"
  export MINTMARK_PEER_KEY=$work/key.pem
  openssl genrsa -out "$MINTMARK_PEER_KEY" 2048 2>/dev/null
  [ -z "$locust" ] || "$peers/venv/bin/pip" install --quiet 'pyjwt[crypto]'
fi

for _ in $(seq "$rounds"); do
  if [ -n "${FRESH:-}" ]; then
    fresh_round
    continue
  fi
  start_up
  ours lean repeat
  if command -v wrk >/dev/null; then
    timed wrk wrk -t1 -c$connections -d"${seconds}s" -s "$work/post.lua" "$url"
  fi
  ours hyper repeat
  ours reqwest repeat
  if [ -n "$has_autocannon" ]; then
    timed autocannon "$peers/node_modules/.bin/autocannon" -c $connections -d "$seconds" -m POST \
      -H content-type=application/x-www-form-urlencoded -i "$work/form" "$url"
  fi
  if [ -n "$locust" ]; then
    timed locust "$locust" --headless -f "$work/locustfile.py" -H "http://127.0.0.1:$port" \
      -u $connections -r $connections -t "${seconds}s" --only-summary
  fi
done

{
  echo "$(date -u +%Y-%m-%dT%H:%MZ)  $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"
  echo "nginx with one worker on the same machine, $what, $connections connections kept, $seconds s a round, medians of $rounds rounds in turn"
  awk '
    $1 == "start-up" { start[++starts] = $3 + $4; next }
    { cpu[$1, ++n[$1]] = ($3 + $4) / ($2 > 0 ? $2 : 1) * 1e6; rate[$1, n[$1]] = $2 / $5; sent[$1, n[$1]] = $2; if (!($1 in seen)) { order[++kinds] = $1; seen[$1] = 1 } }
    function median(values, name,    i, j, count, sorted, swap) {
      count = n[name]
      for (i = 1; i <= count; i++) sorted[i] = values[name, i]
      for (i = 1; i < count; i++) for (j = i + 1; j <= count; j++)
        if (sorted[j] < sorted[i]) { swap = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swap }
      return sorted[int((count + 1) / 2)]
    }
    END {
      base = ("wrk" in seen) ? median(cpu, "wrk") : median(cpu, order[1])
      begin = start[1]
      for (i = 2; i <= starts; i++) if (start[i] < begin) begin = start[i]
      printf "mintmark starts in %.0f ms of processor time\n", begin * 1e3
      printf "%-26s %14s %10s %10s %14s\n", "generator", "CPU/request", "× wrk", "steady", "requests/s"
      for (i = 1; i <= kinds; i++) {
        name = order[i]
        steady = median(cpu, name)
        if (name ~ /^mintmark/) steady -= begin / median(sent, name) * 1e6
        printf "%-26s %11.1f µs %10.2f %10.2f %14.0f\n", name, median(cpu, name), median(cpu, name) / base, steady / base, median(rate, name)
      }
    }' "$work/times"
} | tee "$results"
