package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

func TestALedgerOfTheFirstSchemaIsTakenOver(t *testing.T) {
	dir := memDir(t)
	old, err := os.ReadFile("testdata/schema-1.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ledgerFile), old, 0o600); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Unix(1_600_000_000, 0) } // the clock was set back
	s := mustOpen(t, Config{Dir: dir, now: now})
	if err := s.Poisoned(); err != nil {
		t.Fatal(err)
	}
	r := mustLoad(t, s, "orders")
	if r.Names[0].Value != "b.lab.test." || r.Rev != 2 {
		t.Fatalf("read %+v", r)
	}
	if n, _ := s.Serial(t.Context(), "lab.test."); n != 1_700_000_001 {
		t.Fatalf("serial %d", n)
	}
	if _, err := s.Changes(t.Context(), "lab.test.", 1_700_000_000); !errors.Is(err, ErrCut) {
		t.Fatalf("what the old ledger did not note is known: %v", err)
	}
	n, err := s.Stamp(t.Context(), "lab.test.", "static")
	if err != nil || n != 1_700_000_002 {
		t.Fatalf("stamped %d, %v", n, err)
	}
	r.Names[0].Value = "a.lab.test."
	mustCommit(t, s, r)
	if err := errors.Join(s.VerifyChain(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir, now: now})
	if cs, err := s.Changes(t.Context(), "lab.test.", n); err != nil || len(cs) != 1 || cs[0].Was.Value != "b.lab.test." || cs[0].Is.Value != "a.lab.test." {
		t.Fatalf("changes %+v, %v", cs, err)
	}
}

func TestAStampRaisesTheSerialWhenTheStaticPartChanged(t *testing.T) {
	dir := memDir(t)
	now := time.Unix(1_700_000_000, 0)
	cfg := Config{Dir: dir, now: func() time.Time { return now }}
	s := mustOpen(t, cfg)
	stamp := func(what, fingerprint string, want uint32) {
		t.Helper()
		if n, err := s.Stamp(t.Context(), "lab.test.", fingerprint); err != nil || n != want {
			t.Fatalf("%s: %d, %v, want %d", what, n, err, want)
		}
		if n, _ := s.Serial(t.Context(), "lab.test."); n != want {
			t.Fatalf("%s: serial %d, want %d", what, n, want)
		}
	}
	stamp("the first", "one", 1_700_000_000)
	stamp("the same", "one", 1_700_000_000)
	first := mustCommit(t, s, orders(0, "a.lab.test."))
	if cs, err := s.Changes(t.Context(), "lab.test.", 1_700_000_000); err != nil || len(cs) != 1 || cs[0].After != 1_700_000_001 {
		t.Fatalf("changes %+v, %v", cs, err)
	}
	stamp("the same after a commit", "one", 1_700_000_001)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	s = mustOpen(t, cfg)
	stamp("the same after a restart", "one", 1_700_000_001)
	if _, err := s.Changes(t.Context(), "lab.test.", 1_700_000_000); err != nil {
		t.Fatalf("the journal did not outlive the restart: %v", err)
	}
	stamp("another", "two", 1_700_000_002)
	for _, from := range []uint32{1_700_000_000, 1_700_000_001} {
		if _, err := s.Changes(t.Context(), "lab.test.", from); !errors.Is(err, ErrCut) {
			t.Errorf("the chain from %d goes through the change of the static part: %v", from, err)
		}
	}
	// A second record that claims the name: the records do not say any more
	// what the zone shows.
	other := orders(0, "b.lab.test.")
	other.Instance = "others"
	mustCommit(t, s, other)
	if _, err := s.Changes(t.Context(), "lab.test.", 1_700_000_002); !errors.Is(err, ErrCut) {
		t.Errorf("a disputed name stands in the journal: %v", err)
	}
	stamp("disputed", "two", 1_700_000_004)
	gone := first.Record
	gone.Names = gone.Names[1:]
	mustCommit(t, s, gone)
	stamp("disputed no more", "two", 1_700_000_005)
}

func TestAStampOnADeadDiskSaysSoAndRaisesNothing(t *testing.T) {
	boom := errors.New("no space")
	var fail bool
	s := mustOpen(t, Config{Dir: memDir(t), fault: func(op string) error {
		if fail && op == "commit" {
			return boom
		}
		return nil
	}})
	first, err := s.Stamp(t.Context(), "lab.test.", "one")
	if err != nil {
		t.Fatal(err)
	}
	fail = true
	for range 2 {
		if n, err := s.Stamp(t.Context(), "lab.test.", "two"); !errors.Is(err, ErrPoisoned) || n != first {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if n, err := s.Stamp(t.Context(), "lab.test.", "one"); err != nil || n != first {
		t.Errorf("what needs no writing fails: %d, %v", n, err)
	}
}

// TestTheJournalLeadsFromEverySerialToTheZoneAsItIs is the property that
// incremental transfers rest on: whoever applies the changes from any serial
// that is still known to the zone as it was then has the zone as it is now,
// after any commits, in batches or alone, stamps and restarts.
func TestTheJournalLeadsFromEverySerialToTheZoneAsItIs(t *testing.T) {
	names := []failover.RecordName{"a.lab.test.", "b.lab.test.", "c.lab.test.", "d.other.test."}
	rapid.Check(t, func(rt *rapid.T) {
		dir := memDir(t)
		clock := time.Unix(1_700_000_000, 0)
		rows := rapid.IntRange(1, 12).Draw(rt, "rows")
		cfg := Config{Dir: dir, Owner: "ctl-1", journalRows: rows, now: func() time.Time { return clock }}
		s, err := Open(context.Background(), cfg)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		type zoneAt map[failover.RecordName]Showing
		past := map[failover.RecordName]map[uint32]zoneAt{"lab.test.": {}, "other.test.": {}}
		lastCut := map[failover.RecordName]uint32{}
		now := func(zone failover.RecordName) zoneAt {
			out := zoneAt{}
			all, _ := s.All(context.Background())
			for _, r := range all {
				for _, n := range r.Shown() {
					if n.Zone == zone {
						out[n.Name] = Showing{Value: n.Value, TTL: n.TTL}
					}
				}
			}
			return out
		}
		note := func() {
			for zone, at := range past {
				if n, _ := s.Serial(context.Background(), zone); n != 0 {
					was, known := at[n]
					if is := now(zone); known && !maps.Equal(was, is) {
						rt.Fatalf("%s at %d is %v and was %v", zone, n, is, was)
					} else if !known {
						at[n] = is
					}
				}
			}
		}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				clock = clock.Add(time.Duration(rapid.IntRange(-100, 100).Draw(rt, "clock")) * time.Second)
				if s, err = Open(context.Background(), cfg); err != nil {
					rt.Fatal(err)
				}
			case 1:
				zone := rapid.SampledFrom([]failover.RecordName{"lab.test.", "other.test."}).Draw(rt, "zone")
				before, _ := s.Serial(context.Background(), zone)
				n, err := s.Stamp(context.Background(), zone, fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "static")))
				if err != nil {
					rt.Fatal(err)
				}
				if n != before {
					lastCut[zone] = n
				}
			default:
				i := rapid.IntRange(0, 2).Draw(rt, "instance")
				id := failover.InstanceName(fmt.Sprint("i", i))
				r, ok, err := s.Load(context.Background(), id)
				if err != nil {
					rt.Fatal(err)
				}
				if !ok {
					r = named(id, 0)
				}
				r.Names = nil
				for k := 0; k < 2; k++ {
					name := names[(i+k)%len(names)] // neighbours dispute a name
					if k == 1 && !rapid.Bool().Draw(rt, "second") {
						continue
					}
					if rapid.IntRange(0, 4).Draw(rt, "there") == 0 {
						continue
					}
					zone := failover.RecordName("lab.test.")
					if name == "d.other.test." {
						zone = "other.test."
					}
					r.Names = append(r.Names, failover.NameRecord{
						Name: name, Provider: "embedded", Embedded: true, Zone: zone,
						Value: rapid.SampledFrom([]failover.Target{"x.", "y.", "z."}).Draw(rt, "value"), TTL: uint32(rapid.IntRange(1, 2).Draw(rt, "ttl")),
					})
				}
				if _, err := s.Commit(context.Background(), r, nil); err != nil {
					rt.Fatal(err)
				}
			}
			disputed := false
			s.mu.RLock()
			for _, by := range s.claims {
				disputed = disputed || len(by) > 1
			}
			s.mu.RUnlock()
			if !disputed {
				note()
			} else { // what a disputed name shows is not for the records to say
				past["lab.test."], past["other.test."] = map[uint32]zoneAt{}, map[uint32]zoneAt{}
			}
			for zone, at := range past {
				serial, _ := s.Serial(context.Background(), zone)
				for from, was := range at {
					cs, err := s.Changes(context.Background(), zone, from)
					if errors.Is(err, ErrCut) {
						continue
					}
					if err != nil {
						rt.Fatal(err)
					}
					if cut, ok := lastCut[zone]; ok && later(from, cut) {
						rt.Fatalf("%s: a chain from %d leads over the cut at %d", zone, from, cut)
					}
					got, next := maps.Clone(was), from
					for _, c := range cs {
						if c.Before != next && c.After != next {
							rt.Fatalf("%s: the chain from %d breaks: %+v", zone, from, cs)
						}
						next = c.After
						if got[c.Name] != c.Was {
							rt.Fatalf("%s: %s was %v, the journal says %v", zone, c.Name, got[c.Name], c.Was)
						}
						if got[c.Name] = c.Is; c.Is == (Showing{}) {
							delete(got, c.Name)
						}
					}
					if is := now(zone); next != serial || !maps.Equal(got, is) {
						rt.Fatalf("%s from %d: %v at %d, want %v at %d", zone, from, got, next, is, serial)
					}
				}
			}
			var inFile int
			<-s.turn
			err := s.disk.conn.QueryRowContext(context.Background(), "SELECT count(*) FROM journal WHERE zone = 'lab.test.'").Scan(&inFile)
			s.endTurn()
			if err != nil || inFile > rows+2 {
				rt.Fatalf("%d changes in the file, bound %d (%v)", inFile, rows, err)
			}
		}
	})
}

// TestAJournalThatDoesNotEndAtTheSerialIsForgotten: a chain that leads somewhere
// else than to the serial of its zone is given to nobody.
func TestAJournalThatDoesNotEndAtTheSerialIsForgotten(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	if _, err := s.Stamp(t.Context(), "lab.test.", "one"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, orders(0, "a.lab.test."))
	rc := mustCommit(t, s, orders(1, "b.lab.test."))
	serial := rc.Serials["lab.test."]
	if all, err := s.Changes(t.Context(), "lab.test.", serial-1); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	alter(t, s, "UPDATE serials SET serial = serial + 1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	for _, from := range []uint32{serial - 1, serial} {
		if all, err := s.Changes(t.Context(), "lab.test.", from); !errors.Is(err, ErrCut) {
			t.Errorf("from %d: %v, %v", from, all, err)
		}
	}
}
