package healthcheck

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// benchServer turns the test binary into the server of the benchmark, so that
// its work is not counted as ours.
const benchServer = "HEALTHCHECK_BENCH_SERVER"

func serveBenchmark() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", "a") }))
}

// BenchmarkHTTPProbe measures whole verdict probes (fresh connection, status,
// identity) per second of our own CPU time, kernel included.
func BenchmarkHTTPProbe(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatal("the server did not start")
	}
	tg := target(HTTP, lines.Text())
	tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
	p, err := NewProbe(tg, ProbeConfig{Vantage: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	before := cpuTime(b)
	// As on the scheduler's pool: several at a time.
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(b.Context(), tg.Timeout)
			if err := p(ctx); err != nil {
				b.Error(err)
			}
			cancel()
		}
	})
	used := cpuTime(b) - before
	b.ReportMetric(float64(b.N)/used.Seconds(), "probes/cpu-s")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/probe")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
