package replication

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"path"
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

var (
	kills    = flag.Int("kills", 60, "how often TestKills kills the replicator")
	killSeed = flag.Uint64("kill-seed", 20261129, "of the choices of TestKills; 0 draws one")
)

// incarnation is one incarnation of a replicator: its calls, and its death.
type incarnation struct {
	m   *model
	rng *rand.Rand // of the one goroutine that makes it

	mu     sync.Mutex
	dead   bool
	died   string // where
	points int    // left until it dies at a point of Config.Fail; negative: it does not
	calls  int    // left until it dies at a call
	aim    string // where else it dies, as died says it
	lost   bool   // of that call only the answer is lost
	ripe   bool   // both are counted: from the first claim on, or at once
	cut    bool   // calls in flight end with it, done or not
	slow   bool   // if that call writes rows, they are written later, when the next one lives

	ctx    context.Context
	kill   context.CancelCauseFunc
	flying sync.WaitGroup

	claimed failover.Exposure // the last word
	news    chan struct{}
}

func (l *incarnation) die(where string) {
	if l.dead {
		return
	}
	l.dead, l.died = true, where
	if l.cut {
		l.kill(errKilled)
	}
}

func (l *incarnation) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// point is Config.Fail.
func (l *incarnation) point(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m.points[name]++
	if l.ripe {
		if l.points == 0 || l.aim == "point "+name {
			l.die("point " + name)
		}
		l.points--
	}
	if l.dead {
		return errKilled
	}
	return nil
}

// lateCall is a call of a life that is over, which has not been done yet. None
// is longer under way than modelTimeout after that death; the next life must
// not write rows before.
type lateCall struct {
	since time.Time
	done  chan struct{}
}

// modelTimeout is the longest life of a request.
const modelTimeout = 20 * time.Millisecond

func (m *model) postpone(req *http.Request, over http.RoundTripper) {
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return
	}
	c := &lateCall{since: time.Now(), done: make(chan struct{})}
	m.late.Store(c)
	go func() {
		defer close(c.done)
		time.Sleep(modelTimeout * 9 / 10)
		again := req.Clone(context.Background())
		again.Body = io.NopCloser(bytes.NewReader(body))
		if resp, err := over.RoundTrip(again); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
}

// outlive lets a write of rows go if no call of an earlier life can be under
// way. Should this machine be slower than such a call may be, it waits.
func (m *model) outlive() {
	c := m.late.Load()
	if c == nil {
		return
	}
	select {
	case <-c.done:
		return
	default:
	}
	if d := time.Since(c.since); d < modelTimeout {
		m.t.Errorf("rows are written %v after a life whose calls may live for %v", d, modelTimeout)
	}
	<-c.done
}

// wire is the transport of all its clients.
type wire struct {
	over http.RoundTripper
	l    *incarnation
}

