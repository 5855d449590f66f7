package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"pointsman/internal/failover"
)

// TestBINDStories runs the program against a real BIND. Each story has a BIND,
// two clusters and a folder of its own. They run beside one another, more of
// them than there are processors: they wait most of the time.
func TestBINDStories(t *testing.T) {
	t.Parallel()
	var g errgroup.Group
	g.SetLimit(5)
	for _, story := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"somebody else edits", bindSomebodyElseEdits}, // the longest come first
		{"first hour", bindFirstHour},
		{"edits in troubled times", bindEditsInTroubledTimes},
		{"a name in BIND and one of our own", bindAndOurOwnAuthority},
		{"the samples of both sides", bindSamplesOfBothSides},
		{"killed before the answer", func(t *testing.T) { bindKilledBesideItsUpdate(t, holdReply) }},
		{"killed before the update arrives", func(t *testing.T) { bindKilledBesideItsUpdate(t, holdRequest) }},
		{"the way to BIND breaks in the middle", bindBreaksInTheMiddle},
		{"shadow", bindShadow},
		{"without the right to mark", bindWithoutTheRightToMark},
		{"BIND is down", bindIsDown},
		{"death of the active cluster", bindDeathOfTheActiveCluster},
		{"a lost answer", bindLostAnswer},
	} {
		g.Go(func() error {
			t.Run(story.name, story.tell)
			return nil
		})
	}
	_ = g.Wait()
}

// bindFirstHour is what an operator does on the first day: look, be told
// that the name is not what the config says, mend it, take it over, arm it,
// plan, apply, and go home again.
func bindFirstHour(t *testing.T) {
	bind := startNamed(t, "elsewhere", bindGrants)
	w := newBindWorld(t, bind, bind.addr, threeRacks(bindConfig))
	w.run(t)
	w.vantage(t, "van-2", "pointsman.yaml")
	w.vantage(t, "van-3", "pointsman.yaml")
	w.until(t, "both up", bothUp)

	// Nothing is known of the name, and nothing is done to it.
	wantIn(t, w.verb(t, exitOK, "status"), "SHADOW", "adopting: no record yet: pointsman adopt orders")
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes"), "refused by adopting: there is no record", "hint: pointsman adopt orders")
	wantIn(t, w.verb(t, exitRefused, "plan", "failover", "orders", "-o", "json"), `"refused": true`, `"guard": "adopting"`, "pointsman status orders")
	wantIn(t, w.verb(t, exitError, "adopt", "orders", "--yes"), bindName+" shows elsewhere.example.com., which is the target of neither cluster")
	bind.point(t, bindA)
	serial := bind.serial(t)
	w.adopt(t)
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "SHADOW", bindName+"  bind", bindA)
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes"), "refused by shadow")
	if got := bind.serial(t); got != serial || bind.changes() != 0 {
		t.Errorf("in shadow the zone went from %d to %d, with %d changes", serial, got, bind.changes())
	}

	// Armed, the name gets its mark and nothing else.
	wit := startWitness(t, bind.addr, bindName)
	w.verb(t, exitOK, "arm", "orders", "--mode", "propose", "--yes")
	w.until(t, "the mark", marked("a"))
	if m := bind.mark(t); m.Token != (failover.Token{Term: 1}) || m.By != "ctl-1" {
		t.Errorf("mark %s", m)
	}
	if got := bind.serial(t); got != serial+1 {
		t.Errorf("the mark took %d serials", got-serial)
	}

	// A plan changes nothing; applied, it is done once.
	before := bind.dig(t, "example.com.", "AXFR")
	plan := w.verb(t, exitChanges, "plan", "failover", "orders", "--to", "b", "-o", "plan.json")
	wantIn(t, plan, "- "+bindName+" CNAME "+bindA, "+ "+bindName+" CNAME "+bindB, "nothing was changed")
	if after := bind.dig(t, "example.com.", "AXFR"); after != before || bind.serial(t) != serial+1 {
		t.Errorf("the plan changed the zone from\n%s\nto\n%s", before, after)
	}
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	wantIn(t, w.verb(t, exitRefused, "apply", "plan.json", "--yes"), "refused by stale: the world has moved since the plan was made")
	wantIn(t, w.planned(t, "failover", "orders", "--to", "b"), "failover from a to b settled", "active is b")
	if m := bind.mark(t); m.Token != (failover.Token{Term: 1, Epoch: 1}) || m.Op != "orders-1.1" {
		t.Errorf("mark %s", m)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "2 of 2", "failover from a to b settled", "idle")
	wantIn(t, w.verb(t, exitRefused, "apply", "plan.json", "--yes"), "refused by stale: ")
	if got := bind.serial(t); got != serial+2 {
		t.Errorf("mark and move took %d serials", got-serial)
	}

	// The way home lowers the TTL, waits the old one out, and restores it.
	wantIn(t, w.verb(t, exitOK, "switchover", "orders", "--yes"), "switchover from b to a settled")
	wit.saw(t, bindA+" 30", bindB+" 6", bindB+" 5", bindA+" 5", bindA+" 6")
	if waited := wit.apart(2, 3); waited < 6*time.Second {
		t.Errorf("it moved %s after the TTL of 6 s was lowered", waited)
	}
	if got := bind.serial(t); got != serial+5 {
		t.Errorf("all of it took %d serials, want 5", got-serial)
	}
	wantIn(t, w.verb(t, exitOK, "audit", "--verify"), "whole")
}

