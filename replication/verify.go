package replication

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/replication/ots"
)

// VerifyConfig is a comparison of tables of two sides. It reads and writes
// nothing.
type VerifyConfig struct {
	// Source and Target read; the target may be written meanwhile by whoever
	// replicates.
	Source, Target *ots.Client
	// Tables are names; all tables of both sides if there are none. Those whose
	// names begin with [Prefix] are ours and left out.
	Tables []string

	// Sample is the share of each table that is read, above 0 and below 1, in
	// whole ranges that are drawn by lot from Seed, or by chance if that is 0.
	// 0 and 1 are all of it. A table that the service does not cut into ranges is
	// read whole.
	Sample float64
	Seed   uint64

	Parallel int // ranges at a time: 4 if 0
	// Patience is how long a read is repeated that fails for a reason that can
	// pass: 1 min if 0. Then the comparison ends.
	Patience time.Duration
	// Settle is how long a row that differs is left alone before it is read
	// again, beside the exposure: 2 s if 0.
	Settle time.Duration
	// Exposure says how far the target may be behind now; nil and unknown count
	// as nothing, and then Settle has to be enough.
	Exposure func() (behind time.Duration, known bool)
	Rounds   int // how often a row has to differ when it is read again: 3 if 0, at least 2
	Limit    int // differences of a table after which its comparison ends: 100 if 0

	// Progress is told how far it is, a few times a second, by one goroutine at a
	// time.
	Progress func(VerifyProgress)

	page  int   // rows of one read
	least int64 // bytes of the smallest ranges
}

// VerifyProgress is how far a comparison is.
type VerifyProgress struct {
	Table       string `json:"table"`
	Done        int    `json:"tables_done"`
	Tables      int    `json:"tables"`
	RangesDone  int    `json:"ranges_done"` // of this table
	Ranges      int    `json:"ranges"`
	Rows        int64  `json:"rows"`     // of this table, at the side that has more of them
	Suspects    int    `json:"suspects"` // rows that differ so far, and will be read again
	Differences int    `json:"differences"`
	Busy        string `json:"busy,omitempty"` // why a read waits
}

// VerifyResult is what a comparison found.
type VerifyResult struct {
	At     time.Time       `json:"at"`
	Took   time.Duration   `json:"took_ns"`
	Seed   uint64          `json:"seed,omitempty"` // of a sample; with it the same ranges are drawn again
	Tables []VerifiedTable `json:"tables"`
	Units  Units           `json:"units"` // that the reads cost
}

// Equal says whether everything was compared that should be, and nothing
// differs. Rows that changed all the time are not against it.
func (r VerifyResult) Equal() bool {
	return !slices.ContainsFunc(r.Tables, func(t VerifiedTable) bool { return !t.Equal() })
}

// VerifiedTable is what was found of one table.
type VerifiedTable struct {
	Table string `json:"table"`
	// Error is why it was not compared, or not to its end; Hint what to do.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	Note  string `json:"note,omitempty"`

	Ranges     int   `json:"ranges"`
	Compared   int   `json:"ranges_compared"`
	SourceRows int64 `json:"source_rows"`
	TargetRows int64 `json:"target_rows"`
	// Digest is a hash of the source's rows that were read, as a set: the same
	// rows have it in whatever ranges they are read.
	Digest string `json:"digest,omitempty"`

	Differences []RowDifference `json:"differences,omitempty"` // sorted by key
	More        bool            `json:"more,omitempty"`        // it ended at the limit; there may be others
	OnTheirWay  int64           `json:"on_their_way"`          // rows that differed at first and no longer did when read again
	// Changing are rows that were written so often that no two reads could be
	// compared: neither equal nor different.
	Changing     []string `json:"changing,omitempty"` // the first of them
	ChangingRows int64    `json:"changing_rows,omitempty"`

	Took  time.Duration `json:"took_ns"`
	Units Units         `json:"units"`
}

// Equal says whether the table was compared and no row differs.
func (t VerifiedTable) Equal() bool { return t.Error == "" && len(t.Differences) == 0 }

