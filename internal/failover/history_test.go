package failover

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// history is a random life of one instance: votes come and go, the process is
// killed or paused at any action, answers are lost, writes of dead lives land
// late, people give commands, and somebody edits the name. After every step
// the invariants are asked for.
type history struct {
	*world
	t *rapid.T

	ghosts  []WriteName            // given out by a life that is gone; may still land
	consent map[string]bool        // foreign states that a person agreed to overwrite
	epochs  []uint64               // of committed operations, in order
	toOf    map[string]ClusterName // of every operation
	opNames map[string]Record      // the record before each operation
	lastOps map[string]Outcome
	settled []time.Time               // when operations settled
	upAt    map[ClusterName]time.Time // when the quorum last said up
	writes  int
	refused int
	// approved counts the operations that began after enough people said yes.
	approved int
	landed   int

	carrier *carrier // nil: nothing is replicated

	was        map[string]string // an operation, and the one that it was before
	vetoed     map[string]bool
	unanswered int // runs of hooks
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\naudit:\n%s", fmt.Sprintf(format, args...), auditText(h.audit))
}

func auditText(es []AuditEntry) string {
	var b strings.Builder
	for _, e := range es[max(len(es)-25, 0):] {
		fmt.Fprintf(&b, "  %s %s %s: %s\n", e.At.Format("04:05.000"), e.Token, e.Kind, e.Text)
	}
	return b.String()
}

// carry does one queued action, or loses it, or kills the process at it.
func (h *history) carry(i int, how string) {
	a := h.queued[i]
	h.queued = slices.Delete(h.queued, i, i+1)
	switch a := a.(type) {
	case Commit:
		h.carryCommit(a, how)
	case WriteName:
		h.carryWrite(a, how)
	case RunHooks:
		h.carryHooks(a, how)
	case Drain:
		h.untouched(a)
		if how == "kill before" || how == "kill after" {
			h.kill()
			return
		}
		h.carryDrain(a, how)
	default:
		if how == "kill before" || how == "kill after" {
			h.untouched(a)
			if g, ok := a.(SetGate); ok && how == "kill after" {
				h.open[g.Cluster] = g.Want == GateOpen
			}
			h.kill()
			return
		}
		h.untouched(a)
		h.manual = false
		h.manualOnce(a)
	}
}

// manualOnce carries out one effect whose answer may queue others.
func (h *history) manualOnce(a Action) {
	h.manual = true
	h.effect(a)
}

func (h *history) carryCommit(c Commit, how string) {
	if how == "kill before" {
		h.kill()
		return
	}
	before := h.ledger
	h.commit(c)
	h.checkCommit(before, c)
	if how == "kill after" {
		h.kill()
		return
	}
	h.feed(Committed{Rev: h.rev})
}

func (h *history) carryWrite(w WriteName, how string) {
	h.checkWrite(w)
	switch how {
	case "kill before":
		h.ghosts = append(h.ghosts, w) // on its way, or not: it may land later
		h.kill()
	case "kill after":
		h.land(w)
		h.kill()
	case "lost":
		h.land(w)
		h.feed(NameWritten{Name: w.Name.Name, Outcome: WriteUnknown, Err: "no answer"})
	case "dropped":
		h.ghosts = append(h.ghosts, w)
		h.feed(NameWritten{Name: w.Name.Name, Outcome: WriteUnknown, Err: "no answer"})
	default:
		h.feed(h.land(w))
	}
}

func (h *history) land(w WriteName) Event {
	e := h.write(w)
	if e.(NameWritten).Outcome == WriteDone {
		h.landed++
	} else {
		h.refused++
	}
	return e
}

func (h *history) kill() {
	h.queued = nil
	h.start()
}