// bindDeathOfTheActiveCluster: three racks see a die, and the name moves
// by itself, with one update and no moment without an answer.
func bindDeathOfTheActiveCluster(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	w := newBindWorld(t, bind, bind.addr, threeRacks(bindConfig))
	w.run(t)
	w.vantage(t, "van-2", "pointsman.yaml")
	w.vantage(t, "van-3", "pointsman.yaml")
	w.took(t)
	wit := startWitness(t, bind.addr, bindName)
	serial := bind.serial(t)
	w.reads(t, 1)
	died := time.Now()
	w.a.kill()
	v := w.until(t, "b", settledAt("b"))
	if got := bind.serial(t); got != serial+1 {
		t.Errorf("the move took %d serials", got-serial)
	}
	if m := bind.mark(t); m.Token != (failover.Token{Term: 1, Epoch: 1}) || m.Op != v.LastOp.Op.ID || !v.LastOp.Op.Auto {
		t.Errorf("mark %s of %+v", m, v.LastOp)
	}
	wit.saw(t, bindA+" 30", bindB+" 6")
	t.Logf("answered %s after the death", wit.at[1].Sub(died).Round(time.Millisecond))
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "stays at b, which is up", "last operation: failover")
}

// bindSomebodyElseEdits: edits by hand are shown as drift and never
// fought, whatever they are and whatever else happens; a person restores or
// adopts what was seen.
func bindSomebodyElseEdits(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	w.run(t)
	w.took(t)

	// left waits for the drift and for more reads, and wants the zone left alone.
	left := func(what string, words ...string) {
		t.Helper()
		serial, updates := bind.serial(t), proxy.count(dns.OpcodeUpdate)
		w.until(t, what, drifts)
		w.reads(t, 3)
		if got, sent := bind.serial(t), proxy.count(dns.OpcodeUpdate); got != serial || sent != updates {
			t.Errorf("%s: the serial went from %d to %d, we sent %d updates", what, serial, got, sent-updates)
		}
		wantIn(t, w.verb(t, exitOK, "status", "orders"), append(words, "stop: drift by ctl-1: ")...)
	}

	bind.point(t, "elsewhere.example.com.")
	left("another target", bindName+" shows CNAME elsewhere.example.com.", "the record says CNAME "+bindA)
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes"), "refused by drift: "+bindName+" shows", "hint: pointsman adopt orders or pointsman restore orders")
	wantIn(t, w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes", "--no-wait", "--expect-active", "a"), "refused by drift")
	wantIn(t, w.verb(t, exitError, "failover", "orders", "--to", "b", "--override", "drift", "--reason", "x", "--yes"), "drift cannot be overridden")
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "refused by drift: ")
	wantIn(t, w.verb(t, exitError, "adopt", "orders", "--yes"), "which is the target of neither cluster")
	wantIn(t, w.verb(t, exitRefused, "restore", "orders", "--seen", bindB, "--yes"), "refused by stale: ")
	serial := bind.serial(t)
	w.verb(t, exitOK, "restore", "orders", "--seen", "elsewhere.example.com", "--yes")
	w.until(t, "a again", settledAt("a"))
	if got := bind.dig(t, bindName, "CNAME"); got != bindA || bind.serial(t) != serial+1 || bind.mark(t).Token.Epoch != 1 {
		t.Errorf("restored to %s, mark %s, %d serials", got, bind.mark(t), bind.serial(t)-serial)
	}

	bind.point(t, bindB)
	left("the other target", bindName+" shows CNAME "+bindB)
	wantIn(t, w.verb(t, exitOK, "adopt", "orders", "--seen", bindB, "--yes"), "b is active now")
	w.until(t, "b", settledAt("b"))

	bind.byHand(t, "delete "+bindName+" CNAME")
	left("no target", bindName+" shows no CNAME")
	wantIn(t, w.verb(t, exitError, "adopt", "orders", "--yes"), "has no CNAME to adopt")
	w.verb(t, exitOK, "restore", "orders", "--seen", "absent", "--yes")
	w.until(t, "b again", settledAt("b"))
	if got := bind.dig(t, bindName, "CNAME"); got != bindB {
		t.Errorf("restored to %q", got)
	}
}