// Verify compares tables, all keys of both sides. Rows that differ are read
// again, at the target later than the exposure after they were read at the
// source, and reported only if they differ every time. A table with a fault has
// an error and the others go on. The error is of the whole, with what was found
// until then: the end of ctx or of patience, or a key that may not list tables.
func Verify(ctx context.Context, cfg VerifyConfig) (VerifyResult, error) {
	if cfg.Sample < 0 || cfg.Sample > 1 || math.IsNaN(cfg.Sample) {
		return VerifyResult{}, fmt.Errorf("verify: a sample of %v is none from 0 to 1", cfg.Sample)
	}
	if cfg.Sample == 0 {
		cfg.Sample = 1
	}
	cfg.Parallel, cfg.Settle = cmp.Or(cfg.Parallel, copyParallel), cmp.Or(cfg.Settle, 2*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, time.Minute)
	cfg.Rounds, cfg.Limit = max(cmp.Or(cfg.Rounds, 3), 2), cmp.Or(cfg.Limit, 100)
	cfg.page, cfg.least = cmp.Or(cfg.page, 1000), cmp.Or(cfg.least, splitLeast)
	v := &verifier{VerifyConfig: cfg, reads: [2]*gate{newGate(cfg.Parallel), newGate(cfg.Parallel)}}
	out := VerifyResult{At: time.Now()}
	if cfg.Sample < 1 {
		for cfg.Seed == 0 {
			cfg.Seed = rand.Uint64()
		}
		out.Seed, v.Seed = cfg.Seed, cfg.Seed
	}
	before := v.units()
	finish := func(err error) (VerifyResult, error) {
		out.Took, out.Units = time.Since(out.At), minus(v.units(), before)
		return out, err
	}
	tables, err := v.tables(ctx)
	if err != nil {
		return finish(fmt.Errorf("verify: %w", err))
	}
	for i, name := range tables {
		v.told = VerifyProgress{Table: name, Done: i, Tables: len(tables)}
		t, err := v.table(ctx, name)
		out.Tables = append(out.Tables, t)
		if ctx.Err() != nil || errors.Is(err, errPatience) {
			return finish(fmt.Errorf("verify %s: %w", name, cmp.Or(ctx.Err(), err)))
		}
	}
	return finish(nil)
}

// verifier is a comparison that runs, one table at a time.
type verifier struct {
	VerifyConfig
	reads [2]*gate

	mu   sync.Mutex
	told VerifyProgress
	last time.Time // when it was told
}

// verifySide is one of the two.
type verifySide int

const (
	atSource verifySide = iota
	atTarget
)

func (v *verifier) client(s verifySide) *ots.Client {
	if s == atTarget {
		return v.Target
	}
	return v.Source
}

func (v *verifier) units() Units {
	var u Units
	u.SourceRead, u.SourceWrite = v.Source.Units()
	u.TargetRead, u.TargetWrite = v.Target.Units()
	return u
}

func minus(a, b Units) Units {
	return Units{a.SourceRead - b.SourceRead, a.SourceWrite - b.SourceWrite, a.TargetRead - b.TargetRead, a.TargetWrite - b.TargetWrite}
}

// calls makes a call to a side, patiently.
func (v *verifier) calls(ctx context.Context, s verifySide, call func() error) error {
	var since time.Time // when it failed first
	patiently := func() error {
		err := call()
		if ots.ClassOf(err) != ots.ClassRetry || ctx.Err() != nil {
			return err
		}
		if since.IsZero() {
			since = time.Now()
		}
		if d := time.Since(since); d > v.Patience {
			return fmt.Errorf("%s: %w in %s: %w", v.client(s).Instance(), errPatience, d.Round(time.Second), err)
		}
		return err
	}
	return v.reads[s].patient(ctx, patiently, func(err error) func() {
		v.tell(func(p *VerifyProgress) { p.Busy = err.Error() })
		return func() { v.tell(func(p *VerifyProgress) { p.Busy = "" }) }
	})
}

// tell changes what people see, and shows it if the last time is long ago.
func (v *verifier) tell(change func(*VerifyProgress)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change(&v.told)
	if now := time.Now(); v.Progress != nil && now.Sub(v.last) >= 200*time.Millisecond {
		v.last = now
		v.Progress(v.told)
	}
}

