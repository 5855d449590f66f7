package ledger

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"pointsman/internal/failover"
)

func TestNotesAreChainedAmongCommitsAndOutliveAReopen(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	mustCommit(t, s, orders(0, "a.lab.test."), entry("create", "first"))
	var notes []failover.AuditEntry
	for i := range 600 { // more than share one sync
		e := entry("reload", fmt.Sprint(i))
		e.Instance = ""
		notes = append(notes, e)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			if _, err := s.Commit(t.Context(), named(failover.InstanceName(fmt.Sprintf("i%d", i)), 0), []failover.AuditEntry{entry("create", "x")}); err != nil {
				t.Error(err)
			}
		}
	})
	if err := s.Note(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for range 2 {
		mustVerify(t, s)
		es, err := s.Audit(t.Context(), AuditFilter{})
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		for _, e := range es {
			if e.Kind != "reload" {
				continue
			}
			if e.Text != fmt.Sprint(next) || e.Instance != "" || e.Rev != 0 {
				t.Fatalf("entry %+v, want the text %d and no instance", e, next)
			}
			next++
		}
		if next != 600 || len(es) != 621 {
			t.Fatalf("%d notes of %d entries", next, len(es))
		}
		if rec := mustLoad(t, s, "orders"); rec.Rev != 1 {
			t.Fatalf("the record is at rev %d: a note changed it", rec.Rev)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, Config{Dir: dir})
	}
}

func TestANoteThatFailsPoisonsAndAClosedStoreTakesNone(t *testing.T) {
	cfg, arm := failing(memDir(t), "commit")
	s := mustOpen(t, cfg)
	arm()
	if err := s.Note(t.Context(), []failover.AuditEntry{entry("reload", "x")}); !errors.Is(err, ErrPoisoned) {
		t.Errorf("a note that was not made durable: %v", err)
	}
	if s.Poisoned() == nil {
		t.Error("the store goes on writing after a note whose outcome is unknown")
	}
	if err := s.Note(t.Context(), []failover.AuditEntry{entry("reload", "x")}); !errors.Is(err, ErrPoisoned) {
		t.Errorf("a note in a poisoned store: %v", err)
	}
	s = mustOpen(t, Config{Dir: memDir(t)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Note(t.Context(), []failover.AuditEntry{entry("reload", "x")}); !errors.Is(err, ErrClosed) {
		t.Errorf("a note in a closed store: %v", err)
	}
}
