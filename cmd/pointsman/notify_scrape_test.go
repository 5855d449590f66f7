package main

import (
	"log/slog"
	"testing"

	"pointsman/internal/notify"
)

// Every counter of a channel is there from the start, each reason of a loss
// too: what first appears as 1 is no increase to Prometheus.
func TestMetricsOfChannelsAreThereFromTheStart(t *testing.T) {
	n, err := notify.Open(notify.Config{Log: slog.New(slog.DiscardHandler), Setup: notify.Setup{Channels: []notify.Channel{{Name: "files", Type: notify.Folder, Path: t.TempDir()}}}})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := n.Test(t.Context(), nil, "alice"); err != nil || !rows[0].OK {
		t.Fatalf("%+v, %v", rows, err)
	}
	got := gathered(t, newNotifyScrape(n))
	for series, want := range map[string]float64{
		"pointsman_notify_sent_total{channel=files}":                   1,
		"pointsman_notify_failed_total{channel=files}":                 0,
		"pointsman_notify_throttled_total{channel=files}":              0,
		"pointsman_notify_dropped_total{channel=files,reason=age}":     0,
		"pointsman_notify_dropped_total{channel=files,reason=full}":    0,
		"pointsman_notify_dropped_total{channel=files,reason=queue}":   0,
		"pointsman_notify_dropped_total{channel=files,reason=refused}": 0,
		"pointsman_notify_waiting{channel=files}":                      0,
		"pointsman_notify_oldest_seconds{channel=files}":               0,
		"pointsman_notify_outbox_durable{}":                            1,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v, %v", series, v, ok)
		}
	}
}
