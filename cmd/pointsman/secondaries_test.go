package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/dnsctl/authority"
	"pointsman/internal/api"
	"pointsman/internal/failover"
)

// sick is one secondary that lags, healthy one that does not.
func manySecondaries(n int, sick func(i int) bool) []authority.SecondaryStats {
	var out []authority.SecondaryStats
	for i := range n {
		s := authority.SecondaryStats{
			Zone: fmt.Sprintf("z%d.test.", i/4), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 53), Notify: true, Clients: true,
			Serial: 7, Sent: 7, SentAt: time.Now(), Acked: 7, AckedAt: time.Now(), Serves: 7, ServesAt: time.Now(),
		}
		if sick(i) {
			s.Serves, s.Behind = 6, time.Minute
		}
		out = append(out, s)
	}
	return out
}

type followed struct {
	*scrape
	all []authority.SecondaryStats
}

func (f followed) Collect(out chan<- prometheus.Metric) { reading{f.descs, out}.secondaries(f.all) }

func TestTheSeriesOfSecondariesHaveABoundAndThoseInTroubleComeFirst(t *testing.T) {
	for name, c := range map[string]struct {
		n, sick, series int
	}{
		"few": {100, 3, 100}, "many": {1000, 3, 3}, "many in trouble": {1000, 500, secondarySeries}, "none": {0, 0, 0},
	} {
		all := manySecondaries(c.n, func(i int) bool { return i >= c.n-c.sick })
		got := gathered(t, followed{newScrape(&process{}), all})
		lags := 0
		for series := range got {
			if strings.HasPrefix(series, "pointsman_authority_secondary_lag_seconds{") {
				lags++
			}
		}
		if lags != c.series {
			t.Errorf("%s: %d secondaries have series, want %d", name, lags, c.series)
		}
		for series, want := range map[string]int{
			"pointsman_authority_secondaries{state=well}": c.n - c.sick, "pointsman_authority_secondaries{state=look}": c.sick,
			"pointsman_authority_secondaries_without_series{}": c.n - c.series,
		} {
			if got[series] != float64(want) {
				t.Errorf("%s: %s is %v, want %d", name, series, got[series], want)
			}
		}
	}
}

func TestStatusHasALineForEachSecondaryWithSerialsAndWhen(t *testing.T) {
	now := time.Now()
	one := api.Secondary{
		Zone: "lab.test.", Address: "192.0.2.1:53", At: now, OK: true, Verdict: "acknowledged 7 and serves it",
		Serial: 7, Sent: 7, SentAt: now.Add(-3 * time.Second), Acknowledged: 7, AcknowledgedAt: now.Add(-2900 * time.Millisecond), Served: 7, ServedAt: now.Add(-time.Second),
	}
	two := api.Secondary{Zone: "lab.test.", Address: "192.0.2.2:53", At: now, Verdict: "was never heard: \x1b[2J", Serial: 7, Sent: 7, SentAt: now.Add(-3 * time.Second)}
	var b strings.Builder
	(&app{env: func(string) string { return "" }}).writeSecondaries(&b, []api.Secondary{one, two})
	const want = `
SECONDARY     ZONE       SENT        ACKNOWLEDGED  SERVED     STATE
192.0.2.1:53  lab.test.  7, 3s ago   7, 2.9s ago   7, 1s ago  acknowledged 7 and serves it
192.0.2.2:53  lab.test.  7, 3s ago   -             -          was never heard: \u001b[2J
`
	if strings.Join(strings.Fields(b.String()), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	many := make([]api.Secondary, 3*statusMost)
	for i := range many {
		many[i] = one
	}
	many[7], many[8] = two, two
	(&app{env: func(string) string { return "" }}).writeSecondaries(&b, many)
	if n := strings.Count(b.String(), "192.0.2."); n != 2 || !strings.Contains(b.String(), "2 of 300 are shown") {
		t.Errorf("of many:\n%s", b.String())
	}
	b.Reset()
	if (&app{}).writeSecondaries(&b, nil); b.Len() != 0 {
		t.Errorf("of none: %q", b.String())
	}
}

func TestAnInstanceIsShownWithTheSecondariesOfItsOwnNames(t *testing.T) {
	view := func(names ...failover.NameView) failover.View { return failover.View{Names: names} }
	name := func(n, provider string) failover.NameView {
		return failover.NameView{NameRecord: failover.NameRecord{Name: failover.RecordName(n), Provider: provider}}
	}
	all := []api.Secondary{{Zone: "ha.test.", Address: "1"}, {Zone: "ha.test.", Address: "2"}, {Zone: "x.ha.test.", Address: "3"}, {Zone: "other.test.", Address: "4"}}
	got := statusViews([]failover.View{
		view(name("A.ha.test.", "embedded"), name("b.ha.test.", "embedded")), view(name("b.x.ha.test.", "embedded")),
		view(name("c.ha.test.", "bind")), view(name("d.alpha.test.", "embedded")), view(name("e.ha.test.", "embedded"), name("e.other.test.", "embedded")),
	}, all, api.ConfigState{})
	for i, want := range []string{"12", "3", "", "", "124"} {
		said := ""
		for _, s := range got[i].Secondaries {
			said += s.Address
		}
		if said != want {
			t.Errorf("instance %d has the secondaries %q, want %q", i, said, want)
		}
	}
}
