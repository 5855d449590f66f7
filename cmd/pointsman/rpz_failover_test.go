package main

import (
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestBINDPolicyZoneStory: with exactly the rights that init rights prints, a
// vendor's name is looked at in shadow, taken over, moved when its cluster dies,
// left alone while somebody else's edit stands, and restored. Clients of the
// resolver are told one target or the other throughout, and never what the
// vendor says.
func TestBINDPolicyZoneStory(t *testing.T) {
	t.Parallel()
	bind := rpzBIND(t, rpzApplied, "break-dnssec yes", rpzStands, rpzGrants(t))
	w := newBindWorld(t, bind, bind.addr, rpzConfig)
	serial := func() string { return strings.Join(strings.Fields(bind.dig(t, "rpz.local.", "SOA"))[2:3], "") }
	before := serial()
	shadow := w.run(t, "--shadow")
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.readsAt(t, "policy", 2)
	if bind.changes() != 0 || serial() != before {
		t.Errorf("in shadow the zone went from %s to %s, with %d changes", before, serial(), bind.changes())
	}
	shadow.end(t)

	w.run(t)
	w.took(t)
	wit := startWitness(t, bind.addr, rpzName)
	one := bind.changes()
	w.a.kill()
	v := w.until(t, "b", marked("b"))
	if v.MovedBy == nil || v.MovedBy.Published.IsZero() || v.LastOp.Outcome != failover.Settled {
		t.Errorf("%+v, %+v", v.MovedBy, v.LastOp)
	}
	if got := bind.changes() - one; got != 4 { // two sets removed, two records added
		t.Errorf("the move took %d changes", got)
	}
	if got := bind.dig(t, rpzMark, "TXT"); !strings.Contains(got, "by=ctl-1") || !strings.Contains(got, "epoch=1") {
		t.Errorf("the mark is %s", got)
	}

	// Somebody else's edit is told and left, whatever dies meanwhile.
	bind.inZone(t, "rpz.local.", "delete "+rpzOwner+" CNAME", "add "+rpzOwner+" 30 CNAME ns.example.com.")
	w.until(t, "the drift", drifts)
	w.a.up(t)
	w.until(t, "both up", func(v failover.View) bool { return v.Clusters[0].Verdict == failover.Up })
	w.b.kill()
	w.until(t, "a refusal", func(v failover.View) bool { return v.Wants != "" && len(v.Refused) > 0 })
	one = bind.changes()
	w.readsAt(t, "policy", 2)
	if got := bind.dig(t, rpzOwner, "CNAME"); got != "ns.example.com." || bind.changes() != one {
		t.Errorf("it was overwritten with %s", got)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "shows CNAME ns.example.com.", "refused by drift: ")
	w.verb(t, exitOK, "restore", "orders", "--seen", "ns.example.com", "--yes")
	w.until(t, "a", marked("a"))
	wit.end()
	var order []string
	for _, value := range wit.values {
		if target, _, _ := strings.Cut(value, " "); len(order) == 0 || order[len(order)-1] != target {
			order = append(order, target)
		}
	}
	if got := strings.Join(order, " "); got != bindA+" "+bindB+" ns.example.com. "+bindB+" "+bindA && got != bindA+" "+bindB+" ns.example.com. "+bindA || len(wit.bad) > 0 {
		t.Errorf("clients of the resolver were told %s, and %v of %d answers", got, wit.bad, wit.answers)
	}
	wantIn(t, w.verb(t, exitOK, "audit", "--verify"), "whole")
}
