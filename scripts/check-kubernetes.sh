#!/usr/bin/env bash
# Do the Kubernetes manifests satisfy the schemas, and agree among themselves?
#
# Builds every overlay with kubectl's kustomize and holds it against the
# schemas of Kubernetes by kubernetes-validate (PyPI), without a cluster.
# A manifest with a mistake is tried as well: it must be refused.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "skipped: $1"
  exit 0
}
command -v kubectl >/dev/null || skip "kubectl is not installed (its kustomize builds the overlays)"
python=target/python
[ -x $python/bin/python ] || python3 -m venv $python
$python/bin/pip install --quiet 'kubernetes-validate==1.37.0' pyyaml ||
  skip "kubernetes-validate cannot be installed"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nats=$(command -v nats-server || true)
if [ -n "$nats" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=nats \
    -keyout "$work/tls.key" -out "$work/tls.crt" 2>"$work/openssl"
  cp "$work/tls.crt" "$work/ca.crt"
else
  echo "nats-server is not installed: its configuration is not read"
fi

# The oldest version with every field that is used, and the newest known one.
versions="1.34 1.37"
for overlay in deploy/kubernetes/overlays/*/; do
  name=$(basename "$overlay")
  kubectl kustomize "$overlay" >"$work/$name.yaml"
  for version in $versions; do
    $python/bin/kubernetes-validate --strict --quiet -k "$version" "$work/$name.yaml"
  done
  sed 's/completionMode:/completionMood:/' "$work/$name.yaml" >"$work/wrong.yaml"
  if $python/bin/kubernetes-validate --strict --quiet -k 1.37 "$work/wrong.yaml" >/dev/null 2>&1; then
    echo "a misspelt field was not noticed" >&2
    exit 1
  fi
  $python/bin/python - "$work/$name.yaml" <<'PY'
import sys, yaml

found = {}
for one in yaml.safe_load_all(open(sys.argv[1])):
    found[one["kind"], one["metadata"]["name"]] = one
jobs = found["Job", "mintmark-agents"]["spec"]
coordinator = found["Job", "mintmark-coordinator"]["spec"]["template"]
env = {e["name"]: e.get("value") for e in coordinator["spec"]["containers"][0]["env"]}
nodes = found["StatefulSet", "nats"]["spec"]["replicas"]
assert jobs["completions"] == jobs["parallelism"] == int(env["AGENTS"]), "numbers of agents differ"
assert int(env["REPLICAS"]) <= nodes, "more copies of the stream than nodes"
for policy in (one for (kind, _), one in found.items() if kind == "NetworkPolicy"):
    wanted = policy["spec"]["podSelector"]["matchLabels"].items()
    templates = [one["spec"]["template"] for (kind, _), one in found.items() if kind in ("Job", "StatefulSet")]
    assert any(wanted <= t["metadata"]["labels"].items() for t in templates), policy["metadata"]["name"]
for (kind, name), one in found.items():
    if kind not in ("Job", "StatefulSet"):
        continue
    pod = one["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"], name
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"], name
def secrets(pod):
    return {v["secret"]["secretName"]: v["secret"].get("defaultMode") for v in pod["volumes"] if "secret" in v}
of_agents, of_coordinator = secrets(jobs["template"]["spec"]), secrets(coordinator["spec"])
sends = any(a.startswith("--send-keys-to=") for a in coordinator["spec"]["containers"][0]["args"])
assert sends == ("sealed" in sys.argv[1]), "keys are sent by the overlay of that name alone"
assert ("mintmark-app" in of_agents) != sends, "the app is where it is not needed"
if sends:
    container = jobs["template"]["spec"]["containers"][0]
    identity = next(e["value"] for e in container["env"] if e["name"] == "MINTMARK_IDENTITY")
    mounted = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert identity == mounted["identity"] + "/identity", "no identity is mounted there"
    # An agent reads no identity that others than its group can read.
    assert of_agents["mintmark-identity"] == 0o440 and "mintmark-app" in of_coordinator
agent = jobs["template"]["spec"]["containers"][0]["resources"]
assert agent["requests"] == agent["limits"] and agent["limits"]["cpu"].isdigit(), "agents would be throttled"
PY
  # The server reads its configuration as it lies in the cluster.
  if [ -n "$nats" ]; then
    $python/bin/python - "$work/$name.yaml" "$work" <<'PY'
import pathlib, sys, yaml

folder = pathlib.Path(sys.argv[2])
for one in yaml.safe_load_all(open(sys.argv[1])):
    if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("nats-config"):
        for name, text in one["data"].items():
            (folder / name).write_text(text.replace("/etc/nats-tls", str(folder)).replace("/var/lib/nats", str(folder)))
PY
    for config in server cluster; do
      SERVER_NAME=nats-0 AGENT_PASSWORD=a COORDINATOR_PASSWORD=b OPERATOR_PASSWORD=c \
        "$nats" -t -c "$work/$config.conf"
    done
  fi
  echo "$name: valid for Kubernetes ${versions// /, }"
done