// checkCommit: I4, I5, I7, I8, I11, I12, I13, I14 at the moment a change is
// made durable.
func (h *history) checkCommit(before *Record, c Commit) {
	r := h.ledger
	if before != nil {
		if r.Epoch < before.Epoch {
			h.fail("I4: epoch fell from %d to %d", before.Epoch, r.Epoch)
		}
		if r.Term < before.Term {
			h.fail("term fell from %d to %d", before.Term, r.Term)
		}
	}
	if r.Term != h.term+r.TermBase && len(c.Audit) > 0 {
		h.fail("committed under term %d, ours is %d", r.Term, h.term)
	}
	if r.Op != nil {
		if to, ok := h.toOf[r.Op.ID]; ok && to != r.Op.To {
			h.fail("I5: the target of %s changed from %s to %s", r.Op.ID, to, r.Op.To)
		}
		if _, ok := h.toOf[r.Op.ID]; !ok {
			h.opBegan(before, r)
		}
		h.toOf[r.Op.ID] = r.Op.To
	}
	if before != nil && before.Op != nil && r.Op == nil {
		h.opEnded(before, r)
	}
	if len(c.Audit) == 0 {
		h.fail("I24: a commit without an audit entry")
	}
	h.auditOfValues(before, r, c)
	h.checkHooks(before, r)
	h.checkLeft(before, r, c.Audit)
}

func (h *history) opBegan(before, r *Record) {
	if before != nil && before.Op != nil && !strings.Contains(fmt.Sprint(r.Op.Notes), before.Op.ID) {
		h.fail("I5: %s began while %s was open", r.Op.ID, before.Op.ID)
	}
	if len(h.epochs) > 0 && r.Epoch <= h.epochs[len(h.epochs)-1] {
		h.fail("I4: %s has epoch %d after %d", r.Op.ID, r.Epoch, h.epochs[len(h.epochs)-1])
	}
	h.epochs = append(h.epochs, r.Epoch)
	if before != nil {
		h.opNames[r.Op.ID] = before.Clone()
	}
	if r.Mode == ModeShadow && (before == nil || before.Op == nil) {
		h.fail("I14: %s began in shadow", r.Op.ID)
	}
	if !r.Op.Auto || before.Op != nil {
		return
	}
	for _, at := range h.settled {
		if h.now.Sub(at) < h.p.Cooldown {
			h.fail("I13, L5: an automatic start at %s within the cool-down that began at %s", h.now, at)
		}
	}
}

// checkDecision: I7, I8, I11, I14 at the moment an automatic start is decided.
func (h *history) checkDecision(c Commit) {
	r, before := &c.Record, h.ledger
	if h.p.Approvals > 0 && r.Op != nil && before != nil && before.Op == nil {
		h.checkApprovals(r.Op)
	}
	if r.Op == nil || !r.Op.Auto || before == nil || before.Op != nil {
		return
	}
	switch {
	case !h.naiveVerdict("down", r.Op.From):
		h.fail("I7: %s began without a quorum for down", r.Op.ID)
	case !h.naiveVerdict("up", r.Op.To):
		h.fail("I8: %s began without a quorum for up of its target", r.Op.ID)
	case h.naiveVerdict("down", r.Op.To):
		h.fail("I11: %s began with both down", r.Op.ID)
	case h.now.Sub(h.upAt[r.Op.From]) < h.p.RideOut:
		h.fail("ride_out: %s began %s after %s was up", r.Op.ID, h.now.Sub(h.upAt[r.Op.From]), r.Op.From)
	case r.Stop(StopPause) != nil && (r.Stop(StopPause).Until.IsZero() || r.Stop(StopPause).Until.After(h.now)):
		h.fail("I14: %s began while paused", r.Op.ID)
	case r.Stop(StopHooks) != nil && r.Stop(StopHooks).Until.After(h.now):
		h.fail("%s began although a veto of its hooks stands", r.Op.ID)
	case r.Standby.State == StandbyInvalidated:
		h.fail("I8: %s began to an invalidated standby", r.Op.ID)
	case !h.s.tiltAt.IsZero() && h.now.Sub(h.s.tiltAt) < 3*h.p.Round:
		h.fail("I14: %s began less than three rounds after a tilt", r.Op.ID)
	}
}

