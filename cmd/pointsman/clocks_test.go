package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
	reporting "pointsman/internal/report"
)

// A vantage whose clock is set wrong, and right again: what is shown, logged and
// kept of it, with the real sender, receiver, history and report.
func TestTheClockOfAVantageIsShownAndKept(t *testing.T) {
	var off atomic.Int64
	off.Store(int64(-2 * time.Second))
	var log bytes.Buffer
	p := manyOf(t, 1, 10)
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	past, err := ledger.OpenHistory(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = past.Close() })
	p.past = past
	key := healthcheck.Key(strings.Repeat("k", 32))
	instance := p.ctl.Instances()[0]
	delivered := make(chan struct{}, 100)
	p.receiver, err = healthcheck.NewReceiver(healthcheck.ReceiverConfig{
		Vantages:  map[failover.VantageName][]healthcheck.Key{"van-1": {key}, "van-2": {key}},
		Instances: map[failover.InstanceName]time.Duration{instance: time.Second},
		Deliver:   func(failover.VantageName, healthcheck.InstanceReport, time.Time) { delivered <- struct{}{} },
		Clock:     p.heardClock,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(healthcheck.ReportPath, p.receiver)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s, err := healthcheck.NewSender(healthcheck.SenderConfig{
		Vantage: "van-1", Key: key, Controllers: []string{srv.URL}, Wall: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	send := func(n int) {
		for range n {
			s.Send(healthcheck.InstanceReport{Vantage: "van-1", Instance: instance, Sick: "no matter"})
			<-delivered
		}
	}
	send(3)
	cs := p.vantageClocks()
	if len(cs) != 2 || cs[0].Vantage != "van-1" || !cs[0].Off || (time.Duration(cs[0].OffsetNS)+2*time.Second).Abs() > time.Duration(cs[0].WithinNS) || cs[1].Unknown == "" {
		t.Fatalf("clocks %+v", cs)
	}
	v := failover.View{Clusters: []failover.ClusterView{{Votes: []failover.VantageView{{Vantage: "van-1"}}}}}
	var shown strings.Builder
	writeClocks(&shown, clocksOf(&v, cs))
	if got := shown.String(); !strings.HasPrefix(got, "clock of vantage van-1: 2s behind, to within ") || strings.Count(got, "\n") != 1 {
		t.Errorf("shown: %s", got)
	}
	if got := clockWords(cs[1]); !strings.HasPrefix(got, "unknown, no message") {
		t.Errorf("shown: %s", got)
	}
	off.Store(0)
	send(3)
	if cs := p.vantageClocks(); cs[0].Off || cs[0].Unknown != "" {
		t.Errorf("right again: %+v", cs[0])
	}
	if said := log.String(); strings.Count(said, "are apart") != 1 || strings.Count(said, "right again") != 1 {
		t.Errorf("logged: %s", said)
	}

	r := newRecording(p)
	r.beat(time.Now())
	reports := reporting.New(reporting.Setup{Dir: t.TempDir(), Source: reported{p}, Past: past, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, nil)
	made, err := reports.Make(t.Context(), reporting.Ask{By: "me"})
	if err != nil {
		t.Fatal(err)
	}
	c := made.Vantages[0]
	if c.Now == nil || c.Now.Off() || c.Worst == nil || c.Worst.Offset > -1900*time.Millisecond || c.Known != 1 || made.Vantages[1].Now != nil || made.Vantages[1].Worst != nil {
		t.Errorf("in the report: %+v, %+v", c, made.Vantages[1])
	}
	if w := made.ClockWarnings(); len(w) != 1 || !strings.HasPrefix(w[0], "the clock of vantage van-1 was 2s behind") {
		t.Errorf("warnings %q", w)
	}
	ss, err := past.List(t.Context(), ledger.HistoryFilter{Kind: reporting.KindClock})
	if err != nil || len(ss) != 1 {
		t.Fatalf("%d samples, %v", len(ss), err)
	}
	if got := sampleWords(api.Sample{Kind: ss[0].Kind, Data: json.RawMessage(ss[0].Data)}); !strings.Contains(got, "it was at worst 2s behind") {
		t.Errorf("history: %s", got)
	}
	if again := p.clocks.untold(time.Now()); len(again) != 0 {
		t.Errorf("told twice: %+v", again)
	}
}
