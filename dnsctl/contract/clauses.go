package contract

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"pointsman/dnsctl"
	"pointsman/internal/failover"
)

type clause struct {
	name  string
	needs []string
	check func(t *testing.T, w World)
}

// clauses are named by the sentence that they hold a provider to.
var clauses = []clause{
	{"ItReadsWhatStandsThere", nil, readsWhatStands},
	{"AChangeIsReadBackAndSeenFromOutside", nil, readBack},
	{"TheSameChangeTwiceChangesNothingMore", nil, idempotent},
	{"AStaleChangeIsRefusedAndChangesNothing", nil, stale},
	{"WhatSomebodyElseWroteIsShownAndNotOverwritten", []string{"Set"}, foreign},
	{"OfTwentyWritersOneIsDone", nil, twenty},
	{"TheNameIsNeverAbsentThroughChanges", []string{"DNS"}, neverAbsent},
	{"NamesThatHoldTheNameAreOthers", []string{"Alike", "Missing"}, exact},
	{"ANameIsNeverEmptiedNorSentElsewhere", []string{"Requests"}, neverEmptied},
	{"CancelledBeforehandNothingIsSent", []string{"Requests"}, cancelledBefore},
	{"CancelledInTheMiddleItIsUnknownAndReadingTells", []string{"Disturb"}, cancelledInTheMiddle},
	{"ALostReplyIsNotRepeatedBlindly", []string{"Disturb", "Requests"}, lostReply},
	{"WhereNobodyAnswersNothingIsKnown", []string{string(Unreachable)}, unreachable},
	{"ReadOnlyItSendsNoWrite", []string{"Requests", string(ReadOnly)}, readOnly},
	{"NoSecretIsShown", []string{"Secrets", string(Denied), "Disturb"}, redacted},
}

// mark is the text of a mark with this epoch.
func mark(epoch int) string {
	return failover.Mark{Token: failover.Token{Term: 1, Epoch: uint64(epoch)}, Op: "op-1", By: "ctl-1"}.String()
}

func text(s string) *string { return &s }

// ttl is the time that a target has in these tests: each its own, so that an
// answer cannot join the value of one change with the TTL of another unseen.
func (w World) ttl(to failover.Target) uint32 {
	if to == w.B {
		return w.TTL + 1
	}
	return w.TTL
}

// first is the first change in a new world: from A to B, under epoch 1.
func (w World) first() dnsctl.Change {
	return dnsctl.Change{
		Name: w.Name, Expect: w.A, ExpectMark: text(w.Mark), Value: w.B, TTL: w.ttl(w.B), Mark: mark(1),
	}
}

// after is the change that follows c: back to where it came from.
func (w World) after(c dnsctl.Change, epoch int) dnsctl.Change {
	next := c
	next.Expect, next.ExpectMark, next.Value, next.Mark = c.Value, text(c.Mark), c.Expect, mark(epoch)
	next.TTL = w.ttl(next.Value)
	return next
}

func (w World) able(t testing.TB) dnsctl.Provider { return w.Provider(t, Able) }

func (w World) write(t testing.TB, p dnsctl.Provider, c dnsctl.Change) {
	t.Helper()
	if out, err := p.Write(t.Context(), c); out != failover.WriteDone || err != nil {
		t.Fatalf("write %s → %s: %s, %v", c.Expect, c.Value, out, err)
	}
}

// shows demands that provider and outside agree on what stands at the name.
func (w World) shows(t testing.TB, p dnsctl.Provider, want Record) {
	t.Helper()
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	if got := (Record{s.Value, s.TTL, s.Mark}); got != want || s.Absent || s.Other != "" {
		t.Errorf("read back %+v, want %+v", s, want)
	}
	if got := w.See(t, w.Name); got != want {
		t.Errorf("seen from outside: %+v, want %+v", got, want)
	}
}

func (w World) old() Record { return Record{w.A, w.TTL, w.Mark} }

func shown(c dnsctl.Change) Record { return Record{c.Value, c.TTL, c.Mark} }

// refused demands an outcome with its reason: no outcome but done is without.
func refused(t testing.TB, out failover.WriteOutcome, err error, want failover.WriteOutcome, is error) {
	t.Helper()
	if out != want || !errors.Is(err, is) {
		t.Errorf("%s, %v; want %s, %v", out, err, want, is)
	}
}

func readsWhatStands(t *testing.T, w World) {
	p := w.able(t)
	w.shows(t, p, w.old())
	if p.String() == "" {
		t.Error("it has no name for people")
	}
	switch m := p.Capabilities().Mark; m {
	case "txt", "remark", "ledger":
	default:
		t.Errorf("its mark is said to stand in %q: it must have a place", m)
	}
	if c := p.Capabilities(); !c.CompareAndSwap && (c.Words() == "" || c.Settle <= 0) {
		t.Errorf("%+v: without compare-and-swap it must say so, and how long a late request may still take effect", c)
	} else if c.CompareAndSwap && c.Settle != 0 {
		t.Errorf("%+v: with compare-and-swap there is nothing to wait for", c)
	}
}

