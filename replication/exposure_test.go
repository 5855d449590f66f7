package replication

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

func TestBoundOf(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		m       mark
		refused int64
		oldest  time.Time
		known   bool
		lag     time.Duration
		rows    int64
		about   int64
		why     string
	}{
		"no shard":               {m: mark{}, why: "no shard"},
		"a shard without a mark": {m: mark{shards: 1, shard: "s"}, why: "s was not read"},
		"idle":                   {m: mark{shards: 2, shard: "s", upto: ago(time.Second), unread: ago(time.Second)}, known: true, lag: time.Second, why: "shard s"},
		"rows on their way":      {m: mark{shards: 1, upto: ago(3 * time.Second), unread: now, rows: 40}, known: true, lag: 3 * time.Second, rows: 40, about: 40},
		"rows unread": {
			m: mark{shards: 1, upto: ago(3 * time.Second), unread: ago(2 * time.Second), rows: 40, came: 10}, known: true, lag: 3 * time.Second, rows: 40, about: 60,
		},
		"refused, older than all": {
			m: mark{shards: 1, upto: ago(time.Second), unread: now}, refused: 2, oldest: ago(time.Hour), known: true, lag: time.Hour, rows: 2, about: 2, why: "2 refused rows",
		},
		"refused, younger": {m: mark{shards: 1, upto: ago(time.Hour), unread: now}, refused: 1, oldest: ago(time.Second), known: true, lag: time.Hour, rows: 1, about: 1},
		"refused, nobody knows when": {
			m: mark{shards: 1, upto: ago(time.Second), unread: now}, refused: 1, rows: 1, about: 1, why: "1 refused rows",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := boundOf("t", c.m, c.refused, c.oldest, now)
			e := b.now(now)
			if e.Known != c.known || e.Lag != c.lag || e.Rows != c.rows || e.About != c.about || !strings.Contains(e.Why, c.why) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

// The sum is known only where every part is, and never less than any part.
func TestSumIsAnUpperBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		var parts []bound
		for range rapid.IntRange(0, 5).Draw(t, "tables") {
			b := bound{
				table: "t", known: rapid.Bool().Draw(t, "known"), why: "why",
				upto: now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "lag")) * time.Second), rows: rapid.Int64Range(0, 9).Draw(t, "rows"),
			}
			if rapid.IntRange(0, 5).Draw(t, "gap") == 0 {
				b.gap = "gap"
			}
			parts = append(parts, b)
		}
		listed := now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, "listed")) * time.Second)
		total := sum(parts, listed, now)
		e := total.now(now)
		var rows int64
		for _, p := range parts {
			rows += p.rows
			pe := p.now(now)
			if e.Known && (!pe.Known || pe.Lag > e.Lag) {
				t.Fatalf("%+v is less than its part %+v", e, pe)
			}
			if pe.Gap != "" && e.Gap == "" {
				t.Fatal("a gap is gone")
			}
		}
		if e.Known && e.Lag < now.Sub(listed) {
			t.Fatalf("%+v: a table may have been made since", e)
		}
		if e.Rows != rows || e.Why == "" {
			t.Fatalf("%+v", e)
		}
		if ev := total.event("a", now); ev.Known != e.Known || ev.Lag != e.Lag || ev.Gap != e.Gap || ev.From != "a" || !ev.Sampled.Equal(now) {
			t.Fatalf("the core hears %+v, people %+v", ev, e)
		}
	})
}

// The core hears of a change within 250 ms, and every second otherwise.
func TestTheCoreIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []failover.Exposure
		var standby []failover.StandbyChanged
		tl := teller{
			exposure: func(e failover.Exposure) { told = append(told, e) },
			standby:  func(s failover.StandbyChanged) { standby = append(standby, s) },
		}
		b := bound{known: true, upto: time.Now()}
		s := failover.StandbyChanged{State: failover.StandbySynced}
		for range 20 { // five seconds of nothing new
			tl.tellExposure(b.event("a", time.Now()))
			tl.tellStandby(s, time.Now())
			time.Sleep(tellEvery)
		}
		if len(told) != 5 || len(standby) != 1 {
			t.Errorf("%d words on the exposure and %d on the standby", len(told), len(standby))
		}
		for range 4 {
			b.upto = time.Now()
			tl.tellExposure(b.event("a", time.Now()))
			s.Why = append(s.Why, "more")
			tl.tellStandby(s, time.Now())
			time.Sleep(tellEvery)
		}
		if len(told) != 9 || len(standby) != 5 {
			t.Errorf("%d words on the exposure and %d on the standby", len(told), len(standby))
		}
		time.Sleep(standbyAgain)
		tl.tellStandby(s, time.Now())
		if len(standby) != 6 {
			t.Error("the standby is not told again")
		}
		s.Cluster = "a"
		tl.tellStandby(s, time.Now())
		if len(standby) != 7 {
			t.Error("the word was of another cluster")
		}
	})
}

func TestReasonsAreFew(t *testing.T) {
	got := reasons([]string{"b", "a", "c", "a", "g", "d", "e", "f"})
	want := "a b c d e and 2 more"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %q, want %q", s, want)
	}
}
