#!/usr/bin/env bash
# Counts the instructions that a request costs the lean transport, in user
# space, and fails above the limit. Counted is the thread that sends, from its
# runtime to its histograms, in a run of some seconds less a run of one, over the
# requests that were sent more: what starting costs cancels out. Counts depend
# little on how busy the machine is.
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
# shellcheck source=scripts/peers/nginx.sh
. scripts/peers/nginx.sh
start_nginx "$work" "$port"
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$work"' EXIT
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do kill -0 "$server"; done

# Prints "instructions requests".
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='mintmark::load::crew::LaneParts::run' "$binary" load --saturate \
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
