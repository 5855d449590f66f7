package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// cloudStaleAuthority: one of the authorities goes on with what it had. It is named, with
// what it shows, and until it follows nobody says that the move is published; the
// operation ends after its budget with that authority listed, and not before.
func cloudStaleAuthority(t *testing.T) {
	w := newCloudWorld(t)
	stale := w.cloud.Authorities()[1]
	w.run(t)
	w.took(t)
	if err := w.cloud.SetAuthority(1, alicloud.Authority{Line: "telecom", Frozen: true}); err != nil {
		t.Fatal(err)
	}
	w.a.kill()
	lists := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, stale) })
	}
	v := w.until(t, "the stale authority named", func(v failover.View) bool {
		return v.Op != nil && v.Op.Step == failover.StepConfirm && v.Names[0].Published != nil && lists(v.Names[0].Published.Dissent)
	})
	w.shows(t, bindB) // at the API it is done
	if v.MovedBy == nil || !v.MovedBy.Published.IsZero() || v.Names[0].Published.Agree {
		t.Errorf("it is said to be published: %+v, %+v", v.MovedBy, v.Names[0].Published)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), stale, bindA, "not yet published everywhere")
	began := v.Op.StepSince
	// Its budget is 30 s, and nothing less ends it.
	var ended failover.View
	longer(t, time.Minute, "the end of the budget", func() bool {
		ended = w.until(t, "a view", func(failover.View) bool { return true })
		return ended.Op == nil
	})
	if spent := ended.LastOp.At.Sub(began); spent < 30*time.Second || !lists(ended.LastOp.Op.Stragglers) {
		t.Errorf("it ended after %s, without the stale authority: %+v", spent, ended.LastOp)
	}
	if m := ended.MovedBy; m == nil || !m.Published.IsZero() || !lists(m.Missing) {
		t.Errorf("it is said to be published: %+v", m)
	}
	wantIn(t, w.verb(t, exitOK, "history", "orders"), stale)
	wantIn(t, w.verb(t, exitOK, "status", "orders"), stale, "not yet published everywhere")
	if err := w.cloud.SetAuthority(1, alicloud.Authority{Line: "telecom"}); err != nil {
		t.Fatal(err)
	}
	w.until(t, "it is published", func(v failover.View) bool { return v.MovedBy != nil && !v.MovedBy.Published.IsZero() })
}

// cloudKilled kills the controller with -9 while a call of its move hangs, and
// starts it again: the new life finds out how far the old one came, and ends it.
func cloudKilled(t *testing.T, action, line string, after bool, found map[string]string) {
	w := newCloudWorld(t)
	first := w.run(t)
	w.took(t)
	before := map[string]alicloud.Record{}
	for _, line := range cloudLines {
		before[line], _ = w.cloud.Record(w.zone, "orders", line)
	}
	w.cloud.Fail(action, alicloud.Fault{Kind: alicloud.Hang, Line: line, After: after}, 1)
	w.verb(t, exitOK, "failover", "orders", "--to", "b", "--yes", "--no-wait")
	eventually(t, "the call that hangs", func() bool { return len(w.cloud.Faults()) == 0 })
	// What stands there is what the story is about: the value, and whether its mark is the new one.
	stands := func() map[string]string {
		got := map[string]string{}
		for _, line := range cloudLines {
			r, _ := w.cloud.Record(w.zone, "orders", line)
			got[line] = fmt.Sprintf("%s, marked %v", strings.TrimSuffix(r.Value, ".example.com"), r.Remark != before[line].Remark)
		}
		return got
	}
	eventually(t, "the moment", func() bool { return maps.Equal(stands(), found) })
	first.kill()
	if got := stands(); !maps.Equal(got, found) {
		t.Fatalf("the kill found the lines at %v, not at %v", got, found)
	}
	w.cloud.Forget()
	w.run(t)
	v := w.until(t, "b", marked("b"))
	w.shows(t, bindB)
	if v.LastOp == nil || v.LastOp.Op.ID != "orders-1.1" || v.LastOp.Outcome != failover.Settled {
		t.Errorf("the operation of the first life: %+v", v.LastOp)
	}
	marks := map[string]bool{}
	for _, line := range cloudLines {
		r, _ := w.cloud.Record(w.zone, "orders", line)
		marks[r.Remark] = true
		if r.ID != before[line].ID {
			t.Errorf("the record of line %s is another", line)
		}
	}
	if len(marks) != 1 || v.Names[0].Mark.Op != "orders-1.1" || v.Names[0].Mark.Token.Term != 2 {
		t.Errorf("marks %v, the record says %s", marks, v.Names[0].Mark)
	}
	values := 0
	for _, r := range w.cloud.Requests("UpdateDomainRecord") {
		values++
		if r.Params["Value"] != "orders-b.example.com" {
			t.Errorf("the new life wrote %v", r.Params)
		}
	}
	want := 0
	for _, f := range found {
		if strings.HasPrefix(f, "orders-a") {
			want++
		}
	}
	if values != want {
		t.Errorf("the new life wrote %d values, where %d were missing", values, want)
	}
	wantIn(t, w.verb(t, exitOK, "audit", "--verify"), "whole")
}

