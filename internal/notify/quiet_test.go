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
		st.to["x"].fail = func(n int) error {
			if n == 0 {
				return errNoAnswer
			}
			return nil
		}
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
