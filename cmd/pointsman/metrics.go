package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// metrics are what Prometheus reads. Labels are names from the config and
// words of the program, never words from outside, and no more instances than
// controller.metrics_instances have series of their own, so their number is
// bounded.
// What the rooms count themselves is read from them at each scrape (scrape.go).
type metrics struct {
	registry *prometheus.Registry

	commitSeconds prometheus.Histogram
	commands      *prometheus.CounterVec
	refusals      *prometheus.CounterVec
	operations    *prometheus.CounterVec
	transitions   *prometheus.CounterVec
	pages         *prometheus.CounterVec
}

func newMetrics(v api.Version) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pointsman_commit_seconds", Help: "Time to make one commit of the ledger durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14), // 0.5 ms to 4 s
		}),
		commands:    counter("pointsman_commands_total", "Commands of people, by verb and reply.", "verb", "reply"),
		refusals:    counter("pointsman_refusals_total", "Refusals of commands, by the guard that refused.", "instance", "guard"),
		operations:  counter("pointsman_operations_total", "Operations that ended.", "instance", "kind", "outcome"),
		transitions: counter("pointsman_transitions_total", "Changes of an instance, by what changed.", "instance", "kind"),
		pages:       counter("pointsman_pages_total", "Calls for people.", "instance", "kind"),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "pointsman_build_info", Help: "What runs; always 1.",
		ConstLabels: prometheus.Labels{"version": v.Version, "revision": v.Revision, "goversion": v.Go},
	})
	info.Set(1)
	m.registry.MustRegister(
		m.commitSeconds, m.commands, m.refusals, m.operations, m.transitions, m.pages, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// watch adds what is read from the rooms at each scrape.
func (m *metrics) watch(p *process) {
	m.registry.MustRegister(newScrape(p))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

var (
	allVotes = []failover.Vote{failover.Unknown, failover.Up, failover.Down}
	allStops = []failover.StopKind{
		failover.StopPause, failover.StopFreeze, failover.StopCooldown,
		failover.StopUnacknowledged, failover.StopLockout, failover.StopDrift, failover.StopHooks,
	}
	allModes = []string{failover.ModeShadow.String(), failover.ModePropose.String(), failover.ModeAuto.String()}
)

// allPages are the kinds of calls for people of the core and the controller;
// replicationPages come beside them.
var allPages = []string{
	"auth-fault", "blind", "both-down", "config", "drift", "fault", "held", "hook", "ledger", "move", "operation", "pause-stands", "proposal", "proposal-expired", "publication", "refused",
	string(failover.Settled), "slow-reads", "ttl", "unwind", string(failover.Unwound), "write-path", "yield", string(failover.Yielded),
}

// expect lets every call for a person that may come be 0 until then: what
// first appears as 1 is no increase to Prometheus.
func (m *metrics) expect(cfg *config.Config) {
	for _, i := range cfg.Instances {
		for _, kind := range allPages {
			m.pages.WithLabelValues(labelOf(cfg, i.Policy.Instance), kind)
		}
		if i.Replication == nil {
			continue
		}
		for _, kind := range replicationPages {
			m.pages.WithLabelValues(labelOf(cfg, i.Policy.Instance), kind)
		}
	}
}

// metricsInstances is how many instances may have series of their own.
func (p *process) metricsInstances() int { return p.now.Load().cfg.Controller.MetricsInstances }

// label names an instance in counters. With too many of them it is empty,
// which to Prometheus is no label: they count together.
func (p *process) label(i failover.InstanceName) string {
	return labelOf(p.now.Load().cfg, i)
}

func labelOf(cfg *config.Config, i failover.InstanceName) string {
	if len(cfg.Instances) > cfg.Controller.MetricsInstances {
		return ""
	}
	return string(i)
}

// forget drops the counters of an instance that a reload removed.
func (m *metrics) forget(i failover.InstanceName) {
	for _, v := range []*prometheus.CounterVec{m.refusals, m.operations, m.transitions, m.pages} {
		v.DeletePartialMatch(prometheus.Labels{"instance": string(i)})
	}
}
