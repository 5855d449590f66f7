package healthcheck

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// starveProber turns the test binary into a vantage that somebody else stops.
const starveProber = "HEALTHCHECK_STARVE_PROBER"

func init() { starved = serveStarved }

// serveStarved probes the addresses in its environment until its input ends,
// and then says what it voted.
func serveStarved() {
	var down, missed, abstained atomic.Int64
	c := Config{Vantage: "van-1", OnReport: func(r InstanceReport) {
		for _, v := range r.Clusters {
			if v.Vote == failover.Down && r.Sick == "" {
				down.Add(1)
			}
			if v.Misses > 0 {
				missed.Add(1)
			}
			if strings.Contains(r.Sick+v.Reason, ErrLate.Error()) {
				abstained.Add(1)
			}
		}
	}}
	for i := range 40 {
		tg := target(HTTP, os.Getenv(starveProber))
		tg.Instance = failover.InstanceName(fmt.Sprintf("i%d", i))
		tg.Round, tg.Timeout, tg.Burst = 200*time.Millisecond, 150*time.Millisecond, 20*time.Millisecond
		if i%2 == 1 { // the long way
			tg.Address = strings.Replace(tg.Address, "127.0.0.1", "localhost", 1)
		}
		c.Targets = append(c.Targets, tg)
	}
	p, err := NewProber(c)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		fmt.Println("runs")
		bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()
	if err := p.Run(ctx); err != nil {
		panic(err)
	}
	fmt.Println(down.Load(), missed.Load(), abstained.Load(), p.Stats().Successes)
	os.Exit(0)
}

// The whole process is stopped and goes on, again and again, in the middle of
// its probes. The cluster is well all the while.
func TestAStoppedProcessVotesNobodyDown(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), starveProber+"="+address)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("it did not start")
	}
	for i := range 6 {
		time.Sleep(130 * time.Millisecond) // a stop is of this length, not a wait for something
		cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(100+90*i) * time.Millisecond)
		cmd.Process.Signal(syscall.SIGCONT)
	}
	fmt.Fprintln(in)
	if !lines.Scan() {
		t.Fatal("it said nothing")
	}
	var down, missed, abstained, successes int
	if _, err := fmt.Sscan(lines.Text(), &down, &missed, &abstained, &successes); err != nil {
		t.Fatal(err)
	}
	if down > 0 || abstained == 0 || successes == 0 {
		t.Errorf("down %d times, missed %d times, abstained for lateness %d times, %d successes", down, missed, abstained, successes)
	}
}