// bindEditsInTroubledTimes: an edit that is taken back is forgotten, and
// one of the mark alone, with the active cluster dead, makes nobody write.
func bindEditsInTroubledTimes(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	w.run(t)
	w.took(t)

	bind.point(t, bindB)
	w.until(t, "drift", drifts)
	bind.point(t, bindA)
	w.until(t, "no drift", settledAt("a"))

	serial, updates := bind.serial(t), proxy.count(dns.OpcodeUpdate)
	bind.byHand(t, "delete _pointsman."+bindName+" TXT")
	w.until(t, "drift", drifts)
	w.a.kill()
	w.until(t, "a refusal", func(v failover.View) bool { return v.Wants != "" && len(v.Refused) > 0 })
	w.reads(t, 3)
	if got, sent := bind.serial(t), proxy.count(dns.OpcodeUpdate); got != serial+1 || sent != updates {
		t.Errorf("the serial went from %d to %d after one edit, we sent %d updates", serial, got, sent-updates)
	}
	wantIn(t, w.verb(t, exitOK, "status", "orders"), `with mark ""`, "wants: failover from a to b", "refused by drift: ")
	w.verb(t, exitOK, "restore", "orders", "--yes")
	w.until(t, "b", settledAt("b"))
	if got := bind.dig(t, bindName, "CNAME"); got != bindB {
		t.Errorf("moved to %q", got)
	}
}

// bindLostAnswer: an update is carried out and its answer lost, or lost
// itself. Neither is guessed at: the name is read, and written again only
// where it must be.
func bindLostAnswer(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	w.run(t)
	w.took(t)
	wit := startWitness(t, bind.addr, bindName)
	for _, story := range []struct {
		fate    fate
		to      string
		updates int
	}{{loseReply, "b", 1}, {loseRequest, "a", 2}} {
		serial, updates := bind.serial(t), proxy.count(dns.OpcodeUpdate)
		proxy.then(story.fate)
		wantIn(t, w.verb(t, exitOK, "failover", "orders", "--to", story.to, "--yes"), "settled")
		if got, sent := bind.serial(t)-serial, proxy.count(dns.OpcodeUpdate)-updates; got != 1 || sent != story.updates {
			t.Errorf("to %s: %d serials and %d updates, want 1 and %d", story.to, got, sent, story.updates)
		}
	}
	wit.saw(t, bindA+" 30", bindB+" 6", bindA+" 6")
	for _, rcode := range proxy.answered() {
		if rcode != dns.RcodeSuccess {
			t.Errorf("BIND answered %v: something was written twice", proxy.answered())
		}
	}
}

