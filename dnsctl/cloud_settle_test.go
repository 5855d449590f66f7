package dnsctl

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// clockAt is a clock that a test moves.
type clockAt struct{ n atomic.Int64 }

func (c *clockAt) now() time.Time       { return time.Unix(1_800_000_000, c.n.Load()) }
func (c *clockAt) pass(d time.Duration) { c.n.Add(int64(d)) }

func withMark(mark string) []cloudRecord { return []cloudRecord{{line: "default", mark: mark}} }

// The first write of a term waits until requests of an earlier leader can no
// longer take effect, counted from when the term was first heard of; once.
func TestSettlingOfTerms(t *testing.T) {
	var clock clockAt
	s := newSettling(30*time.Second, clock.now)
	c := moved()
	left := func(term uint64, mark string) time.Duration {
		u := s.until(c, term, withMark(mark))
		if u.IsZero() {
			return 0
		}
		return u.Sub(clock.now())
	}
	want := func(got, want time.Duration) {
		t.Helper()
		if got != want {
			t.Errorf("%s left, want %s", got, want)
		}
	}
	want(left(1, ""), 30*time.Second)
	clock.pass(29 * time.Second)
	want(left(1, ""), time.Second) // asking again does not begin anew
	clock.pass(time.Second)
	want(left(1, ""), 0)
	want(left(1, mark(9, 9)), 0)
	// The next leader, in the same process or not.
	want(left(2, mark(1, 1)), 30*time.Second)
	clock.pass(30 * time.Second)
	want(left(2, mark(1, 1)), 0)
	// A mark of the term itself: another write of it has waited already, as after
	// a reload, which builds the provider anew.
	s = newSettling(30*time.Second, clock.now)
	want(left(3, mark(3, 1)), 0)
	want(left(3, mark(2, 1)), 0)
	want(left(4, mark(3, 1)), 30*time.Second)
	// A mark of a later term says nothing of this one.
	s = newSettling(30*time.Second, clock.now)
	want(left(3, mark(4, 1)), 30*time.Second)
}

// A request of ours that was given up may still land: who wants something else
// waits for it, who wants the same does not.
func TestSettlingOfLateRequests(t *testing.T) {
	var clock clockAt
	s := newSettling(30*time.Second, clock.now)
	lines := withMark(mark(1, 0))
	to := func(v failover.Target, m string) time.Duration {
		c := moved()
		c.Value, c.Mark = v, m
		u := s.until(c, 1, lines)
		if u.IsZero() {
			return 0
		}
		return u.Sub(clock.now())
	}
	if d := to(targetB, mark(1, 1)); d != 0 {
		t.Fatalf("%s", d)
	}
	s.gaveUp(orders, lateRequest{value: targetB, ttl: 60})
	for _, c := range []struct {
		value failover.Target
		mark  string
		want  time.Duration
	}{
		{targetB, mark(1, 1), 0}, {targetB, mark(1, 2), 0}, {targetA, mark(1, 2), 30 * time.Second},
	} {
		if d := to(c.value, c.mark); d != c.want {
			t.Errorf("%+v: %s", c, d)
		}
	}
	clock.pass(10 * time.Second)
	s.gaveUp(orders, lateRequest{value: targetB, ttl: 60}) // and again: it counts from the last
	if d := to(targetA, mark(1, 2)); d != 30*time.Second {
		t.Errorf("%s", d)
	}
	s.gaveUp(orders, lateRequest{mark: mark(1, 1)})
	if d := to(targetB, mark(1, 2)); d != 30*time.Second {
		t.Errorf("a late remark: %s", d)
	}
	other := moved()
	other.Name, other.Value = "x.lab.test.", targetA
	if u := s.until(other, 1, lines); !u.IsZero() {
		t.Error("another name waits as well")
	}
	clock.pass(30 * time.Second)
	if d := to(targetA, mark(1, 3)); d != 0 {
		t.Errorf("%s", d)
	}
	if len(s.late[orders]) > 2 {
		t.Errorf("%d are remembered", len(s.late[orders]))
	}
}

// With the real provider: nothing is sent before, the caller is told that
// nothing was changed, and the write after it goes through.
func TestCloudWaitsForFormerLeaders(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		var clock clockAt
		p := l.provider(func(c *CloudConfig) { c.Settle, c.Now, c.Timeout = 30*time.Second, clock.now, 20*time.Second })
		if s := p.Capabilities().Settle; s != 30*time.Second {
			t.Errorf("it says %s", s)
		}
		c := moved()
		c.Mark = mark(2, 1)
		got, err := p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteMismatch, ErrSettling)
		wantText(t, err.Error(), "30s left")
		if l.writes() != 0 {
			t.Error("sent before it had settled")
		}
		clock.pass(30 * time.Second)
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		// The term has settled: the next write of it goes at once.
		c.Expect, c.ExpectMark, c.Value, c.Mark = targetB, ptr(mark(2, 1)), targetA, mark(2, 2)
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		// A reload builds it anew; the marks say that the term has settled.
		p = l.provider(func(c *CloudConfig) { c.Settle, c.Now, c.Timeout = 30*time.Second, clock.now, 20*time.Second })
		c.Expect, c.ExpectMark, c.Value, c.Mark = targetA, ptr(mark(2, 2)), targetB, mark(2, 3)
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
	})
}

