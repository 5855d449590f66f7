package doctor

import (
	"net/netip"
	"testing"
	"time"
)

// soundClient is a host of which nothing bad is to be said.
func soundClient() ClientFacts {
	const name = "orders.example.com."
	answer := ClientAnswer{Name: name, At: at("192.0.2.53:53"), Value: "a.example.com.", TTL: 12, Addresses: []netip.Addr{ip("192.0.2.10")}}
	authority := answer
	authority.TTL = 30
	return ClientFacts{
		Names: []ClientName{{
			Name: name, Targets: map[string]string{"a": "a.example.com.", "b": "b.example.com."},
			Clusters: map[string][]netip.Addr{"a": {ip("192.0.2.10")}, "b": {ip("192.0.2.20")}},
		}},
		Conf: ParseResolvConf([]byte("nameserver 192.0.2.53\n")), Order: []string{"files", "dns"},
		Answers: []ClientAnswer{answer}, Authority: map[string]ClientAnswer{name: authority}, Pinned: map[string][]string{},
	}
}

func TestAClientIsJudgedByWhatKeepsItBehind(t *testing.T) {
	if got := Worst(JudgeClient(soundClient())); got != OK {
		t.Fatalf("a sound client is %s:\n%s", got, shown(JudgeClient(soundClient())))
	}
	const name = "orders.example.com."
	for what, c := range map[string]struct {
		breakIt func(f *ClientFacts)
		want    verdictIs
	}{
		"no file":        {func(f *ClientFacts) { f.ConfErr = "there is no such file" }, verdictIs{"client.resolver", Warn, "there is no such file; asks 192.0.2.53", "/etc/resolv.conf"}},
		"an odd line":    {func(f *ClientFacts) { f.Conf.Odd = []string{"x is no line"} }, verdictIs{"client.resolver", Warn, "x is no line", "correct"}},
		"searched first": {func(f *ClientFacts) { f.Conf.Ndots, f.Conf.Search = 5, []string{"svc.local"} }, verdictIs{"client.resolver", Warn, name + " is looked for under svc.local first", "final dot"}},
		"pinned":         {func(f *ClientFacts) { f.Pinned[name] = []string{"192.0.2.10"} }, verdictIs{"client.order", Fail, "/etc/hosts pins it to 192.0.2.10", "never follow a move"}},
		"and its bound":  {func(f *ClientFacts) { f.Pinned[name] = []string{"192.0.2.10"} }, verdictIs{"client.bound", Fail, "never", "client.order"}},
		"no DNS":         {func(f *ClientFacts) { f.Order = []string{"files"} }, verdictIs{"client.order", Warn, "hosts: files", "add dns"}},
		"nscd":           {func(f *ClientFacts) { f.Caches = []Cache{{Name: "nscd", Keeps: time.Hour, What: "keeps"}} }, verdictIs{"client.cache", Warn, "keeps", "no longer than their TTL"}},
		"and its bound ": {func(f *ClientFacts) { f.Caches = []Cache{{Name: "nscd", Keeps: time.Hour, What: "keeps"}} }, verdictIs{"client.bound", OK, "within 1h0m30s of the moment when all authorities show the move (30s TTL + 1h0m0s nscd); open connections: until they close, no bound", ""}},
		"a short cache":  {func(f *ClientFacts) { f.Caches = []Cache{{Name: "dnsmasq", Keeps: 20 * time.Second, What: "keeps"}} }, verdictIs{"client.cache", OK, "keeps", ""}},
		"a stale cache":  {func(f *ClientFacts) { f.Caches = []Cache{{Name: "unbound", Stale: true, What: "expired"}} }, verdictIs{"client.cache", Warn, "expired", "old addresses"}},
		"no answer":      {func(f *ClientFacts) { f.Answers[0].Err = "no answer in time" }, verdictIs{"client.answer", Fail, "192.0.2.53: no answer in time", "mend that resolver"}},
		"no such name":   {func(f *ClientFacts) { f.Answers[0].Err = "NXDOMAIN" }, verdictIs{"client.answer", Fail, "no such name (NXDOMAIN)", "spelling"}},
		"an old value":   {func(f *ClientFacts) { f.Answers[0].Value = "b.example.com." }, verdictIs{"client.answer", Warn, "says b.example.com. for 12 s more, and the authorities say a.example.com.", "wait 12 s"}},
		"a raised TTL":   {func(f *ClientFacts) { f.Answers[0].TTL = 300 }, verdictIs{"client.answer", Warn, "for 300 s more, and the authorities give it 30 s", "cache-min-ttl"}},
		"no authority":   {func(f *ClientFacts) { f.Authority[name] = ClientAnswer{Err: "x"} }, verdictIs{"client.answer", Skipped, "the authorities: x", ""}},
		"and no bound":   {func(f *ClientFacts) { f.Authority[name] = ClientAnswer{Err: "x"} }, verdictIs{"client.bound", Skipped, "no authority answered", ""}},
		"java for ever":  {func(f *ClientFacts) { f.Java = []JavaFacts{{PID: 7, Main: "x.jar", TTL: "-1", From: "file"}} }, verdictIs{"client.java", Fail, "for ever (file)", "networkaddress.cache.ttl=30"}},
		"and its bound.": {func(f *ClientFacts) { f.Java = []JavaFacts{{TTL: "-1"}} }, verdictIs{"client.bound", Fail, "a Java virtual machine: never", "client.java"}},
		"java for long":  {func(f *ClientFacts) { f.Java = []JavaFacts{{TTL: "600", From: "file"}} }, verdictIs{"client.java", Warn, "for 600 s (file)", "start it anew"}},
		"java":           {func(f *ClientFacts) { f.Java = []JavaFacts{{TTL: "30", From: "the default"}} }, verdictIs{"client.java", OK, "for 30 s (the default)", ""}},
		"a proxy":        {func(f *ClientFacts) { f.Proxies = []string{"HTTP_PROXY=http://p:1"} }, verdictIs{"client.proxy", Warn, "HTTP_PROXY=http://p:1", "NO_PROXY"}},
		"stragglers":     {func(f *ClientFacts) { f.Conns = []ConnCount{{"b", "ESTABLISHED", "x (1)", 3}} }, verdictIs{"client.connections", Warn, "3 are open to a cluster that the name has left: 3 to b ESTABLISHED by x (1)", "rebuild the pools"}},
		"connections":    {func(f *ClientFacts) { f.Conns = []ConnCount{{"a", "ESTABLISHED", "x (1)", 3}} }, verdictIs{"client.connections", OK, "3 to a ESTABLISHED by x (1)", ""}},
		"and the bound":  {func(f *ClientFacts) { f.Conns = []ConnCount{{"a", "ESTABLISHED", "x (1)", 3}} }, verdictIs{"client.bound", Warn, "no bound (3 now)", "be ready to cut"}},
	} {
		t.Run(what, func(t *testing.T) {
			f := soundClient()
			c.breakIt(&f)
			c.want.check(t, JudgeClient(f))
		})
	}
}
