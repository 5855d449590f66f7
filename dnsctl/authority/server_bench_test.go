package authority

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// childEnv makes the test program serve the lab instead of testing, so that
// its CPU time is the server's alone. Its value is what serves: "packed" is
// this package, "judged" the same with every answer judged by the limit,
// "plain" the same library with SetReply and WriteMsg, to have a measure of the
// machine in the same run.
const childEnv = "AUTHORITY_BENCH_SERVER"

// profileEnv names a file for a CPU profile of the server.
const profileEnv = "AUTHORITY_BENCH_PROFILE"

// plainServer answers everything with one CNAME, as the library's own examples do.
func plainServer(pc net.PacketConn) *dns.Server {
	return &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		m.Authoritative, m.Compress = true, true
		m.Answer = []dns.RR{&dns.CNAME{
			Hdr:    dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 7},
			Target: "a.cloud.example.",
		}}
		_ = w.WriteMsg(m)
	})}
}

// serveForBenchmark serves on a free port, prints it, and answers each line on
// its input with the CPU microseconds spent so far, until the input ends.
func serveForBenchmark() error {
	if err := pin(0); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	cfg := labConfig()
	if os.Getenv(childEnv) == "judged" {
		cfg.RateLimit = RateLimit{PerSecond: maxRate, Loopback: LoopbackLimited}
	}
	s, err := New(cfg)
	if err != nil {
		return err
	}
	if err := s.Load(context.Background(), labCommitted()); err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	addr := s.Addrs()[0].String()
	if os.Getenv(childEnv) == "plain" {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addr = pc.LocalAddr().String()
		go func() { ended <- plainServer(pc).ActivateAndServe() }()
	}
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- s.Run(ctx) }()
	fmt.Println(addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println((u.Utime.Nano() + u.Stime.Nano()) / 1000)
	}
	cancel()
	return <-ended
}

// pin keeps every thread of this process, and those it will start, on one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// benchServer is a server in a process of its own.
type benchServer struct {
	addr string
	in   io.WriteCloser
	out  *bufio.Reader
}

func startBenchServer(b *testing.B, what string) *benchServer {
	b.Helper()
	return startChild(b, childEnv+"="+what)
}

func startChild(b *testing.B, env string) *benchServer {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("server: %v", err)
		}
	})
	s := &benchServer{in: in, out: bufio.NewReader(out)}
	line, err := s.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	s.addr = strings.TrimSpace(line)
	return s
}

func (s *benchServer) spent(b *testing.B) time.Duration {
	b.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		b.Fatal(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	us, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// BenchmarkServer measures the whole server over loopback: answers per second
// of its own CPU time, on one core, with the generator on the other.
func BenchmarkServer(b *testing.B) {
	for _, bc := range []struct{ name, server, query string }{
		{"cname", "packed", "vpc.orders.lab.test. A"},
		{"cname-judged", "judged", "vpc.orders.lab.test. A"},
		{"nxdomain", "packed", "none.lab.test. A"},
		{"cname-and-address", "packed", "orders.lab.test. A"},
		{"cname-by-SetReply", "plain", "vpc.orders.lab.test. A"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := startBenchServer(b, bc.server)
			load := inProcessLoad
			if path, err := exec.LookPath("dnsperf"); err == nil {
				load = dnsperfLoad(path)
			}
			load(b, s.addr, bc.query, time.Second) // warm
			var cpu, wall time.Duration
			var answers int
			for b.Loop() {
				c0, t0 := s.spent(b), time.Now()
				answers += load(b, s.addr, bc.query, 3*time.Second)
				wall += time.Since(t0)
				cpu += s.spent(b) - c0
			}
			b.ReportMetric(float64(answers)/cpu.Seconds(), "answers/cpu-s")
			b.ReportMetric(cpu.Seconds()*1e6/float64(answers), "cpu-µs/answer")
			b.ReportMetric(float64(answers)/wall.Seconds(), "answers/s")
		})
	}
}

var dnsperfDone = regexp.MustCompile(`Queries completed:\s+(\d+)`)

// dnsperfLoad returns how many answers came.
func dnsperfLoad(path string) func(*testing.B, string, string, time.Duration) int {
	return func(b *testing.B, addr, query string, d time.Duration) int {
		b.Helper()
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			b.Fatal(err)
		}
		queries := filepath.Join(b.TempDir(), "queries") // dnsperf rereads it
		if err := os.WriteFile(queries, []byte(query+"\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		cmd := exec.Command(path, "-s", host, "-p", port, "-l", strconv.Itoa(int(d.Seconds())), "-c", "8", "-q", "200", "-d", queries)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if cpus := runtime.NumCPU(); cpus > 1 {
			var set unix.CPUSet
			set.Set(cpus - 1)
			_ = unix.SchedSetaffinity(cmd.Process.Pid, &set) // only steadies the figure
		}
		if err := cmd.Wait(); err != nil {
			b.Fatalf("dnsperf: %v\n%s", err, out.Bytes())
		}
		m := dnsperfDone.FindSubmatch(out.Bytes())
		if m == nil {
			b.Fatalf("dnsperf says nothing of its queries:\n%s", out.Bytes())
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
}

// inProcessLoad keeps a window of queries in flight on a few sockets and
// returns how many answers came.
func inProcessLoad(b *testing.B, addr, query string, d time.Duration) int {
	b.Helper()
	name, _, _ := strings.Cut(query, " ")
	wire, err := question(name, dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	var got atomic.Int64
	end := time.Now().Add(d)
	for range 4 {
		c, err := net.Dial("udp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			in := make([]byte, 1500)
			n, window := 0, 50
			for {
				for range window {
					_, _ = c.Write(wire)
				}
				if time.Now().After(end) {
					break
				}
				window = 1
				_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				if _, err := c.Read(in); err != nil {
					window = 50 // all were lost
					continue
				}
				n++
			}
			got.Add(int64(n))
		})
	}
	wg.Wait()
	return int(got.Load())
}