// bindKilledBesideItsUpdate kills the program with -9 while an update is
// under way, and starts it again. Where BIND had the update, the new life
// finds it done; where the update reaches BIND only after the new life wrote
// its own, BIND refuses it. Either way the name moves once.
func bindKilledBesideItsUpdate(t *testing.T, f fate) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	first := w.run(t)
	w.took(t)
	wit := startWitness(t, bind.addr, bindName)
	serial := bind.serial(t)
	proxy.then(f)
	w.verb(t, exitOK, "failover", "orders", "--to", "b", "--yes", "--no-wait")
	<-proxy.held
	first.kill()
	if f == holdReply {
		proxy.letGo()
	}
	w.run(t)
	w.until(t, "b", marked("b"))
	want := serial + 2 // the move, and the claim of the new life
	if f == holdRequest {
		want = serial + 1 // the move bears the new term itself
		proxy.letGo()
		w.reads(t, 2)
		if got := proxy.answered(); !slices.Contains(got, dns.RcodeNXRrset) {
			t.Errorf("BIND answered %v: the update of the dead was not refused", got)
		}
	}
	if m := bind.mark(t); m.Token != (failover.Token{Term: 2, Epoch: 1}) || m.Op != "orders-1.1" {
		t.Errorf("mark %s", m)
	}
	if got := bind.serial(t); got != want {
		t.Errorf("%d serials, want %d", got-serial, want-serial)
	}
	wit.saw(t, bindA+" 30", bindB+" 6")
	wantIn(t, w.verb(t, exitOK, "audit", "--verify"), "whole")
}

// bindBreaksInTheMiddle: the update of a failover is lost, and from then on
// nothing gets through. Votes are still counted, people are paged with the exact
// command, somebody gives it over another way, and what was done by hand is taken
// for done: nothing is written over it.
func bindBreaksInTheMiddle(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	w.run(t)
	w.took(t)
	wit := startWitness(t, bind.addr, bindName)
	serial, updates := bind.serial(t), proxy.count(dns.OpcodeUpdate)
	proxy.then(breakDown)
	w.a.kill()
	w.until(t, "the move in hand", func(v failover.View) bool { return v.Op != nil && v.Op.Step == failover.StepMove })
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "by hand: { printf ", "update add orders.example.com. 6 CNAME orders-b.example.com.")
	w.a.up(t)
	w.until(t, "a verdict meanwhile", func(v failover.View) bool { return v.Clusters[0].Verdict == failover.Up && v.Op != nil })
	var command string
	longer(t, time.Minute, "the page", func() bool { // Move's budget of 30 s is over first
		for line := range strings.Lines(w.verb(t, exitOK, "history", "orders")) {
			if _, by, ok := strings.Cut(line, "; by hand: "); ok && strings.Contains(line, "does not show the new value yet") {
				command = strings.TrimSpace(by)
			}
		}
		return command != ""
	})
	if strings.Contains(command, ctlSecret) || bind.serial(t) != serial {
		t.Fatalf("serial %d, was %d: %s", bind.serial(t), serial, command)
	}
	phost, pport, _ := net.SplitHostPort(proxy.addr)
	_, port, _ := net.SplitHostPort(bind.addr)
	command = strings.Replace(command, "server "+phost+" "+pport, "server 127.0.0.1 "+port, 1)
	sh := exec.Command("sh", "-c", command)
	sh.Dir = w.dir
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, command)
	}
	proxy.repair()
	w.until(t, "b", settledAt("b"))
	if m := bind.mark(t); m.Op != "orders-1.1" {
		t.Errorf("mark %s", m)
	}
	if got, sent := bind.serial(t)-serial, proxy.count(dns.OpcodeUpdate)-updates; got != 1 || sent != 1 {
		t.Errorf("%d serials and %d updates of the program: it wrote over what was done by hand", got, sent)
	}
	wit.saw(t, bindA+" 30", bindB+" 6")
	wantIn(t, w.verb(t, exitOK, "audit", "--verify"), "whole")
}

