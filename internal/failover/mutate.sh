#!/usr/bin/env bash
# Breaks each guard in four ways, without touching the tree, and wants a test of
# behaviour to fail: one that sees an operation start that must not, or not
# start that may. The list keeps its length, so no count of it notices.
#
#   blind     it allows everything
#   auto      it binds people, too, or automation alone
#   world     it is asked before an operation goes on, or no more
#   override  a person may override it, or no more
#
# All stand in one test program, which is built once: a variable of the
# environment says which of them is on.
set -euo pipefail
cd "$(dirname "$0")"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
names=$(sed -n 's/^\t{\(Guard[A-Za-z]*\), .*},$/\1/p' guard.go)
[ "$(echo "$names" | wc -l)" -ge 29 ] || { echo "found only: $names"; exit 1; }

{
	echo 'package failover'
	echo 'import ("os"; "strings")'
	echo 'var mutants = map[string]Guard{'
	for g in $names; do echo "\"$g\": $g,"; done
	cat <<'GO'
}

func init() {
	name, way, on := strings.Cut(os.Getenv("MUTANT"), "/")
	if !on {
		return
	}
	for i := range guards {
		g := &guards[i]
		if g.name != mutants[name] {
			continue
		}
		switch way {
		case "blind":
			g.check = func(*ask) (string, string) { return "", "" }
		case "auto":
			g.auto = !g.auto
		case "world":
			g.world = !g.world
		case "override":
			g.override = !g.override
		default:
			panic("no such way: " + way)
		}
		return
	}
	panic("no such guard: " + name)
}
GO
} >"$tmp/mutant_test.go"
printf '{"Replace":{"%s":"%s"}}' "$PWD/mutant_test.go" "$tmp/mutant_test.go" >"$tmp/overlay.json"
go test -vet=off -overlay "$tmp/overlay.json" -c -o "$tmp/failover.test" .

# Fast ones first; the transcripts see whole operations.
quick='^(TestEachGuardAloneRefuses|TestNothingRefusesWhenAllIsWell|TestNoGuardNoRefusal|TestOverrides|TestWhomAGuardBinds|TestWhatIsAskedAgain)$'
run() { "$tmp/failover.test" -test.failfast -test.timeout 2m -test.run "$1" >"$tmp/out" 2>&1; }

# Without a mutant all must pass, or nothing below means anything.
run "$quick|^TestTranscripts\$" || { cat "$tmp/out"; exit 1; }

missed=0
for g in $names; do
	for way in ${WAYS:-blind auto world override}; do
		export MUTANT="$g/$way"
		if run "$quick" && run '^TestTranscripts$'; then
			echo "MISSED  $MUTANT: no test fails"
			missed=1
		elif by=$(grep -m1 -oE '^ *--- FAIL: [^ ]+' "$tmp/out" | sed 's/.*: //'); then
			sub=$(grep -m1 -oE '^ +--- FAIL: [^ ]+' "$tmp/out" | sed 's/.*: //') || true
			echo "caught  $MUTANT by ${sub:-$by}"
		else
			cat "$tmp/out"
			exit 1
		fi
	done
done
exit $missed
