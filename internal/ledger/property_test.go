package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// world drives a ledger and, beside it, plain maps that say what must be in it.
type world struct {
	t       *testing.T
	dir     string
	n       int // folders used so far
	s       *Store
	fail    string // step that fails next
	records map[failover.InstanceName]failover.Record
	serials map[failover.RecordName]uint32
	audit   []failover.AuditEntry
	term    uint64
	hooked  int
	looks   int
	commits int
	seen    map[string]int // how often each kind of thing happened
}

func (w *world) open(t *rapid.T) {
	s, err := Open(context.Background(), Config{Dir: w.dir, Owner: "ctl-1", fault: func(op string) error {
		if op == w.fail {
			return errDisk
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.OnCommit(func(Receipt) { w.hooked++ })
	w.s = s
	for _, r := range w.records {
		w.term = max(w.term, r.Term)
	}
	term, err := s.Term()
	if err != nil || term != w.term+1 {
		t.Fatalf("term %d after %d: %v", term, w.term, err)
	}
	w.term = term
}

func (w *world) close(t *rapid.T) {
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
}

// crash goes on with what a kill leaves: the files as they are.
func (w *world) crash(t *rapid.T) {
	w.n++
	next := filepath.Join(filepath.Dir(w.dir), fmt.Sprint(w.n))
	image(w.t, w.dir, next)
	w.close(t)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.dir = next
	w.open(t)
}

// draw makes a commit: a record at its right or a wrong rev, and entries.
func (w *world) draw(t *rapid.T) (failover.Record, []failover.AuditEntry) {
	id := rapid.SampledFrom([]failover.InstanceName{"orders", "billing", "search"}).Draw(t, "instance")
	r := w.records[id].Clone()
	r.Instance = id
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		r.Rev = rapid.Uint64Range(0, 6).Draw(t, "rev")
	}
	r.Epoch += rapid.Uint64Range(0, 1).Draw(t, "epoch")
	if rapid.IntRange(0, 9).Draw(t, "lift") == 0 {
		r.Term += 3
	}
	r.Names = nil
	for _, name := range []failover.RecordName{"x.lab.test.", "y.lab.test.", "z.other.test."} {
		if rapid.Bool().Draw(t, "has "+string(name)) {
			r.Names = append(r.Names, failover.NameRecord{
				Name: name, Zone: name[2:], Embedded: rapid.Bool().Draw(t, "embedded"),
				Value: failover.Target(rapid.SampledFrom([]string{"a.", "b."}).Draw(t, "value")),
				TTL:   rapid.SampledFrom([]uint32{5, 30}).Draw(t, "ttl"),
			})
		}
	}
	var entries []failover.AuditEntry
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		e := entry(rapid.SampledFrom([]string{"step", "stop"}).Draw(t, "kind"), rapid.StringN(0, 20, 60).Draw(t, "text"))
		e.Instance = id
		entries = append(entries, e)
	}
	return r, entries
}

// accept is the oracle's idea of a commit.
func (w *world) accept(r failover.Record, entries []failover.AuditEntry) map[failover.RecordName]bool {
	raised := map[failover.RecordName]bool{}
	before := w.records[r.Instance]
	differ := func(a, b *failover.Record) {
		for _, n := range a.Names {
			other := b.Name(n.Name)
			if n.Embedded && (other == nil || !other.Embedded || other.Value != n.Value || other.TTL != n.TTL || other.Mark != n.Mark) {
				raised[n.Zone] = true
			}
		}
	}
	differ(&before, &r)
	differ(&r, &before)
	r.Rev++
	r.Version = failover.RecordVersion
	w.records[r.Instance] = r
	w.audit = append(w.audit, entries...)
	return raised
}

func (w *world) commit(t *rapid.T) {
	r, entries := w.draw(t)
	at := w.records[r.Instance].Rev
	rc, err := w.s.Commit(context.Background(), r, entries)
	if r.Rev != at {
		w.seen["conflict"]++
		if !errors.Is(err, ErrConflict) {
			t.Fatalf("rev %d, stored %d: %v", r.Rev, at, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	w.seen["commit"]++
	w.commits++
	raised := w.accept(r, entries)
	for zone := range raised {
		if got := rc.Serials[zone]; w.serials[zone] != 0 && !later(w.serials[zone], got) || got == 0 {
			t.Fatalf("serial of %s went from %d to %d", zone, w.serials[zone], got)
		}
	}
	if len(raised) != len(rc.Serials) {
		t.Fatalf("raised %v, want %v", rc.Serials, raised)
	}
	maps.Copy(w.serials, rc.Serials)
}

// fault lets one step of a commit fail, goes on reading, and restarts.
func (w *world) fault(t *rapid.T) {
	r, entries := w.draw(t)
	if r.Rev != w.records[r.Instance].Rev {
		return
	}
	w.seen["fault"]++
	w.fail = rapid.SampledFrom([]string{"begin", "write", "commit", "committed"}).Draw(t, "fail")
	if _, err := w.s.Commit(context.Background(), r, entries); !errors.Is(err, ErrPoisoned) {
		t.Fatal(err)
	}
	reached := w.fail == "committed"
	w.fail = ""
	if _, err := w.s.Commit(context.Background(), r, entries); !errors.Is(err, ErrPoisoned) {
		t.Fatal("the poison wore off:", err)
	}
	w.check(t)
	if reached {
		for zone := range w.accept(r, entries) {
			delete(w.serials, zone) // it rose by an amount that nobody was told
		}
	}
	w.crash(t)
}

// check compares everything that can be read.
func (w *world) check(t *rapid.T) {
	all, err := w.s.All(context.Background())
	if err != nil || len(all) != len(w.records) {
		t.Fatalf("%d records, want %d: %v", len(all), len(w.records), err)
	}
	for _, got := range all {
		want := w.records[got.Instance]
		want.AuditHead = got.AuditHead // the chain is checked as a whole
		g, _ := json.Marshal(got)
		x, _ := json.Marshal(want)
		if string(g) != string(x) {
			t.Fatalf("record\n%s\nwant\n%s", g, x)
		}
	}
	if !slices.IsSortedFunc(all, byInstance) {
		t.Fatal("records are out of order")
	}
	for zone, want := range w.serials {
		if got, _ := w.s.Serial(context.Background(), zone); got != want {
			t.Fatalf("serial of %s is %d, want %d", zone, got, want)
		}
	}
	if w.looks++; w.looks%5 != 0 {
		return // the audit is long to read
	}
	entries, err := w.s.Audit(context.Background(), AuditFilter{})
	if err != nil || len(entries) != len(w.audit) {
		t.Fatalf("%d entries, want %d: %v", len(entries), len(w.audit), err)
	}
	for i, e := range entries {
		if e.AuditEntry != w.audit[i] {
			t.Fatalf("entry %d is %+v, want %+v", i, e.AuditEntry, w.audit[i])
		}
	}
	if err := w.s.VerifyChain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if w.hooked != w.commits {
		t.Fatalf("%d hook calls for %d commits", w.hooked, w.commits)
	}
}

func TestRandomHistoriesMatchPlainMaps(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{
			t: t, dir: filepath.Join(memDir(t), "0"), seen: seen,
			records: map[failover.InstanceName]failover.Record{}, serials: map[failover.RecordName]uint32{},
		}
		w.open(rt)
		defer func() { _ = w.s.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"commit": w.commit, "commit more": w.commit, "commit most": w.commit,
			"reopen": func(t *rapid.T) { w.seen["reopen"]++; w.close(t); w.open(t) },
			"crash":  func(t *rapid.T) { w.seen["crash"]++; w.crash(t) },
			"fault":  w.fault,
			"":       w.check,
		})
	})
	for _, kind := range []string{"commit", "conflict", "reopen", "crash", "fault"} {
		if seen[kind] == 0 {
			t.Errorf("no %s happened: the histories show nothing of it", kind)
		}
	}
}