// bindIsDown: BIND dies, then the active cluster. Nothing can be written,
// the guard says so, and the failover comes when BIND is back.
func bindIsDown(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	w := newBindWorld(t, bind, bind.addr, bindConfig)
	w.run(t)
	w.took(t)
	bind.kill()
	w.until(t, "an unreadable name", func(v failover.View) bool { return v.Names[0].SeenErr != "" })
	w.a.kill()
	v := w.until(t, "a refusal", func(v failover.View) bool { return v.Wants != "" })
	if !slices.ContainsFunc(v.Refused, func(r failover.Refusal) bool { return r.Guard == failover.GuardWritePath }) || v.Op != nil {
		t.Errorf("%+v", v)
	}
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "a is down, and a failover to b is refused by write-path",
		"refused by write-path: the write point of "+bindName+" cannot be read: ", "connect to "+bind.addr, "hint: repair the provider first")
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "unreadable: ", "wants: failover from a to b")
	w.verb(t, exitOK, "pause", "orders", "--reason", "until somebody looks on")
	if !bind.up(t) {
		t.Fatal("BIND did not come back")
	}
	wit := startWitness(t, bind.addr, bindName)
	w.verb(t, exitOK, "resume", "orders")
	w.until(t, "b", settledAt("b"))
	wit.saw(t, bindA+" 30", bindB+" 6")
}

// bindShadow: armed before and started with --shadow, without the file of
// the key, the program decides and explains all, and sends no update.
func bindShadow(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	proxy := startProxy(t, bind.addr)
	w := newBindWorld(t, bind, proxy.addr, bindConfig)
	live := w.run(t)
	w.took(t)
	live.end(t)
	if err := os.Remove(filepath.Join(w.dir, "tsig.key")); err != nil {
		t.Fatal(err)
	}
	wantIn(t, w.verb(t, exitError, "run", "-c", "pointsman.yaml"), "provider bind: read secret: ", "add --shadow")

	updates, queries, serial, changes := proxy.count(dns.OpcodeUpdate), proxy.count(dns.OpcodeQuery), bind.serial(t), bind.changes()
	dark := w.run(t, "--shadow")
	w.until(t, "both up", bothUp)
	w.a.kill()
	w.until(t, "the wish", func(v failover.View) bool { return v.Wants != "" && len(v.Refused) == 1 })
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "a is down, and a failover to b is refused by shadow", "started with --shadow")
	wantIn(t, w.verb(t, exitOK, "status", "orders"), "SHADOW", "wants: failover from a to b", bindA)
	for _, verb := range [][]string{{"failover", "--to", "b", "--yes"}, {"arm", "--mode", "auto", "--yes"}, {"restore", "--yes"}} {
		wantIn(t, w.verb(t, exitRefused, append([]string{verb[0], "orders"}, verb[1:]...)...), "refused by shadow")
	}
	w.verb(t, exitOK, "pause", "orders", "--reason", "before it goes live") // made safe before a live start
	w.verb(t, exitRefused, "plan", "failover", "orders", "--to", "b")
	bind.point(t, bindB) // nor does it answer an edit
	w.until(t, "drift", drifts)
	w.reads(t, 2)
	if sent := proxy.count(dns.OpcodeUpdate) - updates; sent != 0 || bind.changes() != changes || bind.serial(t) != serial+1 {
		t.Errorf("%d updates were sent, the zone changed %d times", sent, bind.serial(t)-serial-1)
	}
	if proxy.count(dns.OpcodeQuery) == queries {
		t.Error("nothing was read through the proxy: it proves nothing")
	}
	dark.end(t)
}

