package replication

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

// fineTable is a table that fits its like.
func fineTable() ots.Table {
	return ots.Table{
		Name: "orders", Key: []ots.KeySchema{{Name: "id", Type: "STRING"}, {Name: "line", Type: "INTEGER"}},
		TTL: -1, MaxVersions: 1, Deviation: WideDeviation, AllowUpdate: true,
		Stream: "orders_1", Retention: LongRetention,
	}
}

// findingIDs are the findings in short: "block table.key".
func findingIDs(fs []Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, string(f.Level)+" "+f.ID)
	}
	return strings.Join(out, ", ")
}

func TestJudgeOneFaultAtATime(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(s, t *ots.Table)
		want    string
		says    string // in the evidence of the first
		missing string // source or target
	}{
		{name: "two that are alike fit", change: func(s, t *ots.Table) {}},
		{name: "the target has none", missing: "target", want: "block table.missing", says: "not at the target"},
		{name: "the source lost it", missing: "source", want: "block table.missing", says: "not at the source"},
		{name: "another name of a key column", change: func(s, t *ots.Table) { t.Key[1].Name = "row" }, want: "block table.key", says: "(id STRING, line INTEGER) at the source and (id STRING, row INTEGER)"},
		{name: "another type", change: func(s, t *ots.Table) { t.Key[1].Type = "BINARY" }, want: "block table.key"},
		{name: "another order", change: func(s, t *ots.Table) { slices.Reverse(t.Key) }, want: "block table.key"},
		{name: "one column less", change: func(s, t *ots.Table) { t.Key = t.Key[:1] }, want: "block table.key"},
		{name: "the source chooses keys", change: func(s, t *ots.Table) { s.Key[1].AutoIncrement = true }, want: "warn table.auto_increment", says: "no row can be carried back"},
		{
			name: "both choose keys", change: func(s, t *ots.Table) { s.Key[1].AutoIncrement, t.Key[1].AutoIncrement = true, true },
			want: "block table.auto_increment, warn table.auto_increment", says: "refuses those of the source",
		},
		{name: "rows die early at the target", change: func(s, t *ots.Table) { t.TTL = 86400 }, want: "block table.ttl", says: "for ever at the source and only 1 d"},
		{name: "rows die early at the source", change: func(s, t *ots.Table) { s.TTL = 86400 }, want: "warn table.ttl"},
		{name: "fewer versions at the target", change: func(s, t *ots.Table) { s.MaxVersions = 3 }, want: "block table.max_versions", says: "keeps 3 versions"},
		{name: "more versions at the target", change: func(s, t *ots.Table) { t.MaxVersions = 3 }, want: "warn table.max_versions"},
		{name: "the window as tables are made", change: func(s, t *ots.Table) { t.Deviation = 86400 }, want: "block table.deviation", says: "more than 1 d from now, and the source may have rows that are 3650 d old"},
		{name: "a window as long as rows live", change: func(s, t *ots.Table) { s.TTL, t.TTL, t.Deviation = 7*86400, 7*86400, 7*86400 }, want: "warn table.deviation"},
		{name: "a window shorter than rows live", change: func(s, t *ots.Table) { s.TTL, t.TTL, t.Deviation = 7*86400, 7*86400, 7*86400-1 }, want: "block table.deviation"},
		{name: "a window of twenty years", change: func(s, t *ots.Table) { t.Deviation = 2 * oldRow }, want: "warn table.deviation"},
		{name: "the source's window, for the way back", change: func(s, t *ots.Table) { s.Deviation = 86400 }, want: "warn reverse.deviation"},
		{name: "no stream", change: func(s, t *ots.Table) { s.Stream, s.Retention = "", 0 }, want: "block stream.off", says: "no stream at the source"},
		{name: "a stream of an hour", change: func(s, t *ots.Table) { s.Retention = time.Hour }, want: "warn stream.retention", says: "remembers 1 h: "},
		{name: "a stream of three days", change: func(s, t *ots.Table) { s.Retention = 72 * time.Hour }, want: "warn stream.retention", says: "72 h of the possible 168 h"},
		{name: "no stream for the way back", change: func(s, t *ots.Table) { t.Stream, t.Retention = "", 0 }, want: "warn reverse.stream"},
		{name: "a short one for the way back", change: func(s, t *ots.Table) { t.Retention = 24 * time.Hour }, want: "warn reverse.retention"},
		{name: "the target updates whole rows", change: func(s, t *ots.Table) { t.UpdateFullRow = true }, want: "block table.update_full_row"},
		{name: "the source updates whole rows", change: func(s, t *ots.Table) { s.UpdateFullRow = true }, want: "warn reverse.update_full_row"},
		{name: "the target takes no updates", change: func(s, t *ots.Table) { t.AllowUpdate = false }, want: "block table.allow_update"},
		{name: "only the target takes updates", change: func(s, t *ots.Table) { s.AllowUpdate = false }, want: "warn table.allow_update"},
		{name: "neither takes updates", change: func(s, t *ots.Table) { s.AllowUpdate, t.AllowUpdate = false, false }},
		{name: "an index at the source alone", change: func(s, t *ots.Table) { s.Indexes = []string{"by_day"} }, want: "warn table.indexes", says: "only the source has: by_day"},
		{name: "an index at both", change: func(s, t *ots.Table) { s.Indexes, t.Indexes = []string{"by_day"}, []string{"by_day"} }, want: "warn table.indexes", says: "filled by the service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, target := fineTable(), fineTable()
			if c.change != nil {
				c.change(&source, &target)
			}
			p := Pair{"orders", &source, &target}
			switch c.missing {
			case "target":
				p.Target = nil
			case "source":
				p.Source = nil
			}
			got := Judge(p)
			if findingIDs(got) != c.want {
				t.Fatalf("it says %q, want %q", findingIDs(got), c.want)
			}
			for _, f := range got {
				if f.Table != "orders" || f.Evidence == "" || f.Hint == "" {
					t.Errorf("a finding lacks its table, evidence or hint: %+v", f)
				}
			}
			if c.says != "" && !strings.Contains(got[0].Evidence, c.says) {
				t.Errorf("the evidence is %q, without %q", got[0].Evidence, c.says)
			}
		})
	}
}