// opEnded: I12, and the record after it.
func (h *history) opEnded(before, r *Record) {
	if r.LastOp == nil || r.LastOp.Op.ID != before.Op.ID {
		return
	}
	op := r.LastOp.Op
	h.lastOps[op.ID] = r.LastOp.Outcome
	switch r.LastOp.Outcome {
	case Settled:
		h.settled = append(h.settled, r.LastOp.At)
		if r.Active != op.To {
			h.fail("%s settled and %s is active", op.ID, r.Active)
		}
	case Unwound:
		if r.Active != op.From {
			h.fail("I12: %s was unwound and %s is active", op.ID, r.Active)
		}
		for _, n := range r.Names {
			if n.Value != h.p.Name(n.Name).Targets[op.From] {
				h.fail("I12: %s was unwound and %s shows %s", op.ID, n.Name, n.Value)
			}
			if w := n.Want; w != nil && (w.Value != n.Value || w.TTL != h.p.TTL) { // a mark or a TTL may still be on its way back
				h.fail("I12: %s was unwound with a write open", op.ID)
			}
		}
		if h.p.Gated && !op.CloseAt.IsZero() && !h.open[op.From] {
			h.fail("I12: %s was unwound and %s is read-only", op.ID, op.From)
		}
	}
}

// auditOfValues: I24, every change that others can see has exactly one entry.
func (h *history) auditOfValues(before, r *Record, c Commit) {
	for _, n := range r.Names {
		var old *NameRecord
		if before != nil {
			old = before.Name(n.Name)
		}
		changed := n.Embedded && old != nil && old.Value != n.Value
		issued := n.Want != nil && (old == nil || old.Want == nil || *old.Want != *n.Want) && (old == nil || old.Want == nil || old.Want.Value != n.Want.Value || old.Want.Why != n.Want.Why)
		if !changed && !issued {
			continue
		}
		want := string(n.Value)
		if issued {
			want = string(n.Want.Value)
		}
		got := count(c.Audit, func(e AuditEntry) bool {
			if e.Kind == "write" {
				return strings.HasPrefix(e.Text, string(n.Name)+" CNAME "+want)
			}
			return changed && strings.HasPrefix(e.Text, "adopted")
		})
		if got != 1 {
			h.fail("I24: %d audit entries for %s to %s", got, n.Name, want)
		}
	}
}

// checkWrite: I3, I14, I15 at the moment a write leaves the process.
func (h *history) checkWrite(w WriteName) {
	h.writes++
	h.untouched(w)
	n := h.ledger.Name(w.Name.Name)
	if n == nil || n.Want == nil || n.Want.Value != w.Value || n.Want.Mark != w.Mark {
		h.fail("I3: a write to %s without its intent in the ledger", w.Name.Name)
	}
	// A person who lifts the term for a rebuilt ledger may do it while a write
	// of this very life is on its way. Its prerequisite protects the name.
	if w.Mark.Token.Term != h.ledger.Term && h.ledger.TermBase == 0 {
		h.fail("I3: a write under term %d, the ledger has %d", w.Mark.Token.Term, h.ledger.Term)
	}
	if w.ExpectMark == nil {
		h.fail("a write that does not ask for the mark")
	}
	if m, err := ParseMark(*w.ExpectMark); err == nil && w.Mark.Token.Less(m.Token) {
		h.fail("I6: a write with %s over the newer %s", w.Mark.Token, m.Token)
	}
	if h.p.ForceShadow {
		h.fail("I14: a write in shadow")
	}
	known := w.Expect == n.Value || w.Expect == n.Want.Value
	if !known && (n.Want.Over == nil || n.Want.Over.Value != w.Expect || !h.consent[foreign(n.Want.Over)]) {
		h.fail("I15: %s would be overwritten at %s without consent", w.Expect, n.Name)
	}
}