// Where there is time the write waits within its context.
func TestCloudWaitsWithinItsTime(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		p := l.provider(func(c *CloudConfig) { c.Settle = 100 * time.Millisecond })
		c := moved()
		c.Mark = mark(2, 1)
		began := time.Now()
		got, err := p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		if d := time.Since(began); d < 100*time.Millisecond {
			t.Errorf("after %s", d)
		}
	})
}

// A delayed writer must not undo a newer decision (the shape of the DynamoDB
// outage of October 2025): a request that hung, was given up and lands later is
// waited out before the opposite is written.
func TestCloudOwnLateRequestIsWaitedOut(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.seed("default", targetA, mustRemark(t, mark(1, 0)))
		var clock clockAt
		p := l.provider(func(c *CloudConfig) { c.Settle, c.Now, c.Timeout = 30*time.Second, clock.now, 20*time.Second })
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Hang}, 1)
		c := moved()
		core(p).settling.until(c, 1, withMark(mark(1, 0)))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for len(l.Faults()) > 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		got, err := p.Write(ctx, c)
		wantOutcome(t, got, err, failover.WriteUnknown, ErrNoAnswer)
		l.Forget()
		back := c
		back.Value, back.Mark = targetA, mark(1, 2)
		got, err = p.Write(t.Context(), back)
		wantOutcome(t, got, err, failover.WriteMismatch, ErrSettling)
		if l.writes() != 0 {
			t.Error("the opposite was written while the first may still land")
		}
		// Forward there is nothing to wait for.
		got, err = p.Write(t.Context(), c)
		wantOutcome(t, got, err, failover.WriteDone)
		clock.pass(31 * time.Second)
		back.Expect, back.ExpectMark = targetB, ptr(mark(1, 1))
		got, err = p.Write(t.Context(), back)
		wantOutcome(t, got, err, failover.WriteDone)
	})
}

// Each lane has its own rate: routine reads take nothing from a failover, and
// neither do its reads from its writes.
func TestPaceKeepsLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes by itself
		p := newPace(10, time.Now)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for l, want := range map[lane]int{laneRoutine: 20, laneUrgent: 10, laneWrite: 10} {
			n := 0
			for ; n < 1000 && p.wait(ctx, l) == nil; n++ {
			}
			if n != want {
				t.Errorf("lane %d: %d at once, want %d", l, n, want)
			}
		}
	})
}

// Throttled, routine reads rest, ever longer; a failover goes on.
func TestPaceRestsWhenThrottled(t *testing.T) {
	var clock clockAt
	p := newPace(1000, clock.now)
	for _, most := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		p.throttled()
		rest := p.closed.Sub(clock.now())
		if rest < most*time.Second/2 || rest > most*time.Second {
			t.Errorf("rests %s, want between half of %d s and %d s", rest, most, most)
		}
		p.throttled() // one more within the rest changes nothing
		if p.closed.Sub(clock.now()) != rest {
			t.Error("two answers count twice")
		}
		if err := p.wait(t.Context(), laneRoutine); !errors.Is(err, ErrThrottled) {
			t.Errorf("a routine request in the rest: %v", err)
		}
		if err := p.wait(t.Context(), laneUrgent); err != nil {
			t.Errorf("an urgent one: %v", err)
		}
		clock.pass(rest)
		if err := p.wait(t.Context(), laneRoutine); err != nil {
			t.Errorf("after the rest: %v", err)
		}
	}
	clock.pass(2 * time.Minute)
	p.throttled()
	if rest := p.closed.Sub(clock.now()); rest > time.Second {
		t.Errorf("long after, it rests %s", rest)
	}
}

// While the account is throttled, a move still gets through: its requests are
// repeated, and routine reads of other names stay away.
func TestCloudMovesWhileThrottled(t *testing.T) {
	both(t, func(t *testing.T, l *cloudLab) {
		l.two()
		var clock clockAt // it stands: the rest of routine reads lasts however long the move takes
		p := l.provider(func(c *CloudConfig) { c.Now = clock.now })
		l.Fail(l.listing(), alicloud.Fault{Kind: alicloud.Throttled}, 1)
		l.Fail(l.action(true), alicloud.Fault{Kind: alicloud.Throttled}, 5)
		got, err := p.Write(t.Context(), moved())
		wantOutcome(t, got, err, failover.WriteDone)
		l.Forget()
		if _, err := p.Read(t.Context(), "other.lab.test."); !errors.Is(err, ErrThrottled) || len(l.Requests()) != 0 {
			t.Errorf("a routine read: %v, %d requests", err, len(l.Requests()))
		}
		readOrders(t, p) // that of the name on the move is urgent
		// And one that a move waits for, though nothing was written there yet.
		if _, err := p.Read(Urgent(t.Context()), "other.lab.test."); err != nil {
			t.Errorf("an urgent read: %v", err)
		}
	})
}

func TestPauses(t *testing.T) {
	for n := 1; n < 20; n++ {
		most := min(100*time.Millisecond<<min(n-1, 5), 2*time.Second)
		seen := map[time.Duration]bool{}
		for range 50 {
			d := pauseBefore(n)
			seen[d] = true
			if d < most/2 || d > most {
				t.Fatalf("repetition %d after %s, want between half of %s and it", n, d, most)
			}
		}
		if len(seen) < 10 {
			t.Errorf("repetition %d: no jitter, %d values of 50", n, len(seen))
		}
	}
}