// bindAndOurOwnAuthority: an instance with a name in BIND and one that
// pointsman serves itself. They are taken over, moved and brought home together.
func bindAndOurOwnAuthority(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	config := strings.NewReplacer("instances:\n", `authority:
  listen: ["$DNS"]
  zones:
    - {name: lab.test., hosts: {a.lab.test.: [127.0.1.1], b.lab.test.: [127.0.1.2]}}
instances:
`, "names: [", "names: [{name: orders.lab.test., provider: embedded, targets: {a: a.lab.test., b: b.lab.test.}}, ",
		"rise: 2\n", "rise: 2\n    window: 0\n").Replace(bindConfig)
	w := newBindWorld(t, bind, bind.addr, config)
	own := w.replace.Replace("$DNS")
	w.run(t)
	w.until(t, "both up", bothUp)
	r, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("orders.lab.test.", dns.TypeCNAME), own)
	if err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("before it is adopted our own name is answered %v, %v", r, err)
	}
	w.took(t)
	there, here := startWitness(t, bind.addr, bindName), startWitness(t, own, "orders.lab.test.")
	w.reads(t, 1)
	w.a.kill()
	w.until(t, "b", settledAt("b"))
	w.a.up(t)
	w.until(t, "both up", bothUp)
	wantIn(t, w.verb(t, exitOK, "switchover", "orders", "--to", "a", "--yes"), "settled")
	// Ours had the config's TTL from the start, BIND's the one that was found.
	here.saw(t, "a.lab.test. 6", "b.lab.test. 6", "b.lab.test. 5", "a.lab.test. 5", "a.lab.test. 6")
	there.saw(t, bindA+" 30", bindB+" 6", bindB+" 5", bindA+" 5", bindA+" 6")
	for _, i := range []int{1, 3} {
		// On its own one of them would come six seconds later, a TTL.
		if apart := max(here.last[i-1].Sub(there.at[i]), there.last[i-1].Sub(here.at[i])); apart > 3*time.Second {
			t.Errorf("at least %s apart at %s", apart, here.values[i])
		}
	}
	if there.apart(2, 3) < 6*time.Second || here.at[3].Sub(there.last[1]) < 6*time.Second {
		t.Error("one of the names did not wait for the old TTL of the other")
	}
}

// bindWithoutTheRightToMark: BIND's policy forgets the mark. The log says
// who must be granted what; the name stays as it is; when BIND's config is
// mended, the program goes on by itself.
func bindWithoutTheRightToMark(t *testing.T) {
	bind := startNamed(t, bindA, "grant ctl. name orders.example.com. CNAME;")
	w := newBindWorld(t, bind, bind.addr, bindConfig)
	run := w.run(t)
	w.until(t, "both up", bothUp)
	w.adopt(t)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")
	const cause = "grant the key ctl. both CNAME at orders.example.com. and TXT at _pointsman.orders.example.com."
	w.until(t, "the refusal", func(failover.View) bool { return strings.Contains(run.log.String(), cause) })
	wantIn(t, w.verb(t, exitOK, "history", "orders"), cause)
	wantIn(t, w.verb(t, exitOK, "explain", "orders"), "a write to "+bindName+" (claim) is not proved yet")
	w.verb(t, exitRefused, "failover", "orders", "--to", "b", "--yes")
	w.a.kill()
	w.reads(t, 3)
	if got := bind.dig(t, bindName, "CNAME"); got != bindA || bind.mark(t) != (failover.Mark{}) {
		t.Errorf("%s, mark %s", got, bind.mark(t))
	}
	if n := strings.Count(run.log.String(), cause); n > 3 {
		t.Errorf("the log says it %d times", n)
	}
	bind.kill()
	_, port, _ := net.SplitHostPort(bind.addr)
	writeFiles(t, bind.dir, map[string]string{"named.conf": namedConf(port, bind.dir, bindGrants)})
	if !bind.up(t) {
		t.Fatal("BIND did not come back")
	}
	w.until(t, "b", settledAt("b"))
}

