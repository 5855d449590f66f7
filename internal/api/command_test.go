package api

import (
	"testing"

	"pointsman/internal/failover"
)

func TestEveryGuardThatMayBeOverriddenCanBeNamed(t *testing.T) {
	n := 0
	for _, g := range failover.Guards() {
		if !failover.Overridable(g) {
			continue
		}
		n++
		r := CommandRequest{Verb: failover.DoFailover, By: "ana", To: "b", Reason: "drill", Override: []failover.Guard{g}}
		if c, err := r.Command(); err != nil || len(c.Override) != 1 || c.Override[0] != g {
			t.Errorf("override %s: %+v, %v", g, c.Override, err)
		}
	}
	if n == 0 {
		t.Error("no guard may be overridden")
	}
}
