package dnsctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libdns/libdns"
	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

// TestLibDNSModulesAreListed: what is not in the binary, not on the list, or
// refused is said with its reason, and only what is built can be used.
func TestLibDNSModulesAreListed(t *testing.T) {
	for name, want := range map[string]struct {
		is   error
		says string
	}{
		"alidns":     {ErrModuleRefused, "libdns/alidns#10): use the type alidns"},
		"cloudflare": {ErrModuleRefused, "could not be run against the contract suite"},
		"route53":    {ErrModuleRefused, "could not be run against the contract suite"},
		"bind":       {ErrModuleRefused, "bind is not one of those that passed the contract suite: powerdns, rfc2136"},
		"":           {ErrModuleRefused, "is not one of those"},
		"powerdns":   {ErrModuleMissing, "this binary was built without module powerdns: build with -tags libdns_powerdns"},
		"rfc2136":    {ErrModuleMissing, "this binary was built without module rfc2136: build with -tags libdns_rfc2136"},
	} {
		err := CheckLibDNSModule(name)
		if _, built := libdnsBuilt[name]; built {
			if err != nil {
				t.Errorf("%s is in this binary: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, want.is) || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewLibDNS(LibDNSConfig{Module: name, Zone: zone, Settings: libSettings(t, `{}`)}); !errors.Is(err, want.is) {
			t.Errorf("%s: a provider is built: %v", name, err)
		}
	}
	for name := range libdnsAllowed {
		if libdnsRefused[name] != "" {
			t.Errorf("%s is allowed and refused", name)
		}
	}
	for name := range libdnsBuilt {
		if _, ok := libdnsAllowed[name]; !ok {
			t.Errorf("%s is in the binary and not on the list", name)
		}
	}
}

// TestLibDNSDefaultBinaryHasNoModule: the program as `make build` makes it knows
// the interfaces of libdns, and holds no module.
func TestLibDNSDefaultBinaryHasNoModule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "pointsman/cmd/pointsman").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		l := strings.TrimSpace(line)
		if strings.HasPrefix(l, "github.com/libdns/") && l != "github.com/libdns/libdns" || strings.Contains(l, "go-powerdns") {
			t.Errorf("it holds %s", l)
		}
	}
}

