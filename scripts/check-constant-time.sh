#!/bin/sh
# Reads the generated code of the batch engine's kernel for leaks.
#
# The secrets are in vector registers. A branch or an address can depend on
# one only after it has crossed into a general register or into the flags, so
# that it is enough to show that no instruction of the multiplications, of the
# recombination and of the final subtraction does that. (`ifma::choose` moves masks
# of the exponent from memory to mask registers by way of general ones, and
# `sign` writes the signature out; both are left out here.)
#
# Usage: scripts/check-constant-time.sh; needs objdump, builds the benchmark.
set -eu
cd "$(dirname "$0")/.."
binary=$(cargo bench --bench batch --no-run --message-format=json 2>/dev/null |
  sed -n 's/.*"executable":"\([^"]*\/batch-[^"]*\)".*/\1/p' | tail -n 1)
code=$(objdump -d --no-show-raw-insn -C "$binary" | awk '
  /^[0-9a-f]+ </ { inside = /batch::(ifma::Field<.*>::|avx2::(Field<.*>::|choose)|columns::|crt::PrivatePart<.*>::(raise|residues)|lanes::Number<.*>::reduce_twice)/ }
  inside { print }')
functions=$(echo "$code" | grep -c '^[0-9a-f]* <')
integers=$(echo "$code" | grep -c vpmadd52)
doubles=$(echo "$code" | grep -c 'vfn*madd.*pd')
echo "$functions functions, $integers vpmadd52, $doubles vfmadd"
if [ "$functions" -lt 12 ] || [ "$integers" -lt 5000 ] || [ "$doubles" -lt 1000 ]; then
  echo "the kernel was not found in $binary" >&2
  exit 1
fi
crossings=$(echo "$code" | grep -E \
  'v?(mov[dq]|pextr[bwdq]|(p?)movmsk[a-z]*|ptest|testp[sd]|u?comis[sd]) .*%[xy]mm[0-9]+,%[re]|v?ptest |kmov[bwdq] +%k[0-7],%[re]|k(or)?test|gather|scatter' || true)
if [ -n "$crossings" ]; then
  echo "vector data reaches general registers, flags or addresses:" >&2
  echo "$crossings" >&2
  exit 1
fi
echo "no vector data reaches a general register, a flag or an address"
