package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

const (
	secondA, secondB = "a.lab.test.", "b.lab.test."
	secondTTL        = 5 * time.Second // that of fast-lab
)

// TestSecondaries runs the program as the hidden primary of BIND, NSD, Knot and
// PowerDNS, with unbound in front of them, and asks every one of them all the
// time. Each change reaches each of them, and none of them has a gap or takes a
// step back, whatever becomes of the program.
func TestSecondaries(t *testing.T) {
	t.Parallel()
	w := newSecondaryWorld(t)
	ctl := w.armed(t)
	for _, s := range w.servers {
		s.up(t)
	}
	serial := w.follow(t, secondA, 0, w.servers...)
	front := w.unbound(t)
	witnesses := map[string]*witness{}
	for _, s := range w.servers {
		witnesses[s.kind] = startWitness(t, s.addr, secondName)
	}
	// A resolver may ask a dead server before it asks the next one: as long as
	// clients wait, so does its witness.
	witnesses["unbound"] = startPatientWitness(t, front.addr, secondName, 5*time.Second)
	switchover := func(to string, more ...string) func() {
		return func() { w.verb(t, exitOK, append([]string{"switchover", "orders", "--to", to, "--yes"}, more...)...) }
	}
	story := &passage{w: w, serial: serial, moves: []moved{{target: secondA}}}

	// A cluster dies and the name moves by itself; then people move it. Each
	// move goes to three of them as an increment, and to PowerDNS as a whole.
	story.move(t, secondB, w.a.kill)
	w.a.up(t)
	w.until(t, "both up", func(v failover.View) bool { return bothUp(v) && settledAt("b")(v) })
	parts, whole := w.counted(t, transfersOf("incremental")), w.counted(t, transfersOf("full"))
	story.move(t, secondA, switchover("a"))
	steps := int(story.serial - story.moves[len(story.moves)-2].serial)
	if got := w.counted(t, transfersOf("incremental")) - parts; got < 3 || got > 3*steps {
		t.Errorf("%d increments went out for %d serials to three servers", got, steps)
	}
	if got := w.counted(t, transfersOf("full")) - whole; got < 1 || got > steps {
		t.Errorf("the whole zone went out %d times for %d serials to one server", got, steps)
	}

	for _, s := range w.servers[:3] {
		s.tookInPart(t, story.moves[1].serial, story.serial)
	}

	w.strangers(t)

	// Status has a line for each, also for those that are well; scripts too.
	well := fmt.Sprintf("acknowledged %d and serves it", story.serial)
	w.says(t, []string{"explain", "orders"}, "orders.lab.test. a.lab.test. is shown by 4 of 4 secondaries that clients ask")
	for _, s := range w.servers {
		w.says(t, []string{"status"}, s.addr+"  lab.test.  "+fmt.Sprint(story.serial)+", ", well)
	}
	if table := w.verb(t, exitOK, "status", "orders"); strings.Count(table, well) != len(w.servers) {
		t.Errorf("%d secondaries:\n%s", len(w.servers), table)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders", "-o", "json"), `"verdict": "`+well+`"`, `"acknowledged_at": "`)

	// The program is killed three times, once between a change of the file and
	// its next start. Nobody asks the dead.
	for i, target := range []string{secondB, secondA, secondB} {
		ctl.kill()
		if i == 1 {
			w.host(t, "more", "127.0.0.9")
		}
		for _, s := range w.servers {
			if got, ok := soa(s.addr); !ok || got != story.serial || shows(s.addr) != story.now() {
				t.Errorf("%s has serial %d and shows %q while the program is dead", s.kind, got, shows(s.addr))
			}
		}
		ctl = w.run(t)
		w.until(t, "both up", bothUp)
		if i == 1 {
			w.resolves(t, "more.lab.test.", "127.0.0.9", w.servers...)
			story.serial = w.follow(t, story.now(), story.serial, w.servers...)
		}
		story.move(t, target, switchover(target[:1]))
	}

	// One secondary dies and another hangs. The move passes the step that
	// waits for them when its time is over, and says who was missing.
	lost, hung := w.servers[1], w.servers[2]
	rest := []*secondary{w.servers[0], w.servers[3]}
	for _, s := range []*secondary{lost, hung} {
		witnesses[s.kind].end()
	}
	missed, before := len(story.moves), story.serial
	lost.kill()
	hung.hang(t)
	story.move(t, secondA, switchover("a", "--no-wait"), rest...)
	// Status names those that lag, and no other.
	w.until(t, "notices of two", func(v failover.View) bool {
		return lags(v, lost) && lags(v, hung) && !lags(v, rest[0]) && !lags(v, rest[1])
	})
	w.says(t, []string{"status"}, "does not acknowledge NOTIFY since ",
		fmt.Sprintf("served %d when it was heard last: connection refused, over UDP and TCP", before),
		fmt.Sprintf("served %d when it was heard last: no answer in time, over UDP and TCP", before))
	w.says(t, []string{"status", "--summary"}, "4 secondaries: 2 well, 2 need a look")
	w.says(t, []string{"explain", "orders"}, "orders.lab.test. a.lab.test. is shown by 2 of 4 secondaries that clients ask", "not known: "+lost.addr, "not known: "+hung.addr)
	w.host(t, "third", "127.0.0.10") // the file is watched: changes go on
	w.resolves(t, "third.lab.test.", "127.0.0.10", rest...)
	var v failover.View
	within(t, time.Minute, "the end of the move", func() bool {
		v = w.until(t, "a view", func(failover.View) bool { return true })
		return settledAt("a")(v)
	})
	if l := v.LastOp; l == nil || l.Outcome != failover.Settled || l.Op.To != "a" {
		t.Errorf("the move ended as %+v", l)
	}
	// They come back, have missed a move and a host, and catch up.
	lost.up(t)
	hung.wake(t)
	w.resolves(t, "third.lab.test.", "127.0.0.10", lost, hung)
	story.serial = w.follow(t, secondA, story.serial, w.servers...)
	w.until(t, "no notice", func(v failover.View) bool {
		return !slices.ContainsFunc(w.servers, func(s *secondary) bool { return lags(v, s) })
	})

	eventually(t, "the last target at unbound", func() bool { return shows(front.addr) == secondA })
	for _, s := range w.servers {
		moves := story.moves
		if s == lost || s == hung {
			moves = moves[:missed]
		}
		witnesses[s.kind].without(t, s.kind)
		if wrong := witnesses[s.kind].followed(s.kind, moves); wrong != "" {
			t.Errorf("%s: %s", s.kind, wrong)
		}
	}
	// Moves went out as increments, also those after a restart; the whole zone
	// went only at the beginning and when its hosts had changed.
	knot := w.servers[2].log.String()
	finished := func(kind string) int {
		return strings.Count(knot, "] "+kind+", incoming, remote "+strings.Replace(w.primary, ":", "@", 1)+", finished")
	}
	if whole, parts := finished("AXFR"), finished("IXFR"); whole > 3 || parts < 4 {
		t.Errorf("Knot took the zone %d times whole and %d times in part:\n%s", whole, parts, knot)
	}
	witnesses["unbound"].without(t, "unbound")
	if wrong := witnesses["unbound"].cached(story.moves); wrong != "" {
		t.Errorf("unbound: %s", wrong)
	}
	w.alone(t, ctl, story)
}

// alone: the program dies, then each secondary without a word, and starts again
// while the program is away. It answers what it answered before.
func (w *secondaryWorld) alone(t *testing.T, ctl *child, story *passage) {
	t.Helper()
	ctl.kill()
	for _, s := range w.servers {
		if s.kind == "nsd" {
			// The others write a change down as they take it.
			eventually(t, "the last serial in the file of nsd", func() bool {
				text, err := os.ReadFile(filepath.Join(s.dir, "lab.test.zone"))
				return err == nil && strings.Contains(string(text), fmt.Sprint(story.serial))
			})
		}
		s.kill()
		s.up(t)
		eventually(t, "the zone at "+s.kind, func() bool { _, ok := soa(s.addr); return ok })
		if got, _ := soa(s.addr); got != story.serial || shows(s.addr) != story.now() {
			t.Errorf("%s was killed and started while the program is dead: serial %d, shows %q, want %d and %q", s.kind, got, shows(s.addr), story.serial, story.now())
		}
	}
}

// lags says whether an instance has a notice of the secondary.
func lags(v failover.View, s *secondary) bool {
	return slices.ContainsFunc(v.Notices, func(n string) bool { return strings.HasPrefix(n, "secondary "+s.addr+" of lab.test.") })
}

// says asks a verb until all of the words are in what it prints.
func (w *secondaryWorld) says(t *testing.T, verb []string, words ...string) {
	t.Helper()
	said := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		said = w.verb(t, exitOK, verb...)
		if !slices.ContainsFunc(words, func(s string) bool { return !strings.Contains(said, s) }) {
			return
		}
	}
	t.Fatalf("%q did not say %q in time:\n%s", verb, words, said)
}

// strangers ask for the zone, and are turned away.
func (w *secondaryWorld) strangers(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(w.primary)
	ask := func(key ...string) string {
		t.Helper()
		return tool(t, "", "dig", append(append([]string{"@127.0.0.1", "-p", port}, key...), "lab.test.", "AXFR")...)
	}
	if got := ask(); !strings.Contains(got, "Transfer failed") || strings.Contains(got, "CNAME") {
		t.Errorf("without a key:\n%s", got)
	}
	for what, c := range map[string]struct{ key, reason string }{
		"a wrong secret":    {"hmac-sha256:nsd-key.:" + secretOf("knot"), "bad-signature"},
		"an unknown name":   {"hmac-sha256:other-key.:" + secretOf("nsd"), "bad-key"},
		"another algorithm": {"hmac-sha512:nsd-key.:" + secretOf("nsd"), "bad-key"},
	} {
		seen := `pointsman_dns_refused_total{reason="` + c.reason + `"}`
		before := w.counted(t, seen)
		if got := ask("-y", c.key); strings.Contains(got, "CNAME") || strings.Contains(got, "SOA\t") {
			t.Errorf("with %s:\n%s", what, got)
		}
		if n := w.counted(t, seen) - before; n < 1 {
			t.Errorf("with %s: %s did not grow", what, seen)
		}
	}
	got := ask("-y", "hmac-sha256:nsd-key.:"+secretOf("nsd"))
	if !strings.Contains(got, "orders.lab.test.") || strings.Count(got, "\tSOA\t") != 2 {
		t.Errorf("with the right key:\n%s", got)
	}
}

// edit changes the text of the config.
func (w *secondaryWorld) edit(t *testing.T, old, with string) {
	t.Helper()
	file := filepath.Join(w.dir, "pointsman.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%q is not in the config:\n%s", old, text)
	}
	writeFiles(t, w.dir, map[string]string{"pointsman.yaml": strings.ReplaceAll(string(text), old, with)})
}

// without ends the witness and wants every question answered, with a target.
func (w *witness) without(t *testing.T, kind string) {
	t.Helper()
	w.end()
	if len(w.bad) > 0 || w.missing > 0 || w.answers < 500 {
		t.Errorf("%s: %d answers, %d missing, bad ones: %v", kind, w.answers, w.missing, w.bad)
	}
	t.Logf("%s: %d answers, %d asked twice", kind, w.answers, w.again)
}

// targets are the targets that were shown, in order, each once per change.
func (w *witness) targets() []string {
	var all []string
	for _, v := range w.values {
		target, _, _ := strings.Cut(v, " ")
		all = append(all, target)
	}
	return slices.Compact(all)
}

// moved is one move of the name: when it was asked for, and when every server
// that was asked showed it.
type moved struct {
	target   string
	serial   uint32
	from, by time.Time
}

// passage is what became of the name.
type passage struct {
	w      *secondaryWorld
	serial uint32
	moves  []moved
}

func (p *passage) now() string { return p.moves[len(p.moves)-1].target }

// move begins a move and waits until it has come to all of the servers, by
// default to every one.
func (p *passage) move(t *testing.T, target string, begin func(), servers ...*secondary) {
	t.Helper()
	from := time.Now()
	begin()
	if servers == nil {
		servers = p.w.servers
	}
	p.serial = p.w.follow(t, target, p.serial, servers...)
	if nsd := p.w.servers[1]; slices.Contains(servers, nsd) {
		nsd.alone(t)
	}
	p.moves = append(p.moves, moved{target, p.serial, from, time.Now()})
}

// followed wants the moves in order and no step back.
//
// NSD starts the process that answers from the new zone before it ends the one
// that answers from the old, and both read from one socket: until the old one
// is gone (see [secondary.alone]) an answer may be the last or the one before.
// Never afterwards.
func (w *witness) followed(kind string, moves []moved) (wrong string) {
	i := 0
	for n, v := range w.values {
		target, _, _ := strings.Cut(v, " ")
		switch {
		case target == moves[i].target: // another TTL
		case i+1 < len(moves) && target == moves[i+1].target && w.at[n].After(moves[i+1].from):
			i++
		case kind == "nsd" && i > 0 && target == moves[i-1].target && w.last[n].Before(moves[i].by):
			i-- // both processes answer
		default:
			return fmt.Sprintf("it went back to %s at %s, after %q", target, w.last[n].Format(time.StampMilli), w.values[:n])
		}
	}
	if i != len(moves)-1 {
		return fmt.Sprintf("it followed %d of %d moves: %q", i, len(moves)-1, w.values)
	}
	return ""
}

// cached wants what clients of a resolver are promised: a target may be skipped
// over, none is stepped back to, and none is answered for longer than its TTL
// after all servers that the resolver asks show the next. The resolver counts
// in whole seconds.
func (w *witness) cached(moves []moved) (wrong string) {
	fits := func(i, n int) bool {
		return w.at[n].After(moves[i].from) && (i+1 == len(moves) || w.last[n].Sub(moves[i+1].by) <= secondTTL+time.Second)
	}
	i := 0
	for n, v := range w.values {
		target, _, _ := strings.Cut(v, " ")
		for i < len(moves) && (moves[i].target != target || !fits(i, n)) {
			i++
		}
		if i == len(moves) {
			return fmt.Sprintf("it answered %s until %s, and after that %q", v, w.last[n].Format(time.StampMilli), w.values[n:])
		}
	}
	if i != len(moves)-1 {
		return fmt.Sprintf("it ended at %q, not at %s", w.values, moves[len(moves)-1].target)
	}
	return ""
}
