package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// two seeds both lines at a, with the mark that move expects.
func (l *cloudLab) two() (def, tel alicloud.Record) {
	return l.seed("default", targetA, mustRemark(l.t, mark(1, 0))), l.seed("telecom", targetA, mustRemark(l.t, mark(1, 0)))
}

// until is a context that ends when cond holds: for what would otherwise go on
// for as long as there is time.
func until(t testing.TB, cond func() bool) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && !cond() {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ctx
}

// reached says whether a line shows the move from a to b.
func (l *cloudLab) reached(line string) bool {
	v, m := l.shows(line)
	return v == targetB && m == mark(1, 1)
}

// goOn reads and writes as the core does, until it is done: a request that was
// given up may land between the two, and then the next reading shows it.
func goOn(t testing.TB, p Provider, value failover.Target, mark string) {
	t.Helper()
	for try := 1; ; try++ {
		s := readOrders(t, p)
		c := Change{Name: orders, Expect: s.Value, ExpectMark: ptr(s.Mark), Value: value, TTL: 60, Mark: mark}
		got, err := p.Write(t.Context(), c)
		if got == failover.WriteMismatch && try < 5 {
			continue
		}
		wantOutcome(t, got, err, failover.WriteDone)
		return
	}
}

// What goes wrong once, or twice, is overcome within the write, whether the
// request took effect or not; every line ends as wanted, and nothing twice that
// need not be.
func TestCloudWriteOvercomes(t *testing.T) {
	faults := []alicloud.Fault{
		{Kind: alicloud.InternalError},
		{Kind: alicloud.InternalError, After: true},
		{Kind: alicloud.Unavailable},
		{Kind: alicloud.Throttled},
		{Kind: alicloud.NotFinished},
		{Kind: alicloud.Reset},
		{Kind: alicloud.Reset, After: true},
		{Kind: alicloud.Hang},
		{Kind: alicloud.Hang, After: true},
		{Kind: alicloud.HTML},
		{Kind: alicloud.Malformed},
		{Kind: alicloud.Short},
		{Kind: alicloud.Empty},
		{Kind: alicloud.HugeBody},
		{Kind: alicloud.NotAsked},
	}
	for _, value := range []bool{true, false} {
		for _, f := range faults {
			name := fmt.Sprintf("%s value=%t after=%t", f.Kind, value, f.After)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				both(t, func(t *testing.T, l *cloudLab) {
					_, tel := l.two()
					p := l.provider(func(c *CloudConfig) { c.Timeout = time.Minute })
					if f.Kind == alicloud.Hang {
						l.cutOnceStruck(p, l.action(value), tel)
					}
					f := f
					f.Line = "telecom"
					l.Fail(l.action(value), f, 1)
					ctx := t.Context()
					if f.Kind == alicloud.NotAsked {
						ctx = until(t, func() bool { return len(l.Requests(l.listing())) > 5 })
					}
					got, err := p.Write(ctx, moved())
					if f.Kind == alicloud.NotAsked {
						// A lie: no error, and nothing done. Only reading back finds it.
						wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
						return
					}
					wantOutcome(t, got, err, failover.WriteDone)
					for _, line := range []string{"default", "telecom"} {
						l.wantLine(line, targetB, mark(1, 1))
					}
					if len(l.Faults()) != 0 {
						t.Error("the fault did not strike")
					}
					did := f.After || f.Kind == alicloud.Malformed || f.Kind == alicloud.Short || f.Kind == alicloud.Empty || f.Kind == alicloud.HugeBody
					want := 3
					if did {
						want = 2 // read back first, and seen that it had taken effect
					}
					if n := len(l.Requests(l.action(value))); n != want {
						t.Errorf("%d requests, want %d", n, want)
					}
				})
			})
		}
	}
}

// remarked tells of each line that has got its remark, the last that it gets.
type remarked struct {
	cloudAPI
	tell func(r cloudRecord)
}

func (a remarked) setRemark(ctx context.Context, r cloudRecord, remark string) error {
	err := a.cloudAPI.setRemark(ctx, r, remark)
	if err == nil {
		a.tell(r)
	}
	return err
}

