package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// clustersOnly is a lab whose only parts are its two clusters, reachable by
// the verbs of another terminal.
func clustersOnly(t *testing.T) (*Lab, LabState) {
	t.Helper()
	w := newWorld(t, Orders)
	l := &Lab{World: w, family: NewFamily(2 * time.Second), told: make(chan string, 16)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running(t, func(ctx context.Context) error {
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return l.family.Run(ctx) })
		g.Go(func() error { return l.control(ctx, ln) })
		return g.Wait()
	})
	if err := l.writeState(ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.Clusters {
		spec := partSpec(w.Dir, c.Name, "cluster", "--name", c.Name, "--listen", c.Addr.String(), "--manage", c.Manage.String())
		spec.Env = append(spec.Env, "POINTSMAN_LAB_TOKEN="+w.token)
		if err := l.family.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if err := l.reach(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	st, err := FindLab(w.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return l, st
}

// clientOf looks a fixed target up at a server that always names it.
func clientOf(t *testing.T, w *World, target string) Client {
	t.Helper()
	return Client{Server: authority(t, answersWith(target)), Name: testName, Sites: w.Clusters, Timeout: time.Second}
}

func TestVerbsOfAnotherTerminalMakeRealFaultsAndHealThem(t *testing.T) {
	l, st := clustersOnly(t)
	a := clientOf(t, l.World, "a.lab.test.")
	do := func(o Order) string {
		t.Helper()
		said, err := st.Do(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	want := func(outcome string) {
		t.Helper()
		eventually(t, outcome, func() bool { return strings.Contains(a.Once(t.Context()).Outcome(), outcome) })
	}
	want("served by a")
	do(Order{Verb: "kill", Part: "a"})
	want("a.lab.test. refuses the connection")
	if got := a.Once(t.Context()).Outcome(); strings.Contains(got, "served") {
		t.Errorf("killed, and then: %s", got)
	}
	do(Order{Verb: "heal", Part: "a"})
	want("served by a")
	do(Order{Verb: "stall", Part: "a"})
	want("a.lab.test. does not answer in time")
	do(Order{Verb: "resume", Part: "a"})
	want("served by a")
	if said := do(Order{Verb: "knobs", Part: "a", Knobs: &Knobs{Identity: "b"}}); said != "a: says that it is b" {
		t.Errorf("said %q", said)
	}
	want(`served by a, which says that it is "b"`)
	do(Order{Verb: "knobs", Part: "a", Knobs: &Knobs{ErrorRate: 1}})
	want("a.lab.test. answers 503")
	do(Order{Verb: "stall", Part: "b"})
	do(Order{Verb: "heal"})
	want("served by a")
	parts, err := st.Parts(t.Context())
	if err != nil || len(parts) != 2 {
		t.Fatalf("%+v, %v", parts, err)
	}
	for _, p := range parts {
		if p.State != Running || p.PID == 0 || p.Words != "healthy" {
			t.Errorf("after heal: %+v", p)
		}
	}
	if told := <-l.Told(); told != "a is dead (SIGKILL)" {
		t.Errorf("the lab's own terminal was told %q", told)
	}
}

func TestOrdersThatMakeNoSenseAreRefusedWithTheReason(t *testing.T) {
	l, st := clustersOnly(t)
	if err := l.Kill("b"); err != nil {
		t.Fatal(err)
	}
	for says, o := range map[string]Order{
		"no such part":          {Verb: "kill", Part: "c"},
		"knows no verb":         {Verb: "tickle", Part: "a"},
		"is not running":        {Verb: "stall", Part: "b"},
		"heal it first":         {Verb: "knobs", Part: "b", Knobs: &Knobs{Closed: true}},
		"needs knobs":           {Verb: "knobs", Part: "a"},
		"slow_ms -1 is outside": {Verb: "knobs", Part: "a", Knobs: &Knobs{SlowMS: -1}},
	} {
		if said, err := st.Do(t.Context(), o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: said %q, %v; want an error with %q", o, said, err, says)
		}
	}
	st.Token = "stolen"
	if _, err := st.Do(t.Context(), Order{Verb: "kill", Part: "a"}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without the token: %v", err)
	}
	if s, _ := l.family.State("a"); s.State != Running {
		t.Errorf("a is %s after orders that were refused", s.State)
	}
}

func TestAFolderWhereALabRunsIsRefused(t *testing.T) {
	l, _ := clustersOnly(t)
	if _, err := NewWorld(WorldConfig{Dir: l.World.Dir, Instances: []string{Orders}}); err == nil || !strings.Contains(err.Error(), "a lab is running there already") {
		t.Errorf("%v", err)
	}
}

func TestAVerbWithoutALabSaysHowToStartOne(t *testing.T) {
	if _, err := FindLab(t.TempDir()); !errors.Is(err, ErrNoLab) || !strings.Contains(err.Error(), "pointsman-lab run") {
		t.Errorf("%v", err)
	}
}

func TestALabThatIsGoneIsSaidToBeGone(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	port, err := freePort(20_000, map[uint16]bool{}, []netip.Addr{local})
	if err != nil {
		t.Fatal(err)
	}
	st := LabState{PID: 4711, Control: netip.AddrPortFrom(local, port).String()}
	for _, err := range []error{
		func() error { _, err := st.Parts(t.Context()); return err }(),
		func() error { _, err := st.Do(t.Context(), Order{Verb: "heal"}); return err }(),
	} {
		if !errors.Is(err, ErrNoLab) || !strings.Contains(err.Error(), "process 4711") {
			t.Errorf("%v", err)
		}
	}
}

func TestRunTellsWhyAPartThatEndsAtOnceEnded(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAB_TEST_PART", "verb") // whatever is started says "not today" and ends with 3
	dir := t.TempDir()
	err = Run(t.Context(), Config{Dir: dir, Pointsman: self, Self: self, Instances: []string{Orders}}, func(context.Context, *Lab) error {
		t.Error("the body was called")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("%v", err)
	}
	err = Run(t.Context(), Config{Pointsman: "/nowhere/pointsman"}, nil)
	if err == nil || !strings.Contains(err.Error(), "--pointsman") {
		t.Errorf("a binary that is not there: %v", err)
	}
}

func TestAPartThatEndsByItselfEndsTheWaiting(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAB_TEST_PART", "verb")
	l := &Lab{Tool: Tool{Path: self}, family: NewFamily(time.Second)}
	running(t, l.family.Run)
	startPart(t, l.family, partSpec(t.TempDir(), "van-2", "brief"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = l.AwaitView(ctx, Orders, "to be calm", func(View) string { return "never" })
	if err == nil || !strings.Contains(err.Error(), "van-2 has ended (exit status 3)") || !strings.Contains(err.Error(), "two, without an end") {
		t.Errorf("%v", err)
	}
}

func TestAVerbThatFailsCarriesWhatItSaid(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAB_TEST_PART", "verb")
	out, err := Tool{Path: self, Config: "x.yaml"}.Do(t.Context(), "ack", "orders")
	if !errors.Is(err, ErrVerb) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("%v", err)
	}
	if string(out) != "ack orders -c x.yaml\n" {
		t.Errorf("it was called with %q", out)
	}
}

func TestTheStatusOfAnInstanceIsRead(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tool := Tool{Path: self, Config: "x"}
	t.Setenv("LAB_TEST_PART", "status")
	t.Setenv("LAB_TEST_STATUS", `[{"instance":"orders","phase":"idle","active":"b","stops":[{"kind":"cooldown","why":"after orders-1.2"}],
		"clusters":[{"name":"a","verdict":"down","why":"2 of 3 domains"},{"name":"b","verdict":"up"}],
		"last_op":{"op":{"id":"orders-1.2","from":"a","to":"b","since":"2026-01-01T00:00:00.5Z","step_at":{"settle":"2026-01-01T00:00:01Z"}},"outcome":"settled"}}]`)
	v, err := tool.View(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	if v.Active != "b" || v.Verdict("a") != "down" || !v.Has("cooldown") || v.Stopped() != "cooldown: after orders-1.2" || v.LastOp.Op.StepAt["settle"].IsZero() {
		t.Errorf("%+v", v)
	}
	if why := bothUp(v); why != "cluster a is down: 2 of 3 domains" {
		t.Errorf("not calm because %q", why)
	}
	if _, err := tool.View(t.Context(), "payroll"); err == nil {
		t.Error("an instance that is not shown was found")
	}
	t.Setenv("LAB_TEST_STATUS", "no JSON")
	if _, err := tool.View(t.Context(), "orders"); err == nil || !strings.Contains(err.Error(), "read its JSON") {
		t.Errorf("%v", err)
	}
}

func TestTheAuditGivesTheWritesOfOneNameOnly(t *testing.T) {
	entries, err := parseAudit([]byte(`[
		{"seq":1,"at":"2026-01-01T00:00:00.010Z","kind":"create","text":"new record","after":"a"},
		{"seq":2,"at":"2026-01-01T00:00:00.050Z","kind":"write","text":"orders.lab.test. CNAME z.lab.test.","after":"z.lab.test."},
		{"seq":3,"at":"2026-01-01T00:00:00.100Z","kind":"intent","text":"…","before":"a","after":"b"},
		{"seq":4,"at":"2026-01-01T00:00:00.120Z","kind":"write","text":"orders.lab.test. CNAME b.lab.test.","before":"a.lab.test.","after":"b.lab.test."},
		{"seq":5,"at":"2026-01-01T00:00:00.120Z","kind":"write","text":"billing.lab.test. CNAME b.lab.test.","after":"b.lab.test."}
	]`))
	got := writesOf(entries, "orders.lab.test.", moment(100))
	if err != nil || len(got) != 1 || got[0] != (Commit{moment(120), "b.lab.test."}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseAudit([]byte(`{}`)); err == nil {
		t.Error("an object was read as a list")
	}
}

func FuzzParseAudit(f *testing.F) {
	f.Add([]byte(`[{"at":"2026-01-01T00:00:00Z","kind":"write","text":"x. CNAME y.","after":"y."}]`))
	f.Add([]byte(`[{"at":7}]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseAudit(b)
		if err != nil && got != nil {
			t.Errorf("%v with %v", got, err)
		}
		writesOf(got, "x.", time.Time{})
	})
}
