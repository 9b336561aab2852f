#!/usr/bin/env bash
# Sends the same token request to the same nginx with mintmark's transports, wrk,
# autocannon and Locust, in turn, and prints what a request costs the generator:
# processor time, user and system, start-up included. What starting costs
# mintmark, which opens a key and makes its library gather entropy, is measured
# apart, and its share without that is printed as well; wrk's is a millisecond.
# The server's own counter says how many requests there were.
#
# Needs nginx and wrk (Debian), node with npm, python3 with pip. Peers that are
# not there are left out. The table goes to results/load-peers.txt as well.
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

token=$(head -c 600 /dev/zero | tr '\0' t)
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:$port backlog=4096;
    location /status { stub_status; }
    location / {
      default_type application/json;
      return 200 '{"access_token":"$token","expires_in":3600,"restricted_to":[],"token_type":"bearer"}';
    }
  }
}
CONF
nginx -c "$work/nginx.conf" -p "$work" &
server=$!
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
  spent=$({ time "$@" >/dev/null 2>&1; } 2>&1 | tail -n 1)
  # The two looks at the counter are requests themselves.
  echo "$name $(($(count) - before - 1)) $spent" >>"$work/times"
}

ours() {
  timed "mintmark($1)" "$binary" load --saturate --transport "$1" --signing "$2" --url "$url" \
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
    --duration 1ms --warm-up 0s --calibrate 0s --json --results "$work/results" >/dev/null 2>&1; } 2>&1 | tail -n 1)
  echo "start-up 1 $spent 1" >>"$work/times"
}

for _ in $(seq "$rounds"); do
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
  echo "nginx with one worker on the same machine, $connections connections kept, $seconds s a round, medians of $rounds rounds in turn"
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
      printf "%-18s %14s %10s %10s %14s\n", "generator", "CPU/request", "× wrk", "steady", "requests/s"
      for (i = 1; i <= kinds; i++) {
        name = order[i]
        steady = median(cpu, name)
        if (name ~ /^mintmark/) steady -= begin / median(sent, name) * 1e6
        printf "%-18s %11.1f µs %10.2f %10.2f %14.0f\n", name, median(cpu, name), median(cpu, name) / base, steady / base, median(rate, name)
      }
    }' "$work/times"
} | tee results/load-peers.txt