// One of two lines fails for good: the other is brought all the way, nothing
// goes back, and the words say which is where. The next write finishes it.
func TestCloudOneLineFails(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(nil)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.InternalError, Line: "telecom"}, -1)
		brought := new(atomic.Bool)
		core(p).api = remarked{core(p).api, func(r cloudRecord) {
			if r.line == "default" {
				brought.Store(true)
			}
		}}
		ctx := until(t, func() bool { return brought.Load() && len(l.Requests(l.action(true))) > 4 })
		got, err := p.Write(ctx, moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		wantText(t, err.Error(), "reached default", "not telecom", "InternalError")
		l.wantLine("default", targetB, mark(1, 1))
		l.wantLine("telecom", targetA, mark(1, 0))
		if n := len(l.Requests(l.action(true))); n < 4 {
			t.Errorf("the failing line was tried %d times", n-1)
		}
		s := readOrders(t, p)
		if s.Value != targetA || s.Mark != mark(1, 0) || s.Other != "" || len(s.Lines) != 2 {
			t.Errorf("the line that was not reached should stand for the name: %+v", s)
		}
		l.Heal()
		goOn(t, p, targetB, mark(1, 1))
		l.wantLine("telecom", targetB, mark(1, 1))
	})
}

// The same after a restart, under the next term: another process reads what
// the first one left and goes forward.
func TestCloudAnotherProcessGoesOn(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(nil)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Unavailable, Line: "telecom"}, -1)
		got, err := p.Write(until(t, func() bool { return l.reached("default") }), moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		l.Heal()
		next := l.provider(nil)
		goOn(t, next, targetB, mark(2, 1))
		for _, line := range []string{"default", "telecom"} {
			l.wantLine(line, targetB, mark(2, 1))
		}
	})
}

// A move that got half way is unwound: the line that was reached goes back too.
func TestCloudUnwinds(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(func(c *CloudConfig) { c.Settle = 100 * time.Millisecond }) // what was given up lands before the opposite is sent
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Throttled, Line: "telecom"}, -1)
		got, err := p.Write(until(t, func() bool { return l.reached("default") }), moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		l.calmed(p)
		l.Heal()
		goOn(t, p, targetA, mark(1, 2))
		for _, line := range []string{"default", "telecom"} {
			l.wantLine(line, targetA, mark(1, 2))
		}
	})
}

// A value without its remark is recognised and finished, by the remark alone.
func TestCloudValueWithoutRemark(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetB, mustRemark(t, mark(1, 0)))
		l.seed("telecom", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(nil)
		s := readOrders(t, p)
		c := Change{Name: orders, Expect: s.Value, ExpectMark: ptr(s.Mark), Value: targetB, TTL: 60, Mark: mark(1, 1)}
		got, err := p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		for _, line := range []string{"default", "telecom"} {
			l.wantLine(line, targetB, mark(1, 1))
		}
		if v := l.Requests(l.action(true)); len(v) != 1 {
			t.Errorf("%d values were written, want that of telecom alone", len(v))
		}
	})
}

// Somebody edits a line between our reading and our request, or while we try
// again: it is not overwritten once it was seen.
func TestCloudSomebodyElseInTheMiddle(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(nil)
		third := "c.lab.test"
		// The request fails without effect, and in the same moment a person edits.
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.NotFinished, Line: "telecom"}, 1)
		r, _ := l.Record(l.zone, "orders", "telecom")
		var once sync.Once
		core(p).pause = func(n int) time.Duration {
			if len(l.Faults()) == 0 {
				once.Do(func() {
					if err := l.Change(r.ID, alicloud.Edit{Value: &third}); err != nil {
						t.Error(err)
					}
				})
			}
			return soon(n)
		}
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		wantText(t, err.Error(), "telecom shows c.lab.test.", "somebody else")
		if v, _ := l.shows("telecom"); v != "c.lab.test." {
			t.Errorf("the edit was overwritten: %s", v)
		}
		s := readOrders(t, p)
		wantText(t, s.Other, "telecom shows c.lab.test.", "default shows b.lab.test.")
		if s.Value != "c.lab.test." {
			t.Errorf("an edit that hides: %+v", s)
		}
		c := moved()
		c.Mark = mark(1, 2)
		l.Forget()
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteMismatch, ErrPrerequisite)
		if l.writes() != 0 {
			t.Error("written over a third value")
		}
	})
}

