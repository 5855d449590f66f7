package replication

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// river is a lab server with one table, whose stream is on.
type river struct {
	t tester
	*tablestore.Server
	c    *ots.Client // of the follower; faults end its connections
	mine *ots.Client // of those who write
	n    int64       // of writes
}

const riverTable = "t"

// tester is a test or a check of a property.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Cleanup(func())
}

func newRiver(t tester) *river {
	t.Helper()
	s, err := tablestore.New(tablestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := &river{t: t, Server: s}
	w.c, w.mine = w.client(), w.client()
	w.create()
	return w
}

func (w *river) client() *ots.Client {
	w.t.Helper()
	c, err := ots.Open(ots.Config{Endpoint: w.Endpoint(), Instance: w.Instances()[0].Name, Credentials: func() (ots.Credentials, error) {
		text, err := json.Marshal(map[string]string{"AccessKeyId": w.Key().ID, "AccessKeySecret": w.Key().Secret})
		if err != nil {
			return ots.Credentials{}, err
		}
		return ots.ParseCredentials(text)
	}})
	w.must(err)
	w.t.Cleanup(c.Close)
	return c
}

func (w *river) create() {
	w.t.Helper()
	w.must(w.mine.CreateTable(context.Background(), ots.Table{
		Name: riverTable, Key: []ots.KeySchema{{Name: "k", Type: "INTEGER"}}, TTL: -1, MaxVersions: 1, Deviation: 1 << 31,
		AllowUpdate: true, Retention: 24 * time.Hour,
	}))
}

func (w *river) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// put writes rows with the number of the write, which it returns.
func (w *river) put(keys ...int64) int64 {
	w.t.Helper()
	w.n++
	rows := make([]ots.Mutation, len(keys))
	for i, k := range keys {
		rows[i] = ots.Mutation{
			Table: riverTable, Action: ots.PutRow, Key: ots.Key{{Name: "k", Value: k}},
			Cells: []ots.Cell{{Name: "n", Value: w.n, Version: w.n}},
		}
	}
	res, err := w.mine.Write(context.Background(), rows)
	w.must(err)
	for _, r := range res {
		w.must(r.Err)
	}
	return w.n
}

func (w *river) split(key int64) {
	w.t.Helper()
	w.must(w.SplitShard("lab", riverTable, key))
}

func (w *river) merge(i int) {
	w.t.Helper()
	w.must(w.MergeShards("lab", riverTable, i))
}

// stream switches the stream on or off.
func (w *river) stream(on bool) {
	w.t.Helper()
	ch := ots.TableChange{Stream: &on}
	if on {
		ch.Retention = 24 * time.Hour
	}
	w.must(w.mine.UpdateTable(context.Background(), riverTable, ch))
}

// oldest are positions of all shards at their oldest records.
func (w *river) oldest() []position {
	w.t.Helper()
	p, err := tips(context.Background(), w.c, riverTable, time.UnixMicro(1))
	w.must(err)
	for i := range p {
		p[i].Upto = time.Time{}
	}
	return p
}

// basin takes what a follower delivers, as the engine does: a set of positions
// that is always complete, and what came.
type basin struct {
	mu   sync.Mutex
	came *sync.Cond
	at   map[string]position
	got  []delivery
	rows map[int64][]int64    // of each key, the writes in their order
	fail func(delivery) error // is asked before a delivery is taken
	then func() error         // and after
	runs int                  // that go on
}

func newBasin(start []position) *basin {
	b := &basin{at: map[string]position{}, rows: map[int64][]int64{}}
	b.came = sync.NewCond(&b.mu)
	for _, p := range start {
		b.at[p.Shard] = p
	}
	return b
}

func (b *basin) deliver(ctx context.Context, d delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.came.Broadcast()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if b.fail != nil {
		if err := b.fail(d); err != nil {
			return err
		}
	}
	b.got = append(b.got, d)
	for _, r := range d.Records {
		k := r.Key[0].Value.(int64)
		b.rows[k] = append(b.rows[k], r.Cells[0].Value.(int64))
	}
	b.advance(d)
	if b.then != nil {
		return b.then()
	}
	return nil
}

// advance takes the positions of a delivery over.
func (b *basin) advance(d delivery) {
	b.at[d.After.Shard] = d.After
	for _, c := range d.Children {
		if _, there := b.at[c.Shard]; !there {
			b.at[c.Shard] = c
		}
		for _, p := range c.Parents {
			delete(b.at, p)
		}
	}
}

// set is a copy of the positions.
func (b *basin) set() []position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Values(b.at))
}

// wait waits for something to be so while a follower delivers.
func (b *basin) wait(t tester, so func() bool) {
	t.Helper()
	begun := time.Now()
	defer time.AfterFunc(longWait, b.came.Broadcast).Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for !so() {
		if b.runs == 0 {
			t.Fatal("the follower has ended")
		}
		if time.Since(begun) >= longWait {
			t.Fatalf("waited %v, and it did not come: %+v", longWait, b.at)
		}
		b.came.Wait()
	}
}

// last says whether the newest write of a key that came is this one.
func (b *basin) last(key, write int64) bool {
	r := b.rows[key]
	return len(r) > 0 && r[len(r)-1] == write
}

// run is a follower that runs.
type run struct {
	*follower
	cancel context.CancelFunc
	ended  chan error
}

func (w *river) follow(b *basin, change ...func(*followConfig)) *run {
	cfg := followConfig{
		Client: w.c, Table: riverTable, Start: b.set(), Deliver: b.deliver, Visibility: time.Millisecond,
		Busy: time.Millisecond, Idle: 5 * time.Millisecond, Check: 5 * time.Millisecond,
	}
	for _, do := range change {
		do(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{follower: newFollower(cfg), cancel: cancel, ended: make(chan error, 1)}
	b.mu.Lock()
	b.runs++
	b.mu.Unlock()
	go func() {
		err := r.Run(ctx)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.runs--
		b.came.Broadcast()
		r.ended <- err
	}()
	w.t.Cleanup(cancel)
	return r
}

// stop ends a follower and returns what Run returned.
func (r *run) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- err
	return err
}

// gap waits for the end of a follower, and returns why there is a gap.
func (w *river) gap(r *run) string {
	w.t.Helper()
	err := <-r.ended
	if g, ok := err.(*GapError); ok && g.Table == riverTable {
		return g.Why
	}
	w.t.Fatalf("ended with %v, want a gap", err)
	return ""
}
