package notify

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// busyChild queues messages and delivers them until it is killed. It says which
// are durable.
func busyChild(dir, url string) {
	s := crashSetup(url)
	s.Channels[0].Limits = []Limit{{10_000, time.Hour}}
	n, err := Open(Config{Dir: dir, Setup: s, Name: "ctl-1", Log: quietLog})
	if err != nil {
		panic(err)
	}
	go func() { _ = n.Run(context.Background()) }()
	for i := range 100_000 {
		m := n.complete(*message(""))
		m.Instance = failover.InstanceName(fmt.Sprint("orders-", os.Getpid(), "-", i)) // an incident of its own
		n.put(&m)
		fmt.Println(m.ID)
	}
}

// A process that is killed at any moment, in the middle of a transaction or of a
// send, loses nothing that was durable, and its file can be read each time.
func TestAKillInTheMiddleLosesNothing(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	came := map[string]int{}
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		came[r.Header.Get(HeaderID)]++
	})
	var durable []string
	for _, kill := range []int{3, 20, 41, 77} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "NOTIFY_TEST_CHILD="+dir, "NOTIFY_TEST_URL="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range kill {
			if !lines.Scan() {
				t.Fatal("the child has ended")
			}
			durable = append(durable, strings.TrimSpace(lines.Text()))
		}
		_ = cmd.Process.Kill() // SIGKILL
		for lines.Scan() {
			if id := strings.TrimSpace(lines.Text()); len(id) == 2*idBytes {
				durable = append(durable, id)
			}
		}
		_ = cmd.Wait()
	}
	s := crashSetup(url)
	s.Channels[0].Limits = []Limit{{10_000, time.Hour}}
	log := &lineLog{}
	n := mustOpenLog(t, dir, s, log)
	stop := running(t, n)
	await(t, "all that waited", func() bool { return n.Stats()[0].Waiting == 0 })
	stop()
	if said := log.String(); strings.Contains(said, "cannot be read") || strings.Contains(said, "begins anew") {
		t.Error(said)
	}
	mu.Lock()
	defer mu.Unlock()
	lost := 0
	for _, id := range durable {
		if came[id] == 0 {
			lost++
		}
	}
	if lost > 0 || len(durable) < 141 {
		t.Errorf("%d of %d are lost", lost, len(durable))
	}
	for id, times := range came {
		if times > 5 { // once more for each kill at most
			t.Errorf("%s came %d times", id, times)
		}
	}
}
