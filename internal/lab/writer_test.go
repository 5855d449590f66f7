package lab

import (
	"context"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// moving is an authority of one name whose target can be changed.
type moving struct {
	addr netip.AddrPort
	to   chan string // holds the target
}

func (m *moving) move(target string) {
	<-m.to
	m.to <- target
}

func startMoving(t *testing.T, w *World, target string) *moving {
	t.Helper()
	m := &moving{to: make(chan string, 1)}
	m.to <- target
	m.addr = authority(t, func(q *dns.Msg) *dns.Msg {
		target := <-m.to
		m.to <- target
		site := w.Hosts()[target]
		r := new(dns.Msg).SetReply(q)
		r.Answer = append(r.Answer,
			&dns.CNAME{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: target},
			&dns.A{Hdr: dns.RR_Header{Name: target, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: site.AsSlice()})
		return r
	})
	return m
}

func startTables(t *testing.T) (*Lab, *moving) {
	t.Helper()
	w, err := NewWorld(WorldConfig{Dir: filepath.Join(t.TempDir(), "lab"), Instances: []string{Orders}, Kind: Tablestore})
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{World: w, family: NewFamily(2 * time.Second), told: make(chan string, 16)}
	running(t, l.family.Run)
	for _, c := range w.Clusters {
		args, env, err := w.backend().part(w, c)
		if err != nil {
			t.Fatal(err)
		}
		spec := partSpec(w.Dir, c.Name, "cluster", append([]string{"cluster", "--name", c.Name, "--listen", c.Addr.String(), "--manage", c.Manage.String()}, args...)...)
		spec.Env = append(append(spec.Env, "POINTSMAN_LAB_TOKEN="+w.token), env...)
		if err := l.family.Start(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range w.Clusters {
		if err := l.reach(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	name := startMoving(t, w, "a.lab.test.")
	l.writer = w.backend().writer(w)
	l.writer.pool.look.Server = name.addr
	return l, name
}

// wrote waits for a write since then that the cluster acknowledged.
func wrote(t *testing.T, w *Writer, since time.Time, cluster string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Until(ctx, since, func(one Write) bool { return one.Err == nil && one.By == cluster }); err != nil {
		t.Fatalf("no write to %s: %v; last %s", cluster, err, w.Last().Outcome())
	}
}

func TestAWriterStaysWithItsConnectionUntilThatIsLost(t *testing.T) {
	l, name := startTables(t)
	w := l.writer
	ended := make(chan error, 1)
	ctx, end := context.WithCancel(t.Context())
	go func() { ended <- w.Run(ctx) }()
	wrote(t, w, time.Time{}, "a")

	name.move("b.lab.test.") // both alive: a pool does not look names up
	moved := time.Now()
	for range 20 {
		wrote(t, w, time.Now(), "a")
	}
	if open := w.Open(); open["a"] == 0 || open["b"] != 0 {
		t.Errorf("connections %v", open)
	}
	if err := l.Kill("a"); err != nil {
		t.Fatal(err)
	}
	wrote(t, w, moved, "b")
	if err := l.Heal(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	r, err := l.CountWrites(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := r.Sides[0], r.Sides[1]
	if len(r.Why) > 0 || a.Unread+b.Unread != "" {
		t.Errorf("%+v", r)
	}
	if r.Acknowledged != a.Acknowledged+b.Acknowledged || r.Written != r.Acknowledged+r.Errors || a.Acknowledged < 20 || b.Acknowledged == 0 {
		t.Errorf("%+v", r)
	}
	// Nothing is replicated: each lacks what the other one acknowledged, and a
	// row is where it was acknowledged even after kill -9.
	if a.Lacks != b.Acknowledged || b.Lacks != a.Acknowledged || a.Held != a.Acknowledged+a.Beyond || !strings.HasPrefix(b.Which, "1-") {
		t.Errorf("%+v", r.Sides)
	}
}

// A writer that was hushed begins no write until it may speak, and its numbers
// go on where they were.
func TestAHushedWriterWritesNothing(t *testing.T) {
	l, _ := startTables(t)
	w := l.writer
	ended := make(chan error, 1)
	ctx, end := context.WithCancel(t.Context())
	go func() { ended <- w.Run(ctx) }()
	wrote(t, w, time.Time{}, "a")
	for range 2 { // again changes nothing
		if said, err := l.Do(t.Context(), Order{Verb: "hush"}); err != nil || said != "the client writes nothing, until speak" {
			t.Fatalf("%q, %v", said, err)
		}
	}
	before := w.Counts().Written
	site := l.World.Clusters[0]
	rows, err := ReadRows(t.Context(), site, l.World.Instances[0].Names[0], Orders, l.World.keys[keyOfService])
	if err != nil || len(rows) != before || w.Counts().Written != before {
		t.Errorf("%d rows of %d, then %d: %v", len(rows), before, w.Counts().Written, err)
	}
	if _, err := l.Do(t.Context(), Order{Verb: "speak"}); err != nil {
		t.Fatal(err)
	}
	w.Speak()
	w.Pace(time.Millisecond)
	wrote(t, w, time.Now(), "a")
	if log := w.Log(1); len(log) <= before || log[before].By == 0 {
		t.Errorf("after %d rows the log has %d", before, len(log))
	}
	// Whoever was hushed can be ended all the same.
	if err := w.Hush(t.Context()); err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// What is under way when a writer ends may be done after all: then a cluster
// holds a row that was neither acknowledged nor an error, and that the writer
// wrote all the same.
func TestAWriteThatIsCutOffIsNoInvention(t *testing.T) {
	w := NewWriter(WriterConfig{Server: netip.MustParseAddrPort("127.0.0.1:1"), Name: testName, Sites: []ClusterSite{{Name: "a"}}})
	ctx, end := context.WithCancel(t.Context())
	end()
	w.pool.end()
	w.write(ctx, 1)
	if n := w.Counts(); n != (WriterCounts{}) || len(w.Log(1)) != 1 {
		t.Errorf("%+v with a log of %d", n, len(w.Log(1)))
	}
	if _, why := JudgeWrites(w.Log(1), []string{"a"}, map[string][]Held{"a": rowsOf(1)}); len(why) > 0 {
		t.Errorf("%v", why)
	}
}
