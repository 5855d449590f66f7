#!/usr/bin/env bash
# Takes each guard out of the list once, without touching the tree, and wants a
# test to fail. A guard whose loss no test notices guards nothing.
set -euo pipefail
cd "$(dirname "$0")"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
names=$(sed -n 's/^\t{\(Guard[A-Za-z]*\), .*},$/\1/p' guard.go)
[ "$(echo "$names" | wc -l)" -ge 29 ] || { echo "found only: $names"; exit 1; }

missed=0
for g in $names; do
	sed "/^\t{$g, .*},\$/d" guard.go >"$tmp/guard.go"
	printf '{"Replace":{"%s":"%s"}}' "$PWD/guard.go" "$tmp/guard.go" >"$tmp/overlay.json"
	# The story of that guard alone, not the count of the list.
	if go test -vet=off -overlay "$tmp/overlay.json" -run "TestTranscripts|TestEachGuardAloneRefuses|TestOverrides" . >"$tmp/out" 2>&1; then
		echo "MISSED  $g: its loss fails no test"
		missed=1
	elif grep -q 'build failed' "$tmp/out"; then
		# an unused check function does not fail a build in Go; anything else does
		cat "$tmp/out"
		exit 1
	else
		echo "caught  $g"
	fi
done
exit $missed
