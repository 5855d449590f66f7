package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/config"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
)

// nothing is a ledger and a verifier of a controller that does not run.
type nothing struct{}

func (nothing) Load(context.Context, failover.InstanceName) (failover.Record, bool, error) {
	return failover.Record{}, false, nil
}

func (nothing) Commit(context.Context, failover.Record, []failover.AuditEntry) (controller.Receipt, error) {
	return controller.Receipt{}, nil
}

func (nothing) Verify(context.Context, []failover.NameRecord) map[failover.RecordName]failover.NameAgreement {
	return nil
}

// manyOf is a process with n instances that were never started, so that all of
// them need a look.
func manyOf(tb testing.TB, n, most int) *process {
	tb.Helper()
	p, err := failover.PresetPolicy(failover.PresetHTTP)
	if err != nil {
		tb.Fatal(err)
	}
	p.Clusters, p.Primary = [2]failover.ClusterName{"a", "b"}, "a"
	for v := range 3 {
		p.Vantages = append(p.Vantages, failover.VantagePolicy{Name: failover.VantageName(fmt.Sprint("van-", v)), Domain: failover.DomainName(fmt.Sprint("rack-", v))})
	}
	cfg := &config.Config{Controller: config.Controller{MetricsInstances: most}, Instances: make([]config.Instance, n)}
	var ps []failover.Policy
	for i := range n {
		p.Instance = failover.InstanceName(fmt.Sprintf("i%05d", i))
		p.Names = []failover.NamePolicy{{
			Name: failover.RecordName(p.Instance) + ".lab.test.", Provider: "embedded", Zone: "lab.test.", Embedded: true,
			Targets: map[failover.ClusterName]failover.Target{"a": "a.lab.test.", "b": "b.lab.test."},
		}}
		ps = append(ps, p)
	}
	ctl, err := controller.New(controller.Config{Policies: ps, Ledger: nothing{}, Verifier: nothing{}})
	if err != nil {
		tb.Fatal(err)
	}
	pr := &process{ctl: ctl}
	pr.now.Store(&fitting{cfg: cfg})
	return pr
}

// crowded scrapes the instances of a process and nothing else.
type crowded struct{ *scrape }

func (c crowded) Collect(out chan<- prometheus.Metric) { reading{c.descs, out}.instances(c.p) }

// read scrapes what is said of instances: series and their values.
func read(tb testing.TB, p *process) map[string]float64 {
	tb.Helper()
	return gathered(tb, crowded{newScrape(p)})
}

// gathered scrapes a collector: series and their values.
func gathered(tb testing.TB, c prometheus.Collector) map[string]float64 {
	tb.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	series := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			series[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue() // it is one of the two
		}
	}
	return series
}

func TestTheNumberOfSeriesHasABound(t *testing.T) {
	few, more := len(read(t, manyOf(t, 10, 500))), len(read(t, manyOf(t, 20, 500)))
	each := (more - few) / 10
	if each < 20 {
		t.Fatalf("%d series for each of a few instances", each)
	}
	for _, c := range []struct{ n, most int }{{10_000, 500}, {501, 500}, {100, 0}} {
		got := read(t, manyOf(t, c.n, c.most))
		if bound := few - 10*each + c.most*each; len(got) > bound {
			t.Errorf("%d instances: %d series, want at most %d", c.n, len(got), bound)
		}
		for series, want := range map[string]int{
			"pointsman_instances{phase=adopting}":                       c.n,
			"pointsman_instances_without_series{}":                      c.n - c.most,
			"pointsman_instances_need_look{why=not leading}":            c.n,
			"pointsman_instances_verdict{role=unknown,verdict=unknown}": 2 * c.n,
		} {
			if got[series] != float64(want) {
				t.Errorf("%d instances: %s is %v, want %d", c.n, series, got[series], want)
			}
		}
	}
}

func TestCountersOfManyInstancesCountTogether(t *testing.T) {
	if l := manyOf(t, 10, 10).label("i00001"); l != "i00001" {
		t.Errorf("one of few is counted as %q", l)
	}
	if l := manyOf(t, 11, 10).label("i00001"); l != "" {
		t.Errorf("one of too many is counted as %q", l)
	}
	m := newMetrics(buildVersion())
	m.transitions.WithLabelValues("gone", "lead").Inc()
	m.transitions.WithLabelValues("stays", "lead").Inc()
	m.pages.WithLabelValues("gone", "held").Inc()
	m.forget("gone")
	fs, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(fs)
	if strings.Contains(text, `"gone"`) || !strings.Contains(text, `"stays"`) {
		t.Error("the counters of a removed instance are still there, or those of another are not")
	}
}

// BenchmarkInstancesRead is what a scrape of 10,000 instances costs.
func BenchmarkInstancesRead(b *testing.B) {
	p := manyOf(b, 10_000, 500)
	began := time.Now()
	for b.Loop() {
		read(b, p)
	}
	b.ReportMetric(float64(time.Since(began).Milliseconds())/float64(b.N), "ms/scrape")
}
