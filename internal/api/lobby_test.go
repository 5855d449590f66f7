package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// crowdIn keeps n connections to addr open that have begun a request and never
// end it; whoever is sent away comes again. It returns once a second of that
// has gone by, or earlier when connections were sent away.
func crowdIn(t *testing.T, addr string, n int, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	for range n {
		g.Go(func() {
			for ctx.Err() == nil {
				c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
				if err != nil {
					continue
				}
				stop := context.AfterFunc(ctx, func() { c.Close() })
				_, _ = c.Write([]byte("POST /v1/report HTTP/1.1\r\nHost: x\r\n"))
				_, _ = c.Read(make([]byte, 1))
				stop()
				c.Close()
			}
		})
	}
	t.Cleanup(func() { cancel(); g.Wait() })
	for deadline := time.Now().Add(2 * time.Minute); s.Refused()[RefusedCrowded] < uint64(n); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody had to go: %v", s.Refused())
		}
	}
}

func TestSlowConnectionsKeepNeitherReportsNorWatchesOut(t *testing.T) {
	w := newWorld()
	s, url := overTCP(t, w, func(c *Config) {
		c.Report = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Signed") == "" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	})
	watcher, err := NewClient(ClientConfig{Server: url, Token: []byte(testToken)})
	if err != nil {
		t.Fatal(err)
	}
	epochs := make(chan uint64, 100)
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() {
		watching <- watcher.Watch(ctx, "orders", func(vs []failover.View) error { epochs <- vs[0].Token.Epoch; return nil })
	}()
	<-epochs
	vantage := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer vantage.CloseIdleConnections()
	report := func(c *http.Client) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+reportPath, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Signed", "yes")
		resp, err := c.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			return errors.New(resp.Status)
		}
		return nil
	}
	if err := report(vantage); err != nil {
		t.Fatal(err)
	}
	crowdIn(t, s.Addr(), 600, s)
	for i := range 5 {
		if err := report(vantage); err != nil {
			t.Errorf("report %d over the open connection: %v", i, err)
		}
		// A newcomer has 100 ms to show what it is; where the machine is busy it
		// may need more than one go, as vantages take when a report fails.
		fresh := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
		err := report(fresh)
		for n := 0; err != nil && n < 20; n++ {
			err = report(fresh)
		}
		if err != nil {
			t.Errorf("report %d over a new connection: %v", i, err)
		}
	}
	w.change(func(v *failover.View) { v.Token.Epoch = 99 })
	for {
		select {
		case e := <-epochs:
			if e != 99 {
				continue
			}
		case err := <-watching:
			t.Errorf("the watch was sent away: %v", err)
		case <-time.After(2 * time.Minute):
			t.Error("the watch does not go on")
		}
		break
	}
	cancel()
}

// deaf is a connection that is only closed.
type deaf struct {
	net.Conn
	name   string
	closed *[]string
}

func (d deaf) Close() error { *d.closed = append(*d.closed, d.name); return nil }

func TestTheLobbySendsAwayTheOldestOfThoseThatHaveShownTheLeast(t *testing.T) {
	var out []string
	refused := 0
	l := newLobby(nil, 4, func(why string) {
		if why == RefusedCrowded {
			refused++
		}
	})
	now := time.Unix(1000, 0)
	come := func(name string, is standing) *guest {
		t.Helper()
		g := &guest{Conn: deaf{name: name, closed: &out}, lobby: l}
		if wait, ok := l.enter(g, now); !ok {
			t.Fatalf("%s has to wait for %s", name, wait)
		}
		g.rise(is)
		return g
	}
	come("report 1", reporter)
	come("stranger 1", stranger)
	come("watch", holder)
	come("stranger 2", stranger)
	if wait, ok := l.enter(&guest{Conn: deaf{name: "early", closed: &out}, lobby: l}, now.Add(40*time.Millisecond)); ok || wait != 60*time.Millisecond {
		t.Errorf("a newcomer waits for %s (let in: %v), want 60ms", wait, ok)
	}
	now = now.Add(time.Second)
	come("report 2", reporter)
	come("report 3", reporter)
	left := come("report 4", reporter)
	if want := []string{"stranger 1", "stranger 2", "watch"}; !slices.Equal(out, want) {
		t.Errorf("sent away were %q, want %q", out, want)
	}
	now = now.Add(time.Second)
	come("report 5", reporter)
	_ = left.Close()
	come("report 6", reporter) // has room
	if want := []string{"stranger 1", "stranger 2", "watch", "report 1", "report 4"}; !slices.Equal(out, want) {
		t.Errorf("gone are %q, want %q", out, want)
	}
	if refused != 4 || len(l.guests) != 4 {
		t.Errorf("%d were refused, %d are in", refused, len(l.guests))
	}
}