func libSettings(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseLibDNSSettings([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const libToken = "token-of-the-module-0123456789"

// fakeZone is a module that keeps a zone in memory and does what its hooks say.
// Only faults are played with it: what modules do, real ones show.
type fakeZone struct {
	mu    sync.Mutex
	recs  []libdns.Record
	gets  int
	sets  [][]libdns.Record
	onGet func(n int) error
	onSet func(n int, ctx context.Context, g *libdnsGuard, apply func()) error
}

func (z *fakeZone) get(_ context.Context, _ *libdnsGuard, _ string) ([]libdns.Record, error) {
	z.mu.Lock()
	z.gets++
	n, hook := z.gets, z.onGet
	z.mu.Unlock()
	if hook != nil {
		if err := hook(n); err != nil {
			return nil, err
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.recs), nil
}

func (z *fakeZone) set(ctx context.Context, g *libdnsGuard, _ string, recs []libdns.Record) error {
	z.mu.Lock()
	z.sets = append(z.sets, recs)
	n, hook := len(z.sets), z.onSet
	z.mu.Unlock()
	apply := func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		for _, r := range recs {
			rr := r.RR()
			z.recs = slices.DeleteFunc(z.recs, func(o libdns.Record) bool { return o.RR().Name == rr.Name && o.RR().Type == rr.Type })
			z.recs = append(z.recs, r)
		}
	}
	if hook != nil {
		return hook(n, ctx, g, apply)
	}
	if err := g.begin(); err != nil {
		return err
	}
	apply()
	return nil
}

func (z *fakeZone) count() (gets, sets int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.gets, len(z.sets)
}

func cname(name, target string) libdns.Record {
	return libdns.CNAME{Name: name, TTL: 30 * time.Second, Target: target}
}

func newFakeZone() *fakeZone {
	return &fakeZone{recs: []libdns.Record{
		cname("orders", "a.lab.test."), libdns.TXT{Name: "_pointsman.orders", TTL: 30 * time.Second, Text: mark(1, 0)},
	}}
}

func fakeProvider(t testing.TB, z *fakeZone, atomic bool, edit func(*LibDNSConfig)) *LibDNS {
	t.Helper()
	c := LibDNSConfig{
		Module: "powerdns", Zone: zone, Timeout: 3 * time.Second, RequestsPerSecond: 10000, Settle: time.Millisecond,
		Settings: libSettings(t, `{"token":"`+libToken+`","server":"dns.example.com"}`),
		Allowed:  map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	}
	if edit != nil {
		edit(&c)
	}
	p, err := newLibDNS(libdnsModule{
		atomic: atomic, shown: []string{"server"},
		open: func([]byte) (libdnsClient, error) { return z, nil },
		denial: func(err error) error {
			if strings.Contains(err.Error(), "403") {
				return ErrRights
			}
			return nil
		},
	}, c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLibDNSReadsWhatStandsThere: everything that a module may return, and the
// state that is made of it.
func TestLibDNSReadsWhatStandsThere(t *testing.T) {
	txt := func(name, text string) libdns.Record { return libdns.TXT{Name: name, Text: text} }
	addr := libdns.RR{Name: "orders", Type: "A", Data: "192.0.2.1"}
	for name, c := range map[string]struct {
		recs []libdns.Record
		want State
		err  error
	}{
		"nothing":                   {nil, State{Absent: true}, nil},
		"one":                       {[]libdns.Record{cname("orders", "a.lab.test.")}, State{Value: targetA, TTL: 30}, nil},
		"other letters, no dot":     {[]libdns.Record{cname("Orders", "A.lab.TEST")}, State{Value: targetA, TTL: 30}, nil},
		"names that hold it":        {[]libdns.Record{cname("orders.b", "a.lab.test."), cname("myorders", "a.lab.test."), cname("orders.lab.test", "a.lab.test.")}, State{Absent: true}, nil},
		"two":                       {[]libdns.Record{cname("orders", "a.lab.test."), cname("orders", "b.lab.test.")}, State{}, ErrSeveral},
		"twice the same":            {[]libdns.Record{cname("orders", "a.lab.test."), cname("orders", "a.lab.test.")}, State{}, ErrSeveral},
		"empty target":              {[]libdns.Record{cname("orders", "")}, State{}, ErrMalformed},
		"root as target":            {[]libdns.Record{cname("orders", ".")}, State{}, ErrMalformed},
		"negative ttl":              {[]libdns.Record{libdns.CNAME{Name: "orders", Target: "a.lab.test.", TTL: -time.Minute}}, State{}, ErrMalformed},
		"ttl beyond what DNS knows": {[]libdns.Record{libdns.CNAME{Name: "orders", Target: "a.lab.test.", TTL: 1 << 32 * time.Second}}, State{}, ErrMalformed},
		"address":                   {[]libdns.Record{addr}, State{Absent: true, Other: "A 192.0.2.1"}, nil},
		"address beside":            {[]libdns.Record{cname("orders", "a.lab.test."), addr}, State{Value: targetA, TTL: 30, Other: "A 192.0.2.1"}, nil},
		"signature beside":          {[]libdns.Record{cname("orders", "a.lab.test."), libdns.RR{Name: "orders", Type: "RRSIG", Data: "x"}}, State{Value: targetA, TTL: 30}, nil},
		"mark":                      {[]libdns.Record{cname("orders", "a.lab.test."), txt("_pointsman.orders", mark(1, 2))}, State{Value: targetA, TTL: 30, Mark: mark(1, 2)}, nil},
		"mark in quotes":            {[]libdns.Record{cname("orders", "a.lab.test."), txt("_pointsman.orders", `"`+mark(1, 2)+`"`)}, State{Value: targetA, TTL: 30, Mark: mark(1, 2)}, nil},
		"two marks":                 {[]libdns.Record{cname("orders", "a.lab.test."), txt("_pointsman.orders", mark(1, 2)), txt("_pointsman.orders", "x")}, State{}, ErrSeveral},
		"a CNAME in its place":      {[]libdns.Record{cname("orders", "a.lab.test."), cname("_pointsman.orders", "x.example.")}, State{Value: targetA, TTL: 30, Other: "at the mark: CNAME x.example."}, nil},
		"no record":                 {[]libdns.Record{nil}, State{}, ErrMalformed},
		"too many":                  {slices.Repeat([]libdns.Record{addr}, maxZoneRecords+1), State{}, ErrUnsupported},
		"a record that panics":      {[]libdns.Record{(*libdns.CNAME)(nil)}, State{}, ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			z := &fakeZone{recs: c.recs}
			p := fakeProvider(t, z, true, nil)
			s, err := p.Read(t.Context(), orders)
			if !errors.Is(err, c.err) || fmt.Sprint(s) != fmt.Sprint(c.want) {
				t.Errorf("%+v, %v; want %+v, %v", s, err, c.want, c.err)
			}
			if c.err != nil || s.Other != "" || s.Absent {
				// What is not exactly one CNAME and nothing else is not written over.
				ch := move()
				ch.Expect, ch.ExpectMark = c.want.Value, &c.want.Mark
				out, err := p.Write(t.Context(), ch)
				if out == failover.WriteDone || err == nil || s.Other != "" && !errors.Is(err, ErrOtherRecord) {
					t.Errorf("write: %s, %v", out, err)
				}
				if _, sets := z.count(); sets > 0 {
					t.Errorf("%d calls that change something", sets)
				}
			}
		})
	}
}

// TestLibDNSWritesTypedRecords: relative names, the target with its dot, value
// before mark where these are two steps, both in one call where they are one.
func TestLibDNSWritesTypedRecords(t *testing.T) {
	want := []libdns.Record{
		libdns.CNAME{Name: "orders", TTL: 30 * time.Second, Target: "b.lab.test."},
		libdns.TXT{Name: "_pointsman.orders", TTL: 30 * time.Second, Text: mark(1, 1)},
	}
	for atomic, sets := range map[bool][][]libdns.Record{true: {want}, false: {want[:1], want[1:]}} {
		z := newFakeZone()
		p := fakeProvider(t, z, atomic, nil)
		if out, err := p.Write(t.Context(), move()); out != failover.WriteDone || err != nil {
			t.Fatalf("%s, %v", out, err)
		}
		if fmt.Sprintf("%#v", z.sets) != fmt.Sprintf("%#v", sets) {
			t.Errorf("atomic %v: %#v", atomic, z.sets)
		}
		if c := p.Capabilities(); c.CompareAndSwap || c.Atomic != atomic || !strings.HasPrefix(c.Words(), "no compare-and-swap") || c.Mark != "txt" || c.Settle <= 0 {
			t.Errorf("%+v: %q", c, c.Words())
		}
	}
}

// TestLibDNSFaults: what a module does wrong, and what is said of the write.
func TestLibDNSFaults(t *testing.T) {
	lost := errors.New("connection reset by peer")
	type hook = func(n int, ctx context.Context, g *libdnsGuard, apply func()) error
	for name, c := range map[string]struct {
		atomic bool
		set    hook
		get    func(n int) error
		out    failover.WriteOutcome
		is     error
		sets   int
		shown  failover.Target
	}{
		"the reply is lost, and it landed": {true, func(_ int, _ context.Context, g *libdnsGuard, apply func()) error {
			_ = g.begin()
			apply()
			return lost
		}, nil, failover.WriteDone, nil, 1, targetB},
		"the reply is lost, and it did not land": {true, func(_ int, _ context.Context, g *libdnsGuard, _ func()) error {
			_ = g.begin()
			return lost
		}, nil, failover.WriteUnknown, ErrNoAnswer, 1, targetA},
		"nothing left": {true, func(int, context.Context, *libdnsGuard, func()) error { return lost }, nil, failover.WriteRefused, ErrNotSent, 1, targetA},
		"denied": {true, func(_ int, _ context.Context, g *libdnsGuard, _ func()) error {
			_ = g.begin()
			return errors.New("status 403")
		}, nil, failover.WriteRefused, ErrRights, 1, targetA},
		"it says done and did nothing": {true, func(_ int, _ context.Context, g *libdnsGuard, _ func()) error { return g.begin() }, nil, failover.WriteUnknown, ErrUnstable, 1, targetA},
		"it panics": {true, func(_ int, _ context.Context, g *libdnsGuard, _ func()) error {
			_ = g.begin()
			panic("oh " + libToken)
		}, nil, failover.WriteUnknown, ErrNoAnswer, 1, targetA},
		"the mark is denied after the value": {false, func(n int, _ context.Context, g *libdnsGuard, apply func()) error {
			_ = g.begin()
			if n == 2 {
				return errors.New("status 403")
			}
			apply()
			return nil
		}, nil, failover.WriteUnknown, ErrPartial, 2, targetB},
		"the first of two replies is lost, and it landed": {false, func(n int, _ context.Context, g *libdnsGuard, apply func()) error {
			_ = g.begin()
			if apply(); n == 1 {
				return lost
			}
			return nil
		}, nil, failover.WriteDone, nil, 2, targetB},
		"it cannot be read before":  {true, nil, func(int) error { return lost }, failover.WriteRefused, ErrNotSent, 0, targetA},
		"it cannot be read after":   {true, nil, func(n int) error { return map[bool]error{true: lost}[n > 1] }, failover.WriteUnknown, ErrPartial, 1, targetB},
		"late, and then it is seen": {true, nil, func(n int) error { return map[bool]error{true: lost}[n == 2] }, failover.WriteDone, nil, 1, targetB},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := newFakeZone()
				z.onSet, z.onGet = c.set, c.get
				p := fakeProvider(t, z, c.atomic, nil)
				out, err := p.Write(t.Context(), move())
				if out != c.out || !errors.Is(err, c.is) {
					t.Errorf("%s, %v; want %s, %v", out, err, c.out, c.is)
				}
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), libToken) {
					t.Errorf("a secret in %v", err)
				}
				if _, sets := z.count(); sets != c.sets {
					t.Errorf("%d calls that change something, want %d", sets, c.sets)
				}
				z.onGet = nil
				if s, err := p.Read(t.Context(), orders); err != nil || s.Value != c.shown {
					t.Errorf("it shows %+v, %v", s, err)
				}
			})
		})
	}
}

