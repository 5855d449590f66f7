package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// desk is a controller, a history and channels in memory.
type desk struct {
	t   *testing.T
	dir string
	log bytes.Buffer

	mu        sync.Mutex
	shift     time.Duration // of the wall clock against the time of the bubble
	follows   bool          // another one leads
	facts     func(failover.InstanceName) (Facts, bool)
	samples   []ledger.Sample
	pastErr   error
	delivered []Document
	refuses   int // deliveries
	panics    bool
	clock     func() time.Time // nil: that of the bubble and the shift
	working   int
	most      int // reports made at one time
	clocks    []ClockNow
}

func newDesk(t *testing.T) *desk { return &desk{t: t, dir: t.TempDir()} }

func (d *desk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *desk) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

func (d *desk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *desk) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.clock != nil {
		return d.clock()
	}
	return time.Now().Add(d.shift)
}

func (d *desk) Names() []failover.InstanceName { return []failover.InstanceName{"orders"} }

func (d *desk) Facts(i failover.InstanceName) (Facts, bool) {
	d.set(func() {
		d.working++
		d.most = max(d.most, d.working)
	})
	defer d.set(func() { d.working-- })
	if d.facts != nil {
		return d.facts(i)
	}
	return healthy(i, d.now()), true
}

func (d *desk) Config() (string, time.Time) { return "37e3e935a3410c5f", time.Time{} }

func (d *desk) Clocks() []ClockNow { return d.clocks }

func (d *desk) Leading() (bool, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.follows, "another one leads"
}

func (d *desk) List(_ context.Context, f ledger.HistoryFilter) ([]ledger.Sample, error) {
	var out []ledger.Sample
	for _, s := range d.samples {
		if (f.Below == 0 || s.ID < f.Below) && (f.Kind == "" || f.Kind == s.Kind) && (f.Except == "" || f.Except != s.Kind) {
			out = append(out, s)
		}
	}
	return out[max(len(out)-f.Limit, 0):], d.pastErr
}

func (d *desk) Stats() ledger.HistoryStats { return ledger.HistoryStats{} }

func (d *desk) Deliver(_ context.Context, _ []string, doc Document) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delivered = append(d.delivered, doc)
	if d.panics {
		panic("a fault in a library")
	}
	if d.refuses > 0 {
		d.refuses--
		return errors.New("the outbox is full")
	}
	return nil
}

func daily(t *testing.T, zoneName string) Config {
	return report(t, "daily", "30 2 * * *", zoneName, "24h")
}

func report(t *testing.T, name, schedule, zoneName, window string) Config {
	t.Helper()
	s, err := ParseSchedule(schedule, zone(t, zoneName), 0, name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWindow(window)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Name: name, Schedule: s, Window: w, Formats: Formats, Keep: 100, Channels: []string{"ops"}}
}

// run runs a service for a while of the bubble.
func (d *desk) run(lasts time.Duration, reports ...Config) {
	d.runWith(func(*Service) { time.Sleep(lasts) }, reports...)
}

func (d *desk) service(reports ...Config) *Service {
	return New(Setup{
		Dir: d.dir, Controller: "ctl-1", Source: d, Past: d, Deliver: d, Now: d.now,
		Log: slog.New(slog.NewTextHandler(d, nil)),
	}, reports)
}

func (d *desk) runWith(meanwhile func(*Service), reports ...Config) {
	v := d.service(reports...)
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	meanwhile(v)
	cancel()
	if err := <-done; err != nil {
		d.t.Error(err)
	}
}

// kept lists what is kept of a name, oldest first: when it was due, and with
// how many that were missed where it was late.
func (d *desk) kept(name string) []string {
	ls, err := files{d.dir}.list(name)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, l := range slices.Backward(ls) {
		line := l.Head.Due.Format("01-02T15:04")
		if l.Head.Late != nil {
			line += fmt.Sprintf(" late %d", l.Head.Late.Missed)
		}
		if l.Trouble != "" {
			line = l.ID + ": " + l.Trouble
		}
		out = append(out, line)
	}
	return out
}

func (d *desk) want(name string, want ...string) {
	d.t.Helper()
	if got := d.kept(name); !slices.Equal(got, want) {
		d.t.Errorf("kept %q, want %q", got, want)
	}
}

// until sleeps to a moment of the bubble, which begins in the year 2000.
func until(moment string) { time.Sleep(time.Until(at(moment))) }

func TestReportsThroughBothChangesOfTheClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-03-27T12:00:00Z")
		// 02:30 does not exist on the 29th of March: it is 01:30 UTC, 03:30 there.
		d.run(3*24*time.Hour, daily(t, "Europe/Berlin"))
		d.want("daily", "03-28T01:30", "03-29T01:30", "03-30T00:30")
		until("2026-10-24T12:00:00Z")
		// It comes twice on the 25th of October, and once is enough.
		d.dir = t.TempDir()
		d.run(2*24*time.Hour, daily(t, "Europe/Berlin"))
		d.want("daily", "10-25T00:30", "10-26T01:30")
	})
}

func TestReportsOnALeapDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2028-02-28T12:00:00Z")
		d.run(2*24*time.Hour, report(t, "leap", "0 0 29 2 *", "UTC", "previous day"), report(t, "monthly", "@monthly", "UTC", "previous month"))
		d.want("leap", "02-29T00:00")
		d.want("monthly", "03-01T00:00")
		r, err := files{d.dir}.report("monthly/2028-03-01T000000Z")
		if err != nil || r.To.Sub(r.From) != 29*24*time.Hour {
			t.Errorf("%v: %s to %s", err, r.From, r.To)
		}
	})
}

// TestAMissedReportIsMadeUpOnce, tells why, and tells of all that was missed.
func TestAMissedReportIsMadeUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		c := report(t, "daily", "0 8 * * *", "UTC", "24h")
		d.run(24*time.Hour, c)
		d.want("daily", "11-21T08:00")
		time.Sleep(3 * 24 * time.Hour) // nobody runs
		d.run(time.Hour, c)
		d.want("daily", "11-21T08:00", "11-24T08:00 late 3")
		d.run(time.Hour, c) // another restart makes up nothing
		d.want("daily", "11-21T08:00", "11-24T08:00 late 3")
		r, err := files{d.dir}.report("daily/2026-11-24T080000Z")
		if err != nil {
			t.Fatal(err)
		}
		if r.Late.Why != "the controller did not run then" || !r.From.Equal(at("2026-11-21T08:00:00Z")) || !r.To.Equal(at("2026-11-24T08:00:00Z")) {
			t.Errorf("late %+v, %s to %s", r.Late, r.From, r.To)
		}
		if !strings.Contains(r.Markdown(), "late, made up: it was due 2026-11-24 08:00:00 UTC, the controller did not run then; it stands for 3 runs") {
			t.Error(r.Markdown()[:400])
		}
		d.run(24*time.Hour, c)
		d.want("daily", "11-21T08:00", "11-24T08:00 late 3", "11-25T08:00")
	})
}

// TestOnlyTheLeaderMakesReports, and makes up what came while nobody led.
func TestOnlyTheLeaderMakesReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.follows = true
		until("2026-11-20T12:00:00Z")
		d.runWith(func(*Service) {
			time.Sleep(30 * time.Hour)
			d.want("daily")
			d.set(func() { d.follows = false })
			time.Sleep(2 * time.Minute)
			d.want("daily", "11-21T08:00 late 1")
		}, report(t, "daily", "0 8 * * *", "UTC", "24h"))
		if r, err := (files{d.dir}).report("daily/2026-11-21T080000Z"); err != nil || !strings.Contains(r.Late.Why, "did not lead") {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

// TestJumpsOfTheClock: forward is a time in which it did not run; back by less
// than a day makes nothing twice; back by more begins anew.
func TestJumpsOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		jump := func(by time.Duration) {
			d.set(func() { d.shift += by })
			time.Sleep(2 * time.Minute)
		}
		d.runWith(func(*Service) {
			jump(72 * time.Hour)
			d.want("daily", "11-23T08:00 late 3")
			jump(-6 * time.Hour) // before 08:00 of the same day
			time.Sleep(3 * time.Hour)
			d.want("daily", "11-23T08:00 late 3")
			jump(-10 * 24 * time.Hour)
			if !strings.Contains(d.said(), "the clock went back") {
				t.Error(d.said())
			}
			time.Sleep(24 * time.Hour)
			d.want("daily", "11-14T08:00", "11-23T08:00 late 3")
		}, report(t, "daily", "0 8 * * *", "UTC", "24h"))
	})
}

// TestAReloadChangesTheCalendar: what is new or has another one has missed
// nothing, what goes is forgotten.
func TestAReloadChangesTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		a, b := report(t, "a", "0 8 * * *", "UTC", "24h"), report(t, "b", "0 9 * * *", "UTC", "24h")
		d.runWith(func(v *Service) {
			time.Sleep(24 * time.Hour)
			later := report(t, "a", "0 7 * * *", "UTC", "24h")
			v.Set([]Config{later})
			time.Sleep(24 * time.Hour)
			v.Set([]Config{a, b})
			time.Sleep(24 * time.Hour)
		}, a, b)
		d.want("a", "11-21T08:00", "11-22T07:00", "11-23T08:00")
		d.want("b", "11-21T09:00", "11-23T09:00")
		st, err := loadState(d.dir)
		if err != nil || len(st.Reports) != 2 {
			t.Errorf("%v, %+v", err, st)
		}
	})
}

