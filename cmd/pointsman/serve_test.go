package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/controller"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// refusing is a ledger that takes no record, and is well otherwise.
type refusing struct{ *ledger.Store }

func (refusing) Commit(context.Context, failover.Record, []failover.AuditEntry) (controller.Receipt, error) {
	return controller.Receipt{}, errors.New("refused on purpose")
}

type noVerifier struct{}

func (noVerifier) Verify(context.Context, []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
	return nil
}

func TestReadinessAndMetricsShowAnInstanceThatGaveUpTheLead(t *testing.T) {
	store, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), Owner: "ctl-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p, err := failover.PresetPolicy(failover.PresetFastLab)
	if err != nil {
		t.Fatal(err)
	}
	p.Instance, p.By, p.Clusters, p.Primary = "orders", "ctl-1", [2]failover.ClusterName{"a", "b"}, "a"
	p.Names = []failover.NamePolicy{{
		Name: "orders.lab.test.", Provider: "embedded", Zone: "lab.test.", Embedded: true,
		Targets: map[failover.ClusterName]failover.Target{"a": "a.lab.test.", "b": "b.lab.test."},
	}}
	p.Vantages = []failover.VantagePolicy{{Name: "van-1", Domain: "rack-1"}}
	p.SingleVantage = true
	ctl, err := controller.New(controller.Config{
		Policies: []failover.Policy{p}, Lead: lead(store, time.Now()), Ledger: refusing{store}, Verifier: noVerifier{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ctl.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	proc := &process{store: store, ctl: ctl}
	deadline := time.Now().Add(patience)
	for {
		snap, _ := ctl.Snapshot("orders")
		if snap.Lapse != "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it leads although nothing can be recorded")
		}
		time.Sleep(time.Millisecond)
	}
	said := ""
	for _, c := range (health{proc}).Ready() {
		if !c.OK {
			said += c.Name + ": " + c.Why
		}
	}
	if !strings.HasPrefix(said, "deciding: orders: gave up the lead: ") || !strings.Contains(said, "refused on purpose") {
		t.Errorf("readiness says %q", said)
	}
	if v, _ := proc.view("orders"); v.Leading || !strings.Contains(strings.Join(v.Notices, "\n"), "gave up the lead") {
		t.Errorf("leading %v, notices %q", v.Leading, v.Notices)
	}
	snap, _ := ctl.Snapshot("orders")
	snap.Writing = time.Now().Add(-time.Minute)
	if got := held(t, snap); got["lapsed"] != 1 || got["commit_open_seconds"] < 60 {
		t.Errorf("metrics %v", got)
	}
	if got := held(t, controller.Snapshot{Instance: "orders"}); len(got) != 2 || got["lapsed"] != 0 || got["commit_open_seconds"] != 0 {
		t.Errorf("metrics of an instance that is well: %v", got)
	}
}

// held reads the metrics of what keeps an instance from deciding.
func held(t *testing.T, s controller.Snapshot) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(holding{newScrape(nil), s})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		got[strings.TrimPrefix(f.GetName(), "pointsman_")] = f.GetMetric()[0].GetGauge().GetValue()
	}
	return got
}

// holding scrapes one snapshot and nothing else.
type holding struct {
	*scrape
	snap controller.Snapshot
}

func (h holding) Collect(out chan<- prometheus.Metric) { reading{h.descs, out}.holds(&h.snap) }

func TestWhatKeepsAnInstanceFromDecidingIsSaid(t *testing.T) {
	now := time.Now()
	for want, s := range map[string]controller.Snapshot{
		"": {Writing: now.Add(-4 * time.Second)},
		"the ledger has been writing for 8s: nothing is decided until it is done": {Writing: now.Add(-8 * time.Second)},
		"gave up the lead: invalid; it tries again in 3s":                         {Lapse: "invalid", Again: now.Add(3 * time.Second)},
		"gave up the lead: yielded":                                               {Lapse: "yielded"},
	} {
		if got := strings.Join(holdups(&s, now), "|"); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
}