// foreign is what a person names: the value, not the mark.
func foreign(f *Foreign) string { return fmt.Sprint(f.Value, f.Absent) }

// naiveVerdict is a second, plain implementation of the quorum, on what the
// vantages were told to say.
func (h *history) naiveVerdict(want string, c ClusterName) bool {
	domains := map[DomainName][2]int{}
	for _, v := range h.p.Vantages {
		r, ok := h.s.sights[v.Name]
		d := domains[v.Domain]
		if ok && h.now.Sub(r.at) <= 2*h.p.Round && r.Sick == "" && (h.s.tiltAt.IsZero() || r.at.After(h.s.tiltAt)) {
			switch r.Clusters[c].Vote.String() {
			case "up":
				d[0]++
			case "down":
				d[1]++
			}
		}
		domains[v.Domain] = d
	}
	n := 0
	for _, d := range domains {
		if want == "up" && d[0] > d[1] || want == "down" && d[1] > d[0] {
			n++
		}
	}
	return 2*n > len(domains)
}

// always holds after every step.
func (h *history) always() {
	h.checkExposure()
	for _, c := range h.p.Clusters {
		if h.naiveVerdict("up", c) {
			h.upAt[c] = h.now
		}
	}
	for n, d := range h.dns {
		np := h.p.Name(n)
		if d.absent {
			continue
		}
		if np.Holder(d.value) == "" && d.value != "c.example." {
			h.fail("I4: %s shows %s, which no operation chose", n, d.value)
		}
	}
	if h.p.Fence == FenceStrict && h.open["a"] && h.open["b"] {
		h.fail("I2: both gates are open under fence: strict")
	}
	if h.p.Fence == FencePrefer && h.open["a"] && h.open["b"] && h.ledger.Divergence == "" && h.ledger.Op == nil {
		h.fail("I2: both gates are open and no divergence window is recorded")
	}
	if h.ledger != nil && h.ledger.Op == nil {
		for _, n := range h.ledger.Names {
			if n.Want == nil && n.Value != h.p.Name(n.Name).Targets[h.ledger.Active] {
				h.fail("the record says %s for %s while %s is active", n.Value, n.Name, h.ledger.Active)
			}
		}
	}
}

var historyPolicies = map[string]func(*Policy){
	"embedded": func(p *Policy) { p.Names = []NamePolicy{embeddedName("orders.test.")} },
	"external": func(p *Policy) { p.Names = []NamePolicy{externalName("orders.test.")} },
	"two elsewhere": func(p *Policy) {
		p.Names = []NamePolicy{externalName("orders.test."), externalName("vpc.orders.test.")}
	},
	"two names": func(p *Policy) {
		p.Names = []NamePolicy{externalName("orders.test."), embeddedName("vpc.orders.test.")}
	},
	"prefer": func(p *Policy) {
		replicated(p)
		p.RPO.Bound = time.Hour
		p.Gated, p.ClientProbes, p.Fence, p.GateDriver, p.CanCut = true, true, FencePrefer, FencePrefer, true
	},
	"bounded": func(p *Policy) {
		replicated(p)
		p.RPO.Bound = 2 * time.Second
		p.Gated, p.ClientProbes, p.Fence, p.GateDriver, p.CanCut = true, true, FencePrefer, FencePrefer, true
	},
	"ungated": func(p *Policy) {
		replicated(p)
		p.RPO.Bound, p.ClientProbes = 2*time.Second, true
	},
	"approve": func(p *Policy) {
		p.Names = []NamePolicy{externalName("orders.test.")}
		p.Auto, p.Approvals, p.ApprovalLife = AutoApprove, 2, 30*time.Second
	},
	"strict": func(p *Policy) {
		replicated(p)
		p.Names = []NamePolicy{externalName("orders.test.")}
		p.RPO.Bound = time.Hour
		p.Gated, p.ClientProbes, p.Fence, p.GateDriver, p.CanCut = true, true, FenceStrict, FenceStrict, true
	},
}

