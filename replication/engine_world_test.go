package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aliyun/aliyun-tablestore-go-sdk/tablestore"

	"pointsman/internal/failover"
	lab "pointsman/internal/lab/tablestore"
	"pointsman/replication/ots"
)

// railway is two clusters in this process, a and b, and replicators on them.
type railway struct {
	t    *testing.T
	a, b *station

	mu       sync.Mutex
	cond     *sync.Cond
	exposure []failover.Exposure
	standby  []failover.StandbyChanged
	die      func(point string) error
	engines  []*engine // that were started
}

// station is one cluster and a client of it that may do everything.
type station struct {
	*lab.Server
	c *ots.Client
}

func newRailway(t *testing.T) *railway {
	t.Helper()
	w := &railway{t: t, a: newStation(t), b: newStation(t)}
	w.cond = sync.NewCond(&w.mu)
	for _, s := range []*station{w.a, w.b} {
		w.must(s.c.CreateTable(t.Context(), controlSchema(Prefix+"replication")))
		w.must(s.c.CreateTable(t.Context(), deadSchema(Prefix+"dead_letters")))
	}
	return w
}

func newStation(t *testing.T) *station {
	t.Helper()
	s, err := lab.New(lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := ots.Open(stationConfig(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &station{s, c}
}

func stationConfig(s *lab.Server) ots.Config {
	return ots.Config{Endpoint: s.Endpoint(), Instance: "lab", Timeout: 10 * time.Second, Credentials: func() (ots.Credentials, error) {
		text, err := json.Marshal(map[string]string{"AccessKeyId": s.Key().ID, "AccessKeySecret": s.Key().Secret})
		if err != nil {
			return ots.Credentials{}, err
		}
		return ots.ParseCredentials(text)
	}}
}

func (w *railway) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// table makes a table at both sides, with streams.
func (w *railway) table(name string) {
	w.t.Helper()
	for _, s := range []*station{w.a, w.b} {
		s.make(w.t, plainTable(name))
	}
}

func plainTable(name string) ots.Table {
	return ots.Table{
		Name: name, Key: []ots.KeySchema{{Name: "k", Type: "INTEGER"}}, TTL: -1, MaxVersions: 3, Deviation: 1<<31 - 1,
		AllowUpdate: true, Retention: 168 * time.Hour, Stream: "on",
	}
}

func (s *station) make(t *testing.T, table ots.Table) {
	t.Helper()
	if err := s.c.CreateTable(t.Context(), table); err != nil {
		t.Fatal(err)
	}
}

func (s *station) drop(t *testing.T, table string) {
	t.Helper()
	c := sdk.NewClientWithConfig(s.Endpoint(), "lab", s.Key().ID, s.Key().Secret, "", nil)
	if _, err := c.DeleteTable(&sdk.DeleteTableRequest{TableName: table}); err != nil {
		t.Fatal(err)
	}
}

func keyOf(k int64) ots.Key { return ots.Key{{Name: "k", Value: k}} }

// put writes rows, as a client would.
func (s *station) put(t *testing.T, table string, value string, keys ...int64) {
	t.Helper()
	now := time.Now().UnixMilli()
	var rows []ots.Mutation
	for _, k := range keys {
		rows = append(rows, ots.Mutation{Table: table, Action: ots.PutRow, Key: keyOf(k), Cells: []ots.Cell{{Name: "v", Value: value, Version: now}}})
	}
	for chunk := range slices.Chunk(rows, 200) {
		res, err := s.c.Write(t.Context(), chunk)
		for i := range res {
			err = errors.Join(err, res[i].Err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *station) remove(t *testing.T, table string, keys ...int64) {
	t.Helper()
	for _, k := range keys {
		res, err := s.c.Write(t.Context(), []ots.Mutation{{Table: table, Action: ots.DeleteRow, Key: keyOf(k)}})
		if err == nil {
			err = res[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// rows are all rows of a table, as text.
func (s *station) rows(ctx context.Context, table string) ([]string, error) {
	var out []string
	q := ots.RangeQuery{Table: table, MaxVersions: 10}
	for {
		p, err := s.c.Range(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range p.Rows {
			out = append(out, fmt.Sprint(r.Key, r.Cells))
		}
		if p.Next == nil {
			return out, nil
		}
		q.Start = p.Next
	}
}

// same says whether a table has the same rows at both sides.
func (w *railway) same(table string) bool {
	a, errA := w.a.rows(w.t.Context(), table)
	b, errB := w.b.rows(w.t.Context(), table)
	return errA == nil && errB == nil && slices.Equal(a, b)
}

// config is that of a replicator that is quick.
func (w *railway) config() Config {
	cluster := func(s *station) ClusterConfig {
		c := stationConfig(s.Server)
		return ClusterConfig{Source: c, Target: c, Control: c}
	}
	return Config{
		Instance: "orders.example.", Clusters: map[failover.ClusterName]ClusterConfig{"a": cluster(w.a), "b": cluster(w.b)},
		Visibility: 5 * time.Millisecond, Busy: time.Millisecond, Idle: 20 * time.Millisecond,
		Timeout: 50 * time.Millisecond, Discover: 40 * time.Millisecond, Look: 60 * time.Millisecond, Save: 20 * time.Millisecond,
		Dir: w.t.TempDir(), By: "test", Log: slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		TellExposure: func(e failover.Exposure) { w.hear(func() { w.exposure = append(w.exposure, e) }) },
		TellStandby:  func(s failover.StandbyChanged) { w.hear(func() { w.standby = append(w.standby, s) }) },
		Fail: func(point string) error {
			var err error
			w.hear(func() {
				if w.die != nil {
					err = w.die(point)
				}
			})
			return err
		},
	}
}

func (w *railway) hear(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	w.cond.Broadcast()
}

// longWait is for how long a test waits for something that has to come. Nothing
// is judged by it but that it never comes.
const longWait = 2 * time.Minute

// until waits until something is so; it looks whenever a replicator does
// anything.
func (w *railway) until(so func() bool) {
	w.t.Helper()
	w.untilIs("it is so", so)
}

// untilIs is until with a word for what is waited for.
func (w *railway) untilIs(what string, so func() bool) {
	w.t.Helper()
	begun := time.Now()
	for !so() {
		if over(w.t, begun) {
			w.t.Fatalf("waited %v until %s; what replicators say: %s", time.Since(begun).Round(time.Second), what, w.words())
		}
		w.mu.Lock()
		again := time.AfterFunc(10*time.Millisecond, func() { w.hear(func() {}) }) // what is looked at may change without a word
		w.cond.Wait()
		w.mu.Unlock()
		again.Stop()
	}
}

// over says whether a wait has taken too long: its time is over, or that of the
// test binary nearly.
func over(t testing.TB, begun time.Time) bool {
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, some := d.Deadline(); some && time.Until(end) < 5*time.Second {
			return true
		}
	}
	return time.Since(begun) > longWait
}

// words are the last that were heard, and the status of those that run.
func (w *railway) words() string {
	var b strings.Builder
	w.mu.Lock()
	if n := len(w.exposure); n > 0 {
		fmt.Fprintf(&b, "exposure %+v; ", w.exposure[n-1])
	}
	if n := len(w.standby); n > 0 {
		fmt.Fprintf(&b, "standby %+v; ", w.standby[n-1])
	}
	engines := w.engines
	w.mu.Unlock()
	for _, e := range engines {
		fmt.Fprintf(&b, "\n%+v", e.Status())
	}
	return b.String()
}

// engine is a replicator that runs.
type engine struct {
	*Replicator
	w      *railway
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// start runs a replicator until the test ends, or stop.
func (w *railway) start(cfg Config) *engine {
	w.t.Helper()
	r, err := New(cfg)
	w.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	e := &engine{Replicator: r, w: w, cancel: cancel, done: make(chan struct{})}
	w.hear(func() { w.engines = append(w.engines, e) })
	go func() {
		defer close(e.done)
		e.err = r.Run(ctx)
	}()
	w.t.Cleanup(func() { e.stop() })
	return e
}

func (e *engine) stop() error {
	e.cancel()
	<-e.done
	return e.err
}

// lead is the course of a process that leads, a to b.
func lead(term uint64) Course {
	return Course{
		Token: failover.Token{Term: term, Epoch: 1}, Leading: true,
		Active: "a", Standby: "b", State: failover.StandbyPlain,
	}
}

// table is the status of one table.
func (e *engine) table(name string) TableStatus {
	for _, t := range e.Status().Tables {
		if t.Table == name {
			return t
		}
	}
	return TableStatus{}
}

func (e *engine) untilPhase(table string, p Phase) TableStatus {
	e.w.t.Helper()
	e.w.untilIs(fmt.Sprintf("%s is %s", table, p), func() bool { return e.table(table).Phase == p })
	return e.table(table)
}

// untilStandby waits for the word that is last on the standby.
func (w *railway) untilStandby(state failover.StandbyState) {
	w.t.Helper()
	w.untilIs(fmt.Sprintf("the standby is said to be %s", state), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.standby) > 0 && w.standby[len(w.standby)-1].State == state
	})
}

// told is how many words on the exposure were heard.
func (w *railway) told() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.exposure)
}

// unreadable lets no row of a cluster be read, so that no copy goes on.
func (w *railway) unreadable(s *station) (heal func()) {
	w.t.Helper()
	id, err := s.Fail(lab.Fault{Kind: lab.ErrorCode, Code: "OTSServerUnavailable", Operation: "GetRange"}, -1)
	w.must(err)
	return func() { s.Heal(id) }
}

// untilExposure waits for a word on the exposure that comes after this call.
func (w *railway) untilExposure(so func(failover.Exposure) bool) {
	w.t.Helper()
	w.untilExposureAfter(w.told(), so)
}

// untilExposureAfter waits for one that comes after so many.
func (w *railway) untilExposureAfter(from int, so func(failover.Exposure) bool) {
	w.t.Helper()
	w.untilIs("such a word on the exposure comes", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.exposure[from:], so)
	})
}

// writes counts the requests that change something.
func (s *station) writes() (n int) {
	for _, op := range []string{"PutRow", "UpdateRow", "DeleteRow", "BatchWriteRow"} {
		n += len(s.Requests(lab.Filter{Operation: op}))
	}
	return n
}
