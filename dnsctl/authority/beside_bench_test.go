package authority

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// besideEnv makes the test program serve and, beside it, do what a decision
// waits for: look at a socket that somebody answers.
const besideEnv = "AUTHORITY_BENCH_BESIDE"

// bystander exchanges one octet over TCP every other millisecond with an echo
// in the same process, and keeps the times.
type bystander struct {
	mu    sync.Mutex
	waits []time.Duration
}

func (y *bystander) run(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	other, err := l.Accept()
	if err != nil {
		return err
	}
	go func() {
		defer other.Close()
		_, _ = io.Copy(other, other)
	}()
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	var octet [1]byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		t0 := time.Now()
		if _, err := c.Write(octet[:]); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, octet[:]); err != nil {
			return err
		}
		y.mu.Lock()
		y.waits = append(y.waits, time.Since(t0))
		y.mu.Unlock()
	}
}

// take returns the median and the 95th percentile since it was last asked.
func (y *bystander) take() (p50, p95 time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	slices.Sort(y.waits)
	if n := len(y.waits); n > 0 {
		p50, p95 = y.waits[n/2], y.waits[n*95/100]
	}
	y.waits = nil
	return p50, p95
}

func serveBeside() error {
	cfg := labConfig()
	if _, err := fmt.Sscan(os.Getenv(besideEnv), &cfg.UDPInFlight); err != nil {
		return err
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var y bystander
	ended := make(chan error, 2)
	go func() { ended <- s.Run(ctx) }()
	go func() { ended <- y.run(ctx) }()
	fmt.Println(s.Addrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		p50, p95 := y.take()
		fmt.Println(p50.Microseconds(), p95.Microseconds())
	}
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	return <-ended
}

// blast sends queries without waiting for answers and returns how many.
func blast(b *testing.B, addr string, d time.Duration) (sent int) {
	b.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	wire, err := question("vpc.orders.lab.test.", dns.TypeA).Pack()
	if err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		for range 64 {
			if _, err := c.Write(wire); err == nil {
				sent++
			}
		}
	}
	return sent
}

// BenchmarkWorkBesideAFlood shows how long two goroutines that talk over a
// socket wait for each other while as many queries come as a core can send,
// by the bound of queries in hand.
func BenchmarkWorkBesideAFlood(b *testing.B) {
	for _, bound := range []string{"512", "64", "16"} {
		for _, flood := range []string{"none", "flood"} {
			b.Run("in-flight-"+bound+"/"+flood, func(b *testing.B) {
				s := startChild(b, besideEnv+"="+bound)
				sent := 0
				ask := func() (p50, p95 float64) {
					if _, err := io.WriteString(s.in, "\n"); err != nil {
						b.Fatal(err)
					}
					line, err := s.out.ReadString('\n')
					if err != nil {
						b.Fatal(err)
					}
					if _, err := fmt.Sscan(strings.TrimSpace(line), &p50, &p95); err != nil {
						b.Fatal(err)
					}
					return p50, p95
				}
				for b.Loop() {
					ask()
					if flood == "none" {
						time.Sleep(2 * time.Second)
					} else {
						sent += blast(b, s.addr, 3*time.Second)
					}
				}
				p50, p95 := ask()
				b.ReportMetric(p50, "p50-µs")
				b.ReportMetric(p95, "p95-µs")
				b.ReportMetric(float64(sent)/3/float64(b.N), "sent/s")
			})
		}
	}
}
