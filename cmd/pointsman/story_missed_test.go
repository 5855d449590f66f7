package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// TestSecondariesThatMissedSeveralMovesCatchUpByIncrement: three moves come
// while those that take increments are dead. Each of them starts from what it
// had written down, and says itself that a part of the zone was enough.
func TestSecondariesThatMissedSeveralMovesCatchUpByIncrement(t *testing.T) {
	t.Parallel()
	w := newSecondaryWorld(t)
	w.edit(t, "-key.}", "-key., serves: false}") // no move waits for them
	w.armed(t)
	for _, s := range w.servers {
		s.up(t)
	}
	begun := w.follow(t, secondA, 0, w.servers...)
	move := func(to failover.ClusterName) {
		w.verb(t, exitOK, "switchover", "orders", "--to", string(to), "--yes", "--no-wait")
		within(t, time.Minute, "the end of the move", func() bool {
			return settledAt(to)(w.until(t, "a view", func(failover.View) bool { return true }))
		})
	}
	move("b")
	before := w.follow(t, secondB, begun, w.servers...)
	slept := w.servers[:3] // named, nsd, knot
	for _, s := range slept {
		s.tookInPart(t, begun, before)
		s.kill()
	}
	for _, to := range []failover.ClusterName{"a", "b", "a"} {
		move(to)
	}
	for _, s := range slept {
		s.up(t)
	}
	after := w.follow(t, secondA, before+2, w.servers...)
	for _, s := range slept {
		s.tookInPart(t, before, after)
	}
}

// tookInPart waits until the server itself shows that it went from one serial to
// another by increments alone.
func (s *secondary) tookInPart(t *testing.T, from, to uint32) {
	t.Helper()
	var steps map[string]string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("increments at %s: %v\n%s", s.kind, steps, s.log.String())
		}
	})
	eventually(t, fmt.Sprintf("increments from %d to %d at %s, which are written down", from, to, s.kind), func() bool {
		steps = s.increments()
		at := fmt.Sprint(from)
		for range len(steps) {
			if at == fmt.Sprint(to) {
				return true
			}
			at = steps[at]
		}
		return at == fmt.Sprint(to)
	})
}

// increments are the serials that a server left by taking a part of the zone,
// with the next: by its own journal or, of Knot, by its log.
func (s *secondary) increments() map[string]string {
	var text []byte
	switch s.kind {
	case "named": // a zone that comes whole is not written into its journal
		text, _ = exec.Command("named-journalprint", filepath.Join(s.dir, "lab.test.zone.jnl")).Output() // none yet
	case "nsd": // likewise
		text, _ = os.ReadFile(filepath.Join(s.dir, "lab.test.zone.ixfr")) // none yet
	case "knot":
		text = []byte(s.log.String())
	}
	steps := map[string]string{}
	for _, m := range incrementsOf[s.kind].FindAllSubmatch(text, -1) {
		steps[string(m[1])] = string(m[2])
	}
	return steps
}

// incrementsOf find the serials of an increment where a server shows them.
var incrementsOf = map[string]*regexp.Regexp{
	"named": regexp.MustCompile(`(?m)^del lab\.test\.\s+\d+\s+IN\s+SOA\s+\S+ \S+ (\d+) .*\n(?:del .*\n)*add lab\.test\.\s+\d+\s+IN\s+SOA\s+\S+ \S+ (\d+) `),
	"nsd":   regexp.MustCompile(`(?m)^; from_serial (\d+)\n; to_serial (\d+)\n`),
	// Between the two lines of a zone a server that starts may say what is of none.
	"knot": regexp.MustCompile(`\] IXFR, incoming, remote \S+, finished,.*\n(?:[^\[\n]*\n)*.*\] refresh, .* zone updated, .* serial (\d+) -> (\d+),`),
}
