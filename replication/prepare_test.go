package replication

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

var (
	fromA = At{"a", "orders"}
	toB   = At{"b", "orders"}
)

// afterPlan is what the world looks like after a plan.
func afterPlan(f Facts, p *Plan) Facts {
	out := f
	out.Pairs, out.Own = slices.Clone(f.Pairs), slices.Clone(f.Own)
	for _, s := range p.Steps {
		want := s.want
		for i := range out.Own {
			if out.Own[i].At == s.At && out.Own[i].Want.Name == s.Table {
				out.Own[i].Have = &want
			}
		}
		for i := range out.Pairs {
			switch {
			case out.Pairs[i].Table != s.Table:
			case s.At == f.From:
				out.Pairs[i].Source = afterStep(out.Pairs[i].Source, s)
			default:
				out.Pairs[i].Target = afterStep(out.Pairs[i].Target, s)
			}
		}
	}
	return out
}

// afterStep is a table after a step: options and stream are changed one by one.
func afterStep(now *ots.Table, s PlanStep) *ots.Table {
	t := s.want
	if now != nil && s.have != nil {
		t = *now
		if s.have.Stream == "" && s.want.Stream != "" {
			t.Stream, t.Retention = s.want.Stream, s.want.Retention
		} else {
			t.TTL, t.MaxVersions, t.Deviation, t.AllowUpdate = s.want.TTL, s.want.MaxVersions, s.want.Deviation, s.want.AllowUpdate
		}
	}
	return &t
}

func TestPlanMakesWhatIsMissing(t *testing.T) {
	source := fineTable()
	source.Stream, source.Retention, source.Deviation, source.TTL, source.MaxVersions = "", 0, 86400, 7*86400, 3
	source.Key[1].AutoIncrement = true
	source.Indexes = []string{"by_day"}
	own := ots.Table{Name: "pointsman_replication", Key: []ots.KeySchema{{Name: "k", Type: "STRING"}}, TTL: -1, MaxVersions: 1, Deviation: 86400, AllowUpdate: true}
	f := Facts{From: fromA, To: toB, Pairs: []Pair{{"orders", &source, nil}}, Own: []OwnFacts{{At: toB, For: "positions", Want: own}}, Counts: map[At]int{fromA: 1}}
	p := NewPlan(f)
	var got []string
	for _, s := range p.Steps {
		got = append(got, fmt.Sprintf("%s %s: %s", s.Cluster, s.Table, s.Do))
	}
	want := []string{
		"b pointsman_replication: make it: key (k STRING), rows live for ever, 1 versions within 1 d",
		"b orders: make it: key (id STRING, line INTEGER), rows live 7 d, 3 versions within 2147483647 s, stream of 168 h",
		"a orders: take versions within 2147483647 s of now instead of 1 d",
		"a orders: enable its stream, of 168 h",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the plan is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if said := findingIDs(p.Left); said != "warn table.auto_increment, warn table.indexes" {
		t.Errorf("left is %q", said)
	}
	if last := p.Steps[3]; last.Know != knowNewStream {
		t.Errorf("of a new stream it says %q", last.Know)
	}
	again := NewPlan(afterPlan(f, p))
	if len(again.Steps) != 0 || findingIDs(again.Left) != findingIDs(p.Left) {
		t.Errorf("the plan of what was made has %+v, and leaves %q", again.Steps, findingIDs(again.Left))
	}
}

func TestPlanNeverShrinks(t *testing.T) {
	table := rapid.Custom(func(t *rapid.T) *ots.Table {
		if rapid.IntRange(0, 5).Draw(t, "absent") == 0 {
			return nil
		}
		x := fineTable()
		x.TTL = rapid.SampledFrom([]int{-1, 86400, 7 * 86400}).Draw(t, "ttl")
		x.MaxVersions = rapid.IntRange(1, 3).Draw(t, "versions")
		x.Deviation = rapid.SampledFrom([]int64{0, 86400, WideDeviation, WideDeviation + 1}).Draw(t, "deviation")
		x.AllowUpdate = rapid.Bool().Draw(t, "updates")
		x.UpdateFullRow = rapid.IntRange(0, 5).Draw(t, "whole rows") == 0
		x.Key[1].AutoIncrement = rapid.IntRange(0, 5).Draw(t, "auto-increment") == 0
		if rapid.IntRange(0, 5).Draw(t, "other key") == 0 {
			x.Key = x.Key[:1]
		}
		if rapid.Bool().Draw(t, "no stream") {
			x.Stream, x.Retention = "", 0
		} else {
			x.Retention = rapid.SampledFrom([]time.Duration{time.Hour, LongRetention}).Draw(t, "retention")
		}
		return &x
	})
	rapid.Check(t, func(t *rapid.T) {
		f := Facts{From: fromA, To: toB, Counts: map[At]int{}}
		f.Pairs = []Pair{{"orders", table.Draw(t, "source"), table.Draw(t, "target")}}
		p := NewPlan(f)
		for _, s := range p.Steps {
			if s.have == nil {
				if s.At == f.From {
					t.Fatalf("a table is made at the source: %+v", s)
				}
				continue
			}
			h, w := s.have, s.want
			if lifeOf(w.TTL) < lifeOf(h.TTL) || w.MaxVersions < h.MaxVersions || w.Deviation < h.Deviation || h.AllowUpdate && !w.AllowUpdate ||
				h.Stream != "" && (w.Stream != h.Stream || w.Retention != h.Retention) || !slices.Equal(h.Key, w.Key) || h.UpdateFullRow != w.UpdateFullRow {
				t.Fatalf("something shrinks: %+v becomes %+v", h, w)
			}
		}
		after := afterPlan(f, p)
		if again := NewPlan(after); len(again.Steps) != 0 || findingIDs(again.Left) != findingIDs(p.Left) {
			t.Fatalf("done once it is not done: %+v, left %q and then %q", again.Steps, findingIDs(p.Left), findingIDs(again.Left))
		}
		// What blocks afterwards is what nobody but the tables' owner can mend.
		for _, x := range Judge(after.Pairs[0]) {
			if x.Level == LevelBlock && !slices.Contains([]string{"table.missing", "table.key", "table.auto_increment", "table.update_full_row"}, x.ID) && !hopeless(*after.Pairs[0].Source, *after.Pairs[0].Target) {
				t.Fatalf("the plan leaves %+v", x)
			}
		}
	})
}

func TestPlanIsNotBegunBeyondTheQuota(t *testing.T) {
	source := fineTable()
	f := Facts{From: fromA, To: toB, Pairs: []Pair{{"orders", &source, nil}}, Counts: map[At]int{toB: 63}}
	if p := NewPlan(f); p.Blocked() != "" {
		t.Errorf("with room for one it says %q", p.Blocked())
	}
	f.Counts[toB] = 64
	if p := NewPlan(f); !strings.Contains(p.Blocked(), "64 tables of the 64 that it may have, and 1 more are needed") {
		t.Errorf("without room it says %q", p.Blocked())
	}
}