// reached counts what the histories of one policy reached.
type reached struct {
	sync.Mutex
	writes, refused, landed, settled, unwound, kills, approved int
	vetoed, hooked, unanswered                                 int // operations vetoed, and such that passed their hooks; runs without an answer
	lossy, consent, refills, told                              int // of the carriers
}

// TestHistories runs random lives under every policy; the Makefile asks for
// 100,000 of them in all.
func TestHistories(t *testing.T) {
	var r reached
	t.Run("policies", func(t *testing.T) {
		for name, change := range historyPolicies {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rapid.Check(t, func(t *rapid.T) { r.live(newHistory(t, change)) })
			})
		}
	})
	t.Logf("%d writes, %d landed, %d refused by their prerequisite; %d operations settled, %d unwound, %d were approved; %d kills", r.writes, r.landed, r.refused, r.settled, r.unwound, r.approved, r.kills)
	t.Logf("%d operations passed their hooks, %d were vetoed; %d runs of hooks without an answer", r.hooked, r.vetoed, r.unanswered)
	t.Logf("%d words on exposure; %d operations left something behind, %d by a consent; %d refills", r.told, r.lossy, r.consent, r.refills)
	if r.lossy == 0 || r.consent == 0 || r.refills == 0 {
		t.Error("the histories did not reach every end of a drain")
	}
	if r.hooked == 0 || r.vetoed == 0 || r.unanswered == 0 {
		t.Error("the histories did not reach every answer of hooks")
	}
	if r.approved == 0 || r.landed == 0 || r.refused == 0 || r.settled == 0 || r.unwound == 0 || r.kills == 0 {
		t.Error("the histories did not reach every kind of end: a green run proves nothing")
	}
}

func (r *reached) live(h *history) {
	for range rapid.IntRange(10, 50).Draw(h.t, "steps") {
		h.step()
		h.always()
	}
	h.end()
	r.Lock()
	defer r.Unlock()
	r.writes, r.refused, r.landed = r.writes+h.writes, r.refused+h.refused, r.landed+h.landed
	r.kills += int(h.term) - 1
	r.approved += h.approved
	r.hooked, r.unanswered = r.hooked+len(h.passed), r.unanswered+h.unanswered
	r.vetoed += len(h.vetoed)
	if c := h.carrier; c != nil {
		r.lossy, r.consent, r.refills, r.told = r.lossy+c.lossy, r.consent+c.consent, r.refills+c.refills, r.told+c.told
	}
	for _, o := range h.lastOps {
		switch o {
		case Settled:
			r.settled++
		case Unwound:
			r.unwound++
		}
	}
}

func newHistory(t *rapid.T, change func(*Policy)) *history {
	p := testPolicy()
	p.RideOut, p.MinUp, p.Cooldown, p.ReadEvery, p.TTL = 2*time.Second, time.Second, 20*time.Second, 5*time.Second, 6
	p.Budget = nil
	change(&p)
	w := newWorld(p)
	var h *history
	w.decided = func(c Commit) { h.checkDecision(c) }
	w.running = func(a RunHooks) { h.checkRun(a) }
	h = &history{
		world: w, t: t, consent: map[string]bool{}, toOf: map[string]ClusterName{},
		opNames: map[string]Record{}, lastOps: map[string]Outcome{}, upAt: map[ClusterName]time.Time{},
		was: map[string]string{}, vetoed: map[string]bool{},
	}
	w.start()
	w.settleUp()
	w.command(Command{Do: DoAdopt})
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	if p.Replicated {
		w.feed(StandbyChanged{State: StandbySynced})
		w.feed(Exposure{Known: true, Sampled: w.now})
		h.carrier = &carrier{from: w.ledger.Active, consents: map[string]time.Time{}}
	}
	w.after(3 * p.Round)
	if p.Approvals > 0 && rapid.Bool().Draw(t, "asked") {
		w.all("a", "down", "refused")
		w.after(p.RideOut + 3*p.Round) // what a rule wants now waits for people
	}
	w.manual, w.quiet = true, true
	if h.carrier != nil && rapid.Bool().Draw(t, "lost") {
		h.carrier.stuck = rapid.Bool().Draw(t, "stuck")
		h.pass(4 * time.Second)
		for _, v := range h.p.Vantages {
			h.voteAndClient(v.Name, "a", "down")
			h.report(v.Name)
		}
		h.pass(p.RideOut + 3*p.Round)
	}
	return h
}