func readBack(t *testing.T, w World) {
	p := w.able(t)
	c := w.first()
	for epoch := 2; epoch < 6; epoch++ {
		w.write(t, p, c)
		w.shows(t, p, shown(c))
		c = w.after(c, epoch)
	}
	// Another process sees the same, and only a TTL is a change too.
	last := Record{c.Expect, w.ttl(c.Expect), *c.ExpectMark}
	other := w.able(t)
	w.shows(t, other, last)
	c.Value, c.TTL = c.Expect, w.TTL+1
	if last.TTL == c.TTL {
		c.TTL = w.TTL
	}
	w.write(t, other, c)
	w.shows(t, p, shown(c))
}

func idempotent(t *testing.T, w World) {
	p := w.able(t)
	c := w.first()
	w.write(t, p, c)
	// The same request again: done, or a mismatch because its prerequisite is
	// gone; in no case is anything else there afterwards.
	out, err := p.Write(t.Context(), c)
	if out != failover.WriteDone && !(out == failover.WriteMismatch && errors.Is(err, dnsctl.ErrPrerequisite)) {
		t.Errorf("the same change again: %s, %v", out, err)
	}
	w.shows(t, p, shown(c))
	// What stands there, written again, is done.
	again := c
	again.Expect, again.ExpectMark = c.Value, text(c.Mark)
	w.write(t, p, again)
	w.shows(t, p, shown(c))
	// And who plans first finds nothing to do.
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dnsctl.Plan(s, dnsctl.Want{Name: w.Name, Value: c.Value, TTL: c.TTL, Mark: c.Mark})
	if err != nil || !d.Nothing() {
		t.Errorf("planned: %q, %v", d.Lines, err)
	}
}

func stale(t *testing.T, w World) {
	p := w.able(t)
	c := w.first()
	w.write(t, p, c)
	next := w.after(c, 2)
	for name, edit := range map[string]func(*dnsctl.Change){
		"another value":               func(c *dnsctl.Change) { c.Expect = w.A; c.Value = w.B },
		"a value nobody has":          func(c *dnsctl.Change) { c.Expect = "third.example." },
		"an older mark":               func(c *dnsctl.Change) { c.ExpectMark = text(w.Mark) },
		"a mark nobody has":           func(c *dnsctl.Change) { c.ExpectMark = text(mark(77)) },
		"no mark where there is one":  func(c *dnsctl.Change) { c.ExpectMark = text("") },
		"nothing where the name is":   func(c *dnsctl.Change) { c.Expect = "" },
		"the right mark, wrong value": func(c *dnsctl.Change) { c.Expect = w.A },
	} {
		t.Run(name, func(t *testing.T) {
			old := next
			edit(&old)
			out, err := p.Write(t.Context(), old)
			refused(t, out, err, failover.WriteMismatch, dnsctl.ErrPrerequisite)
			w.shows(t, p, shown(c))
		})
	}
	// The right one goes through, in whatever letters the expectation is written.
	next.Expect = upper(next.Expect)
	w.write(t, p, next)
	w.shows(t, p, shown(next))
}

func foreign(t *testing.T, w World) {
	p := w.able(t)
	by := Record{"by-hand.example.", w.TTL, mark(0)}
	w.Set(t, by)
	w.shows(t, p, by)
	out, err := p.Write(t.Context(), w.first())
	refused(t, out, err, failover.WriteMismatch, dnsctl.ErrPrerequisite)
	w.shows(t, p, by)
	// Restored on command, against exactly what was seen.
	s, err := p.Read(t.Context(), w.Name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dnsctl.Plan(s, dnsctl.Want{Name: w.Name, Value: w.A, TTL: w.TTL, Mark: mark(3)})
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, p, d.Change)
	w.shows(t, p, Record{w.A, w.TTL, mark(3)})
	// A newer mark beside the old value stops a writer as well.
	w.Set(t, Record{w.A, w.TTL, mark(9)})
	c := w.first()
	c.ExpectMark, c.Mark = text(mark(3)), mark(4)
	out, err = p.Write(t.Context(), c)
	refused(t, out, err, failover.WriteMismatch, dnsctl.ErrPrerequisite)
	w.shows(t, p, Record{w.A, w.TTL, mark(9)})
}

