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
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.command(Command{Do: DoArm, Mode: ModeAuto})
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
		w := newWorld(p)
		w.start()
		w.settleUp()
		w.command(Command{Do: DoArm, Mode: ModeAuto})
		w.after(time.Minute)
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