func (h *history) step() {
	t := h.t
	h.manual = true
	if h.p.Approvals > 0 && len(h.queued) == 0 && rapid.IntRange(0, 3).Draw(t, "people") == 0 {
		h.person()
		return
	}
	if h.carrier != nil && h.wanted() && rapid.IntRange(0, 3).Draw(t, "somebody comes") == 0 {
		h.person()
		return
	}
	switch k := rapid.IntRange(0, 19).Draw(t, "kind"); {
	case k <= 7 && len(h.queued) > 0:
		i := rapid.IntRange(0, len(h.queued)-1).Draw(t, "which")
		if _, ok := h.queued[0].(Commit); ok {
			i = 0
		}
		how := rapid.SampledFrom([]string{"done", "done", "done", "done", "lost", "dropped", "kill before", "kill after"}).Draw(t, "how")
		h.carry(i, how)
	case k <= 10:
		d := rapid.SampledFrom([]time.Duration{100 * time.Millisecond, time.Second, 2500 * time.Millisecond, 6 * time.Second, 12 * time.Second}).Draw(t, "after")
		h.pass(d)
	case k <= 14:
		h.votes()
	case k == 15:
		h.kill()
	case k == 16 && len(h.ghosts) > 0:
		i := rapid.IntRange(0, len(h.ghosts)-1).Draw(t, "ghost")
		g := h.ghosts[i]
		h.ghosts = slices.Delete(h.ghosts, i, i+1)
		h.land(g)
	case k == 17:
		h.person()
	case k == 18:
		h.outside()
		h.moods()
	default:
		h.pause()
	}
}

// pause stops the process for a while: nothing is reported and nothing is
// answered. Afterwards what was on its way goes on, late, and the shell has
// noticed the stall, or it has not.
func (h *history) pause() {
	h.now = h.now.Add(rapid.SampledFrom([]time.Duration{2 * time.Second, 10 * time.Second}).Draw(h.t, "pause"))
	if rapid.Bool().Draw(h.t, "noticed") {
		h.feed(Tilted{Stall: 3 * time.Second})
	}
	h.carryOn()
	h.feed(Tick{})
}

// pass lets time go by; people at the vantages go on saying what they see, and
// half of the time the queue is worked off as a healthy shell would.
func (h *history) pass(d time.Duration) {
	work := rapid.Bool().Draw(h.t, "healthy")
	end := h.now.Add(d)
	for h.now.Before(end) {
		h.now = h.now.Add(min(h.p.Round, end.Sub(h.now)))
		for _, v := range h.p.Vantages {
			h.report(v.Name)
		}
		h.carryOn()
		if work {
			h.workOff()
		}
	}
	h.feed(Tick{})
}

func (h *history) workOff() {
	for n := 0; len(h.queued) > 0; n++ {
		if n > 200 {
			h.fail("the queue never ends: %s", describe(h.queued[0]))
		}
		h.carry(0, "done")
	}
}