// Somebody edits a line after our write of it was accepted and before it was
// read back: that is said at once, however much time is left.
func TestCloudSomebodyElseAfterTheWrite(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(nil)
		third := "c.lab.test"
		l.Fail(l.listing(), alicloud.Fault{Kind: alicloud.Stale, Skip: 1}, 1) // the first look back shows what was before
		r, _ := l.Record(l.zone, "orders", "telecom")
		var once sync.Once
		core(p).pause = func(n int) time.Duration {
			once.Do(func() {
				if err := l.Change(r.ID, alicloud.Edit{Value: &third}); err != nil {
					t.Error(err)
				}
			})
			return soon(n)
		}
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		wantText(t, err.Error(), "it was accepted, and then line telecom shows c.lab.test.", "somebody else")
		if v, _ := l.shows("telecom"); string(v) != "c.lab.test." {
			t.Errorf("the edit was overwritten: %s", v)
		}
	})
}

// Nothing of this is ever written over, and nothing is sent.
func TestCloudRefusesBeforeTheFirstWrite(t *testing.T) {
	third := "c.lab.test"
	cases := map[string]struct {
		prepare   func(l *cloudLab)
		want      failover.WriteOutcome
		err       error
		read      error  // of Read; nil: it says so in Other or as the state
		readOther string // a part of State.Other
	}{
		"another value": {prepare: func(l *cloudLab) { l.change("default", alicloud.Edit{Value: &third}) }, want: failover.WriteMismatch, err: ErrPrerequisite},
		"another value on one line": {
			prepare: func(l *cloudLab) {
				l.seed("telecom", targetA, mustRemark(l.t, mark(1, 0)))
				l.change("telecom", alicloud.Edit{Value: &third})
			}, want: failover.WriteMismatch, err: ErrPrerequisite, readOther: "telecom shows c.lab.test.",
		},
		"a line without our mark": {
			prepare: func(l *cloudLab) { l.seed("telecom", targetB, "by hand") },
			want:    failover.WriteMismatch, err: ErrPrerequisite, readOther: "telecom shows b.lab.test.",
		},
		"a newer mark": {
			prepare: func(l *cloudLab) {
				m := mustRemark(l.t, mark(9, 0))
				l.change("default", alicloud.Edit{Remark: &m})
			}, want: failover.WriteMismatch, err: ErrPrerequisite,
		},
		"two records on a line": {
			prepare: func(l *cloudLab) { l.change("default", alicloud.Edit{Another: &third}) },
			want:    failover.WriteRefused, err: ErrSeveral, read: ErrSeveral,
		},
		"disabled": {
			prepare: func(l *cloudLab) { on := true; l.change("default", alicloud.Edit{Disabled: &on}) },
			want:    failover.WriteRefused, err: ErrDisabled, read: ErrDisabled,
		},
		"another type on another line": {
			prepare: func(l *cloudLab) {
				if _, err := l.AddRecord(l.zone, alicloud.Record{RR: "orders", Type: "A", Value: "192.0.2.1", TTL: 60, Line: "telecom"}); err != nil {
					l.t.Fatal(err)
				}
			}, want: failover.WriteRefused, err: ErrOtherRecord, readOther: "A 192.0.2.1 on line telecom",
		},
		"gone": {
			prepare: func(l *cloudLab) { l.change("default", alicloud.Edit{Delete: true}) },
			want:    failover.WriteMismatch, err: ErrPrerequisite,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, l *cloudLab) {
				l.seed("default", targetA, mustRemark(t, mark(1, 0)))
				c.prepare(l)
				p := l.provider(nil)
				s, err := p.Read(t.Context(), orders)
				if !errors.Is(err, c.read) {
					t.Errorf("read: %v, want %v", err, c.read)
				}
				if !strings.Contains(s.Other, c.readOther) {
					t.Errorf("other %q, want %q", s.Other, c.readOther)
				}
				got, err := p.Write(t.Context(), moved())
				wantOutcome(t, got, err, c.want, c.err)
				if l.writes() != 0 {
					t.Error("something was sent that changes")
				}
			})
		})
	}
}

func (l *cloudLab) change(line string, e alicloud.Edit) {
	l.t.Helper()
	r, ok := l.Record(l.zone, "orders", line)
	if !ok {
		l.t.Fatalf("no record on %s", line)
	}
	if err := l.Change(r.ID, e); err != nil {
		l.t.Fatal(err)
	}
}

