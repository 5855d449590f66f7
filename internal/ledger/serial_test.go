package ledger

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// later is RFC 1982 section 3.2 spelled out, as an oracle.
func later(a, b uint32) bool {
	return a < b && b-a < 1<<31 || a > b && a-b > 1<<31
}

func TestSerialAlwaysRisesInRFC1982Order(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prev := rapid.OneOf(rapid.Uint32Range(1, math.MaxUint32), rapid.SampledFrom([]uint32{1, math.MaxUint32, 1 << 31, 1<<31 - 1})).Draw(t, "prev")
		now := rapid.Int64Range(0, 1<<33).Draw(t, "now")
		next := nextSerial(prev, time.Unix(now, 0))
		if next == 0 || !later(prev, next) {
			t.Fatalf("%d after %d at %d", next, prev, now)
		}
	})
}

func TestSerialFollowsTheClockAndSurvivesItGoingBack(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	for _, c := range []struct {
		prev uint32
		now  int64
		want uint32
	}{
		{0, 1_700_000_000, 1_700_000_000}, // the first
		{0, 0, 1},                         // 0 means none
		{1_700_000_000, 1_700_000_005, 1_700_000_005}, // the clock went on
		{1_700_000_000, 1_700_000_000, 1_700_000_001}, // twice in one second
		{1_700_000_000, 1_600_000_000, 1_700_000_001}, // the clock was set back
		{math.MaxUint32, 1<<32 - 10, 1},               // wrap-around skips 0
		{math.MaxUint32 - 5, 1<<32 + 7, 7},            // the clock wrapped
	} {
		if got := nextSerial(c.prev, at(c.now)); got != c.want {
			t.Errorf("after %d at %d: %d, want %d", c.prev, c.now, got, c.want)
		}
	}
}

func TestSerialRisesExactlyWhenAnEmbeddedNameChanges(t *testing.T) {
	dir := memDir(t)
	now := time.Unix(1_700_000_000, 0)
	cfg := Config{Dir: dir, now: func() time.Time { return now }}
	s := mustOpen(t, cfg)
	want := uint32(1_700_000_000)
	expect := func(what string, rc Receipt, rose bool) failover.Record {
		t.Helper()
		if rose != (len(rc.Serials) == 1) {
			t.Fatalf("%s: receipt has %v", what, rc.Serials)
		}
		if rose {
			want++
		}
		if got, err := s.Serial(t.Context(), "lab.test."); got != want || err != nil || rose && rc.Serials["lab.test."] != want {
			t.Fatalf("%s: serial %d, receipt %v, want %d", what, got, rc.Serials, want)
		}
		return rc.Record
	}
	if got, _ := s.Serial(t.Context(), "lab.test."); got != 0 {
		t.Fatalf("serial %d before the first commit", got)
	}
	want-- // the first one is the clock itself
	r := expect("created", mustCommit(t, s, orders(0, "a.lab.test.")), true)
	r.Stops = []failover.Stop{{Kind: failover.StopPause}}
	r = expect("a stop", mustCommit(t, s, r), false)
	r.Names[1].Value = "b.lab.test."
	r = expect("a name elsewhere", mustCommit(t, s, r), false)
	r.Names[0].Provider = "other"
	r = expect("nothing that shows", mustCommit(t, s, r), false)
	r.Names[0].Value = "b.lab.test."
	r = expect("value", mustCommit(t, s, r), true)
	r.Names[0].TTL = 5
	r = expect("ttl", mustCommit(t, s, r), true)
	r.Names[0].Mark.Op = "claim"
	r = expect("mark", mustCommit(t, s, r), true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	s = mustOpen(t, cfg)
	r.Names[0].Value = "a.lab.test."
	r = expect("after a restart with the clock set back", mustCommit(t, s, r), true)
	r.Names[0].Embedded = false
	r = expect("no longer embedded", mustCommit(t, s, r), true)
	r.Names[0].Value = "b.lab.test."
	r = expect("served elsewhere", mustCommit(t, s, r), false)
	r.Names[0].Embedded = true
	r = expect("embedded again", mustCommit(t, s, r), true)
	r.Names = r.Names[1:]
	expect("gone", mustCommit(t, s, r), true)
}

func TestAMovedNameRaisesBothZones(t *testing.T) {
	before, after := orders(0, "a.lab.test."), orders(0, "a.lab.test.")
	after.Names[0].Zone = "other.test."
	if zones := changedZones(&before, &after); len(zones) != 2 || zones[0] != "lab.test." || zones[1] != "other.test." {
		t.Fatal(zones)
	}
}

func TestAConflictRaisesNoSerial(t *testing.T) {
	s := mustOpen(t, Config{Dir: memDir(t)})
	if _, err := s.Commit(t.Context(), orders(4, "a.lab.test."), nil); err == nil {
		t.Fatal("no conflict")
	}
	if got, _ := s.Serial(t.Context(), "lab.test."); got != 0 {
		t.Fatalf("serial %d", got)
	}
}