// TestAReportThatFails is tried three times, then given up, and the next one comes.
func TestAReportThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		c := report(t, "daily", "0 8 * * *", "UTC", "24h")
		d.refuses = 2
		d.run(24*time.Hour, c) // handed over the third time
		if len(d.delivered) != 3 || d.delivered[0].ID != d.delivered[2].ID || d.delivered[2].ID != "daily/2026-11-21T080000Z" {
			t.Errorf("%d deliveries", len(d.delivered))
		}
		d.refuses = 3
		d.run(24*time.Hour, c)
		if st, _ := loadState(d.dir); len(d.delivered) != 6 || st.Reports["daily"].Error != "hand the report over: the outbox is full" {
			t.Errorf("%d deliveries, %+v", len(d.delivered), st)
		}
		d.run(24*time.Hour, c)
		if st, _ := loadState(d.dir); len(d.delivered) != 7 || st.Reports["daily"].Error != "" {
			t.Errorf("%d deliveries, %+v", len(d.delivered), st)
		}
		d.want("daily", "11-21T08:00", "11-22T08:00", "11-23T08:00")
		doc := d.delivered[6]
		if doc.Title == "" || doc.Summary == "" || doc.Markdown == "" || len(doc.JSON) == 0 || len(doc.PNGs) == 0 || !strings.Contains(doc.HTML, `src="cid:availability.png"`) {
			t.Errorf("%+v", doc)
		}
	})
}

func TestRunsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		d.refuses = 1
		d.runWith(func(v *Service) {
			for i, want := range []Runs{{Failed: 1}, {Failed: 1, Made: 1, Last: v.s.Now()}} {
				if _, err := v.Make(t.Context(), Ask{Deliver: true}); (err != nil) != (i == 0) {
					t.Error(err)
				}
				if got := v.Runs()["monthly"]; got != want {
					t.Errorf("run %d: %+v, want %+v", i, got, want)
				}
			}
		}, report(t, "monthly", "@monthly", "UTC", "previous month"))
	})
}

// TestAFaultOfOursCostsTheReport and not the process.
func TestAFaultOfOursCostsTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		d.facts = func(failover.InstanceName) (Facts, bool) { panic("a fault") }
		d.runWith(func(v *Service) {
			if _, err := v.Make(t.Context(), Ask{Name: "daily"}); err == nil || err.Error() != "a fault of this program: a fault" {
				t.Error(err)
			}
			time.Sleep(24 * time.Hour)
			d.want("daily")
			d.set(func() { d.facts = nil })
			time.Sleep(24 * time.Hour)
			d.want("daily", "11-22T08:00")
		}, report(t, "daily", "0 8 * * *", "UTC", "24h"))
	})
}

// TestOneReportAtATime, whoever asks; who waits too long is told.
func TestOneReportAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		d.facts = func(i failover.InstanceName) (Facts, bool) {
			time.Sleep(time.Minute)
			return healthy(i, d.now()), true
		}
		d.runWith(func(v *Service) {
			until("2026-11-21T07:59:30Z")
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if _, err := v.Make(t.Context(), Ask{Name: "a", By: "alice"}); err != nil {
						t.Error(err)
					}
				})
			}
			time.Sleep(time.Second)
			short, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := v.Make(short, Ask{}); !errors.Is(err, ErrBusy) {
				t.Errorf("got %v", err)
			}
			wg.Wait()
			time.Sleep(time.Hour)
		}, report(t, "a", "0 8 * * *", "UTC", "24h"), report(t, "b", "0 8 * * *", "UTC", "24h"))
		if d.most != 1 {
			t.Errorf("%d at one time", d.most)
		}
		if n := len(d.kept("a")); n != 4 {
			t.Errorf("%d of a: %q", n, d.kept("a"))
		}
		if n := len(d.kept("b")); n != 1 {
			t.Errorf("%d of b", n)
		}
	})
}

