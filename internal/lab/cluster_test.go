package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startCluster(t *testing.T) *Cluster {
	t.Helper()
	local := netip.MustParseAddr("127.0.0.1")
	port, err := freePort(0, map[uint16]bool{0: true}, []netip.Addr{local})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCluster(ClusterConfig{Name: "a", Listen: netip.AddrPortFrom(local, port), Manage: netip.AddrPortFrom(local, 0), Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	running(t, c.Run)
	eventually(t, "the port is open", func() bool { r, err := fetch(c, "/"); return err == nil && r.status == 200 })
	return c
}

type fetched struct {
	status   int
	identity string
	body     map[string]string
}

// fetch makes one request on a new connection.
func fetch(c *Cluster, path string) (fetched, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequest(http.MethodGet, "http://"+c.cfg.Listen.String()+path, nil)
	if err != nil {
		return fetched{}, err
	}
	req.Host = "orders.lab.test"
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := tr.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return fetched{}, err
	}
	defer resp.Body.Close()
	f := fetched{status: resp.StatusCode, identity: resp.Header.Get("X-Cluster")}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f.body)
}

func mustFetch(t *testing.T, c *Cluster, path string) fetched {
	t.Helper()
	f, err := fetch(c, path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func set(t *testing.T, c *Cluster, k Knobs) {
	t.Helper()
	if err := c.Set(k); err != nil {
		t.Fatal(err)
	}
}

func TestAHealthyClusterSaysWhoItIsAndWhatHostItSaw(t *testing.T) {
	c := startCluster(t)
	for _, path := range []string{"/", "/healthz"} {
		f := mustFetch(t, c, path)
		if f.status != 200 || f.identity != "a" || f.body["cluster"] != "a" || f.body["host"] != "orders.lab.test" {
			t.Errorf("%s: %+v", path, f)
		}
	}
	if f := mustFetch(t, c, "/elsewhere"); f.status != 404 {
		t.Errorf("/elsewhere: %d, want 404", f.status)
	}
	seen := c.Requests()
	if last := seen[len(seen)-1]; last.Path != "/elsewhere" || last.Status != 404 || last.Host != "orders.lab.test" {
		t.Errorf("the history ends in %+v", last)
	}
}

func TestEveryKnobDoesWhatItSays(t *testing.T) {
	c := startCluster(t)
	set(t, c, Knobs{ErrorRate: 1})
	if f := mustFetch(t, c, "/healthz"); f.status != 503 {
		t.Errorf("error rate 1: status %d, want 503", f.status)
	}
	set(t, c, Knobs{Identity: "b"})
	if f := mustFetch(t, c, "/healthz"); f.status != 200 || f.identity != "b" || f.body["cluster"] != "b" {
		t.Errorf("identity b: %+v", f)
	}
	set(t, c, Knobs{SlowMS: 150})
	began := time.Now()
	if mustFetch(t, c, "/"); time.Since(began) < 150*time.Millisecond {
		t.Errorf("150 ms slower, but answered in %s", time.Since(began))
	}
	set(t, c, Knobs{Closed: true})
	eventually(t, "a closed port refuses", func() bool { _, err := fetch(c, "/"); return errors.Is(err, syscall.ECONNREFUSED) })
	set(t, c, Knobs{})
	eventually(t, "the port is open again", func() bool { f, err := fetch(c, "/"); return err == nil && f.identity == "a" })
	set(t, c, Knobs{FlapMS: 40})
	for range 2 {
		eventually(t, "flapping closes the port", func() bool { _, err := fetch(c, "/"); return errors.Is(err, syscall.ECONNREFUSED) })
		eventually(t, "flapping opens the port", func() bool { _, err := fetch(c, "/"); return err == nil })
	}
}

func TestHalfOfTheErrorsAreErrors(t *testing.T) {
	c := startCluster(t)
	set(t, c, Knobs{ErrorRate: 0.5})
	bad := 0
	for range 200 {
		if mustFetch(t, c, "/").status == 503 {
			bad++
		}
	}
	if bad < 60 || bad > 140 { // about six standard deviations
		t.Errorf("%d of 200 were errors at a rate of one half", bad)
	}
}

func TestTheManagementAPITurnsKnobsForTheHolderOfTheToken(t *testing.T) {
	c := startCluster(t)
	url := "http://" + c.ManageAddr().String()
	ctx := t.Context()
	var k Knobs
	if err := callJSON(ctx, "t", http.MethodPut, url+"/knobs", Knobs{Identity: "b"}, &k); err != nil || k.Identity != "b" {
		t.Fatalf("PUT /knobs: %+v, %v", k, err)
	}
	if f := mustFetch(t, c, "/"); f.identity != "b" {
		t.Errorf("the knob was not turned: %+v", f)
	}
	for name, try := range map[string]struct {
		token string
		body  any
		says  string
	}{
		"wrong token":  {"x", Knobs{Closed: true}, "token"},
		"unknown knob": {"t", map[string]any{"closd": true}, "closd"},
		"out of range": {"t", map[string]any{"slow_ms": -1, "error_rate": 2}, "error_rate 2 is outside 0 to 1"},
		"not an object": {
			"t",
			[]int{1},
			"read JSON",
		},
	} {
		err := callJSON(ctx, try.token, http.MethodPut, url+"/knobs", try.body, &k)
		if err == nil || !strings.Contains(err.Error(), try.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, try.says)
		}
	}
	if err := callJSON(ctx, "t", http.MethodGet, url+"/knobs", nil, &k); err != nil || k != (Knobs{Identity: "b"}) {
		t.Errorf("a refused order left %+v, %v", k, err)
	}
	var seen []Seen
	if err := callJSON(ctx, "t", http.MethodGet, url+"/requests", nil, &seen); err != nil || len(seen) == 0 {
		t.Errorf("GET /requests: %v, %v", seen, err)
	}
}

func TestTheRequestHistoryIsBoundedAndOldestFirst(t *testing.T) {
	var c webService
	for i := range historyLimit + 10 {
		c.remember(Seen{Path: fmt.Sprint(i)})
	}
	seen := c.requests()
	if len(seen) != historyLimit || seen[0].Path != "10" || seen[historyLimit-1].Path != fmt.Sprint(historyLimit+9) {
		t.Errorf("%d kept, from %s to %s", len(seen), seen[0].Path, seen[len(seen)-1].Path)
	}
}

func TestKnobsInWords(t *testing.T) {
	for want, k := range map[string]Knobs{
		"healthy":                    {},
		"300 ms slower, 40 % errors": {SlowMS: 300, ErrorRate: 0.4},
		"flapping every 400 ms":      {FlapMS: 400},
		"says that it is b":          {Identity: "b"},
		"port closed, 10 ms slower":  {Closed: true, SlowMS: 10},
	} {
		if got := k.Words(); got != want {
			t.Errorf("%+v in words: %q, want %q", k, got, want)
		}
	}
}

func TestWhenThePortIsOpen(t *testing.T) {
	for name, c := range map[string]struct {
		k     Knobs
		at    int // ms after the knobs were set
		open  bool
		until int // 0: until they are set again
	}{
		"healthy":                     {Knobs{}, 10, true, 0},
		"closed":                      {Knobs{Closed: true, FlapMS: 100}, 10, false, 0},
		"flapping begins with closed": {Knobs{FlapMS: 100}, 0, false, 100},
		"just before it opens":        {Knobs{FlapMS: 100}, 99, false, 100},
		"then it opens":               {Knobs{FlapMS: 100}, 100, true, 200},
		"and closes again":            {Knobs{FlapMS: 100}, 250, false, 300},
	} {
		open, until := c.k.open(moment(0), moment(c.at))
		var want time.Time
		if c.until > 0 {
			want = moment(c.until)
		}
		if open != c.open || !until.Equal(want) {
			t.Errorf("%s: open %v until %v", name, open, until)
		}
	}
}