// TestLibDNSCallThatDoesNotEnd: a module that heeds no context keeps nobody
// waiting beyond it, may send nothing any more, and is not called without end.
func TestLibDNSCallThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newFakeZone()
		hang := make(chan struct{})
		var late error
		z.onSet = func(_ int, _ context.Context, g *libdnsGuard, _ func()) error {
			<-hang
			late = g.begin()
			return late
		}
		p := fakeProvider(t, z, true, func(c *LibDNSConfig) { c.Timeout = time.Second })
		began := time.Now()
		out, err := p.Write(t.Context(), move())
		if out != failover.WriteRefused || !errors.Is(err, ErrNotSent) || time.Since(began) > time.Second {
			t.Errorf("%s, %v after %s", out, err, time.Since(began))
		}
		close(hang)
		synctest.Wait()
		if !errors.Is(late, ErrReadOnly) {
			t.Errorf("what was given up may still be sent: %v", late)
		}
		// Reads that hang: at most maxCalls of them are left behind.
		stuck := make(chan struct{})
		z.onGet = func(int) error { <-stuck; return nil }
		for range maxCalls {
			if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrNoAnswer) {
				t.Error(err)
			}
			synctest.Wait()
		}
		if _, err := p.Read(t.Context(), orders); !errors.Is(err, ErrNotSent) || !strings.Contains(err.Error(), "have not ended") {
			t.Errorf("called once more: %v", err)
		}
		close(stuck)
		synctest.Wait()
		z.onGet = nil
		if _, err := p.Read(t.Context(), orders); err != nil {
			t.Error(err)
		}
	})
}