func TestParityTakesATableWithoutANameForMissing(t *testing.T) {
	block, warn, hint := parity(t.Context(), fineTable(), ots.Table{})
	if len(block) != 1 || len(warn) != 0 || !strings.Contains(block[0], "not at the target") || hint != prepareHint {
		t.Errorf("it blocks for %q and warns of %q", block, warn)
	}
	block, warn, _ = parity(t.Context(), ots.Table{}, fineTable())
	if len(block) != 1 || len(warn) != 0 || !strings.Contains(block[0], "not at the source") {
		t.Errorf("it blocks for %q and warns of %q", block, warn)
	}
	if block, warn, hint = parity(t.Context(), fineTable(), fineTable()); len(block)+len(warn) != 0 || hint != "" {
		t.Errorf("of two that are alike it says %q and %q", block, warn)
	}
}

// Whatever the window and the time to live, what is not blocked takes every
// version that is alive at the source and not older than the service.
func TestJudgeNeverPassesAWindowThatRefusesLivingRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source, target := fineTable(), fineTable()
		ttl := rapid.OneOf(rapid.Just(-1), rapid.IntRange(86400, 20*365*86400)).Draw(t, "ttl")
		source.TTL, target.TTL = ttl, ttl
		target.Deviation = rapid.Int64Range(0, WideDeviation).Draw(t, "deviation")
		age := rapid.Int64Range(0, oldRow).Draw(t, "age of a row")
		if ttl >= 0 && age > int64(ttl) {
			return // dead at the source
		}
		block, _, _ := parity(context.Background(), source, target)
		if refused := age > target.Deviation; refused && len(block) == 0 {
			t.Fatalf("a row of %d s is refused by a window of %d s, and nothing was said", age, target.Deviation)
		}
	})
}

func TestQuotaCountsWhatIsStillToBeMade(t *testing.T) {
	for _, c := range []struct {
		there, toMake int
		want          string
	}{{10, 2, ""}, {56, 2, ""}, {57, 2, "warn quota.tables"}, {62, 2, "warn quota.tables"}, {63, 2, "block quota.tables"}, {64, 0, "warn quota.tables"}, {65, 0, "block quota.tables"}} {
		if got := findingIDs(Quota("orders", c.there, c.toMake, TableQuota)); got != c.want {
			t.Errorf("%d tables and %d to make: %q, want %q", c.there, c.toMake, got, c.want)
		}
	}
}

func TestOwnTableMustBeAsItWasMade(t *testing.T) {
	want := ots.Table{Name: "pointsman_replication", Key: []ots.KeySchema{{Name: "k", Type: "STRING"}}, TTL: -1, MaxVersions: 1, AllowUpdate: true}
	for _, c := range []struct {
		want   string
		change func(*ots.Table)
	}{
		{"", func(t *ots.Table) {}},
		{"", func(t *ots.Table) { t.Deviation = 5 }},
		{"block own.key", func(t *ots.Table) { t.Key = []ots.KeySchema{{Name: "k", Type: "INTEGER"}} }},
		{"block own.options", func(t *ots.Table) { t.MaxVersions = 2 }},
		{"block own.options", func(t *ots.Table) { t.AllowUpdate = false }},
		{"block own.options", func(t *ots.Table) { t.UpdateFullRow = true }},
		{"block own.ttl", func(t *ots.Table) { t.TTL = 86400 }},
	} {
		have := want
		c.change(&have)
		if got := findingIDs(OwnTable(want, &have)); got != c.want {
			t.Errorf("of %+v it says %q, want %q", have, got, c.want)
		}
	}
	if got := findingIDs(OwnTable(want, nil)); got != "block own.missing" {
		t.Errorf("of none it says %q", got)
	}
}
