package healthcheck

import (
	"bufio"
	"context"
	"fmt"
	"io"
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

// benchmarkServer starts that server and returns its address.
func benchmarkServer(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServer+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		b.Fatal("the server did not start")
	}
	return lines.Text()
}

// BenchmarkHTTPProbe measures whole verdict probes (fresh connection, status,
// identity) per second of our own CPU time, kernel included. What the machine
// makes of it shows in the contenders beside it: a client of net/http that
// does the same, and a bare connect, which no probe can undercut. Compare them
// within one run.
func BenchmarkHTTPProbe(b *testing.B) {
	address := benchmarkServer(b)
	tg := target(HTTP, address)
	tg.Check.Identity.Header, tg.Identity = "X-Cluster", "a"
	p, err := NewProbe(tg, ProbeConfig{Vantage: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("probe", func(b *testing.B) { benchProbe(b, p) })
	b.Run("net-http", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		benchProbe(b, func(ctx context.Context) error { return plainGet(ctx, client, "http://"+address+tg.Check.Path) })
	})
	b.Run("connect", func(b *testing.B) {
		var d net.Dialer
		benchProbe(b, func(ctx context.Context) error {
			c, err := d.DialContext(ctx, "tcp", address)
			if err == nil {
				drop(c.(*net.TCPConn))
			}
			return err
		})
	})
}

// plainGet is a probe as one would write it without this package.
func plainGet(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Cluster") != "a" {
		return fmt.Errorf("answered %s by %q", resp.Status, resp.Header.Get("X-Cluster"))
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func benchProbe(b *testing.B, p Probe) {
	b.ReportAllocs()
	before := cpuTime(b)
	// As on the scheduler's pool: several at a time.
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
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