func (h *history) votes() {
	words := []string{"up", "up", "up", "down", "down", "down", "unknown"}
	for _, c := range h.p.Clusters {
		if rapid.IntRange(0, 9).Draw(h.t, "all") < 6 {
			word := rapid.SampledFrom(words).Draw(h.t, "word")
			for _, v := range h.p.Vantages {
				h.voteAndClient(v.Name, c, word)
			}
		} else {
			v := rapid.SampledFrom(h.p.Vantages).Draw(h.t, "vantage")
			h.voteAndClient(v.Name, c, rapid.SampledFrom(words).Draw(h.t, "word"))
		}
	}
	for _, v := range h.p.Vantages {
		h.report(v.Name)
	}
}

func (h *history) voteAndClient(v VantageName, c ClusterName, word string) {
	h.vote(v, c, word, word)
	if h.p.ClientProbes {
		s := h.said[v][c]
		s.Client = ClientAccepted
		delete(h.fault, "gate "+string(c))
		if word == "down" {
			h.fault["gate "+string(c)] = "always unreachable" // a dead cluster takes no orders
			s.Client = ClientSilent
		}
		h.said[v][c] = s
	}
}

func (h *history) person() {
	if h.p.Approvals > 0 && h.s.rec.Proposal != nil && rapid.IntRange(0, 3).Draw(h.t, "answers") > 0 {
		h.answer()
		return
	}
	verbs := []Verb{DoSwitchover, DoFailover, DoAbort, DoPause, DoResume, DoAck, DoAdopt, DoRestore, DoArm, DoDisarm}
	if h.carrier != nil {
		verbs = append(verbs, DoRefill, DoFailover, DoFailover)
	}
	if h.p.Approvals > 0 { // most of them would end the wait
		verbs = []Verb{DoSwitchover, DoSwitchover, DoFailover, DoFailover, DoAbort, DoResume, DoArm, DoDisarm}
	}
	c := Command{Do: rapid.SampledFrom(verbs).Draw(h.t, "verb")}
	c.To = rapid.SampledFrom([]ClusterName{"a", "b"}).Draw(h.t, "to")
	c.Mode, c.Reason = ModeAuto, "by chance"
	if h.p.Approvals > 0 {
		c.Who = rapid.SampledFrom(crowd).Draw(h.t, "who")
		c.By = c.Who
	}
	if c.Do == DoPause {
		c.For = 5 * time.Second
	}
	if h.carrier != nil {
		h.consents(&c)
	}
	if (c.Do == DoAdopt || c.Do == DoRestore) && h.s.rec.Stop(StopDrift) != nil {
		h.agree()
		c.Seen, c.TermBase = h.s.rec.Stop(StopDrift).seen(), 1000
	}
	h.command(c)
}

// crowd are the people of lives in which moves are approved.
var crowd = []string{"ann", "ben", "cyd", ""}

// answer says yes or no to the proposal that stands, or to one that is gone.
// Now and then other people may.
func (h *history) answer() {
	if rapid.IntRange(0, 9).Draw(h.t, "others may") == 0 {
		h.p.People = rapid.SampledFrom([][]string{nil, {"ann", "ben", "cyd"}, {"ben", "cyd"}, {"ann"}}).Draw(h.t, "people")
		h.feed(PolicyChanged{})
		if !h.s.rec.Proposal.Waits() {
			return // its order was withdrawn
		}
	}
	c := Command{Do: rapid.SampledFrom([]Verb{DoApprove, DoApprove, DoApprove, DoApprove, DoDeny}).Draw(h.t, "answer"), Proposal: h.s.rec.Proposal.ID}
	if rapid.IntRange(0, 9).Draw(h.t, "which") == 0 {
		c.Proposal = "orders-p1"
	}
	c.Who = rapid.SampledFrom(crowd).Draw(h.t, "who")
	c.By = c.Who
	h.command(c)
	if c.Do == DoApprove && rapid.Bool().Draw(h.t, "another") {
		c.Who = rapid.SampledFrom(crowd).Draw(h.t, "other")
		c.By = c.Who
		h.command(c)
	}
}

