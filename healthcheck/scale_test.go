package healthcheck

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// scaleServer turns the test binary into a server that costs as little as it
// can: the machine is shared with what is measured.
const scaleServer = "HEALTHCHECK_SCALE_SERVER"

func serveScale() {
	answer := []byte("HTTP/1.1 200 OK\r\nX-Cluster: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	var ports []string
	for range 4 {
		l, err := net.Listen("tcp", net.JoinHostPort(os.Getenv(scaleServer), "0"))
		if err != nil {
			panic(err)
		}
		ports = append(ports, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					var b [4096]byte
					if n, _ := c.Read(b[:]); n > 0 {
						c.Write(answer)
					}
				}()
			}
		}()
	}
	fmt.Println(strings.Join(ports, " "))
	select {}
}

// helper starts the test binary as something else and returns its first line.
func helper(tb testing.TB, as string) (string, *exec.Cmd) {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), as+"=127.0.0.1")
	return firstLine(tb, cmd), cmd
}

// firstLine starts a command, to be killed at the end.
func firstLine(tb testing.TB, cmd *exec.Cmd) string {
	tb.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		tb.Fatalf("%s did not start", cmd)
	}
	return lines.Text()
}

// Benchmark10kInstances probes 10,000 instances of two clusters every 5 s,
// against servers in another process, and says what it takes: with the kernel
// (both ends of loopback are charged to who sends), by getrusage. Run it with
// -benchtime 1x.
func Benchmark10kInstances(b *testing.B) {
	addresses, _ := helper(b, scaleServer)
	for _, kind := range []CheckType{HTTP, TCP} {
		b.Run(string(kind), func(b *testing.B) {
			for range b.N {
				benchScale(b, kind, strings.Fields(addresses), 10_000)
			}
		})
	}
}

// scaled is a prober of many instances against servers that are well, and what
// it reports.
type scaled struct {
	*Prober
	reports, downs *atomic.Int64
}

func newScaled(b *testing.B, kind CheckType, addresses []string, instances int, round time.Duration) scaled {
	b.Helper()
	s := scaled{reports: new(atomic.Int64), downs: new(atomic.Int64)}
	c := Config{Vantage: "bench", OnReport: func(r InstanceReport) {
		s.reports.Add(1)
		for _, v := range r.Clusters {
			if v.Vote == failover.Down {
				s.downs.Add(1)
			}
		}
	}}
	for i := range instances {
		for n, cluster := range []failover.ClusterName{"a", "b"} {
			tg := target(kind, addresses[(2*i+n)%len(addresses)])
			tg.Instance, tg.Cluster, tg.Name = failover.InstanceName(fmt.Sprintf("i%d.shop", i)), cluster, fmt.Sprintf("i%d.shop.lab.test.", i)
			tg.Round, tg.Timeout, tg.Burst = round, 3*round/5, min(tg.Burst, round)
			if kind == HTTP {
				tg.Check.Path, tg.Check.Identity.Header, tg.Identity = "/healthz", "X-Cluster", "a"
			}
			c.Targets = append(c.Targets, tg)
		}
	}
	var err error
	if s.Prober, err = NewProber(c); err != nil {
		b.Fatal(err)
	}
	return s
}

// start runs it until stop.
func (s scaled) start(b *testing.B) (stop func()) {
	end := running(b, s.Prober)
	return func() {
		end()
		if n := s.downs.Load(); n > 0 {
			b.Errorf("%d false downs: %+v", n, s.Stats())
		}
	}
}

func benchScale(b *testing.B, kind CheckType, addresses []string, instances int) {
	before := memory()
	p := newScaled(b, kind, addresses, instances, 5*time.Second)
	stop := p.start(b)
	time.Sleep(11 * time.Second) // two rounds: everything is up
	was, said, used, at := p.Stats(), p.reports.Load(), cpuTime(b), time.Now()
	time.Sleep(10 * time.Second)
	now, cpu, took := p.Stats(), cpuTime(b)-used, time.Since(at)
	said = p.reports.Load() - said
	mem, goroutines := memory()-before, runtime.NumGoroutine()
	stop()
	probes := now.Successes - was.Successes
	b.ReportMetric(100*cpu.Seconds()/took.Seconds(), "%-of-a-core")
	b.ReportMetric(float64(cpu.Microseconds())/float64(probes), "cpu-µs/probe")
	b.ReportMetric(float64(probes)/took.Seconds(), "probes/s")
	b.ReportMetric(float64(said)/took.Seconds(), "reports/s")
	b.ReportMetric(float64(mem)/float64(instances), "B/instance")
	b.ReportMetric(float64(goroutines), "goroutines")
	b.ReportMetric(float64(now.Misses+now.OwnFaults), "not-well")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(p)
}

// memory is what the heap and the stacks hold after a collection.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() + s[1].Value.Uint64())
}
