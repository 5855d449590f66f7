package failover

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAWindowComesAgain holds the arithmetic against a clock on the wall that
// is looked at minute by minute, through both changes of the clocks.
func TestAWindowComesAgain(t *testing.T) {
	zones := []string{"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		days := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 7, rapid.ID[int]).Draw(t, "days")
		w := Window{
			Cluster: "a", Location: loc,
			Start:  time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "start")) * time.Minute,
			Length: time.Duration(rapid.IntRange(1, 7*24*60).Draw(t, "length")) * time.Minute,
		}
		for _, d := range days {
			w.Days = append(w.Days, time.Weekday(d))
		}
		month := rapid.SampledFrom([]time.Month{3, 4, 10, 11, 7}).Draw(t, "month")
		now := time.Date(2026, month, rapid.IntRange(1, 31).Draw(t, "day"), 0, rapid.IntRange(0, 24*60-1).Draw(t, "minute"), 0, 0, loc)

		// A window began at every midnight + start of one of its days.
		in, end := false, time.Time{}
		for back := -1; back <= 20; back++ {
			day := now.AddDate(0, 0, -back)
			from := time.Date(day.Year(), day.Month(), day.Day(), int(w.Start/time.Hour), int(w.Start%time.Hour/time.Minute), 0, 0, loc)
			if !slices.Contains(w.Days, day.Weekday()) {
				continue
			}
			to := from.Add(w.Length)
			in = in || !now.Before(from) && now.Before(to)
			if !to.After(now) && to.After(end) {
				end = to
			}
		}
		from, to, ok := w.At(now)
		if ok != in {
			t.Fatalf("at %s in the window: %v, want %v", now, ok, in)
		}
		if ok && (now.Before(from) || !now.Before(to)) {
			t.Fatalf("%s is said to lie within %s to %s", now, from, to)
		}
		if got := w.ended(now); !got.Equal(end) {
			t.Fatalf("at %s the last one ended at %s, want %s", now, got, end)
		}
	})
}

// TestAnOutageCountsFromTheEndOfItsWindow: ride_out is not used up by what was
// announced.
func TestAnOutageCountsFromTheEndOfItsWindow(t *testing.T) {
	p := testPolicy()
	p.RideOut = 10 * time.Second
	w := armed(p)
	end := w.now.Add(5 * time.Minute).Truncate(time.Second)
	w.p.Maintenance = []Window{{Cluster: "a", From: w.now, To: end}}
	w.feed(PolicyChanged{})
	w.after(time.Minute)
	w.all("a", "down", "refused")
	w.after(end.Add(p.RideOut - time.Second).Sub(w.now))
	if w.ledger.Active != "a" || w.ledger.Op != nil {
		t.Fatal("it moved before ride_out was over, counted from the end of the window")
	}
	w.after(4 * time.Second)
	if w.ledger.Active != "b" {
		t.Fatal("it did not move once ride_out was over")
	}
}

// TestMaintenanceOfTheStandbyIsNoSilence: the active cluster died, nobody may
// go to the other one: people must hear of it.
func TestMaintenanceOfTheStandbyIsNoSilence(t *testing.T) {
	for _, c := range []ClusterName{"a", "b"} {
		p := testPolicy()
		p.RideOut = 5 * time.Second
		w := armed(p)
		w.p.Maintenance = []Window{{Cluster: c, From: w.now, To: w.now.Add(time.Hour)}}
		w.pages = nil
		w.all("a", "down", "refused")
		w.after(time.Minute)
		if w.ledger.Active != "a" {
			t.Fatalf("maintenance of %s: it moved", c)
		}
		paged := slices.ContainsFunc(w.pages, func(p Page) bool { return p.Kind == "refused" })
		if paged != (c == "b") {
			t.Errorf("maintenance of %s: pages %v", c, w.pages)
		}
	}
}

func TestBadWindowsAreNamed(t *testing.T) {
	t0 := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, w := range map[string]Window{
		"clusters.c.maintenance: there is no such cluster":                                       {Cluster: "c", From: t0, To: t0.Add(1)},
		"clusters.a.maintenance: to 2026-01-01T00:00:00Z is not after from 2026-01-01T00:00:00Z": {Cluster: "a", From: t0, To: t0},
		"clusters.a.maintenance: at 24h0m0s is outside 00:00 to 23:59":                           {Cluster: "a", Days: []time.Weekday{1}, Start: 24 * time.Hour, Length: 1},
		"clusters.a.maintenance: for 0s is outside 0 (excluded) to 7 days":                       {Cluster: "a", Days: []time.Weekday{1}},
		"clusters.a.maintenance: for 169h0m0s is outside 0 (excluded) to 7 days":                 {Cluster: "a", Days: []time.Weekday{1}, Length: 169 * time.Hour},
	} {
		p := testPolicy()
		p.Maintenance = []Window{w}
		errs := p.Validate()
		if len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%v, want %s", errs, want)
		}
	}
}