// checkApprovals: nothing begins where people must say yes unless as many
// different people have, and never by the one who asked.
func (h *history) checkApprovals(op *Op) {
	who := map[string]bool{}
	for _, y := range op.Approvals {
		if y.Who == "" || y.Who == op.By || h.now.Sub(y.At) > h.p.ApprovalLife {
			h.fail("approval: %s began with the yes of %q of %s", op.ID, y.Who, y.At)
		}
		if !h.p.counts(y.Who) {
			h.fail("approval: %s began with the yes of %q, who may not give one", op.ID, y.Who)
		}
		who[y.Who] = true
	}
	if len(who) < h.p.Approvals {
		h.fail("approval: %s began with %d of %d people: %+v", op.ID, len(who), h.p.Approvals, op.Approvals)
	}
	h.approved++
}

func (h *history) agree() {
	st := h.s.rec.Stop(StopDrift)
	h.consent[foreign(&Foreign{Value: st.Seen, Mark: st.SeenMark, Absent: st.Seen == ""})] = true
}

// outside is somebody else's hand on the name.
func (h *history) outside() {
	for _, np := range h.p.Names { // in order: a draw must not depend on a map
		n, d := np.Name, h.dns[np.Name]
		if np.Embedded || len(h.p.Names) > 1 && rapid.IntRange(0, 3).Draw(h.t, "spare") == 0 {
			continue
		}
		switch rapid.IntRange(0, 4).Draw(h.t, "edit") {
		case 4: // another controller's mark
			d.mark = "v=1 term=900 epoch=1 op=orders-900.1 by=other"
		case 0:
			d.value, d.absent = "c.example.", false
		case 1:
			d = dnsState{absent: true}
		case 2:
			d.value, d.absent = rapid.SampledFrom([]Target{"a.test.", "b.test."}).Draw(h.t, "value"), false
		default:
			d.mark = ""
		}
		h.dns[n] = d
	}
}

// end heals the world and asks for liveness: every operation ends, and the
// name shows what the record says (L2, L4).
func (h *history) end() {
	for _, v := range h.p.Vantages {
		for _, c := range h.p.Clusters {
			h.voteAndClient(v.Name, c, "up")
		}
		h.report(v.Name)
	}
	h.calm()
	rounds := 300
	if len(h.p.Hooks) > 0 {
		rounds = 1200 // a post-hook without an answer may have been asked just now
	}
	for n := range rounds {
		h.now = h.now.Add(h.p.Round)
		for _, v := range h.p.Vantages {
			h.report(v.Name)
		}
		h.carryOn()
		h.workOff()
		h.always()
		switch {
		case n%8 != 4:
		case h.s.rec.Mode == ModeShadow:
			h.command(Command{Do: DoArm, Mode: ModeAuto})
		case h.s.rec.Stop(StopDrift) != nil:
			h.agree()
			h.command(Command{Do: DoRestore, Seen: h.s.rec.Stop(StopDrift).seen(), TermBase: 1000, Reason: "at the end"})
		case h.s.rec.Op != nil && h.s.rec.Op.Held != nil:
			h.command(Command{Do: DoAbort, Reason: "at the end"})
		}
		if n > 5 && h.atRest() {
			return
		}
	}
	h.fail("L2: no rest: op %+v stops %+v names %+v dns %v", h.s.rec.Op, h.s.rec.Stops, h.s.rec.Names, h.dns)
}

func (h *history) atRest() bool {
	if len(h.s.rec.HooksDue) > 0 || h.s.rec.Op != nil || h.s.rec.Stop(StopDrift) != nil || h.s.pending != nil {
		return false
	}
	for _, n := range h.s.rec.Names {
		if n.Want != nil || h.dns[n.Name].value != n.Value {
			return false
		}
	}
	return true
}
