#!/usr/bin/env bash
# Counts the instructions that a request costs the lean transport, in user
# space, and fails above the limit. A run of some seconds less a run of one,
# over the requests that it sent more: what starting costs cancels out. Counts
# do not depend on how busy the machine is.
#
# Needs valgrind and nginx (Debian); says so and passes where they are absent.
set -euo pipefail
cd "$(dirname "$0")/.."

# A request that is signed once and repeated: wrk with a script costs 3,800.
limit=${LIMIT:-4500}
transport=${TRANSPORT:-lean}
port=${PORT:-18438}
for program in valgrind nginx; do
  if ! command -v "$program" >/dev/null; then
    echo "skipped: $program is not installed"
    exit 0
  fi
done
binary=${BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --release --locked --bin mintmark
  binary=target/release/mintmark
fi

work=$(mktemp -d)
chmod 755 "$work"
token=$(head -c 600 /dev/zero | tr '\0' t)
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log $work/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path $work/body;
  proxy_temp_path $work/proxy;
  fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi;
  scgi_temp_path $work/scgi;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:$port;
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
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$server"; done

# Prints "instructions requests".
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" load --saturate \
    --transport "$transport" --signing repeat --url "http://127.0.0.1:$port/oauth2/token" \
    --config tests/fixtures/keys/app-config.json --user 1 --connections 64 \
    --duration "$1" --warm-up 0s --slice 1h --calibrate 0s --json --results "$work/results" \
    >"$work/record" 2>"$work/count" || true
  awk -v sent="$(grep -m1 -o '"requests_sent": [0-9]*' "$work/record" | grep -o '[0-9]*')" \
    '/Collected :/ { print $4, sent }' "$work/count"
}

read -r few_instructions few < <(count 1s)
read -r many_instructions many < <(count 6s)
each=$(((many_instructions - few_instructions) / (many - few)))
echo "$transport: $each user instructions a request (over $((many - few)) requests), at most $limit"
[ "$each" -le "$limit" ]
