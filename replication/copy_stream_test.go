package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pointsman/replication/ots"
)

// deadLetters of a lab, in a table of the target.
func (l *copyLab) letters() *deadLetters {
	l.t.Helper()
	name := Prefix + "dead_letters"
	if err := l.target.CreateTable(l.t.Context(), deadSchema(name)); err != nil {
		l.t.Fatal(err)
	}
	d, err := openDeadLetters(l.t.Context(), deadConfig{Client: l.target, Table: name, Instance: "orders", From: "a", To: "b", By: "test"})
	if err != nil {
		l.t.Fatal(err)
	}
	return d
}

// The whole way: positions of the stream, the copy under live writes while
// partitions are split and merged, then the stream. Nothing is lost, nothing
// that was deleted comes back, and a comparison says so.
func TestCopyThenStreamUnderLiveWrites(t *testing.T) {
	l := newCopyLab(t)
	l.fill(l.source, 25, 80, "old")
	l.fill(l.target, 3, 10, "foreign")
	start, _, err := ends(t.Context(), l.source, "orders", 0)
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64 // after start; each is one record
	var writers sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				k := orderKey(fmt.Sprintf("order-%03d", (i*7+w)%30), int64((i*13)%90))
				m := ots.Mutation{Action: ots.UpdateRow, Key: k, Cells: []ots.Cell{cellOf("state", "live", int64(i)), cellOf("live", int64(w), int64(i))}}
				switch i % 4 {
				case 1:
					m = ots.Mutation{Action: ots.DeleteRow, Key: k}
				case 2:
					m.Action = ots.PutRow
				}
				l.write(l.source, m)
				writes.Add(1)
			}
		})
	}
	dead := l.letters()
	cfg := l.config()
	cfg.Pool.page, cfg.Pool.least = 40, 20_000
	cfg.Refused = func(ctx context.Context, table string, rec ots.Record, cause error) error {
		return dead.keep(ctx, table, origin{}, rec, cause)
	}
	// The copy saves after each page: the partitions change in between.
	var saves int
	cfg.Save = func(context.Context, savedCopy) error {
		switch saves++; saves {
		case 2:
			return l.s.SplitShard("source", "orders", "order-010")
		case 4:
			return l.s.SplitShard("source", "orders", "order-020")
		case 6:
			return l.s.MergeShards("source", "orders", 0)
		}
		return nil
	}
	err = copyTable(t.Context(), cfg)
	close(done)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if saves < 6 || writes.Load() < 20 {
		t.Fatalf("%d saves, %d writes: the copy was over before anything happened", saves, writes.Load())
	}

	a := newApplier(applyConfig{
		Client: l.target, May: func() error { return nil }, Dead: dead, Table: func(string) ots.Table { return l.table },
		Settle: time.Millisecond,
	})
	ctx, stop := context.WithCancel(t.Context())
	var applied atomic.Int64
	all := make(chan struct{})
	f := newFollower(followConfig{Client: l.source, Table: "orders", Start: start, Busy: time.Millisecond, Idle: 5 * time.Millisecond, Check: 20 * time.Millisecond, Deliver: func(ctx context.Context, d delivery) error {
		n := int64(len(d.Records))
		if n == 0 {
			return nil
		}
		return a.Submit(ctx, d.Table, d.Records, origin{Shard: d.After.Shard}, func() {
			if applied.Add(n) == writes.Load() {
				close(all)
			}
		})
	}})
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(gctx) })
	g.Go(func() error { return f.Run(gctx) })
	select {
	case <-all:
	case <-gctx.Done():
	}
	stop()
	if err := g.Wait(); !errors.Is(err, context.Canceled) && !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if n := applied.Load(); n != writes.Load() {
		t.Fatalf("%d of %d records were applied", n, writes.Load())
	}
	l.same()
	if r := l.verify(nil); !r.Equal() || len(r.Tables) != 1 || r.Tables[0].SourceRows == 0 {
		t.Errorf("%+v", r)
	}
	letters, _, err := dead.list(t.Context(), "", "", 10)
	if err != nil || len(letters) > 0 {
		t.Errorf("%v, %+v", err, letters)
	}
}

// A row that the target refuses is kept as one of a copy.
func TestCopyKeepsDeadLettersOfItsOwn(t *testing.T) {
	l := newCopyLab(t, func(_, target *ots.Table) { target.Deviation = 86400 })
	l.fill(l.source, 1, 20, "new")
	l.write(l.source, ots.Mutation{Action: ots.PutRow, Key: orderKey("order-000", 7), Cells: []ots.Cell{cellOf("state", "old", -2*86400_000)}})
	dead := l.letters()
	cfg := l.config()
	cfg.Refused = func(ctx context.Context, table string, rec ots.Record, cause error) error {
		return dead.keep(ctx, table, origin{}, rec, cause)
	}
	for range 2 { // a copy that is done once more refuses the row once more
		if err := copyTable(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		letters, _, err := dead.list(t.Context(), "", "", 10)
		if err != nil || len(letters) == 0 {
			t.Fatalf("%v, %+v", err, letters)
		}
		for _, d := range letters {
			if d.From != "" || d.Key != orderKey("order-000", 7).String() || d.Action != "put" || d.Cause == "" {
				t.Errorf("%+v", d)
			}
		}
		t.Logf("%d letters", len(letters))
		cfg.Meter = newCopyMeter()
	}
}