// cloudSecondController: another controller, of a ledger of its own and with a
// newer term, takes the name over. The first one sees the newer mark, says whose
// it is, and writes nothing any more; the second one moves the name alone.
func cloudSecondController(t *testing.T) {
	w := newCloudWorld(t)
	w.run(t)
	w.took(t)
	other := &cloudWorld{bindWorld: &bindWorld{dir: shortDir(t, "cloud2"), a: w.a, b: w.b, replace: w.replace}, cloud: w.cloud, zone: w.zone}
	writeFiles(t, other.dir, map[string]string{"pointsman.yaml": strings.Replace(w.replace.Replace(cloudConfig), "name: ctl-1", "name: ctl-2", 1)})
	second := alicloud.Key{ID: "LTAI-second", Secret: "second-secret-secret-secret", User: "second"}
	if err := w.cloud.AddKey(second); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, other.dir, map[string]string{"dns.key.json": keyFileOf(t, second), "look.key.json": keyFileOf(t, second)})
	for range 2 { // each life has a term of its own
		life := other.run(t)
		other.until(t, "a view", func(failover.View) bool { return true })
		life.end(t)
	}
	other.run(t)
	other.took(t)
	v := w.until(t, "the drift", drifts)
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "the mark is newer than the record: another controller", "by=ctl-2")
	sent := func(id string) (n int) {
		for _, r := range w.cloud.Requests("UpdateDomainRecord", "UpdateDomainRecordRemark") {
			if r.KeyID == id {
				n++
			}
		}
		return n
	}
	before := sent("LTAI-dns")
	w.a.kill()
	moved := other.until(t, "it moved", marked("b"))
	w.shows(t, bindB)
	w.until(t, "a refusal", func(v failover.View) bool { return v.Wants != "" && len(v.Refused) > 0 })
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes"), "refused by drift: ")
	if n := sent("LTAI-dns"); n != before || before == 0 || sent(second.ID) == 0 {
		t.Errorf("the first controller sent %d writes, %d of them after the other one had taken over", n, n-before)
	}
	if moved.Names[0].Mark.By != "ctl-2" || moved.Names[0].Mark.Token.Term <= v.Token.Term {
		t.Errorf("mark %s over %s", moved.Names[0].Mark, v.Names[0].Mark)
	}
}

// cloudPrivateZone: the name stands in a private zone, and the resolvers of the
// networks keep answers for their TTL. A move is published when they show it, and
// not when the API does.
func cloudPrivateZone(t *testing.T) {
	w := newCloudWorld(t)
	w.makePrivate(t, func(z *alicloud.Zone) { z.Standard = true })
	resolver := w.cloud.Resolver("vpc-1")
	w.run(t)
	w.took(t)
	wit := startWitness(t, resolver, "orders.example.com.")
	w.a.kill()
	v := w.until(t, "the resolver named", func(v failover.View) bool {
		return v.Op != nil && v.Op.Step == failover.StepConfirm && v.Names[0].Published != nil &&
			slices.ContainsFunc(v.Names[0].Published.Dissent, func(s string) bool { return strings.Contains(s, resolver) })
	})
	w.shows(t, bindB)
	if v.MovedBy == nil || !v.MovedBy.Published.IsZero() {
		t.Errorf("it is said to be published while %s keeps the old one: %+v", resolver, v.MovedBy)
	}
	v = w.until(t, "it moved", marked("b"))
	if v.MovedBy == nil || v.MovedBy.Published.IsZero() || v.LastOp.Outcome != failover.Settled {
		t.Fatalf("%+v, %+v", v.MovedBy, v.LastOp)
	}
	wit.end()
	var order []string
	var old, first time.Time // when the old value was last asked for, and when the new one was first seen
	for i, value := range wit.values {
		target, _, _ := strings.Cut(value, " ")
		if len(order) == 0 || order[len(order)-1] != target {
			order = append(order, target)
			if first = wit.at[i]; i > 0 {
				old = wit.last[i-1]
			}
		}
	}
	if !slices.Equal(order, []string{bindA, bindB}) || len(wit.bad) > 0 {
		t.Errorf("clients in the network were told %v, and %v of %d answers", order, wit.bad, wit.answers)
	}
	if v.MovedBy.Published.Before(old.Add(-time.Second)) || v.MovedBy.Published.Sub(first) > 20*time.Second {
		t.Errorf("written %s, published %s, the old one last seen %s, the new one first %s", v.MovedBy.Written, v.MovedBy.Published, old, first)
	}
	for _, r := range w.cloud.Requests() {
		if strings.HasPrefix(r.Action, "Delete") || strings.HasPrefix(r.Action, "Add") || strings.HasPrefix(r.Action, "Set") {
			t.Errorf("it sent %s", r.Action)
		}
	}
	w.noKey(t, w.verb(t, exitOK, "status", "orders", "-o", "json"))
}
