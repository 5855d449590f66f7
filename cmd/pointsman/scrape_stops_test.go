package main

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/internal/failover"
)

// oneView scrapes one view, without a process around it.
type oneView struct {
	*scrape
	view failover.View
}

func (o oneView) Collect(out chan<- prometheus.Metric) { reading{o.descs, out}.instance(o.view) }

func TestAStopShowsItsEndOnlyWhereItHasOne(t *testing.T) {
	end := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	reg := prometheus.NewRegistry()
	reg.MustRegister(oneView{newScrape(nil), failover.View{Instance: "orders", Stops: []failover.Stop{
		{Kind: failover.StopPause, Until: end},
		{Kind: failover.StopLockout},
	}}})
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]float64{}
	for _, f := range all {
		if f.GetName() != "pointsman_stop_until_timestamp_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "kind" {
					ends[l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	if len(ends) != 1 || ends["pause"] != float64(end.Unix()) {
		t.Errorf("ends of stops: %v", ends)
	}
}