// tables are those to compare, sorted.
func (v *verifier) tables(ctx context.Context) ([]string, error) {
	names := slices.Clone(v.Tables)
	if len(names) == 0 {
		for _, s := range [...]verifySide{atSource, atTarget} {
			err := v.calls(ctx, s, func() error {
				some, err := v.client(s).ListTables(ctx)
				names = append(names, some...)
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("list tables of %s: %w", v.client(s).Instance(), err)
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, Prefix) })
	slices.Sort(names)
	return slices.Compact(names), nil
}

// table compares one table. The error is in what was found, too.
func (v *verifier) table(ctx context.Context, name string) (VerifiedTable, error) {
	begin, before := time.Now(), v.units()
	t := &verifyTable{verifier: v, found: VerifiedTable{Table: name}}
	err := t.compare(ctx)
	if err != nil {
		t.found.Error = err.Error()
		switch {
		case errors.Is(err, errNoSource):
			t.found.Hint = "is its name right? pointsman replication status lists those that are replicated"
		case errors.Is(err, errNoTable):
			t.found.Hint = "pointsman replication prepare makes tables that the standby lacks"
		case ots.ClassOf(err) == ots.ClassRights:
			t.found.Hint = "the two keys need GetRange, BatchGetRow, DescribeTable and, at the source, ComputeSplitPointsBySize"
		}
	}
	slices.SortFunc(t.differences, func(a, b keyed) int { return a.key.Compare(b.key) })
	for _, d := range t.differences {
		t.found.Differences = append(t.found.Differences, d.RowDifference)
	}
	if t.found.Compared > 0 {
		sum := t.sum.bytes()
		t.found.Digest = hex.EncodeToString(sum[:])
	}
	t.found.Took, t.found.Units = time.Since(begin), minus(v.units(), before)
	return t.found, err
}

var (
	errNoTable  = errors.New("there is no such table at the target")
	errNoSource = errors.New("there is no such table at the source")
	// errEnough ends a comparison at its limit.
	errEnough = errors.New("enough differences")
)

// verifyTable is the comparison of one table.
type verifyTable struct {
	*verifier
	versions int // of each column

	lock        sync.Mutex
	found       VerifiedTable
	sum         rowSum
	differences []keyed
	suspects    []ots.Key
}

func (t *verifyTable) compare(ctx context.Context) error {
	var tables [2]ots.Table
	for _, s := range [...]verifySide{atSource, atTarget} {
		err := t.calls(ctx, s, func() (err error) {
			tables[s], err = t.client(s).Describe(ctx, t.found.Table)
			return err
		})
		if ots.ClassOf(err) == ots.ClassAbsent {
			if s == atSource {
				return errNoSource
			}
			return errNoTable
		}
		if err != nil {
			return err
		}
	}
	typed := func(k ots.KeySchema) ots.KeySchema { k.AutoIncrement = false; return k }
	if !slices.EqualFunc(tables[atSource].Key, tables[atTarget].Key, func(a, b ots.KeySchema) bool { return typed(a) == typed(b) }) {
		return errors.New("the primary keys of the two sides differ")
	}
	t.versions = min(tables[atSource].MaxVersions, tables[atTarget].MaxVersions)
	if tables[atSource].MaxVersions != tables[atTarget].MaxVersions {
		t.found.Note = fmt.Sprintf("the sides keep %d and %d versions; the newest %d were compared",
			tables[atSource].MaxVersions, tables[atTarget].MaxVersions, t.versions)
	}
	ranges, err := t.draw(ctx)
	if err != nil {
		return err
	}
	t.tell(func(p *VerifyProgress) { p.Ranges = len(ranges) })
	g, gctx := newTeam(ctx)
	g.SetLimit(t.Parallel)
	for _, r := range ranges {
		g.Go(func() error {
			if err := t.compareRange(gctx, r[0], r[1]); err != nil {
				return err
			}
			t.lock.Lock()
			t.found.Compared++
			t.lock.Unlock()
			t.tell(func(p *VerifyProgress) { p.RangesDone++ })
			return nil
		})
	}
	err = g.Wait()
	if err == nil {
		t.lock.Lock()
		err = t.settle(ctx)
		t.lock.Unlock()
	}
	if errors.Is(err, errEnough) {
		t.found.More = true
		return nil
	}
	return err
}

// draw cuts the table into ranges, and takes those of the sample.
func (t *verifyTable) draw(ctx context.Context) ([][2]ots.Key, error) {
	want := cut{splitFew, splitMost, t.least}
	if t.Sample < 1 {
		want = cut{few: 256, most: 4096, least: t.least / 4} // small ones, so that a share of them is one of the rows
	}
	var keys []ots.Key
	err := t.calls(ctx, atSource, func() (err error) {
		keys, err = splits(ctx, t.Source, t.found.Table, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	ranges := make([][2]ots.Key, len(keys)+1)
	for i, k := range keys {
		ranges[i][1], ranges[i+1][0] = k, k
	}
	t.found.Ranges = len(ranges)
	if t.Sample < 1 {
		lot := rand.New(rand.NewPCG(t.Seed, uint64(len(ranges))))
		lot.Shuffle(len(ranges), func(i, j int) { ranges[i], ranges[j] = ranges[j], ranges[i] })
		ranges = ranges[:int(math.Ceil(t.Sample*float64(len(ranges))))]
	}
	return ranges, nil
}