// TestADamagedStateMakesNothingUp: it is put aside, and the log says so.
func TestADamagedStateMakesNothingUp(t *testing.T) {
	for _, text := range []string{"", "{", `{"version": 7}`, `{"version": 1, "reports": 3}`, strings.Repeat("x", 1<<20+1)} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			until("2026-11-20T12:00:00Z")
			c := report(t, "daily", "0 8 * * *", "UTC", "24h")
			if err := os.WriteFile(filepath.Join(d.dir, stateFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			d.run(24*time.Hour, c)
			d.want("daily", "11-21T08:00")
			if !strings.Contains(d.said(), "reports.json cannot be read and is now reports.json.damaged") {
				t.Error(d.said())
			}
			if _, err := os.Stat(filepath.Join(d.dir, stateFile+".damaged")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestADiskThatRefuses costs reports and what is remembered, and nothing else.
func TestADiskThatRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		d.dir = filepath.Join(d.dir, "file", "reports")
		if err := os.WriteFile(filepath.Dir(d.dir), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d.runWith(func(v *Service) {
			time.Sleep(24 * time.Hour)
			if _, err := v.Make(t.Context(), Ask{}); err == nil || !strings.HasPrefix(err.Error(), "keep the report: ") {
				t.Error(err)
			}
		}, report(t, "daily", "0 8 * * *", "UTC", "24h"))
		if s := d.said(); !strings.Contains(s, "when reports ran is not remembered over a restart") || !strings.Contains(s, "a report could not be made") {
			t.Error(s)
		}
	})
}

// TestAskingForReports: which one is meant, other windows, what is kept.
func TestAskingForReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		c := report(t, "monthly", "@monthly", "UTC", "previous month")
		c.Formats = []Format{Markdown}
		d.runWith(func(v *Service) {
			make := func(a Ask) *Report {
				t.Helper()
				r, err := v.Make(t.Context(), a)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if n, ok := v.Runs()["monthly"]; !ok || n != (Runs{}) {
				t.Errorf("before any: %+v %v", n, ok)
			}
			r := make(Ask{By: "alice"}) // the only one there is
			if n := v.Runs()["monthly"]; n.Made != 1 || n.Failed != 0 || !n.Last.Equal(v.s.Now()) {
				t.Errorf("counted %+v", n)
			}
			if r.ID != "monthly/2026-11-20T120000Z" || !r.From.Equal(at("2026-10-01T00:00:00Z")) || r.By != "alice" || !r.Due.IsZero() {
				t.Errorf("%+v", r)
			}
			r = make(Ask{SoFar: true})
			if r.ID != "monthly/2026-11-20T120000Z-2" || !r.From.Equal(at("2026-11-01T00:00:00Z")) || !r.To.Equal(r.MadeAt) {
				t.Errorf("%s: %s to %s", r.ID, r.From, r.To)
			}
			w, _ := ParseWindow("7d")
			r = make(Ask{Window: &w})
			if r.To.Sub(r.From) != 7*24*time.Hour || r.Changes.ID != "monthly/2026-11-20T120000Z-2" {
				t.Errorf("%s to %s, %+v", r.From, r.To, r.Changes)
			}
			if len(d.delivered) != 0 {
				t.Error("delivered unasked")
			}
			if make(Ask{Deliver: true}); len(d.delivered) != 1 {
				t.Error("not delivered")
			}
			if make(Ask{Name: ByHand}); len(d.kept(ByHand)) != 1 {
				t.Error("not kept by hand")
			}
			if _, err := v.Make(t.Context(), Ask{Name: "montly"}); !errors.Is(err, ErrNoName) {
				t.Error(err)
			}
			// A form that was not kept is made of the JSON.
			for _, f := range []Format{HTML, Markdown, JSON, Text} {
				if got, data, err := v.Show("monthly/2026-11-20T120000Z", f); err != nil || got.ID != "monthly/2026-11-20T120000Z" || len(data) == 0 {
					t.Errorf("%s: %v", f, err)
				}
			}
			if _, err := os.Stat(filepath.Join(d.dir, "monthly", "2026-11-20T120000Z.html")); err == nil {
				t.Error("HTML is kept unasked")
			}
			if got, _, err := v.Show("", Text); err != nil || got.Name != ByHand && got.Name != "monthly" {
				t.Errorf("the newest: %v", err)
			}
			for _, id := range []string{"../../etc/passwd", "monthly/../x", "monthly/2026", "x/2026-11-20T120000Z", "monthly/2026-11-20T120001Z"} {
				if _, _, err := v.Show(id, Text); !errors.Is(err, ErrNoReport) {
					t.Errorf("%s: %v", id, err)
				}
			}
		}, c)
	})
}

// TestADamagedHistoryIsSaid and the rest of the report is there.
func TestADamagedHistoryIsSaid(t *testing.T) {
	d := newDesk(t)
	v := New(Setup{Dir: d.dir, Controller: "ctl-1", Source: d, Past: d, Log: slog.New(slog.NewTextHandler(d, nil))}, nil)
	d.pastErr = errors.New("database disk image is malformed")
	r, err := v.Make(t.Context(), Ask{})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Instances[0].Clusters[0]; c.Window.Up != 0 || c.Window.Gap != 24*time.Hour || r.Instances[0].Ready != ByItself {
		t.Errorf("%+v", r.Instances[0])
	}
	if text := r.Markdown(); !strings.Contains(text, "what the history lacks: it cannot be read: database disk image is malformed") {
		t.Error(text)
	}
	v = New(Setup{Dir: d.dir, Controller: "ctl-1", Source: d, Log: slog.New(slog.NewTextHandler(d, nil))}, nil)
	if r, err = v.Make(t.Context(), Ask{}); err != nil || !strings.Contains(r.Markdown(), "there is no history, see the log of the controller") {
		t.Error(err)
	}
}
