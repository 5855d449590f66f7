package notify

import (
	"testing"
	"time"

	"pointsman/internal/failover"
)

// night is from 22:00 to 07:00, every day; a bubble of time begins at midnight.
func night() []failover.Window {
	var days []time.Weekday
	for d := range 7 {
		days = append(days, time.Weekday(d))
	}
	return []failover.Window{{Days: days, Start: 22 * time.Hour, Length: 9 * time.Hour}}
}

// In quiet hours what wants nobody waits for their end, reports too, and is not
// late with it; what wants somebody goes at any hour.
func TestQuietHoursHoldBackWhatWantsNobody(t *testing.T) {
	s := one()
	s.Channels[0].Quiet = night()
	play(t, s, func(st *stage) {
		st.tell(info("a"))
		if err := st.Deliver(t.Context(), []string{"x"}, Document{ID: "report", Title: "daily"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		st.tell(fire("B", "held"))
		st.tell(info("c"))
		st.tell(Message{ID: "D", Kind: "settled", State: Info, Change: true})
		st.want(t, "x", "1h0m0s B", "1h0m0s D")
		if got := st.Stats()[0]; got.Waiting != 3 || !got.Oldest.IsZero() {
			t.Errorf("%d wait, the oldest since %s", got.Waiting, got.Oldest)
		}
		time.Sleep(6*time.Hour - time.Second)
		st.want(t, "x", "1h0m0s B", "1h0m0s D")
		time.Sleep(time.Second)
		st.want(t, "x", "1h0m0s B", "1h0m0s D", "7h0m0s a", "7h0m0s report", "7h0m0s c")
		time.Sleep(time.Hour)
		st.tell(info("e"))
		st.want(t, "x", "1h0m0s B", "1h0m0s D", "7h0m0s a", "7h0m0s report", "7h0m0s c", "8h0m0s e")
	})
}

// What was tried before quiet hours began is not tried in them.
func TestNoTryOfNewsFallsIntoQuietHours(t *testing.T) {
	s := one()
	s.Channels[0].Quiet = night()
	play(t, s, func(st *stage) {
		time.Sleep(22*time.Hour - time.Second)
		st.to["x"].fail = noAnswerAtFirst
		st.tell(info("a"))
		time.Sleep(10 * time.Hour)
		st.want(t, "x", "21h59m59s a", "31h0m0s a")
	})
}

// Waiting for the end of quiet hours does not make news too old, and a reload
// that takes them away lets it go.
func TestQuietHoursMakeNothingTooOld(t *testing.T) {
	s := one()
	s.Channels[0].Quiet, s.Keep = night(), time.Hour
	play(t, s, func(st *stage) {
		st.tell(info("a"))
		time.Sleep(8 * time.Hour)
		st.want(t, "x", "7h0m0s a")
		time.Sleep(15 * time.Hour)
		st.tell(info("b"))
		st.want(t, "x", "7h0m0s a")
		loud := one()
		st.box.fit(&loud)
		st.wakeAll()
		st.want(t, "x", "7h0m0s a", "23h0m0s b")
	})
}

// Nor does a reload in the middle of them.
func TestAReloadInQuietHoursMakesNothingTooOld(t *testing.T) {
	s := one()
	s.Channels[0].Quiet, s.Keep = night(), time.Hour
	play(t, s, func(st *stage) {
		st.tell(info("a"))
		for range 2 {
			time.Sleep(3 * time.Hour)
			st.box.fit(&s)
			st.wakeAll()
		}
		st.want(t, "x")
		time.Sleep(3 * time.Hour)
		st.want(t, "x", "7h0m0s a")
	})
}

// noAnswerAtFirst fails the first try alone.
func noAnswerAtFirst(n int) error {
	if n == 0 {
		return errNoAnswer
	}
	return nil
}

// What was tried before quiet hours began waits in them as what was not: it is
// not late, not too old at their end, and a reload that takes them away lets it
// go.
func TestNewsThatWasTriedWaitsInQuietHoursAsAnyOther(t *testing.T) {
	s := one()
	s.Channels[0].Quiet, s.Keep = night(), time.Hour
	begin := func(t *testing.T, st *stage) {
		time.Sleep(22*time.Hour - time.Second)
		st.to["x"].fail = noAnswerAtFirst
		st.tell(info("a"))
		time.Sleep(2*time.Hour + time.Second)
		if got := st.Stats()[0]; got.Waiting != 1 || !got.Oldest.IsZero() {
			t.Errorf("%d wait, the oldest since %s", got.Waiting, got.Oldest)
		}
	}
	t.Run("until they end", func(t *testing.T) {
		play(t, s, func(st *stage) {
			begin(t, st)
			time.Sleep(8 * time.Hour)
			st.want(t, "x", "21h59m59s a", "31h0m0s a")
		})
	})
	t.Run("until a reload", func(t *testing.T) {
		play(t, s, func(st *stage) {
			begin(t, st)
			loud := one()
			loud.Keep = s.Keep
			st.box.fit(&loud)
			st.wakeAll()
			st.want(t, "x", "21h59m59s a", "24h0m0s a")
		})
	})
}

// Quiet hours are left out of the age of what fails, and begin it anew neither
// when they end nor when a reload takes them away.
func TestQuietHoursKeepNothingForEver(t *testing.T) {
	s := one()
	s.Channels[0].Quiet, s.Keep = night(), 20*time.Hour
	dropped := func(st *stage) uint64 { return st.Stats()[0].Dropped[string(dropAge)] }
	t.Run("by day", func(t *testing.T) {
		play(t, s, func(st *stage) {
			st.to["x"].fail = func(int) error { return errNoAnswer }
			time.Sleep(12 * time.Hour)
			st.tell(info("a"))                        // 10 hours of this day count, and 10 of the next
			time.Sleep(29*time.Hour - 10*time.Minute) // a try that falls due in the night begins to wait then
			if dropped(st) != 0 {
				t.Error("too old before its time")
			}
			time.Sleep(20 * time.Minute)
			if dropped(st) != 1 {
				t.Error("a night has begun its age anew")
			}
		})
	})
	t.Run("after a reload", func(t *testing.T) {
		play(t, s, func(st *stage) {
			st.to["x"].fail = func(int) error { return errNoAnswer }
			st.tell(info("a"))
			time.Sleep(time.Hour)
			loud := one()
			loud.Keep = s.Keep
			st.box.fit(&loud)
			st.wakeAll()
			time.Sleep(time.Minute)
			if got := st.Stats()[0].Oldest; got.IsZero() || time.Since(got) != time.Minute {
				t.Errorf("the oldest since %s: it waits for nothing but the receiver", got)
			}
			time.Sleep(20*time.Hour - 2*time.Minute)
			if dropped(st) != 0 {
				t.Error("too old before its time")
			}
			time.Sleep(10 * time.Minute)
			if dropped(st) != 1 {
				t.Error("it is kept for hours that are quiet no more")
			}
		})
	})
}

// Restarts in quiet hours and out of them make nothing too old that waits for
// their end, and nothing young that has failed for long.
func TestRestartsLeaveTheAgeOfNewsAsItIs(t *testing.T) {
	dir := t.TempDir()
	s := quiet()
	s.Channels[0].Quiet, s.Keep = night(), 3*time.Hour
	at := func(now time.Time) *Notifier {
		t.Helper()
		n, err := open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: quietLog}, outer{now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	try := func(n *Notifier, now time.Time) bool {
		p, _ := n.box.next("hook", now)
		if p != nil {
			n.box.done(p, errNoAnswer, now)
		}
		return p != nil
	}
	evening := time.Date(2026, 11, 28, 21, 0, 0, 0, time.UTC)
	n := at(evening)
	m := n.complete(info("a"))
	n.put(&m)
	if !try(n, evening) {
		t.Fatal("it is not tried in the evening")
	}
	b := n.complete(info("b"))
	b.Instance = "web"
	for h := 1; h <= 9; h += 2 { // 22:00 to 06:00
		now := evening.Add(time.Duration(h) * time.Hour)
		if h == 1 {
			n.box.put(n.setup, &b, now)
		}
		if try(n, now) {
			t.Errorf("it goes at %s", now)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = at(now.Add(time.Hour))
		if try(n, now.Add(time.Hour)) && h < 9 {
			t.Errorf("it goes at %s", now.Add(time.Hour))
		}
	}
	// It is 07:00: a is an hour old, b is new.
	count := func(want int, when time.Duration) {
		t.Helper()
		try(n, evening.Add(when))
		if got := len(n.box.entries); got != want {
			t.Errorf("%s after the evening %d wait, not %d", when, got, want)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		n = at(evening.Add(when))
	}
	count(2, 12*time.Hour-time.Minute)
	count(1, 12*time.Hour+time.Minute)
	count(1, 13*time.Hour-time.Minute)
	count(0, 13*time.Hour+time.Minute)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// A clock that was years ahead keeps no news that waited for the morning then.
func TestQuietHoursOfAClockThatWasAhead(t *testing.T) {
	dir := t.TempDir()
	s := quiet()
	s.Channels[0].Quiet, s.Keep = night(), time.Hour
	at := func(now time.Time) *Notifier {
		n, err := open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: quietLog}, outer{now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	ahead := time.Date(2031, 11, 28, 23, 0, 0, 0, time.UTC)
	n := at(ahead)
	m := n.complete(info("a"))
	n.put(&m)
	n.box.next("hook", ahead)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = at(now)
	defer n.Close()
	p, _ := n.box.next("hook", now)
	if p == nil {
		t.Fatal("it waits for a morning in years")
	}
	n.box.done(p, errNoAnswer, now)
	if got := n.box.snapshot(s.Channels, now)[0].Oldest; !got.Equal(now) {
		t.Errorf("the oldest since %s", got)
	}
	n.box.next("hook", now.Add(time.Hour+time.Second))
	if len(n.box.entries) != 0 {
		t.Error("it is never too old")
	}
}

// Quiet hours outlive a restart.
func TestQuietHoursOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s := quiet()
	s.Channels[0].Quiet = night()
	at := func(now time.Time) *Notifier {
		n, err := open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: quietLog}, outer{now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	late := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC)
	n := at(late)
	m := n.complete(info("a"))
	n.put(&m)
	if p, _ := n.box.next("hook", late); p != nil {
		t.Error("it goes at night")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = at(late.Add(time.Hour))
	defer n.Close()
	if p, _ := n.box.next("hook", late.Add(7*time.Hour)); p != nil {
		t.Error("it goes at night after a restart")
	}
	if p, _ := n.box.next("hook", late.Add(8*time.Hour)); p == nil || p.id != "a" {
		t.Errorf("in the morning it is %v", p)
	}
}