// TestLibDNSReadsAreShared: many names cost one reading, and nobody is shown
// what stood there before he asked.
func TestLibDNSReadsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newFakeZone()
		gate := make(chan struct{})
		z.onGet = func(n int) error {
			if n == 1 {
				<-gate
			}
			return nil
		}
		p := fakeProvider(t, z, true, nil)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = p.Read(t.Context(), orders) })
		synctest.Wait() // the first is under way
		z.mu.Lock()
		z.recs[0] = cname("orders", "b.lab.test.")
		z.mu.Unlock()
		for range 50 {
			wg.Go(func() {
				if s, err := p.Read(t.Context(), orders); err != nil || s.Value != targetB {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}
		// One who gives up spoils it for nobody, whoever comes after him either.
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := p.Read(ctx, orders); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(gate)
		wg.Wait()
		if gets, _ := z.count(); gets != 2 {
			t.Errorf("%d readings for 52 who asked", gets)
		}
		// All who waited for the next one gave up: the next after it is sound.
		gate = make(chan struct{})
		z.onGet = func(n int) error {
			if n == 3 {
				<-gate
			}
			return nil
		}
		wg.Go(func() { _, _ = p.Read(t.Context(), orders) })
		synctest.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		wg.Go(func() { _, _ = p.Read(ctx, orders) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		wg.Go(func() {
			if s, err := p.Read(t.Context(), orders); err != nil || s.Value != targetB {
				t.Errorf("%+v, %v", s, err)
			}
		})
		synctest.Wait()
		close(gate)
		wg.Wait()
	})
}

// TestLibDNSSettles: a new leader waits before its first write, and a call that
// was given up is waited out before the opposite is written.
func TestLibDNSSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newFakeZone()
		p := fakeProvider(t, z, true, func(c *LibDNSConfig) { c.Settle = 30 * time.Second })
		c := move()
		c.Mark = mark(2, 1)
		if out, err := p.Write(t.Context(), c); out != failover.WriteMismatch || !errors.Is(err, ErrSettling) {
			t.Errorf("%s, %v", out, err)
		}
		if _, sets := z.count(); sets != 0 {
			t.Errorf("%d calls while it settles", sets)
		}
		time.Sleep(30 * time.Second)
		z.onSet = func(_ int, _ context.Context, g *libdnsGuard, _ func()) error {
			_ = g.begin()
			return errors.New("connection reset by peer")
		}
		if out, err := p.Write(t.Context(), c); out != failover.WriteUnknown {
			t.Errorf("%s, %v", out, err)
		}
		z.onSet = nil
		c.Value = targetA
		if out, err := p.Write(t.Context(), c); out != failover.WriteMismatch || !errors.Is(err, ErrSettling) {
			t.Errorf("the opposite of what may still land: %s, %v", out, err)
		}
		c.Value = targetB
		if out, err := p.Write(t.Context(), c); out != failover.WriteDone {
			t.Errorf("the same again: %s, %v", out, err)
		}
	})
}

