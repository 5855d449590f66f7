package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pointsman/internal/failover"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a core that does what a test tells it and remembers every event.
type script struct {
	mu     sync.Mutex
	events []seen
	on     func(failover.InstanceName, failover.Event) []failover.Action
	wake   func(time.Time) time.Time
	view   func(failover.InstanceName) failover.View
}

type seen struct {
	instance failover.InstanceName
	event    failover.Event
	at       time.Time
}

func (s *script) core() Core {
	return Core{
		Step: func(st failover.State, p *failover.Policy, e failover.Event, now time.Time) (failover.State, []failover.Action) {
			s.mu.Lock()
			s.events = append(s.events, seen{p.Instance, e, now})
			on := s.on
			s.mu.Unlock()
			if on == nil {
				return st, nil
			}
			return st, on(p.Instance, e)
		},
		NextWake: func(_ *failover.State, _ *failover.Policy, now time.Time) time.Time {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.wake == nil {
				return time.Time{}
			}
			return s.wake(now)
		},
		Look: func(_ *failover.State, p *failover.Policy, _ time.Time) failover.View {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.view == nil {
				return failover.View{}
			}
			return s.view(p.Instance)
		},
	}
}

func (s *script) setWake(f func(time.Time) time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = f
}

func (s *script) setView(f func(failover.InstanceName) failover.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = f
}

// all returns what one instance saw, without ticks.
func (s *script) all(i failover.InstanceName) []failover.Event {
	var es []failover.Event
	for _, e := range s.stamped(i) {
		if _, tick := e.event.(failover.Tick); !tick {
			es = append(es, e.event)
		}
	}
	return es
}

func (s *script) stamped(i failover.InstanceName) []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	var es []seen
	for _, e := range s.events {
		if e.instance == i {
			es = append(es, e)
		}
	}
	return es
}

func (s *script) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

// only returns the events of type E that one instance saw.
func only[E failover.Event](s *script, i failover.InstanceName) []E {
	var es []E
	for _, e := range s.all(i) {
		if x, ok := e.(E); ok {
			es = append(es, x)
		}
	}
	return es
}

// memLedger is a ledger in memory; before stands in the way of commits.
type memLedger struct {
	mu      sync.Mutex
	records map[failover.InstanceName]failover.Record
	order   []string // audit texts of the commits, as they came in
	inside  int      // commits under way
	most    int
	before  func(context.Context, failover.Record) error
	after   func(failover.Record) error
	onLoad  func() error
}

func newLedger() *memLedger {
	return &memLedger{records: make(map[failover.InstanceName]failover.Record)}
}

func (m *memLedger) Load(_ context.Context, i failover.InstanceName) (failover.Record, bool, error) {
	m.mu.Lock()
	r, ok := m.records[i]
	onLoad := m.onLoad
	m.mu.Unlock()
	if onLoad != nil {
		if err := onLoad(); err != nil {
			return failover.Record{}, false, err
		}
	}
	return r, ok, nil
}

func (m *memLedger) Commit(ctx context.Context, r failover.Record, audit []failover.AuditEntry) (Receipt, error) {
	m.mu.Lock()
	m.inside++
	m.most = max(m.most, m.inside)
	for _, a := range audit {
		m.order = append(m.order, a.Text)
	}
	before := m.before
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.inside--
		m.mu.Unlock()
	}()
	if before != nil {
		if err := before(ctx, r); err != nil {
			return Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[r.Instance].Rev != r.Rev {
		return Receipt{}, fmt.Errorf("commit %s: %w", r.Instance, ErrConflict)
	}
	r.Rev++
	r.AuditHead = fmt.Sprintf("head-%d", r.Rev)
	m.records[r.Instance] = r
	if m.after != nil {
		if err := m.after(r); err != nil {
			return Receipt{}, err
		}
	}
	return Receipt{Record: r, Serials: map[failover.RecordName]uint32{"lab.test.": uint32(r.Rev)}}, nil
}

func (m *memLedger) audit() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.order)
}

// fakes is everything outside; each function may be left out.
type fakes struct {
	read   func(context.Context, failover.RecordName) (failover.NameRead, error)
	write  func(context.Context, failover.WriteName) (failover.WriteOutcome, error)
	verify func(context.Context, []failover.NameRecord) map[failover.RecordName]failover.NameAgreement
	gate   func(context.Context) error
	drain  func(context.Context) (failover.Drained, error)
	cut    func(context.Context) ([]string, error)
	hooks  func(context.Context) ([]failover.HookResult, error)
}

func (f *fakes) Read(ctx context.Context, n failover.RecordName) (failover.NameRead, error) {
	if f.read == nil {
		return failover.NameRead{Value: "a.example."}, nil
	}
	return f.read(ctx, n)
}

func (f *fakes) Write(ctx context.Context, w failover.WriteName) (failover.WriteOutcome, error) {
	if f.write == nil {
		return failover.WriteDone, nil
	}
	return f.write(ctx, w)
}

