package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pointsman/internal/failover"
)

// Clients need the last commit answered more than they need anything else of
// this process. So once the embedded authority listens, a room that cannot be
// had or that dies does not take DNS down with it: the process is degraded. It
// says so loudly, does not lead, is not ready, and answers the last commit
// until somebody ends it.

var errEndedEarly = errors.New("it ended by itself")

// trouble is what went wrong since the authority listens. Safe for concurrent use.
type trouble struct {
	mu   sync.Mutex
	errs []error
}

func (t *trouble) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, err)
}

// err is nil while the process is whole.
func (t *trouble) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) == 0 {
		return nil
	}
	return fmt.Errorf("ran degraded: %w", t.errs[0])
}

// why is one line for people, empty while the process is whole.
func (t *trouble) why() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) == 0 {
		return ""
	}
	text, _ := splitHint(t.errs[0])
	if n := len(t.errs) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more: see the log)", n)
	}
	return "degraded: " + text
}

// mark says in a view that the process leads no more: a controller that died
// cannot say it itself.
func (t *trouble) mark(v *failover.View) {
	if why := t.why(); why != "" {
		v.Leading, v.LeadWhy = false, why
	}
}

// degrade takes note of what a room cannot do any more. Without an authority
// there is nothing to go on for: the error comes back, and ends the process.
func (p *process) degrade(room string, err error) error {
	if err == nil || p.authority == nil {
		return err
	}
	p.trouble.add(err)
	text, hint := splitHint(err)
	p.log.Error("degraded: DNS answers the last commit, nothing is decided or changed until a restart",
		"room", room, "reason", text, "hint", orElse(hint, "mend it, then restart the controller"))
	if p.ctl != nil {
		p.ctl.SetLead(failover.Lead{Why: p.trouble.why()})
	}
	return nil
}

// unusable is a provider that could not be built. A process that has one does
// not lead, so it is only ever asked what a name shows.
type unusable struct{ err error }

func (u unusable) Read(context.Context, failover.RecordName) (failover.NameRead, error) {
	return failover.NameRead{}, u.err
}

func (u unusable) Write(context.Context, failover.WriteName) (failover.WriteOutcome, error) {
	return failover.WriteRefused, u.err
}