// TestLibDNSRate: no more calls than the config allows.
func TestLibDNSRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := newFakeZone()
		p := fakeProvider(t, z, true, func(c *LibDNSConfig) { c.RequestsPerSecond = 2 })
		began := time.Now()
		for range 24 {
			if _, err := p.Read(t.Context(), orders); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("24 calls at 2 a second took %s", took)
		}
	})
}

// TestLibDNSSettings: what is not one JSON object is refused, and shows nothing.
func TestLibDNSSettings(t *testing.T) {
	for _, text := range []string{"", "x", `"` + libToken + `"`, `[]`, `null`, `{"token":"` + libToken + `"`, `{"token":"` + libToken + `"} {}`, strings.Repeat(" ", maxSettings+1)} {
		_, err := ParseLibDNSSettings([]byte(text))
		if err == nil || strings.Contains(err.Error(), libToken) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	c := LibDNSConfig{Module: "powerdns", Zone: zone}
	for name, edit := range map[string]func(*LibDNSConfig){
		"settings_file":      func(c *LibDNSConfig) { c.ReadSettings = libSettings(t, `{}`) },
		"read_settings_file": func(c *LibDNSConfig) { c.Settings, c.ReadOnly = libSettings(t, `{}`), true },
	} {
		c := c
		edit(&c)
		_, err := newLibDNS(libdnsModule{open: func([]byte) (libdnsClient, error) { return newFakeZone(), nil }}, c)
		if err == nil || !strings.Contains(err.Error(), ": "+name+": ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := fakeProvider(t, newFakeZone(), true, nil)
	for _, text := range []string{p.String(), fmt.Sprintf("%v %+v %#v %s", p, p, p, p), fmt.Sprintf("%+v", LibDNSConfig{Settings: libSettings(t, `{"token":"`+libToken+`"}`)})} {
		if strings.Contains(text, libToken) {
			t.Errorf("a secret in %s", text)
		}
	}
}

// TestLibDNSHidesSettings: in whatever form a module says a secret, it does not
// come out, while what is no secret does.
func TestLibDNSHidesSettings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9+/=%&"\\ äö-]{4,40}`).Draw(t, "secret")
		quotedSecret := fmt.Sprintf("%q", secret)
		forms := formsOf(secret)
		form := forms[rapid.IntRange(0, len(forms)-1).Draw(t, "form")]
		for _, settings := range []string{`{"server":"dns.example.com","t":` + jsonText(secret) + `}`, `{"server":"dns.example.com","deep":{"list":[` + jsonText(secret) + `]}}`} {
			said := newHider([]byte(settings), []string{"server"}).say(errors.New("at dns.example.com: Authorization <" + form + "> is bad"))
			if strings.Contains(said, "<"+form+">") {
				t.Fatalf("%s hidden as %q in %s", quotedSecret, form, said)
			}
		}
	})
	h := newHider([]byte(`{"token":"abc","server":"x.example"}`), []string{"server"})
	if said := h.say(errors.New("the token abc")); strings.Contains(said, "abc") {
		t.Errorf("a short secret: %s", said)
	}
	h = newHider([]byte(`{"token":"`+libToken+`","server":"x.example","level":1}`), []string{"server"})
	if said := h.say(fmt.Errorf("get https://x.example/1?k=%s:\n\x1b[31mno\x00", libToken)); said != "get https://x.example/1?k=[redacted]:  [31mno " {
		t.Errorf("%q", said)
	}
	if said := h.say(errors.New(strings.Repeat("x", 10_000))); len(said) > 400 {
		t.Errorf("%d octets", len(said))
	}
}

func jsonText(s string) string {
	b, _ := json.Marshal(s) // of a string it does not fail
	return string(b)
}