// RoundTrip does a call whole, so that a death in the middle has one moment.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	l := w.l
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		req.Body.Close()
		return nil, errKilled
	}
	name := path.Base(req.URL.Path)
	mine := l.ripe && l.calls == 0
	if l.ripe {
		l.calls--
	}
	if mine && !l.lost {
		l.die("before " + name)
		l.mu.Unlock()
		if l.slow && name == "BatchWriteRow" {
			l.m.postpone(req, w.over)
		} else {
			req.Body.Close()
		}
		return nil, errKilled
	}
	l.flying.Add(1)
	l.mu.Unlock()
	if name == "BatchWriteRow" {
		l.m.outlive()
	}
	// The call goes on when nobody waits for it any more, and the next life begins
	// after it: how long a server that was left takes is up to this machine. What
	// is carried out late is the business of postpone.
	type answer struct {
		resp *http.Response
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		defer l.flying.Done()
		resp, err := w.over.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
			resp.Body = io.NopCloser(bytes.NewReader(body))
		}
		answered <- answer{resp, err}
	}()
	var a answer
	select {
	case a = <-answered:
	case <-req.Context().Done():
		a.err = context.Cause(req.Context())
	case <-l.ctx.Done():
		a.err = context.Cause(l.ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if mine {
		l.die("after " + name)
	}
	if l.dead {
		return nil, errKilled
	}
	return a.resp, a.err
}

func (l *incarnation) tell(e failover.Exposure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	l.claimed = e
	l.ripe = l.ripe || e.Known
	select {
	case l.news <- struct{}{}:
	default:
	}
}

func (l *incarnation) claim() (upto time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.claimed.Sampled.Add(-l.claimed.Lag), l.claimed.Known && l.claimed.Gap == ""
}

func (l *incarnation) config(dir string) Config {
	cluster := func(s *lab.Server) ClusterConfig {
		c := ots.Config{
			Endpoint: s.Endpoint(), Instance: "lab", Timeout: 5 * time.Second,
			Wrap: func(over http.RoundTripper) http.RoundTripper { return wire{over, l} },
			Credentials: func() (ots.Credentials, error) {
				text, err := json.Marshal(map[string]string{"AccessKeyId": s.Key().ID, "AccessKeySecret": s.Key().Secret})
				if err != nil {
					return ots.Credentials{}, err
				}
				return ots.ParseCredentials(text)
			},
		}
		return ClusterConfig{Source: c, Target: c, Control: c}
	}
	var log *slog.Logger
	if *killLog {
		log = slog.New(slog.NewTextHandler(l.m.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return Config{
		Instance: "orders.example.", Clusters: map[failover.ClusterName]ClusterConfig{"a": cluster(l.m.a), "b": cluster(l.m.b)},
		Visibility: modelVisibility, Busy: time.Millisecond, Idle: 10 * time.Millisecond, Timeout: modelTimeout,
		Discover: 20 * time.Millisecond, Look: 50 * time.Millisecond, Save: 10 * time.Millisecond, Dir: dir, By: "test",
		TellExposure: l.tell, Fail: l.point, Log: log,
	}
}

var killLog = flag.Bool("kill-log", false, "let TestKills log what replicators say")

// modelVisibility is above the delay that the lab's streams have.
const (
	modelVisibility = 10 * time.Millisecond
	modelDelay      = 5 * time.Millisecond
)

// live runs one incarnation under the given term until it dies, or, if until is
// not nil, until that is so. It returns when nothing of it is under way.
func (l *incarnation) live(dir string, term uint64, until func() bool) {
	t := l.m.t
	l.ctx, l.kill = context.WithCancelCause(context.Background())
	defer l.kill(nil)
	l.news = make(chan struct{}, 1)
	r, err := New(l.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	r.Follow(Course{Token: failover.Token{Term: term, Epoch: 1}, Leading: true, Active: "a", Standby: "b", State: failover.StandbyPlain})
	ctx, end := context.WithCancel(context.Background())
	defer end()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = r.Run(ctx)
	}()
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	stuck := time.NewTimer(modelPatience)
	defer stuck.Stop()
	for !l.isDead() && (until == nil || !until()) {
		select {
		case <-look.C:
			if l.rng != nil {
				l.happen()
			}
		case <-l.news:
		case <-ended:
			if !l.isDead() {
				t.Fatalf("it ended by itself: %v", err)
			}
		case <-stuck.C:
			t.Fatalf("nothing happens: %+v", r.Status())
		}
	}
	if l.rng != nil {
		l.mu.Lock()
		l.ripe, l.points = true, l.rng.IntN(4) // on the way to its end
		l.mu.Unlock()
	}
	end()
	<-ended
	l.flying.Wait()
}

// happen is what may be in the middle of a life.
func (l *incarnation) happen() {
	switch l.rng.IntN(100) {
	case 0:
		l.m.trouble(l.rng)
	case 1:
		upto, ok := l.claim()
		if !ok {
			return
		}
		err := l.m.untrue(upto)
		if _, still := l.claim(); still && err != nil {
			l.m.t.Fatalf("it claimed everything up to %v before\n%v", time.Since(upto), err)
		}
	}
}

// modelPatience is after how long a life without a death is a failure; nothing
// is judged by it otherwise.
const modelPatience = time.Minute

// TestKills: clients write, shards split and merge, streams are trimmed and made
// anew, both clusters fail in all ways, and the replicator dies again and again,
// at every point and in every call. At each death what it claimed last is true
// of what the target has then, and whenever it is left alone both sides are the
// same.
func TestKills(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	m := newModel(t)
	m.furnish()
	m.write(seed, 3, 2*time.Millisecond)
	halted := false
	defer func() {
		if !halted {
			m.halt()
		}
	}()
	dir := t.TempDir()
	where := map[string]int{}
	judged := 0
	term := uint64(0)
	for n := range *kills {
		m.trouble(rng)
		term++
		l := &incarnation{m: m, rng: rng, points: -1, calls: -1, cut: rng.IntN(2) == 0, lost: rng.IntN(2) == 0, slow: rng.IntN(2) == 0, ripe: rng.IntN(3) == 0}
		looks := rng.IntN(200)
		until := func() bool { looks--; return looks < 0 }
		switch rng.IntN(12) {
		case 0: // it is told to end, and dies of that
		case 1, 2, 3, 4:
			// Where it has died least.
			l.aim = "point " + slices.MinFunc(slices.Sorted(maps.Keys(m.points)), func(a, b string) int { return where["point "+a] - where["point "+b] })
			if rng.IntN(2) == 0 { // so that it copies
				m.trim(modelTables[rng.IntN(len(modelTables))].name)
			}
		case 5, 6, 7:
			until = nil
			l.points = rng.IntN(1 + 1<<rng.IntN(7))
		default:
			until = nil
			l.calls = rng.IntN(1 + 1<<rng.IntN(9))
		}
		l.live(dir, term, until)
		where[cmp.Or(l.died, "not at all")]++
		if *killLog {
			t.Logf("death %d: %s", n+1, l.died)
		}
		if upto, ok := l.claim(); ok {
			judged++
			if err := m.untrue(upto); err != nil {
				t.Fatalf("killed %s (death %d): it claimed everything up to %v before\n%v", l.died, n+1, time.Since(upto), err)
			}
		}
		if n%25 == 24 {
			term++
			m.settle(dir, term)
		}
	}
	m.halt()
	halted = true
	term++
	m.settle(dir, term)
	t.Logf("%d deaths, %d claims judged", *kills, judged)
	for _, w := range slices.Sorted(maps.Keys(where)) {
		t.Logf("%5d %s", where[w], w)
	}
	for _, p := range slices.Sorted(maps.Keys(m.points)) {
		if where["point "+p] == 0 && *kills >= 1000 {
			t.Errorf("it came to %s %d times and never died there", p, m.points[p])
		}
	}
}

// settle lets a replicator do its work undisturbed while no client writes, and
// compares both sides when it says that it is done.
func (m *model) settle(dir string, term uint64) {
	m.t.Helper()
	m.pause.Lock()
	defer m.pause.Unlock()
	m.a.Heal()
	m.b.Heal()
	now := time.Now()
	l := &incarnation{m: m, points: -1, calls: -1}
	l.live(dir, term, func() bool {
		upto, ok := l.claim()
		return ok && upto.After(now)
	})
	if d := m.differences(); len(d) > 0 {
		m.t.Fatalf("%d rows differ:\n%s", len(d), strings.Join(d, "\n"))
	}
	if err := m.untrue(now); err != nil {
		m.t.Fatal(err)
	}
}

// furnish makes our own tables, and rows that nobody writes any more.
func (m *model) furnish() {
	ctx := context.Background()
	for _, s := range []*lab.Server{m.a, m.b} {
		s.StreamDelay(modelDelay)
		l := &incarnation{m: m, points: -1, calls: -1, ctx: ctx}
		c, err := ots.Open(l.config("").Clusters[map[*lab.Server]failover.ClusterName{m.a: "a", m.b: "b"}[s]].Control)
		if err != nil {
			m.t.Fatal(err)
		}
		defer c.Close()
		for _, table := range []ots.Table{controlSchema(Prefix + "replication"), deadSchema(Prefix + "dead_letters")} {
			if err := c.CreateTable(ctx, table); err != nil {
				m.t.Fatal(err)
			}
		}
		if s == m.b {
			continue
		}
		var rows []ots.Mutation
		for i := range 200 {
			rows = append(rows, ots.Mutation{
				Table: "orders", Action: ots.PutRow, Key: ots.Key{{Name: "id", Value: fmt.Sprintf("o%02d", i%20)}, {Name: "n", Value: int64(1000 + i)}},
				Cells: []ots.Cell{{Name: "now", Value: int64(i), Version: 1_600_000_000_000}},
			})
		}
		if _, err := c.Write(ctx, rows); err != nil {
			m.t.Fatal(err)
		}
	}
}

// trouble does something to the clusters, now and then.
func (m *model) trouble(rng *rand.Rand) {
	did := func(format string, args ...any) {
		if *killLog {
			m.t.Logf("trouble: "+format, args...)
		}
	}
	table := modelTables[rng.IntN(len(modelTables))].name
	must := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	switch rng.IntN(12) {
	case 0:
		did("split %s: %v", table, m.a.SplitShard("lab", table)) // refused where there is nothing to cut
	case 1:
		parts, err := m.a.Partitions("lab", table)
		must(err)
		if len(parts) > 1 {
			did("merge %s", table)
			must(m.a.MergeShards("lab", table, rng.IntN(len(parts)-1)))
		}
	case 2:
		switch rng.IntN(8) {
		case 0, 1: // what was not read yet, too
			did("trim %s", table)
			m.trim(table)
		case 2:
			// Where the clock was set back records go in another order than they
			// came, which no service does that has them expire.
			if m.mixed[table] {
				return
			}
			n, err := m.a.Trim("lab", table, time.Now().Add(-50*time.Millisecond))
			must(err)
			did("trim %s: %d records", table, n)
		case 3:
			did("another stream of %s", table)
			m.stream(table, false)
			m.stream(table, true)
		case 4, 5, 6:
			did("another table, or none")
			m.passing(rng)
		}
	case 3:
		if rng.IntN(4) == 0 {
			offset := time.Duration(rng.IntN(7)-3) * time.Minute
			did("clock %v", offset)
			m.a.SetClockOffset(offset)
			for _, t := range modelTables {
				m.mixed[t.name] = true
			}
		}
	case 4, 5, 6, 7:
		s := []*lab.Server{m.a, m.b}[rng.IntN(2)]
		f := modelFaults[rng.IntN(len(modelFaults))]
		f.Skip = rng.IntN(20)
		switch {
		case f.Operation != "":
		case s == m.b && rng.IntN(5) > 0:
			f.Operation = "BatchWriteRow"
		case s == m.a:
			f.Operation = []string{"GetStreamRecord", "DescribeStream", "GetShardIterator", "GetRange", "DescribeTable", "ListStream", "UpdateRow"}[rng.IntN(7)]
		}
		did("%+v", f)
		_, err := s.Fail(f, 1+rng.IntN(3))
		must(err)
	}
}

// trim removes all records that there are.
func (m *model) trim(table string) {
	if _, err := m.a.Trim("lab", table, time.Now().Add(time.Hour)); err != nil {
		m.t.Fatal(err)
	}
	delete(m.mixed, table)
}

// stream switches the stream of a table.
func (m *model) stream(table string, on bool) {
	for {
		if _, err := m.seen[m.a].UpdateTable(&sdk.UpdateTableRequest{
			TableName: table, StreamSpec: &sdk.StreamSpecification{EnableStream: on, ExpirationTime: 168},
		}); err == nil {
			return
		}
	}
}

// passing makes that table, with a row, or removes it again; at the source
// first, as people do.
func (m *model) passing(rng *rand.Rand) {
	table := passing
	for _, s := range []*lab.Server{m.a, m.b} {
		for m.there {
			_, err := m.seen[s].DeleteTable(&sdk.DeleteTableRequest{TableName: table.name})
			if e, ok := errors.AsType[*sdk.OtsError](err); err == nil || ok && e.Code == "OTSObjectNotExist" {
				break
			}
		}
		if !m.there {
			m.create(s, table)
		}
	}
	if m.there = !m.there; m.there {
		put := &sdk.PutRowChange{TableName: table.name, PrimaryKey: sdkKeyOf("k", rng.Int64())}
		put.AddColumn("now", rng.Int64())
		put.SetCondition(sdk.RowExistenceExpectation_IGNORE)
		_, _ = m.seen[m.a].PutRow(&sdk.PutRowRequest{PutRowChange: put})
	}
}

var modelFaults = []lab.Fault{
	{Kind: lab.Drop, After: true},
	{Kind: lab.Drop},
	{Kind: lab.Reset, After: true},
	{Kind: lab.Truncated},
	{Kind: lab.Malformed},
	{Kind: lab.Empty},
	{Kind: lab.HTML, After: true},
	{Kind: lab.ErrorCode, Code: "OTSServerBusy"},
	{Kind: lab.ErrorCode, Code: "OTSTimeout", After: true},
	{Kind: lab.ErrorCode, Code: "OTSPartitionUnavailable"},
	{Kind: lab.Throttled},
	{Kind: lab.Late, Delay: 20 * time.Millisecond},
	{Kind: lab.Late, Delay: 20 * time.Millisecond, After: true},
	{Kind: lab.Drop, After: true, Operation: "BatchWriteRow"},
	{Kind: lab.Drop, After: true, Operation: "PutRow"},
}
