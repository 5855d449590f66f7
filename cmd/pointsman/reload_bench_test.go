package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
)

// manyConfig is a file of n instances whose clusters answer, probed so rarely
// that a reload is all there is to measure.
func manyConfig(n int, dns, control, a, b string) string {
	var s strings.Builder
	fmt.Fprintf(&s, `controller: {name: ctl-1, data: data, socket: s/s}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://%s"]}
authority:
  listen: ["%s"]
  zones:
    - name: lab.test.
      ns: [ns1.lab.test.]
      hosts: {ns1.lab.test.: [127.0.0.1], a.lab.test.: [127.0.0.1], b.lab.test.: [127.0.0.1]}
instances:
`, control, dns)
	for i := range n {
		fmt.Fprintf(&s, `  - name: orders-%[1]d
    preset: fast-lab
    names: [{name: orders-%[1]d.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "%[2]s"}
      b: {target: b.lab.test., address: "%[3]s"}
    primary: a
    round: 10m
    timeout: 400ms
    burst: 50ms
    rise: 2
    cooldown: 1h
    config_settle: 0s
    watch: "off"
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`, i, a, b)
	}
	return s.String()
}

// BenchmarkReload changes one line of many instances in a whole process and
// takes the file. Beside each stands a first reading of
// the same file, in the same process: the figures move with the machine, their
// ratio does not. The heap is what is left after both.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { reloadOf(b, n) })
	}
}

func reloadOf(b *testing.B, n int) {
	dir, err := os.MkdirTemp("", "bench") // short: a socket's path has 107 bytes
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "pointsman.yaml")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	dns, err := freePort()
	if err != nil {
		b.Fatal(err)
	}
	answer := func(c string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", c) }))
		b.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	text := manyConfig(n, dns, l.Addr().String(), answer("a"), answer("b"))
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			b.Fatal(err)
		}
	}
	load := func() *config.Config {
		cfg, err := config.Load(file)
		if err != nil {
			b.Fatal(err)
		}
		return cfg
	}
	write(text)
	ctx, cancel := context.WithCancel(b.Context())
	p, err := newProcess(ctx, processConfig{Config: load(), Log: slog.New(slog.DiscardHandler), Version: buildVersion()})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	for len(p.authority.Stats().Unpublished) > 0 {
		time.Sleep(100 * time.Millisecond)
	}
	before := heapMiB()
	var first, again time.Duration
	i := 0
	for b.Loop() {
		i++
		write(strings.Replace(text, "timeout: 400ms", fmt.Sprintf("timeout: %dms", 100+i%200), 1))
		began := time.Now()
		out, err := p.reloads.Reload(ctx, api.ReloadRequest{By: "bench"})
		again += time.Since(began)
		if err != nil || out.Result == api.ReloadRefused || len(out.Changes) > 1 {
			b.Fatalf("%v %+v", err, out)
		}
		began = time.Now()
		load()
		first += time.Since(began)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(again.Milliseconds())/float64(i), "ms/reload")
	b.ReportMetric(float64(first.Milliseconds())/float64(i), "ms/first-reading")
	b.ReportMetric(float64(again)/float64(first), "reload/first-reading")
	b.ReportMetric(before, "MiB-before")
	b.ReportMetric(heapMiB(), "MiB-after")
}

func heapMiB() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
