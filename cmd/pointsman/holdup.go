package main

import (
	"fmt"
	"time"

	"pointsman/internal/controller"
)

// slowCommit is from when on a commit is worth a word.
const slowCommit = 5 * time.Second

// holdups says what keeps the instance from deciding although the process
// leads and the ledger can be written.
func holdups(s *controller.Snapshot, now time.Time) []string {
	var out []string
	if since := now.Sub(s.Writing); !s.Writing.IsZero() && since >= slowCommit {
		out = append(out, fmt.Sprintf("the ledger has been writing for %s: nothing is decided until it is done", age(since)))
	}
	switch {
	case s.Lapse == "":
	case s.Again.After(now):
		out = append(out, fmt.Sprintf("gave up the lead: %s; it tries again in %s", s.Lapse, age(s.Again.Sub(now))))
	default:
		out = append(out, "gave up the lead: "+s.Lapse)
	}
	return out
}