// bindSamplesOfBothSides runs configs/rfc2136-bind.yaml as it is shipped,
// with a BIND that has configs/named.conf.sample, and two vantages; only
// ports, the folder of BIND and the secret are replaced.
func bindSamplesOfBothSides(t *testing.T) {
	sample, err := os.ReadFile("../../configs/named.conf.sample")
	if err != nil {
		t.Fatal(err)
	}
	_, comment, _ := strings.Cut(string(sample), "// The zone file, as a start:")
	var zone strings.Builder
	for line := range strings.Lines(comment) {
		if l, ok := strings.CutPrefix(line, "//   "); ok {
			zone.WriteString(l)
		}
	}
	bind := runNamed(t, map[string]string{"example.com.zone": zone.String()}, func(port, dir string) string {
		return replaced(t, string(sample), map[string]string{
			"port 5300 ": "port " + port + " ", "/var/lib/bind": dir, "REPLACE-WITH-THE-OUTPUT-OF-tsig-keygen": ctlSecret,
		})
	})
	w := newBindWorld(t, bind, bind.addr, "")
	text, err := os.ReadFile("../../configs/rfc2136-bind.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"configs", "run"} {
		if err := os.Mkdir(filepath.Join(w.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join("configs", "pointsman.yaml")
	writeFiles(t, w.dir, map[string]string{
		config: replaced(t, string(text), map[string]string{
			"127.0.0.1:5300": bind.addr, "127.0.0.1:8053": w.replace.Replace("$LISTEN"), "127.0.0.1:18081": w.a.addr, "127.0.0.1:18082": w.b.addr,
		}),
		"run/tsig.key": ctlSecret + "\n", "run/token": strings.Repeat("t", 32) + "\n",
		"run/van-2.key": strings.Repeat("2", 64) + "\n", "run/van-3.key": strings.Repeat("3", 64) + "\n",
	})
	verb := func(want int, args ...string) string {
		t.Helper()
		return w.verb(t, want, append(args, "-c", config)...)
	}
	until := func(what string, ok func(failover.View) bool) {
		t.Helper()
		w.untilAt(t, filepath.Join(w.dir, "run", "rfc2136", "pointsman.sock"), what, ok)
	}
	verb(exitOK, "config", "validate", "-v")
	w.start(t, "run", "-c", config)
	w.vantage(t, "van-2", config)
	w.vantage(t, "van-3", config)
	until("both up", bothUp)
	wantIn(t, verb(exitOK, "adopt", "orders", "--yes"), "a is active now")
	verb(exitOK, "arm", "orders", "--mode", "auto", "--yes")
	until("the marks", marked("a"))
	first, second := startWitness(t, bind.addr, bindName), startWitness(t, bind.addr, "orders.vpc.example.com.")
	wantIn(t, verb(exitOK, "failover", "orders", "--to", "b", "--reason", "drill", "--yes"), "failover from a to b settled")
	wantIn(t, verb(exitOK, "status", "orders"), bindB, "orders-b.vpc.example.com.", "2 of 2", "up  ", "van-3")
	first.saw(t, bindA+" 30", bindB+" 20")
	second.saw(t, "orders-a.vpc.example.com. 30", "orders-b.vpc.example.com. 20")
}

// replaced puts new words for old ones that must all be there.
func replaced(t *testing.T, text string, words map[string]string) string {
	t.Helper()
	for old, now := range words {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the sample", old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	return text
}
