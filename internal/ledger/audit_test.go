package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// filled commits entries 1 to n, alternating between two instances, one
// second apart, and returns the open store.
func filled(t *testing.T, dir string, n int) *Store {
	t.Helper()
	s := mustOpen(t, Config{Dir: dir})
	revs := map[failover.InstanceName]uint64{}
	for i := range n {
		id := failover.InstanceName([]string{"orders", "billing"}[i%2])
		e := entry("step", fmt.Sprintf("entry %d", i+1))
		e.At = e.At.Add(time.Duration(i) * time.Second)
		revs[id] = mustCommit(t, s, named(id, revs[id]), e).Record.Rev
	}
	return s
}

func TestAuditIsReadInCommitOrderWhateverTheFilter(t *testing.T) {
	s := filled(t, memDir(t), 11)
	start := entry("", "").At
	texts := func(f AuditFilter) string {
		t.Helper()
		entries, err := s.Audit(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, strings.TrimPrefix(e.Text, "entry "))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		f    AuditFilter
		want string
	}{
		{AuditFilter{}, "1 2 3 4 5 6 7 8 9 10 11"},
		{AuditFilter{Limit: 3}, "9 10 11"},
		{AuditFilter{Limit: 100}, "1 2 3 4 5 6 7 8 9 10 11"},
		{AuditFilter{Instance: "billing"}, "2 4 6 8 10"},
		{AuditFilter{Instance: "billing", Limit: 2}, "8 10"},
		{AuditFilter{Instance: "nobody"}, ""},
		{AuditFilter{Since: start.Add(7 * time.Second)}, "8 9 10 11"},
		{AuditFilter{Since: start.Add(7*time.Second + 1)}, "9 10 11"},
		{AuditFilter{Since: start.Add(7*time.Second + 1), Limit: 1, Instance: "orders"}, "11"},
		{AuditFilter{Limit: 3, Below: 9}, "6 7 8"},
		{AuditFilter{Limit: 3, Below: 6, Instance: "orders"}, "1 3 5"},
		{AuditFilter{Below: 1}, ""},
		{AuditFilter{Limit: 1, Below: 1 << 40}, "11"},
	} {
		if got := texts(c.f); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
}

func TestALongAuditIsReadInPages(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	var entries []failover.AuditEntry
	for i := range 2*page + 7 {
		entries = append(entries, entry("step", fmt.Sprint(i)))
	}
	mustCommit(t, s, named("orders", 0), entries...)
	got, err := s.Audit(t.Context(), AuditFilter{})
	if err != nil || len(got) != len(entries) {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	prev := genesis
	for i, e := range got {
		if e.Seq != uint64(i+1) || e.Text != fmt.Sprint(i) || e.Prev != prev || e.Rev != 1 {
			t.Fatalf("entry %d is %+v", i, e)
		}
		prev = e.Hash
	}
	if got, err := s.Audit(t.Context(), AuditFilter{Limit: page + 1}); err != nil || len(got) != page+1 || got[0].Prev == "" {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	mustVerify(t, s)
}

func TestEntriesComeBackAsTheyWereGiven(t *testing.T) {
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	e := entry("command", "line\nbreak, \u202e and <b>")
	e.At = e.At.In(time.FixedZone("CST", 8*3600))
	e.Op, e.Before, e.After = "op-1", "a.lab.test.", "b.lab.test."
	other := e
	other.Instance = "billing"
	rc := mustCommit(t, s, named("orders", 0), e, other)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, Config{Dir: dir})
	got, err := s.Audit(t.Context(), AuditFilter{})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	e.Instance, e.At, other.At = "orders", e.At.UTC(), other.At.UTC()
	if !reflect.DeepEqual(got[0].AuditEntry, e) || !reflect.DeepEqual(got[1].AuditEntry, other) {
		t.Fatalf("%+v\nwant\n%+v\nand\n%+v", got, e, other)
	}
	if got[1].Hash != rc.Record.AuditHead {
		t.Fatal("the record does not note the head")
	}
}

func TestACommitWithoutEntriesNotesTheHeadOfTheWholeAudit(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	if rc := mustCommit(t, s, named("quiet", 0)); rc.Record.AuditHead != genesis {
		t.Fatal(rc.Record.AuditHead)
	}
	head := mustCommit(t, s, named("orders", 0), entry("create", "")).Record.AuditHead
	if rc := mustCommit(t, s, named("quiet", 1)); rc.Record.AuditHead != head {
		t.Fatal(rc.Record.AuditHead)
	}
	mustVerify(t, s)
}

func TestVerifyNamesTheFirstBrokenEntry(t *testing.T) {
	rehash := func(t *testing.T, s *Store, from int) { // a forger who knows the chain
		t.Helper()
		prev := genesis
		for seq := 1; seq <= 9; seq++ {
			rows, err := s.auditPage(t.Context(), "SELECT seq, instance, at, body, hash FROM audit WHERE seq = ?", seq)
			if err != nil || len(rows) != 1 {
				t.Fatal(rows, err)
			}
			hash := rows[0].hash
			if seq >= from {
				if hash, err = link(prev, rows[0].body); err != nil {
					t.Fatal(err)
				}
				alter(t, s, "UPDATE audit SET hash = ? WHERE seq = ?", hash, seq)
			}
			prev = hash
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, s *Store)
		seq   uint64
		why   string
	}{
		{"a changed text", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'entry 4', 'entry X') AS BLOB) WHERE seq = 4")
		}, 4, "its hash is"},
		{"a changed hash", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET hash = ? WHERE seq = 6", genesis)
		}, 6, "its hash is"},
		{"two changes", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET hash = ? WHERE seq = 8", genesis)
			alter(t, s, "UPDATE audit SET body = x'7b7d' WHERE seq = 3")
		}, 3, "its hash is"},
		{"a removed entry", func(t *testing.T, s *Store) { alter(t, s, "DELETE FROM audit WHERE seq = 5") }, 5, "it is missing, entry 6 follows"},
		{"a removed first entry", func(t *testing.T, s *Store) { alter(t, s, "DELETE FROM audit WHERE seq = 1") }, 1, "it is missing, entry 2 follows"},
		{"a removed end", func(t *testing.T, s *Store) { alter(t, s, "DELETE FROM audit WHERE seq >= 8") }, 8, "it is missing"},
		{"two entries swapped", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET seq = 100 WHERE seq = 2")
			alter(t, s, "UPDATE audit SET seq = 2 WHERE seq = 3")
			alter(t, s, "UPDATE audit SET seq = 3 WHERE seq = 100")
		}, 2, "its hash is"},
		{"filed under another instance", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET instance = 'billing' WHERE seq = 7")
		}, 7, "filed under other facts"},
		{"filed under another time", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET at = at + 60000 WHERE seq = 7")
		}, 7, "filed under other facts"},
		{"a forged chain, seen by the head in memory", func(t *testing.T, s *Store) {
			alter(t, s, "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'entry 4', 'entry X') AS BLOB) WHERE seq = 4")
			rehash(t, s, 4)
		}, 9, "not the head that the ledger holds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := filled(t, memDir(t), 9)
			mustVerify(t, s)
			c.spoil(t, s)
			err := s.VerifyChain(t.Context())
			var broken *ChainError
			if !errors.Is(err, ErrChain) || !errors.As(err, &broken) || broken.Seq != c.seq || !strings.Contains(broken.Why, c.why) {
				t.Fatalf("%v, want entry %d: %s", err, c.seq, c.why)
			}
		})
	}
	t.Run("a chain forged while nobody held it, seen by a record's note", func(t *testing.T) {
		dir := memDir(t)
		s := filled(t, dir, 9)
		alter(t, s, "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'entry 4', 'entry X') AS BLOB) WHERE seq = 4")
		rehash(t, s, 4)
		alter(t, s, "UPDATE ledger SET audit_head = (SELECT hash FROM audit WHERE seq = 9)")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := mustOpen(t, Config{Dir: dir}).VerifyChain(t.Context()); !errors.Is(err, ErrChain) {
			t.Fatal(err)
		}
	})
}

// alter changes the file behind the store's back.
func alter(t *testing.T, s *Store, query string, args ...any) {
	t.Helper()
	<-s.turn
	defer s.endTurn()
	if err := s.disk.exec(query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyAndAuditGoOnWhileCommitsArrive(t *testing.T) {
	s := filled(t, memDir(t), page+page/2)
	done := make(chan error, 1)
	go func() {
		for range 3 {
			if err := s.VerifyChain(t.Context()); err != nil {
				done <- err
				return
			}
			if _, err := s.Audit(t.Context(), AuditFilter{}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for rev := uint64(0); ; rev++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			mustCommit(t, s, named("third", rev), entry("step", "meanwhile"))
		}
	}
}
