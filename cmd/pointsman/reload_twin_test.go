package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/healthcheck"
	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// mostWishes is how many instances the files of the twins may have.
const mostWishes = 5

// wish is a file as somebody may want it: which instances, how each is checked,
// decided and named.
type wish struct {
	instances map[int]wishedInstance
	vantage   bool // one elsewhere may vote
	retired   bool // names that no instance has may vanish
	bad       string
}

type wishedInstance struct {
	check, policy int
	names         [2]bool // the second name, and the third
}

func (i wishedInstance) all(n int) []string {
	out := []string{fmt.Sprintf("i%d.lab.test.", n)}
	for k, has := range i.names {
		if has {
			out = append(out, fmt.Sprintf("i%d-%d.lab.test.", n, k))
		}
	}
	return out
}

// everyName lists all names that any file may have.
func everyName() (out []string) {
	for n := range mostWishes {
		out = append(out, wishedInstance{names: [2]bool{true, true}}.all(n)...)
	}
	return out
}

func (w wish) text(dns, listen, control string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "controller: {name: ctl-1, data: data, socket: s/s, listen: %q, token_file: token}\n", listen)
	if w.vantage {
		b.WriteString("vantages: [{name: van-2, domain: rack-2, key_file: van-2.key}]\n")
	}
	fmt.Fprintf(&b, "single_vantage: accept\nvantage: {name: ctl-1, domain: rack-1, controls: [\"tcp://%s\"]}\n", control)
	fmt.Fprintf(&b, "authority:\n  listen: [%q]\n  zones:\n    - name: lab.test.\n      ns: [ns1.lab.test.]\n", dns)
	b.WriteString("      hosts: {ns1.lab.test.: [127.0.0.1], a.lab.test.: [127.0.0.1], b.lab.test.: [127.0.0.1]}\n")
	var has []string
	for n, i := range w.instances {
		has = append(has, i.all(n)...)
	}
	if w.retired {
		if gone := slices.DeleteFunc(everyName(), func(n string) bool { return slices.Contains(has, n) }); len(gone) > 0 {
			fmt.Fprintf(&b, "      retired: [%s]\n", strings.Join(gone, ", "))
		}
	}
	b.WriteString("instances:\n")
	for _, n := range slices.Sorted(maps.Keys(w.instances)) {
		i := w.instances[n]
		fmt.Fprintf(&b, "  - name: i%d\n    preset: fast-lab\n    names:\n", n)
		for _, name := range i.all(n) {
			fmt.Fprintf(&b, "      - {name: %s, provider: embedded}\n", name)
		}
		b.WriteString("    clusters: {a: {target: a.lab.test., address: \"127.0.0.1:1\"}, b: {target: b.lab.test., address: \"127.0.0.1:2\"}}\n")
		fmt.Fprintf(&b, "    primary: a\n    round: 1s\n    timeout: 400ms\n    cooldown: %dm\n    check: {type: http, path: /%d, identity: {header: X-Cluster}}\n", i.policy+1, i.check)
	}
	b.WriteString(w.bad)
	return b.String()
}

// change makes another wish of w: one thing is other, or nothing.
func (w wish) change(t *rapid.T) wish {
	w.instances, w.bad = maps.Clone(w.instances), ""
	n := rapid.IntRange(0, mostWishes-1).Draw(t, "which")
	i := w.instances[n]
	switch rapid.SampledFrom([]string{"add", "add", "remove", "check", "policy", "names", "vantage", "retired", "bad", "same"}).Draw(t, "change") {
	case "add":
		w.instances[n] = i
	case "remove":
		if delete(w.instances, n); len(w.instances) == 0 {
			w.instances[n] = i
		}
	case "check":
		i.check = rapid.IntRange(0, 3).Draw(t, "check")
		w.instances[n] = i
	case "policy":
		i.policy = rapid.IntRange(0, 3).Draw(t, "policy")
		w.instances[n] = i
	case "names":
		i.names = [2]bool{rapid.Bool().Draw(t, "second"), rapid.Bool().Draw(t, "third")}
		w.instances[n] = i
	case "vantage":
		w.vantage = !w.vantage
	case "retired":
		w.retired = !w.retired
	case "bad":
		w.bad = rapid.SampledFrom([]string{"instance: 1\n", "  - name: i9\n", "\t", "  - {name: i0}\n", "vantage: {domain: x}\n"}).Draw(t, "mistake")
	}
	return w
}

// twin is a process in a folder.
type twin struct {
	*process
	end func() error
}

