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

const secondA, secondB = "a.lab.test.", "b.lab.test."

// TestSecondaries runs the program as the hidden primary of BIND, NSD, Knot and
// PowerDNS, with unbound in front of them, and asks every one of them all the
// time. Each change reaches each of them, and none of them has a gap or takes a
// step back, whatever becomes of the program.
func TestSecondaries(t *testing.T) {
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
	history := []string{secondA}
	at := func(target string) {
		t.Helper()
		serial = w.follow(t, target, serial, w.servers...)
		history = append(history, target)
	}

	// A cluster dies and the name moves by itself; then people move it.
	w.a.kill()
	at(secondB)
	w.a.up(t)
	w.until(t, "both up", func(v failover.View) bool { return bothUp(v) && settledAt("b")(v) })
	w.verb(t, exitOK, "switchover", "orders", "--to", "a", "--yes")
	at(secondA)

	w.strangers(t)

	// Status has a line for each, also for those that are well; scripts too.
	well := fmt.Sprintf("acknowledged %d and serves it", serial)
	w.says(t, []string{"explain", "orders"}, "orders.lab.test. a.lab.test. is shown by 4 of 4 secondaries that clients ask")
	for _, s := range w.servers {
		w.says(t, []string{"status"}, s.addr+"  lab.test.  "+fmt.Sprint(serial)+", ", well)
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
			w.edit(t, "ns1.lab.test.: [127.0.0.1]", "ns1.lab.test.: [127.0.0.1]\n        more.lab.test.: [127.0.0.9]")
		}
		for _, s := range w.servers {
			if got, ok := soa(s.addr); !ok || got != serial || shows(s.addr) != history[len(history)-1] {
				t.Errorf("%s has serial %d and shows %q while the program is dead", s.kind, got, shows(s.addr))
			}
		}
		ctl = w.run(t)
		w.until(t, "both up", bothUp)
		if i == 1 {
			for _, s := range w.servers {
				eventually(t, "the new host at "+s.kind, func() bool {
					return tool(t, "", "kdig", "@"+strings.Replace(s.addr, ":", "#", 1), "+short", "+norecurse", "more.lab.test.", "A") == "127.0.0.9"
				})
			}
			serial = w.follow(t, history[len(history)-1], serial, w.servers...)
		}
		w.verb(t, exitOK, "switchover", "orders", "--to", target[:1], "--yes")
		at(target)
	}

	// One secondary dies, misses a move, and comes back.
	lost := w.servers[1]
	witnesses[lost.kind].end()
	missed, before := len(history), serial
	lost.kill()
	w.verb(t, exitOK, "switchover", "orders", "--to", "a", "--yes", "--no-wait")
	rest := slices.DeleteFunc(slices.Clone(w.servers), func(s *secondary) bool { return s == lost })
	serial = w.follow(t, secondA, serial, rest...)
	history = append(history, secondA)
	// Status names the one that lags, and no other.
	lags := func(v failover.View, s *secondary) bool {
		return slices.ContainsFunc(v.Notices, func(n string) bool { return strings.HasPrefix(n, "secondary "+s.addr+" of lab.test.") })
	}
	w.until(t, "a notice of "+lost.kind, func(v failover.View) bool {
		return lags(v, lost) && !slices.ContainsFunc(rest, func(s *secondary) bool { return lags(v, s) })
	})
	// It knows what a secondary serves when it has asked once more.
	w.says(t, []string{"status"}, "does not acknowledge NOTIFY since ", fmt.Sprintf("served %d when it was heard last: connection refused, over UDP and TCP", before))
	w.says(t, []string{"status", "--summary"}, "4 secondaries: 3 well, 1 need a look")
	w.says(t, []string{"explain", "orders"}, "orders.lab.test. a.lab.test. is shown by 3 of 4 secondaries that clients ask", "not known: "+lost.addr)
	lost.up(t)
	w.follow(t, secondA, serial-1, lost)
	w.until(t, "the end of the move, and no notice", func(v failover.View) bool { return settledAt("a")(v) && !lags(v, lost) })

	eventually(t, "the last target at unbound", func() bool { return shows(front.addr) == secondA })
	for _, s := range w.servers {
		want := history
		if s == lost {
			want = history[:missed]
		}
		witnesses[s.kind].without(t, s.kind)
		got := witnesses[s.kind].targets()
		if s.kind == "nsd" {
			got = unflickered(got, want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s showed\n %q, want\n %q", s.kind, got, want)
		}
	}
	// Moves went out as increments, also those after a restart; the whole zone
	// went only at the beginning and when its hosts had changed.
	knot := w.servers[2].log.String()
	finished := func(kind string) int {
		return strings.Count(knot, "] "+kind+", incoming, remote "+strings.Replace(w.primary, ":", "@", 1)+", finished")
	}
	whole, parts := finished("AXFR"), finished("IXFR")
	if whole != 2 || parts < 4 {
		t.Errorf("Knot took the zone %d times whole and %d times in part:\n%s", whole, parts, knot)
	}
	// What is in a cache may be skipped over, and is never stepped back to.
	witnesses["unbound"].without(t, "unbound")
	if got := witnesses["unbound"].targets(); !within(got, history) {
		t.Errorf("unbound showed\n %q of\n %q", got, history)
	}
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
	for what, key := range map[string]string{
		"a wrong secret":    "hmac-sha256:nsd-key.:" + secretOf("knot"),
		"an unknown name":   "hmac-sha256:other-key.:" + secretOf("nsd"),
		"another algorithm": "hmac-sha512:nsd-key.:" + secretOf("nsd"),
	} {
		if got := ask("-y", key); strings.Contains(got, "CNAME") || strings.Contains(got, "SOA\t") {
			t.Errorf("with %s:\n%s", what, got)
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
	t.Logf("%s: %d answers", kind, w.answers)
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

// within says whether got leaves things out of all and changes no order.
func within(got, all []string) bool {
	for _, g := range got {
		i := slices.Index(all, g)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}

// unflickered takes out of what was seen the pairs of changes that are too
// many. NSD starts new processes with the new zone before it ends the old
// ones, and both answer at one socket for a moment: its own overlap, in which
// each answer is the last or the one before.
func unflickered(got, want []string) []string {
	for len(got) > len(want) && len(got) >= 3 && got[len(got)-1] == got[len(got)-3] {
		got = got[:len(got)-2]
	}
	return got
}
