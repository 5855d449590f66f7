package api

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a controller in memory: one instance, orders, and a reply that the
// test chooses.
type world struct {
	mu      sync.Mutex
	view    failover.View
	changed chan struct{}
	reply   failover.Reply
	askErr  error
	chain   error
	ready   []Condition
	live    error

	asked   []failover.Command // every command that came in
	queries []Query
}

func newWorld() *world {
	return &world{
		changed: make(chan struct{}),
		view: failover.View{
			Instance: "orders", Leading: true, Active: "a", Standby: "b", Mode: "auto",
			Token: failover.Token{Term: 3, Epoch: 7},
			Names: []failover.NameView{{NameRecord: failover.NameRecord{Name: "orders.lab.test.", Value: "a.lab.test."}}},
		},
		reply: failover.Reply{Code: failover.ReplyDone, Text: "done"},
	}
}

func (w *world) change(f func(*failover.View)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.view)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) commands() []failover.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]failover.Command(nil), w.asked...)
}

func (w *world) Names() []failover.InstanceName { return []failover.InstanceName{"orders"} }

func (w *world) Sketch(n failover.InstanceName) (failover.View, bool) { return w.View(n) }

func (w *world) View(n failover.InstanceName) (failover.View, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view, n == "orders"
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) Explain(context.Context, failover.InstanceName) (failover.Explanation, error) {
	return failover.Explanation{Headline: "nothing to do"}, w.askErr
}

func (w *world) Plan(_ context.Context, n failover.InstanceName, c failover.Command) (failover.Plan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, c)
	return failover.Plan{
		Version: failover.PlanVersion, Instance: n, Kind: failover.OpKind(c.Do), From: "a", To: "b", Epoch: 7, Hash: "h1",
		Changes: true, Override: c.Override, AcceptLoss: c.AcceptLoss, Reason: c.Reason,
	}, w.askErr
}

func (w *world) Do(_ context.Context, _ failover.InstanceName, c failover.Command) (failover.Reply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, c)
	return w.reply, w.askErr
}

func (w *world) note(q Query) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queries = append(w.queries, q)
}

func (w *world) Audit(_ context.Context, q Query) ([]AuditLine, error) {
	w.note(q)
	return []AuditLine{{Seq: 1, AuditEntry: failover.AuditEntry{Kind: "create", Text: "made"}, Hash: "aa"}}, nil
}
func (w *world) VerifyChain(context.Context) error { return w.chain }

func (w *world) History(_ context.Context, q Query) ([]Sample, error) {
	w.note(q)
	return nil, nil
}

func (w *world) Probes(_ context.Context, q Query) ([]ProbeLine, error) {
	w.note(q)
	return []ProbeLine{{Cluster: "a", Result: "miss", Phase: "dial", Took: time.Millisecond}}, nil
}

func (w *world) Live() error        { return w.live }
func (w *world) Ready() []Condition { return w.ready }

var errGone = errors.New("owner is gone")

const testToken = "0123456789abcdef0123456789abcdef"

func (w *world) config(t testing.TB) Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Config{
		Socket: filepath.Join(dir, "s"), Instances: w, Decisions: w, Audit: w, History: w, Probes: w, Health: w,
		Version: Version{Version: "test", Go: "go"},
	}
}

// serve runs a server for the test and returns it.
func serveTest(t testing.TB, cfg Config) *Server {
	t.Helper()
	return serveChanged(t, cfg, func(s *Server) { s.door.delay = 0 })
}

func serveChanged(t testing.TB, cfg Config, change func(*Server)) *Server {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	change(s)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("server ended with %v", err)
			}
		case <-time.After(2 * time.Minute):
			t.Error("server did not end")
		}
	})
	return s
}

func overSocket(t *testing.T, w *world) *Client {
	t.Helper()
	cfg := w.config(t)
	serveTest(t, cfg)
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