// started is a process of the file; alive: it runs.
func started(t *rapid.T, file string, alive bool) twin {
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcess(context.Background(), processConfig{Config: cfg, Log: slog.New(slog.DiscardHandler), Version: buildVersion()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if !alive {
		cancel() // it ends as soon as it runs
		return twin{p, func() error { return p.Run(ctx) }}
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return twin{p, func() error { cancel(); return <-done }}
}

// running is everything of a process by which it looks, decides and answers.
type running struct {
	Hash        string
	Policies    map[failover.InstanceName]failover.Policy
	Want        map[failover.InstanceName]string
	Voters      []failover.VantageName // whom the receiver hears
	Keys        map[failover.VantageName][]healthcheck.Key
	Rounds      map[failover.InstanceName]time.Duration
	Shown       map[string]failover.Target
	LeftOver    []string
	Controller  config.Controller
	Generations map[failover.InstanceName]string
}

func (p twin) running() running {
	f := p.now.Load()
	r := running{
		Hash: f.cfg.Hash, Want: f.want, Keys: f.receive.Vantages, Voters: slices.Sorted(maps.Keys(p.receiver.Configs())), Rounds: f.receive.Instances, Controller: f.cfg.Controller,
		Policies: make(map[failover.InstanceName]failover.Policy), Shown: make(map[string]failover.Target), Generations: make(map[failover.InstanceName]string),
		LeftOver: slices.Sorted(slices.Values(p.authority.Stats().LeftOver)),
	}
	for _, i := range p.ctl.Instances() {
		if s, ok := p.ctl.Snapshot(i); ok {
			r.Policies[i] = *s.Policy
			r.Generations[i] = f.want[i]
		}
	}
	for _, n := range everyName() {
		if to, ok := p.authority.Shown(failover.RecordName(n)); ok {
			r.Shown[n] = to
		}
	}
	return r
}

// settled waits until every instance of the file has its record and is probed
// as the file says, and what the file does not have is probed no more.
func (p twin) settled(t *rapid.T, w wish) {
	missing := func() string {
		for n := range mostWishes {
			name := failover.InstanceName(fmt.Sprintf("i%d", n))
			i, has := w.instances[n]
			rep, probed := p.prober.Latest(name)
			switch {
			case !has && probed:
				return fmt.Sprintf("%s is probed and gone", name)
			case !has:
				continue
			case !probed || rep.Generation != p.now.Load().want[name]:
				return fmt.Sprintf("%s is not probed as the file says", name)
			}
			for _, n := range i.all(n) {
				if _, ok := p.authority.Shown(failover.RecordName(n)); !ok {
					return n + " shows nothing"
				}
			}
		}
		return ""
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		why := missing()
		if why == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(why)
		}
	}
}

// TestReloadsComeToWhatAStartComesTo: whatever reloads a process took and
// refused, it runs in the end what a fresh start from the last file that it
// took runs: policies, checks, who may vote, what is answered and left over.
func TestReloadsComeToWhatAStartComesTo(t *testing.T) {
	fewer(t, 30)
	var took, refused int
	rapid.Check(t, func(t *rapid.T) { twins(t, &took, &refused) })
	if took == 0 || refused == 0 {
		t.Errorf("%d files were taken and %d refused: nothing was tried", took, refused)
	}
}

// fewer lets rapid make less than its 100 tries, unless somebody asked for a
// number: each takes two processes.
func fewer(t *testing.T, n int) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	if f.Value.String() != f.DefValue {
		return
	}
	if err := flag.Set(f.Name, fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(f.Name, f.DefValue) })
}

// twins is one of them.
func twins(t *rapid.T, took, refused *int) {
	dir, err := os.MkdirTemp("", "twin") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dns, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	write("token", strings.Repeat("0123456789abcdef", 2))
	write("van-2.key", strings.Repeat("2", 64))
	file := filepath.Join(dir, "pointsman.yaml")
	good := wish{instances: map[int]wishedInstance{0: {}, 1: {}}}
	write("pointsman.yaml", good.text(dns, addr, control.Addr().String()))
	p := started(t, file, true)
	ended := false
	defer func() {
		if !ended {
			_ = p.end()
		}
	}()
	p.settled(t, good)
	next := good
	for range rapid.IntRange(1, 10).Draw(t, "reloads") {
		next = next.change(t)
		write("pointsman.yaml", next.text(dns, addr, control.Addr().String()))
		rep, err := p.reloads.Reload(context.Background(), api.ReloadRequest{By: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Result == api.ReloadRefused {
			*refused++
			if next.bad == "" {
				next = good // what was wanted cannot be had
			}
			continue
		}
		*took++
		if next.bad != "" {
			t.Fatalf("a file with a mistake was taken: %q", next.bad)
		}
		good = next
	}
	p.settled(t, good)
	got := p.running()
	ended = true
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	write("pointsman.yaml", good.text(dns, addr, control.Addr().String()))
	fresh := started(t, file, false)
	want := fresh.running()
	if err := fresh.end(); err != nil {
		t.Fatal(err)
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s:\nafter reloads %+v\nafter a start %+v", g.Type().Field(i).Name, g.Field(i), w.Field(i))
		}
	}
}
