package replication

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// way is one direction under one term: what a session carries rows along.
// Operations raise the epoch and leave a session as it is, since nobody else
// can have claimed the control rows in between.
type way struct {
	From, To failover.ClusterName
	Term     uint64
}

func (w way) String() string { return fmt.Sprintf("%s to %s", w.From, w.To) }

// carries says along which way rows go under a course, or why none do.
func (c *Course) carries() (w way, why string) {
	w = way{c.Active, c.Standby, c.Token.Term}
	switch {
	case !c.Leading:
		return w, "not leading"
	case c.Active == "" || c.Standby == "" || c.Active == c.Standby:
		return w, "the record does not say which cluster is active"
	case c.State == failover.StandbyInvalidated:
		return w, fmt.Sprintf("%s is invalidated: nothing is written to it", c.Standby)
	case c.Op != "" && pastDrain(c.Step):
		return w, "cut by " + c.Op
	case c.drained:
		return w, "drained for " + c.Op
	}
	return w, ""
}

// allows says why a session of that way must not write now, or nothing.
func (c *Course) allows(w way, now time.Time) error {
	have, why := c.carries()
	switch {
	case why != "":
		return fmt.Errorf("%w: %s", ErrNotHere, why)
	case have != w:
		return fmt.Errorf("%w: rows go from %s now", ErrNotHere, have)
	case !c.Until.IsZero() && !now.Before(c.Until):
		return fmt.Errorf("%w: the lease is over", ErrNotHere)
	}
	return nil
}

// keeps says why a session of that way must not write its control rows now, or
// nothing: those that say where a drain ended it are still written.
func (c *Course) keeps(w way, now time.Time) error {
	k := *c
	k.drained = false
	return k.allows(w, now)
}

// pastDrain says whether nothing is applied any more at that step.
func pastDrain(s failover.StepName) bool {
	switch s {
	case "", failover.StepIntent, failover.StepClose, failover.StepDrain:
		return false
	}
	return true
}

// newer says whether a course replaces an older one. Of two with one token the
// later told counts: steps and leadership change under it.
func (c *Course) newer(old *Course) bool { return !c.Token.Less(old.Token) }

// epochOf is the epoch in the ID of an operation, which ends in its token; 0 is
// none.
func epochOf(op string) uint64 {
	n, err := strconv.ParseUint(op[strings.LastIndexByte(op, '.')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