// TestAWindowBeginsOnItsOwnDay: where clocks are put forward at midnight, the
// first hour of the day is left out, and the window begins with what comes
// after it, not on the evening before.
func TestAWindowBeginsOnItsOwnDay(t *testing.T) {
	for _, c := range []struct {
		zone        string
		year        int
		month       time.Month
		day         int
		start       time.Duration
		from        string
		explanation string
	}{
		{"America/Santiago", 2026, 9, 6, 0, "2026-09-06T01:00:00-03:00", "00:00 does not exist"},
		{"America/Havana", 2026, 3, 8, 30 * time.Minute, "2026-03-08T01:30:00-04:00", "00:30 does not exist"},
		{"Africa/Cairo", 2026, 4, 24, 0, "2026-04-24T01:00:00+03:00", "00:00 does not exist"},
		{"Europe/Berlin", 2026, 3, 29, 150 * time.Minute, "2026-03-29T03:30:00+02:00", "02:30 does not exist"},
		{"America/New_York", 2026, 3, 8, 150 * time.Minute, "2026-03-08T03:30:00-04:00", "02:30 does not exist"},
		{"Europe/Berlin", 2026, 3, 30, 0, "2026-03-30T00:00:00+02:00", "an ordinary day"},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		noon := time.Date(c.year, c.month, c.day, 12, 0, 0, 0, loc)
		w := Window{Cluster: "a", Days: []time.Weekday{noon.Weekday()}, Start: c.start, Length: 13 * time.Hour, Location: loc}
		from, _, ok := w.At(noon)
		if got := from.In(loc).Format(time.RFC3339); !ok || got != c.from {
			t.Errorf("%s, %s: the window begins at %s (%v), want %s", c.zone, c.explanation, got, ok, c.from)
		}
		w.Days = []time.Weekday{(noon.Weekday() + 6) % 7}
		w.Length = 24*time.Hour - c.start - time.Minute
		if from, _, ok := w.At(noon); ok {
			t.Errorf("%s: the window of the day before holds, since %s", c.zone, from)
		}
	}
}

// TestASilenceOverTheEndOfAWindowBringsNothingBack: the clock that rides over a
// short silence of the vantages does not ride over the end of a window.
func TestASilenceOverTheEndOfAWindowBringsNothingBack(t *testing.T) {
	p := testPolicy()
	p.RideOut = 10 * time.Second
	w := armed(p)
	end := w.now.Add(5 * time.Minute).Truncate(time.Second)
	w.p.Maintenance = []Window{{Cluster: "a", From: w.now, To: end}}
	w.feed(PolicyChanged{})
	w.after(time.Minute)
	w.all("a", "down", "refused")
	w.after(end.Add(-500 * time.Millisecond).Sub(w.now))
	for _, v := range p.Vantages {
		w.gen[v.Name] = "another" // unknown, for a moment
		w.report(v.Name)
	}
	w.after(time.Second)
	for _, v := range p.Vantages {
		delete(w.gen, v.Name)
		w.report(v.Name)
	}
	w.after(end.Add(p.RideOut - time.Second).Sub(w.now))
	if w.ledger.Active != "a" || w.ledger.Op != nil {
		t.Fatalf("%s after the end of the window it is %s with %+v; ride_out is %s", w.now.Sub(end), w.ledger.Active, w.ledger.Op, p.RideOut)
	}
	w.after(4 * time.Second)
	if w.ledger.Active != "b" {
		t.Fatal("it did not move once ride_out was over")
	}
}

// TestNobodyIsPagedWhileSomebodyWorks: in every mode, whatever else refuses.
func TestNobodyIsPagedWhileSomebodyWorks(t *testing.T) {
	for _, mode := range []Mode{ModeAuto, ModePropose, ModeShadow} {
		p := testPolicy()
		p.RideOut = 5 * time.Second
		w := newWorld(p)
		w.start()
		w.settleUp()
		if mode != ModeShadow {
			w.command(Command{Do: DoArm, Mode: mode})
		}
		w.after(time.Minute)
		w.p.Maintenance = []Window{{Cluster: "a", From: w.now, To: w.now.Add(time.Hour)}}
		w.pages = nil
		w.all("a", "down", "refused")
		w.after(time.Minute)
		for _, page := range w.pages {
			t.Errorf("mode %s: paged %s: %s", mode, page.Kind, page.Text)
		}
	}
}

// TestAnEndedWindowMakesNoDomainIndependent: a domain that lost both clusters
// with its own network counts as one that did, also when a window of one of
// them has ended since.
func TestAnEndedWindowMakesNoDomainIndependent(t *testing.T) {
	p := testPolicy()
	p.RideOut = 5 * time.Second
	w := armed(p)
	end := w.now.Add(2 * time.Minute)
	w.p.Maintenance = []Window{{Cluster: "a", From: w.now, To: end}}
	w.after(time.Minute)
	w.vote("v1", "a", "down", "no answer")
	w.vote("v1", "b", "down", "no answer")
	w.report("v1")
	w.after(end.Add(time.Minute).Sub(w.now))
	w.vote("v2", "a", "down", "refused")
	w.report("v2")
	w.after(30 * time.Second)
	if w.ledger.Active != "a" {
		t.Error("it moved though one domain alone lost a without losing b")
	}
}