func (f *fakes) Verify(ctx context.Context, ns []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
	if f.verify == nil {
		got := make(map[failover.RecordName]failover.NameAgreement)
		for _, n := range ns {
			got[n.Name] = failover.NameAgreement{Agree: true, Asked: 2, Agreeing: 2, Wanted: n.Value}
		}
		return got
	}
	return f.verify(ctx, ns)
}

func (f *fakes) SetGate(ctx context.Context, _ failover.InstanceName, _ failover.SetGate) error {
	if f.gate == nil {
		return nil
	}
	return f.gate(ctx)
}

func (f *fakes) Drain(ctx context.Context, _ failover.InstanceName, _ failover.Drain) (failover.Drained, error) {
	if f.drain == nil {
		return failover.Drained{Empty: true}, nil
	}
	return f.drain(ctx)
}

func (f *fakes) Cut(ctx context.Context, _ failover.InstanceName, _ failover.Cut) ([]string, error) {
	if f.cut == nil {
		return []string{"10.0.0.7:1234"}, nil
	}
	return f.cut(ctx)
}

func (f *fakes) Run(ctx context.Context, _ failover.InstanceName, a failover.RunHooks) ([]failover.HookResult, error) {
	if f.hooks == nil {
		return []failover.HookResult{{Name: a.Hooks[0].Name, Verdict: failover.HookPassed}}, nil
	}
	return f.hooks(ctx)
}

const (
	orders  = failover.InstanceName("orders")
	billing = failover.InstanceName("billing")
)

var errBroken = errors.New("broken on purpose")

// policy is a valid one for an instance with one external name.
func policy(t *testing.T, i failover.InstanceName) failover.Policy {
	t.Helper()
	p, err := failover.PresetPolicy(failover.PresetFastLab)
	if err != nil {
		t.Fatal(err)
	}
	p.Instance, p.Clusters, p.Primary = i, [2]failover.ClusterName{"a", "b"}, "a"
	p.Names = []failover.NamePolicy{{
		Name: failover.RecordName(i) + ".example.", Provider: "bind", Zone: "example.",
		Targets: map[failover.ClusterName]failover.Target{"a": "a.example.", "b": "b.example."},
	}}
	for _, v := range []string{"1", "2", "3"} {
		p.Vantages = append(p.Vantages, failover.VantagePolicy{Name: failover.VantageName("van-" + v), Domain: failover.DomainName("rack-" + v)})
	}
	return p
}

// world is a controller with a scripted core and everything else faked.
type world struct {
	*Controller
	t      *testing.T
	script *script
	ledger *memLedger
	fakes  *fakes
	ended  chan error
	stop   context.CancelFunc
}

// build makes a world that leads under term 7 and does not run yet.
func build(t *testing.T, change func(*Config, *world)) *world {
	t.Helper()
	w := &world{t: t, script: &script{}, ledger: newLedger(), fakes: &fakes{}, ended: make(chan error, 1)}
	cfg := Config{
		Policies: []failover.Policy{policy(t, orders), policy(t, billing)},
		Lead:     lead(7),
		Ledger:   w.ledger, Names: map[string]Names{"bind": w.fakes}, Verifier: w.fakes,
		Gates: w.fakes, Drainer: w.fakes, Cutter: w.fakes, Hooks: w.fakes,
		Core: w.script.core(),
	}
	if change != nil {
		change(&cfg, w)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Controller = c
	return w
}

// lead is the lead under a term, for ever.
func lead(term uint64) failover.Lead {
	return failover.Lead{Leading: true, Term: term, Until: time.Now().AddDate(1, 0, 0)}
}

// run starts the world and waits until it is at rest.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.Run(ctx) }()
	synctest.Wait()
}

// end stops the world and waits for it.
func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.ended; err != nil {
		w.t.Errorf("run: %v", err)
	}
}

// inBubble runs a story with a running world on a virtual clock.
func inBubble(t *testing.T, change func(*Config, *world), story func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := build(t, change)
		w.run()
		defer w.end()
		story(t, w)
	})
}

// poke makes the script of orders act: it delivers a report, to which the
// script answers with actions.
func (w *world) poke(actions ...failover.Action) {
	w.t.Helper()
	w.script.mu.Lock()
	was := w.script.on
	done := false
	w.script.on = func(i failover.InstanceName, e failover.Event) []failover.Action {
		if r, ok := e.(failover.Report); ok && r.Sick == "poke" && !done {
			done = true
			return actions
		}
		if was != nil {
			return was(i, e)
		}
		return nil
	}
	w.script.mu.Unlock()
	if err := w.Deliver(orders, failover.Report{Vantage: "van-1", Sick: "poke"}); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

func name(embedded bool) failover.NameRecord {
	n := failover.NameRecord{Name: "orders.example.", Provider: "bind", Zone: "example.", Value: "a.example.", TTL: 5}
	if embedded {
		n.Provider, n.Embedded = "embedded", true
	}
	return n
}

func commit(rev uint64, text string) failover.Commit {
	return failover.Commit{
		Record: failover.Record{Version: failover.RecordVersion, Instance: orders, Rev: rev, Active: "a"},
		Audit:  []failover.AuditEntry{{Instance: orders, Text: text}},
	}
}
