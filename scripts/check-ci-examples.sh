#!/usr/bin/env bash
# Checks the CI files under docs/ci/ against the schemas of their services.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null || ! python3 -m venv --help >/dev/null 2>&1; then
  echo "skipped: python3 with venv is not here"
  exit 0
fi
tool=target/check-jsonschema
if [ ! -x "$tool/bin/check-jsonschema" ]; then
  python3 -m venv "$tool"
  "$tool/bin/pip" install --quiet check-jsonschema==0.39.0
fi
# The schemas come with the package, so that nothing is fetched here.
"$tool/bin/check-jsonschema" --builtin-schema vendor.github-workflows docs/ci/github-actions.yml
"$tool/bin/check-jsonschema" --builtin-schema vendor.gitlab-ci docs/ci/gitlab.yml
