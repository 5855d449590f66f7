package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/notify"
)

// notifyScrape reads the channels when Prometheus asks.
type notifyScrape struct {
	n                                                          *notify.Notifier
	sent, failed, throttled, dropped, waiting, oldest, durable *prometheus.Desc
	beats                                                      *prometheus.Desc
}

func newNotifyScrape(n *notify.Notifier) *notifyScrape {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &notifyScrape{
		n:         n,
		sent:      desc("pointsman_notify_sent_total", "Messages that a channel took, a digest counted once.", "channel"),
		failed:    desc("pointsman_notify_failed_total", "Tries that failed.", "channel"),
		throttled: desc("pointsman_notify_throttled_total", "Tries that the receiver answered with: later.", "channel"),
		dropped:   desc("pointsman_notify_dropped_total", "Messages that were given up.", "channel", "reason"),
		waiting:   desc("pointsman_notify_waiting", "Messages that wait for a channel.", "channel"),
		oldest:    desc("pointsman_notify_oldest_seconds", "Age of the oldest message that waits; 0: none does.", "channel"),
		durable:   desc("pointsman_notify_outbox_durable", "0 while messages wait in memory only."),
		beats:     desc("pointsman_notify_heartbeats_total", "Calls of the outside watcher.", "result"),
	}
}

// Describe sends every metric (prometheus.Collector).
func (s *notifyScrape) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.sent, s.failed, s.throttled, s.dropped, s.waiting, s.oldest, s.durable, s.beats} {
		ch <- d
	}
}

// Collect reads them (prometheus.Collector).
func (s *notifyScrape) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, c := range s.n.Stats() {
		count(s.sent, c.Sent, c.Channel)
		count(s.failed, c.Failed, c.Channel)
		count(s.throttled, c.Throttled, c.Channel)
		for why, n := range c.Dropped {
			count(s.dropped, n, c.Channel, why)
		}
		gauge(s.waiting, float64(c.Waiting), c.Channel)
		old := 0.0
		if !c.Oldest.IsZero() {
			old = max(time.Since(c.Oldest).Seconds(), 0)
		}
		gauge(s.oldest, old, c.Channel)
	}
	durable := 1.0
	if s.n.Trouble() != nil {
		durable = 0
	}
	gauge(s.durable, durable)
	if h, ok := s.n.Heartbeat(); ok {
		count(s.beats, h.Sent, "sent")
		count(s.beats, h.Failed, "failed")
		count(s.beats, h.Skipped, "skipped")
	}
}