func twenty(t *testing.T, w World) {
	const writers = 20
	var (
		ps    [writers]dnsctl.Provider
		outs  [writers]failover.WriteOutcome
		errs  [writers]error
		wg    sync.WaitGroup
		start = make(chan struct{})
	)
	for i := range writers {
		ps[i] = w.able(t)
	}
	for i := range writers {
		wg.Go(func() {
			c := w.first()
			c.Mark = mark(i + 1)
			<-start
			outs[i], errs[i] = ps[i].Write(t.Context(), c)
		})
	}
	close(start)
	wg.Wait()
	said := map[failover.WriteOutcome]int{}
	done := -1
	for i, out := range outs {
		said[out]++
		if out == failover.WriteDone {
			done = i
		} else if errs[i] == nil {
			t.Errorf("writer %d: %s without a reason", i, out)
		}
	}
	if done < 0 {
		t.Fatalf("nobody was done: %v, %v", said, errors.Join(errs[:]...))
	}
	got := w.See(t, w.Name)
	if !ps[0].Capabilities().CompareAndSwap {
		// Nobody can promise who wins; but what stands there is one of theirs.
		if m, err := failover.ParseMark(got.Mark); got.Value != w.B || err != nil || m.Token.Epoch < 1 || m.Token.Epoch > writers {
			t.Errorf("after %v the name shows %+v", said, got)
		}
		return
	}
	if want := map[failover.WriteOutcome]int{failover.WriteDone: 1, failover.WriteMismatch: writers - 1}; !reflect.DeepEqual(said, want) {
		t.Errorf("twenty writers were told %v, want %v: %v", said, want, errors.Join(errs[:]...))
	}
	if want := (Record{w.B, w.ttl(w.B), mark(done + 1)}); got != want {
		t.Errorf("writer %d was done, the name shows %+v, want %+v", done, got, want)
	}
	w.shows(t, ps[done], got)
}

func exact(t *testing.T, w World) {
	p := w.able(t)
	before := map[failover.RecordName]Record{}
	for _, n := range w.Alike {
		if before[n] = w.See(t, n); before[n].Value != w.A {
			t.Fatalf("%s shows %+v in a new world", n, before[n])
		}
	}
	// The name in other letters is the same name.
	loud := failover.RecordName(upper(w.Name))
	if s, err := p.Read(t.Context(), loud); err != nil || s.Value != w.A || s.Mark != w.Mark {
		t.Errorf("read %s: %+v, %v", loud, s, err)
	}
	c := w.first()
	c.Name, c.Value = loud, upper(c.Value)
	w.write(t, p, c)
	c = w.first()
	w.shows(t, p, shown(c))
	for epoch := 2; epoch < 6; epoch++ {
		c = w.after(c, epoch)
		w.write(t, p, c)
	}
	w.shows(t, p, shown(c))
	for _, n := range w.Alike {
		if got := w.See(t, n); got != before[n] {
			t.Errorf("%s was changed to %+v", n, got)
		}
		if s, err := p.Read(t.Context(), n); err != nil || (Record{s.Value, s.TTL, s.Mark}) != before[n] || s.Other != "" {
			t.Errorf("read %s: %+v, %v", n, s, err)
		}
	}
	if s, err := p.Read(t.Context(), w.Missing); err != nil || !s.Absent || s.Value != "" || s.Mark != "" {
		t.Errorf("read %s, where nothing stands: %+v, %v", w.Missing, s, err)
	}
}

func neverEmptied(t *testing.T, w World) {
	p := w.able(t)
	_, before := w.Requests()
	for name, edit := range map[string]func(*dnsctl.Change){
		"empty":              func(c *dnsctl.Change) { c.Value = "" },
		"root":               func(c *dnsctl.Change) { c.Value = "." },
		"itself":             func(c *dnsctl.Change) { c.Value = failover.Target(w.Name) },
		"an address":         func(c *dnsctl.Change) { c.Value = "192.0.2.1" },
		"a wildcard":         func(c *dnsctl.Change) { c.Value = "*.example." },
		"not on its list":    func(c *dnsctl.Change) { c.Value = "third.example." },
		"a name not ours":    func(c *dnsctl.Change) { c.Name = "orders.elsewhere.example." },
		"no ttl":             func(c *dnsctl.Change) { c.TTL = 0 },
		"no mark":            func(c *dnsctl.Change) { c.Mark = "" },
		"a mark of somebody": func(c *dnsctl.Change) { c.Mark = "hello" },
	} {
		c := w.first()
		edit(&c)
		out, err := p.Write(t.Context(), c)
		if out != failover.WriteRefused || !errors.Is(err, dnsctl.ErrForbidden) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if _, after := w.Requests(); after != before {
		t.Errorf("%d writes were sent", after-before)
	}
	w.shows(t, p, w.old())
}

func upper[S ~string](s S) S {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' && i%2 == 0 {
			b[i] = c - 'a' + 'A'
		}
	}
	return S(b)
}

// told is everything that a provider says to people.
func told(ctx context.Context, p dnsctl.Provider, c dnsctl.Change) []string {
	said := []string{p.String(), fmt.Sprintf("%v %+v %#v", p, p, p), fmt.Sprintf("%+v", p.Capabilities()), p.Capabilities().Words()}
	_, err := p.Read(ctx, c.Name)
	said = append(said, fmt.Sprintf("%v %+v %#v", err, err, err))
	_, err = p.Write(ctx, c)
	return append(said, fmt.Sprintf("%v %+v %#v", err, err, err))
}
