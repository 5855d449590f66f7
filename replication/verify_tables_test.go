package replication

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

func TestVerifyOfASample(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 100, 20, "new")
	sample := func(share float64, seed uint64) VerifiedTable {
		return l.verify(func(c *VerifyConfig) {
			c.Sample, c.Seed, c.Limit, c.least = share, seed, 5000, 4000
		}).Tables[0]
	}
	whole := sample(1, 0)
	if whole.SourceRows != 2000 || len(whole.Differences) != 2000 || whole.Compared != whole.Ranges {
		t.Fatalf("%d rows, %d differences", whole.SourceRows, len(whole.Differences))
	}
	tenth := sample(0.1, 7)
	if n := (tenth.Ranges + 9) / 10; tenth.Ranges < 50 || tenth.Compared != n || len(tenth.Differences) != int(tenth.SourceRows) {
		t.Errorf("%d of %d ranges, %d rows, %d differences", tenth.Compared, tenth.Ranges, tenth.SourceRows, len(tenth.Differences))
	}
	if tenth.SourceRows < 100 || tenth.SourceRows > 400 {
		t.Errorf("a tenth of 2000 rows are %d", tenth.SourceRows)
	}
	if again := sample(0.1, 7); again.Digest != tenth.Digest {
		t.Error("the same seed draws other ranges")
	}
	if other := sample(0.1, 8); other.Digest == tenth.Digest {
		t.Error("another seed draws the same ranges")
	}
	r := l.verify(func(c *VerifyConfig) { c.Sample = 0.5 })
	if r.Seed == 0 {
		t.Error("a sample without the seed that it was drawn by")
	}
	if _, err := Verify(t.Context(), VerifyConfig{Source: l.source, Target: l.target, Sample: 1.5}); err == nil {
		t.Error("a sample of one and a half was drawn")
	}
}

func TestVerifyEndsAtItsLimit(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 30, 100, "new")
	r := l.verify(func(c *VerifyConfig) { c.Limit = 7 })
	if got := r.Tables[0]; len(got.Differences) != 7 || !got.More || got.Error != "" || r.Equal() {
		t.Errorf("%d differences, %+v", len(got.Differences), got.Error)
	}
}

func TestVerifyNamesTablesThatCannotBeCompared(t *testing.T) {
	l := newCopyLab(t)
	plain := func(name string, change func(*ots.Table)) ots.Table {
		n := ots.Table{Name: name, Key: []ots.KeySchema{{Name: "k", Type: "STRING"}}, TTL: -1, MaxVersions: 1, Deviation: 86400, AllowUpdate: true}
		if change != nil {
			change(&n)
		}
		return n
	}
	for _, c := range []struct {
		side  *ots.Client
		table ots.Table
	}{
		{l.source, plain("here", nil)},
		{l.target, plain("there", nil)},
		{l.source, plain("other_key", nil)},
		{l.target, plain("other_key", func(t *ots.Table) { t.Key[0].Type = "INTEGER" })},
		{l.source, plain("versions", nil)},
		{l.target, plain("versions", func(t *ots.Table) { t.MaxVersions = 4 })},
		{l.target, plain(Prefix+"replication", nil)},
	} {
		if err := c.side.CreateTable(t.Context(), c.table); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]VerifiedTable{}
	r := l.verify(nil)
	for _, v := range r.Tables {
		got[v.Table] = v
	}
	for name, want := range map[string]string{
		"here": "there is no such table at the target", "there": "there is no such table at the source", "other_key": "the primary keys of the two sides differ", "orders": "", "versions": "",
	} {
		v, ok := got[name]
		if !ok || v.Error != want || want == "" != v.Equal() {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if len(got) != 5 || r.Equal() {
		t.Errorf("%+v", got)
	}
	if v := got["versions"]; v.Note == "" || got["here"].Hint == "" {
		t.Errorf("%+v", v)
	}
	if r := l.verify(func(c *VerifyConfig) { c.Tables = []string{"gone", "orders", "orders"} }); len(r.Tables) != 2 || r.Tables[0].Error != "there is no such table at the source" || r.Tables[1].Error != "" {
		t.Errorf("%+v", r.Tables)
	}
}

// A table whose reads are refused has an error, and the next one is compared.
func TestVerifyGoesOnAfterATableThatIsRefused(t *testing.T) {
	l := newCopyLab(t)
	second := l.table
	second.Name, second.Stream, second.Retention = "a_first", "", 0
	for _, c := range []*ots.Client{l.source, l.target} {
		if err := c.CreateTable(t.Context(), second); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []tablestore.Fault{
		{Kind: tablestore.ErrorCode, Code: "OTSNoPermissionAccess", Table: "a_first", Operation: "GetRange"},
		{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Table: "orders", Operation: "GetRange"},
		{Kind: tablestore.ErrorCode, Code: "OTSServerBusy", Operation: "ListTable"},
	} {
		if _, err := l.s.Fail(f, 1); err != nil {
			t.Fatal(err)
		}
	}
	l.fill(l.source, 1, 3, "new")
	r := l.verify(nil)
	if !strings.Contains(r.Tables[0].Error, "OTSNoPermissionAccess") || r.Tables[0].Hint == "" || r.Tables[0].Equal() {
		t.Errorf("%+v", r.Tables[0])
	}
	if v := r.Tables[1]; v.Error != "" || len(v.Differences) != 3 {
		t.Errorf("%+v", v)
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 1, 3, "new")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := Verify(ctx, VerifyConfig{
		Source: l.source, Target: l.target, Settle: time.Hour,
		Exposure: func() (time.Duration, bool) { cancel(); return 0, false },
	})
	if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "verify orders: ") || len(r.Tables) != 1 || r.Tables[0].Error == "" {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestVerifyLosesPatience(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 1, 3, "new")
	if err := l.s.Kill(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify(t.Context(), VerifyConfig{Source: l.source, Target: l.target, Tables: []string{"orders", "zebra"}, Patience: 100 * time.Millisecond})
	if !errors.Is(err, errPatience) || ots.ClassOf(err) != ots.ClassRetry || len(r.Tables) != 1 || r.Tables[0].Error == "" || r.Equal() {
		t.Errorf("%v: %+v", err, r)
	}
}

// Rows that are larger than one answer are read in several.
func TestVerifyReadsLargeRowsInHalves(t *testing.T) {
	l := newCopyLab(t)
	for n := range int64(8) {
		l.write(l.source, ots.Mutation{Action: ots.PutRow, Key: orderKey("heavy", n), Cells: []ots.Cell{cellOf("x", strings.Repeat("x", 1<<20), 1)}})
	}
	if _, err := l.s.Fail(tablestore.Fault{Kind: tablestore.ErrorCode, Code: "OTSParameterInvalid", Operation: "BatchGetRow"}, 3); err != nil {
		t.Fatal(err)
	}
	if v := l.verify(nil).Tables[0]; len(v.Differences) != 8 || v.Error != "" {
		t.Errorf("%d differences, %s", len(v.Differences), v.Error)
	}
}
