package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// ledgered has lines 1 to 25 of an audit, and a reader that does not care for
// limits.
type ledgered struct{ *world }

func (l ledgered) Audit(_ context.Context, q Query) ([]AuditLine, error) {
	var ls []AuditLine
	for seq := uint64(1); seq <= 25; seq++ {
		if q.Below == 0 || seq < uint64(q.Below) {
			ls = append(ls, AuditLine{Seq: seq})
		}
	}
	return ls, nil
}

func TestAFullPageSaysWhereTheOneBeforeItEnds(t *testing.T) {
	w := newWorld()
	_, url := overTCP(t, w, func(c *Config) { c.Audit = ledgered{w} })
	below := ""
	var pages []string
	for range 5 {
		resp := ask(t, http.MethodGet, url+"/v1/audit?limit=10"+below, nil, nil)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v\n%s", resp.Status, err, body)
		}
		next := resp.Header.Get(nextHeader)
		pages = append(pages, fmt.Sprintf("%d lines, next %q", strings.Count(string(body), `"seq"`), next))
		if next == "" {
			break
		}
		below = "&below=" + next
	}
	if want := []string{`10 lines, next "16"`, `10 lines, next "6"`, `5 lines, next ""`}; !slices.Equal(pages, want) {
		t.Errorf("pages %q, want %q", pages, want)
	}
	for _, bad := range []string{"0", "-1", "x", "99999999999999999999"} {
		if resp := ask(t, http.MethodGet, url+"/v1/probes?below="+bad, nil, nil); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("below=%s: %s", bad, resp.Status)
		}
	}
	if resp := ask(t, http.MethodGet, url+"/v1/history?kind="+strings.Repeat("k", maxKind+1), nil, nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a kind without end: %s", resp.Status)
	}
}

func TestInstancesAreListedInPagesAlsoWhenNoLimitIsGiven(t *testing.T) {
	f := newFleet(MaxViews + 1)
	_, url := overTCP(t, f.world, func(c *Config) { c.Instances = f })
	resp := ask(t, http.MethodGet, url+"/v1/instances", nil, nil)
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.Count(string(body), `"instance"`) != MaxViews || resp.Header.Get(nextHeader) != string(f.names[MaxViews-1]) {
		t.Errorf("%d views, next %q, %v", strings.Count(string(body), `"instance"`), resp.Header.Get(nextHeader), err)
	}
}

func TestOfManyNamesTheNearestAreListed(t *testing.T) {
	var known []failover.InstanceName
	for i := range 10_000 {
		known = append(known, failover.InstanceName("orders-"+strconv.Itoa(i)))
	}
	names, more := near("order-4711", known)
	if names[0] != "orders-4711" || len(names) != mostKnown || more != 10_000-mostKnown {
		t.Errorf("near: %q and %d more", names, more)
	}
	if names, more = near("x", known[:mostKnown]); len(names) != mostKnown || more != 0 || names[0] != "orders-0" {
		t.Errorf("of few: %q and %d more, want all in their order", names, more)
	}
	if names, _ = near(strings.Repeat("x", 1<<20), known); len(names) != mostKnown {
		t.Errorf("a monstrous name: %q", names)
	}
	c := clientOf(t, newFleet(2000))
	_, err := c.View(t.Context(), "i0x042")
	if p, ok := err.(*Problem); !ok || len(p.Known) != mostKnown || p.More != 2000-mostKnown || p.Known[0] != "i00042" {
		t.Errorf("got %+v", err)
	}
}
