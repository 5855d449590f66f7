package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// A report that could not be handed over is made again, and what changed is
// still told against the one before it, never against its own first try.
func TestAReportMadeAgainIsNotComparedWithItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		c := report(t, "daily", "0 8 * * *", "UTC", "24h")
		d.run(24*time.Hour, c)
		d.refuses = 2
		d.facts = func(i failover.InstanceName) (Facts, bool) {
			f := healthy(i, d.now())
			f.View.Active = "b"
			return f, true
		}
		d.run(24*time.Hour, c)
		for _, doc := range d.delivered[1:] {
			var r Report
			if err := json.Unmarshal(doc.JSON, &r); err != nil {
				t.Fatal(err)
			}
			if r.Changes.ID != "daily/2026-11-21T080000Z" || !slices.Contains(r.Changes.Lines, "orders: active b, was a") {
				t.Errorf("%s is compared with %s: %q", r.ID, r.Changes.ID, r.Changes.Lines)
			}
		}
		if len(d.delivered) != 4 {
			t.Errorf("%d deliveries", len(d.delivered))
		}
	})
}

// A fault in what comes after a report was gathered, such as in a library that
// draws or delivers, is a try like any other: three, and it is given up.
func TestAFaultWhileAReportIsHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		until("2026-11-20T12:00:00Z")
		d.panics = true
		d.runWith(func(v *Service) {
			time.Sleep(24 * time.Hour)
			if _, err := v.Make(t.Context(), Ask{Name: "daily", Deliver: true}); err == nil || !strings.Contains(err.Error(), "a fault of this program") {
				t.Errorf("by hand: got %v", err)
			}
		}, report(t, "daily", "0 8 * * *", "UTC", "24h"))
		if n := len(d.delivered); n != tries+1 {
			t.Errorf("%d tries, %d and one by hand are wanted", n, tries)
		}
		if st, _ := loadState(d.dir); !strings.Contains(st.Reports["daily"].Error, "a fault of this program") {
			t.Errorf("%+v", st)
		}
	})
}

// Those who ask within one second get a report each.
func TestReportsOfOneSecondAreAllKept(t *testing.T) {
	d := newDesk(t)
	v := d.service()
	const many = 12
	ids := make([]string, many)
	var wg sync.WaitGroup
	begin := time.Now()
	d.set(func() { d.clock = func() time.Time { return begin } })
	for i := range many {
		wg.Go(func() {
			r, err := v.Make(t.Context(), Ask{})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.ID
		})
	}
	wg.Wait()
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != many {
		t.Errorf("%d asked, %d IDs", many, n)
	}
	for _, l := range d.kept(ByHand) {
		if strings.Contains(l, ": ") {
			t.Error(l)
		}
	}
	if n := len(d.kept(ByHand)); n != many {
		t.Errorf("%d asked, %d are kept", many, n)
	}
}

// What a process that was killed left behind goes with the next report of the
// name; what others put there stays.
func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	f := files{t.TempDir()}
	dir := filepath.Join(f.dir, "daily")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left := []string{
		"2026-11-01T080000Z.html", "2026-11-01T080000Z.md", // killed before the JSON, which comes last
		"2026-11-02T080000Z.json.tmp", "2026-11-02T080000Z.html", // killed while it was written
		"2026-11-03T080000Z-2.md.tmp",
	}
	others := []string{"notes.txt", "2026-11-01.html", "x.tmp"}
	for _, name := range slices.Concat(left, others) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	forms := map[Format][]byte{JSON: []byte("{}"), HTML: []byte("page")}
	if err := f.write("daily/2026-11-04T080000Z", forms, 3); err != nil {
		t.Fatal(err)
	}
	want := append(others, "2026-11-04T080000Z.html", "2026-11-04T080000Z.json")
	slices.Sort(want)
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A report that could not be written whole, as on a full disk, is not in the
// list, and the error names the file.
func TestAReportThatIsNotWholeIsNotListed(t *testing.T) {
	for _, stands := range []string{"2026-11-04T080000Z.html", "2026-11-04T080000Z.md"} {
		f := files{t.TempDir()}
		// Nothing can be put in the place of a folder that holds something.
		if err := os.MkdirAll(filepath.Join(f.dir, "daily", stands, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		forms := map[Format][]byte{JSON: []byte("{}"), HTML: []byte("page"), Markdown: []byte("text")}
		if err := f.write("daily/2026-11-04T080000Z", forms, 3); err == nil || !strings.Contains(err.Error(), stands) {
			t.Errorf("got %v", err)
		}
		if ls, err := f.list("daily"); err != nil || len(ls) != 0 {
			t.Errorf("%v, %v", ls, err)
		}
		if left, _ := filepath.Glob(filepath.Join(f.dir, "daily", "*.tmp")); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}