// A locked record is named as such before anything is sent. Only Alidns locks.
func TestAlidnsLocked(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{})
	l.seed("default", targetA, mustRemark(t, mark(1, 0)))
	on := true
	l.change("default", alicloud.Edit{Locked: &on})
	p := l.provider(nil)
	if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrLocked) {
		t.Errorf("read: %v", err)
	}
	got, err := p.Write(t.Context(), moved())
	wantOutcome(t, got, err, failover.WriteRefused, ErrLocked)
}

// The record that was read first is the one that is written: one that was
// removed and made anew under another ID is reported, not taken for it.
func TestCloudPinsRecords(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		old := l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(nil)
		readOrders(t, p)
		l.change("default", alicloud.Edit{Delete: true})
		anew := l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		s := readOrders(t, p)
		wantText(t, s.Other, fmt.Sprintf("record %d of line default was replaced by %d", old.ID, anew.ID))
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteMismatch, ErrReplaced)
		if l.writes() != 0 {
			t.Error("the record of somebody else was written")
		}
		// A line more, or one less, is the same.
		l.seed("telecom", targetA, mustRemark(t, mark(1, 0)))
		wantText(t, readOrders(t, p).Other, "line telecom has got a record of its own")
		// Once a person has looked, it is taken.
		if err := core(p).Repin(orders); err != nil {
			t.Fatal(err)
		}
		if s := readOrders(t, p); s.Other != "" {
			t.Errorf("after Repin: %q", s.Other)
		}
		got, err = p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
	})
}

// Pins of the config hold from the first reading on, and are no guess.
func TestCloudPinsOfTheConfig(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		r := l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(func(c *CloudConfig) {
			c.Records = map[failover.RecordName]map[string]string{orders: {"default": "1", "telecom": "2"}}
		})
		s := readOrders(t, p)
		wantText(t, s.Other, fmt.Sprintf("record 1 of line default was replaced by %d", r.ID), "record 2 of line telecom is gone")
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteMismatch, ErrReplaced)
		if err := core(p).Repin(orders); !errors.Is(err, ErrForbidden) {
			t.Errorf("repin: %v", err)
		}
	})
}

// A record that vanishes in the very moment is an error with its name, and no
// record is created in its place.
func TestCloudRecordVanishes(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(nil)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Vanish}, 1)
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteMismatch, ErrReplaced)
		if n := len(l.Records(l.zone)); n != 0 {
			for _, r := range l.Records(l.zone) {
				if r.RR == "orders" {
					t.Errorf("a record was made: %+v", r)
				}
			}
		}
	})
}

// An API that shows what was before for a while: the write waits for it to
// show what is, and one that never does is not called done.
func TestCloudStaleReads(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(nil)
		l.Fail(l.listing(), alicloud.Fault{Kind: alicloud.Stale, Skip: 1}, 2) // the reading before is good
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
		if len(l.Faults()) != 0 || len(l.Requests(l.listing())) != 4 {
			t.Errorf("read back %d times", len(l.Requests(l.listing()))-1)
		}
		l.Fail(l.listing(), alicloud.Fault{Kind: alicloud.Stale, Skip: 1}, -1)
		quick := l.provider(nil)
		asked := len(l.Requests(l.listing()))
		c := moved()
		c.Expect, c.ExpectMark, c.Value, c.Mark = targetB, ptr(mark(1, 1)), targetA, mark(1, 2)
		got, err = quick.Write(until(t, func() bool { return len(l.Requests(l.listing())) > asked+4 }), c)
		wantOutcome(t, got, err, failover.WriteUnknown)
		wantText(t, err.Error(), "it was accepted, but line")
	})
}

// Both products answer an update to what is there already with an error of its
// own: it is success when reading says so, and only then.
func TestCloudDuplicateIsReadBack(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(nil)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Refused, Code: "DomainRecordDuplicate"}, -1)
		got, err := p.Write(until(t, func() bool { return len(l.Requests(l.action(true))) > 3 }), moved())
		if got == failover.WriteDone || err == nil {
			t.Fatalf("a duplicate was taken for success: %s", got)
		}
		l.wantLine("default", targetA, mark(1, 0))
		l.calmed(p)
		l.Heal()
		// It landed, its answer was lost, and the repetition is a duplicate.
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Reset, After: true}, 1)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Refused, Code: "DomainRecordDuplicate"}, 1)
		l.Fail(l.listing(), alicloud.Fault{Kind: alicloud.Stale, Skip: 1}, 1)
		got, err = l.provider(nil).Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
		l.wantLine("default", targetB, mark(1, 1))
	})
}

// A cancelled context ends a request that hangs at once, although the vendor's
// library knows no contexts.
func TestCloudCancel(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(func(c *CloudConfig) { c.Timeout = time.Hour })
		for _, action := range []string{l.listing(), l.action(true)} {
			l.Fail(action, alicloud.Fault{Kind: alicloud.Hang}, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for len(l.Faults()) != 0 {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			var err error
			if action == l.listing() {
				_, err = p.Read(ctx, orders)
			} else {
				_, err = p.Write(ctx, moved())
			}
			if !errors.Is(err, ErrNoAnswer) {
				t.Errorf("%s: %v", action, err)
			}
			cancel()
		}
	})
}

// While one line hangs, the others are brought there.
func TestCloudHangingLineHoldsNobodyUp(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		p := l.provider(func(c *CloudConfig) { c.Timeout = time.Hour })
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Hang, Line: "default"}, -1)
		got, err := p.Write(until(t, func() bool { return l.reached("telecom") && len(l.Requests(l.action(true))) == 2 }), moved())
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial, ErrNoAnswer)
		wantText(t, err.Error(), "line default: ")
		l.wantLine("telecom", targetB, mark(1, 1))
	})
}

// The steps of one operation share a mark. A move that was cut off under the
// mark that all lines bear already must not look as if it had arrived: the line
// that was not reached stands for the name, and, to a provider that was built
// anew and does not know what was wanted, Other says that they differ.
func TestCloudOneMarkForTwoSteps(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		for _, line := range []string{"default", "edu", "telecom"} {
			l.seed(line, targetA, mustRemark(t, mark(1, 1))) // the TTL was lowered under it
		}
		p := l.provider(nil)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Unavailable, Line: "telecom"}, -1)
		c := moved()
		c.ExpectMark = ptr(mark(1, 1))
		got, err := p.Write(until(t, func() bool { return l.reached("default") && l.reached("edu") }), c)
		wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
		if s := readOrders(t, p); s.Value != targetA || s.Mark != mark(1, 1) || s.Other != "" {
			t.Errorf("the line that lags behind should stand for the name: %+v", s)
		}
		anew := l.provider(nil)
		s := readOrders(t, anew)
		wantText(t, s.Other, "telecom shows a.lab.test.", "default shows b.lab.test.")
		l.Heal()
		goOn(t, anew, targetB, mark(1, 1))
		l.wantLine("telecom", targetB, mark(1, 1))
	})
}

// Two writes of one name in one process come one after the other, so that the
// second judges what the first has left.
func TestCloudOneWriteAtATime(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(func(c *CloudConfig) { c.Timeout = time.Hour })
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Late, Delay: 100 * time.Millisecond}, 1)
		first := make(chan error, 1)
		go func() {
			_, err := p.Write(t.Context(), moved())
			first <- err
		}()
		for len(l.Faults()) != 0 { // the first one is at its request
			time.Sleep(time.Millisecond)
		}
		c := moved()
		c.Value, c.Mark = targetB, mark(1, 2) // the same move, decided upon the same reading
		got, err := p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteMismatch, ErrPrerequisite)
		if err := <-first; err != nil {
			t.Error(err)
		}
		l.wantLine("default", targetB, mark(1, 1))
		// Who waits for its turn in vain has sent nothing.
		l.Fail(l.action(false), alicloud.Fault{Kind: alicloud.Hang}, -1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			c := c
			c.Expect, c.ExpectMark = targetB, ptr(mark(1, 1))
			_, err := p.Write(ctx, c)
			first <- err
		}()
		for len(l.Requests(l.action(false))) < 2 {
			time.Sleep(time.Millisecond)
		}
		short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer stop()
		got, err = p.Write(short, c)
		wantOutcome(t, got, err, failover.WriteRefused, ErrNotSent)
		cancel()
		<-first
	})
}
