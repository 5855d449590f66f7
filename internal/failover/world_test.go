package failover

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// world is the smallest world that the core can live in: a ledger, a name
// server, two gates, and people who say what they see. Transcripts and random
// histories both run in it.
type world struct {
	steps int // for the sketch

	p    Policy
	s    State
	now  time.Time
	t0   time.Time
	term uint64

	ledger *Record // as committed
	rev    uint64
	audit  []AuditEntry

	dns    map[RecordName]dnsState
	open   map[ClusterName]bool // real gates
	said   map[VantageName]map[ClusterName]Sighting
	sick   map[VantageName]string
	gen    map[VantageName]string
	fault  map[string]string
	queued []Action // effects that wait for their outcome in manual mode

	manual  bool // effects are queued, not carried out
	quiet   bool // nothing is written down
	out     strings.Builder
	refs    int
	seen    []Target // every value that the first name ever showed
	moves   []string // every change of the first name's value, with the op that committed it
	replies []Reply
	pages   []Page
	uptime  time.Duration
	asked   []RunHooks      // every run of hooks
	running func(RunHooks)  // called when hooks are asked for
	passed  map[string]bool // operations whose pre-hooks really let them pass
	decided func(Commit)    // called when a commit is asked for, before it is made

	watch    Watch
	episodes []Episode // as told
	stirred  int       // steps that a recorder would have woken up for
}

type dnsState struct {
	value  Target
	ttl    uint32
	mark   string
	absent bool
	other  string // what else stands there, or which line lags behind
}

func (d dnsState) String() string {
	if d.absent {
		return "absent"
	}
	return fmt.Sprintf("CNAME %s ttl %d mark %q", d.value, d.ttl, d.mark)
}

// armed is a world at rest for a minute in which automation may move.
func armed(p Policy) *world {
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	w.after(time.Minute)
	return w
}

func testPolicy() Policy {
	p, err := PresetPolicy(PresetHTTP)
	if err != nil {
		panic(err)
	}
	p.Instance, p.By, p.Clusters, p.Primary, p.Expected = "orders", "ctl", [2]ClusterName{"a", "b"}, "a", "cfg1"
	p.Names = []NamePolicy{embeddedName("orders.test.")}
	p.Vantages = []VantagePolicy{{"v1", "d1"}, {"v2", "d2"}, {"v3", "d3"}}
	return p
}

func embeddedName(n RecordName) NamePolicy {
	return NamePolicy{Name: n, Provider: "embedded", Zone: "test.", Embedded: true, Targets: map[ClusterName]Target{"a": "a.test.", "b": "b.test."}}
}

func externalName(n RecordName) NamePolicy {
	np := embeddedName(n)
	np.Provider, np.Embedded = "bind", false
	return np
}

func newWorld(p Policy) *world {
	t0 := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	w := &world{
		p: p, now: t0, t0: t0, dns: map[RecordName]dnsState{}, open: map[ClusterName]bool{p.Clusters[0]: true, p.Clusters[1]: !p.Gated},
		said: map[VantageName]map[ClusterName]Sighting{}, sick: map[VantageName]string{}, gen: map[VantageName]string{}, fault: map[string]string{},
		uptime: time.Hour,
	}
	for _, n := range p.Names {
		if !n.Embedded {
			w.dns[n.Name] = dnsState{value: n.Targets[p.Primary], ttl: p.TTL}
		}
	}
	return w
}

// start begins a life of the controller: a new term, and the record as the
// ledger has it.
func (w *world) start() {
	w.term++
	w.s = New(w.now)
	w.queued = nil
	w.feed(Lead{Leading: true, Term: w.term, Until: w.now.Add(1000 * time.Hour)})
	w.load()
}

func (w *world) load() {
	if w.ledger == nil {
		w.feed(Loaded{})
	} else {
		w.feed(Loaded{Record: w.ledger.Clone(), Found: true})
	}
}

func (w *world) feed(e Event) {
	if l, ok := e.(Lead); ok && l.Until.IsZero() {
		l.Until = w.now.Add(1000 * time.Hour)
		e = l
	}
	before := w.s
	var acts []Action
	w.s, acts = Step(before, &w.p, e, w.now)
	if Stirs(&before, &w.s, &w.p, e) {
		w.stirred++
	}
	var told []Episode
	w.watch, told = w.watch.See(&w.s, &w.p, w.now)
	w.episodes = append(w.episodes, told...)
	if w.steps++; w.steps%sketchEvery == 0 {
		w.sketch()
	}
	for i, a := range acts {
		if _, ok := a.(Commit); ok && countEffects(acts) > 1 {
			panic(fmt.Sprintf("a commit is not alone: %v at %d", acts, i))
		}
	}
	for _, a := range acts {
		w.perform(a)
	}
}

// sketchEvery is after how many steps the sketch is held against the view.
const sketchEvery = 17

// sketch panics unless the sketch says what the view says.
func (w *world) sketch() {
	look, sketch := Look(&w.s, &w.p, w.now), Sketch(&w.s, &w.p, w.now)
	for i, c := range look.Clusters {
		look.Clusters[i] = ClusterView{Name: c.Name, Role: c.Role, Verdict: c.Verdict, Fault: c.Fault, DownSince: c.DownSince, UpSince: c.UpSince}
	}
	look.Names, look.Exposure, look.Refused, look.Missing, look.Notices, look.Step, look.MovedBy = nil, ExposureView{}, nil, nil, nil, nil, nil
	if !reflect.DeepEqual(look, sketch) {
		panic(fmt.Sprintf("the view says\n%+v\nthe sketch\n%+v", look, sketch))
	}
	if l := w.s.rec.LastOp; l != nil {
		if err := fillsItsTime(l); err != nil {
			panic(err)
		}
	}
}

// countEffects counts the actions that are neither words nor replies.
func countEffects(acts []Action) int {
	return count(acts, func(a Action) bool {
		switch a.(type) {
		case Page, Reply, Yield:
			return false
		}
		return true
	})
}

func (w *world) say(format string, args ...any) {
	if !w.quiet {
		fmt.Fprintf(&w.out, format+"\n", args...)
	}
}

func (w *world) perform(a Action) {
	switch a := a.(type) {
	case Reply:
		w.replies = append(w.replies, a)
		text := a.Text
		if a.Guard != "" {
			text = "by " + string(a.Guard) + ": " + text
		}
		if a.Hint != "" {
			text += " (" + a.Hint + ")"
		}
		w.say("reply %s %s", a.Code, text)
	case Page:
		w.pages = append(w.pages, a)
		w.say("page %s: %s", a.Kind, a.Text)
	case Yield:
		w.say("yield to %s", a.Seen)
		w.feed(Lead{Why: "yielded"})
	case Commit:
		if w.decided != nil {
			w.decided(a)
		}
		if f := w.take("commit"); f != "" {
			w.say("commit fails: %s", f)
			if f == "conflict" {
				w.feed(CommitFailed{Err: "conflict", Conflict: true})
				w.load()
				return
			}
			w.feed(CommitFailed{Err: f})
			return
		}
		if w.manual {
			w.queued = append(w.queued, a)
			w.say("wants commit")
			return
		}
		w.commit(a)
		w.feed(Committed{Rev: w.rev})
	default:
		if r, ok := a.(RunHooks); ok && w.running != nil {
			w.running(r)
		}
		if w.manual {
			w.queued = append(w.queued, a)
			if !w.quiet {
				w.say("wants %s", describe(a))
			}
			return
		}
		w.effect(a)
	}
}

// take consumes a one-shot fault; "always …" stays.
func (w *world) take(k string) string {
	f := w.fault[k]
	if !strings.HasPrefix(f, "always ") {
		delete(w.fault, k)
	}
	return strings.TrimPrefix(f, "always ")
}

func (w *world) commit(a Commit) {
	if w.ledger != nil && a.Record.Rev != w.ledger.Rev || w.ledger == nil && a.Record.Rev != 0 {
		panic(fmt.Sprintf("commit of rev %d over %d", a.Record.Rev, w.rev))
	}
	before := Target("")
	if w.ledger != nil && len(w.ledger.Names) > 0 {
		before = w.ledger.Names[0].Value
	}
	w.rev++
	r := a.Record.Clone()
	r.Rev = w.rev
	w.ledger = &r
	w.audit = append(w.audit, a.Audit...)
	for _, e := range a.Audit {
		w.say("audit %s %s: %s", e.Token, e.Kind, e.Text)
	}
	for _, n := range r.Names {
		if n.Embedded {
			w.dns[n.Name] = dnsState{value: n.Value, ttl: n.TTL, mark: n.Mark.String()}
		}
	}
	if len(r.Names) > 0 && r.Names[0].Embedded && r.Names[0].Value != before {
		w.moved(r.Names[0].Value)
	}
}

func (w *world) moved(v Target) {
	w.seen = append(w.seen, v)
	id := "none"
	if w.ledger.Op != nil {
		id = w.ledger.Op.ID
	}
	w.moves = append(w.moves, fmt.Sprintf("%s %s", id, v))
}

func describe(a Action) string {
	switch a := a.(type) {
	case ReadName:
		return "read " + string(a.Name.Name)
	case WriteName:
		return fmt.Sprintf("write %s CNAME %s ttl %d mark %q if CNAME %s mark %q", a.Name.Name, a.Value, a.TTL, a.Mark, a.Expect, *a.ExpectMark)
	case Verify:
		return "verify"
	case SetGate:
		return fmt.Sprintf("gate %s %s", a.Cluster, a.Want)
	case Drain:
		return fmt.Sprintf("drain %s to %s for %s %s by %s", a.From, a.To, a.Kind, a.Op, a.Deadline.UTC().Format("04:05.000"))
	case Cut:
		return "cut " + string(a.From)
	case AskFlood:
		return "leave of the breaker"
	case RunHooks:
		return fmt.Sprintf("%s-hooks of %s attempt %d: %s", a.When, a.Op.ID, a.Attempt, strings.Join(hookNames(a.Hooks), ", "))
	default:
		return fmt.Sprintf("%T", a)
	}
}

// effect carries out one action and feeds its outcome back.
func (w *world) effect(a Action) {
	switch a := a.(type) {
	case ReadName:
		w.feed(w.read(a.Name.Name))
	case WriteName:
		w.say("%s", describe(a))
		w.feed(w.write(a))
	case Verify:
		w.feed(w.verify(a))
	case SetGate:
		w.say("gate %s ordered %s", a.Cluster, a.Want)
		f := w.take("gate " + string(a.Cluster))
		if f == "" || f == "lost" {
			w.open[a.Cluster] = a.Want == GateOpen
		}
		w.feed(GateDone{Cluster: a.Cluster, Want: a.Want, Err: f})
	case Drain:
		switch f := w.take("drain"); f {
		case "":
			w.feed(Drained{Empty: true})
		case "never": // no answer for now
		default:
			if w.fault["drain"] == "" {
				w.fault["drain"] = f // what is left does not go away by itself
			}
			w.feed(w.drained(a, f))
		}
	case Cut:
		var left []string
		if f := w.take("cut"); f != "" {
			left = strings.Split(f, ",")
		}
		w.say("cut %s: %d left", a.From, len(left))
		w.feed(CutDone{Stragglers: left})
	case RunHooks:
		w.hooks(a)
	case AskFlood:
		if f := w.take("flood"); f != "" {
			w.feed(FloodVerdict{Wanting: 9, Limit: 3, Hint: f})
		} else {
			w.feed(FloodVerdict{OK: true, Wanting: 1, Limit: 3})
		}
	}
}

// drained is an answer in words: a bound, or fields of it.
func (w *world) drained(a Drain, words string) Drained {
	d := Drained{Op: a.Op, Bound: -1}
	if bound, err := time.ParseDuration(words); err == nil {
		d.Bound = bound
		return d
	}
	for _, f := range strings.Fields(words) {
		k, v, _ := strings.Cut(f, "=")
		v = strings.ReplaceAll(v, "_", " ")
		switch k {
		case "begins": // ago
			ago, err := time.ParseDuration(v)
			if err != nil {
				panic(err)
			}
			d.Begins = w.now.Add(-ago)
		case "rows":
			_, _ = fmt.Sscan(v, &d.Rows)
		case "gap":
			d.Gap = v
		case "cut":
			d.Cut = v
		case "err":
			d.Err = v
		case "of":
			d.Op = v
		case "gone":
			d.Gone = true
		case "empty":
			d.Empty = true
		}
	}
	return d
}

func (w *world) read(n RecordName) Event {
	if f := w.take("read"); f != "" {
		return NameRead{Name: n, Err: f}
	}
	d := w.dns[n]
	return NameRead{Name: n, Absent: d.absent, Value: d.value, TTL: d.ttl, Mark: d.mark, Other: d.other}
}

// write is the conditional write of a real server.
func (w *world) write(a WriteName) Event {
	f := w.take("write")
	d := w.dns[a.Name.Name]
	if f == "refused" {
		return NameWritten{Name: a.Name.Name, Outcome: WriteRefused, Err: "REFUSED: the key may not write this name"}
	}
	if f == "ignored" { // NOERROR, and nothing was changed
		return NameWritten{Name: a.Name.Name, Outcome: WriteDone}
	}
	if f == "dropped" {
		return NameWritten{Name: a.Name.Name, Outcome: WriteUnknown, Err: "no answer"}
	}
	if d.absent != (a.Expect == "") || !d.absent && d.value != a.Expect || a.ExpectMark != nil && d.mark != *a.ExpectMark {
		return NameWritten{Name: a.Name.Name, Outcome: WriteMismatch, Err: "NXRRSET"}
	}
	var least uint32
	if ttl, ok := strings.CutPrefix(f, "clamp "); ok { // the provider raises it and says nothing
		_, _ = fmt.Sscan(ttl, &least)
	}
	w.dns[a.Name.Name] = dnsState{value: a.Value, ttl: max(a.TTL, least), mark: a.Mark.String()}
	if a.Name.Name == w.p.Names[0].Name && d.value != a.Value {
		w.moved(a.Value)
	}
	if f == "lost-reply" {
		return NameWritten{Name: a.Name.Name, Outcome: WriteUnknown, Err: "no answer"}
	}
	return NameWritten{Name: a.Name.Name, Outcome: WriteDone}
}

func (w *world) verify(a Verify) Event {
	f := w.take("verify")
	out := Verified{Names: map[RecordName]NameAgreement{}}
	for _, n := range a.Names {
		d := w.dns[n.Name]
		g := NameAgreement{Asked: 2, Wanted: n.Value, AskedAt: w.now, MaxTTL: d.ttl, At: []string{"192.0.2.1"}, Served: []ServedTTL{{d.value, d.ttl}}}
		late, value := d, Target("")
		if ttl, ok := strings.CutPrefix(f, "ttl "); ok { // of a secondary that is behind, and what it shows
			_, _ = fmt.Sscan(ttl, &late.ttl, &value)
			f, late.value = "", orTarget(value, d.value)
			g.MaxTTL, g.Served = max(g.MaxTTL, late.ttl), append(g.Served, ServedTTL{late.value, late.ttl})
		}
		if f == "" && !d.absent && d.value == n.Value && late.value == n.Value {
			g.Agree, g.Agreeing, g.LastAgree = true, 2, w.now
		} else {
			g.Dissent = []string{fmt.Sprintf("%s: 192.0.2.1 udp shows %s", n.Name, d.value)}
		}
		out.Names[n.Name] = g
	}
	return out
}

func orTarget(t, other Target) Target {
	if t == "" {
		return other
	}
	return t
}

// after lets time pass in steps of a fifth of a round, with everybody who has
// spoken before saying the same again, as vantages do.
func (w *world) after(d time.Duration) {
	end := w.now.Add(d)
	step := w.p.Round / 5
	for n := 1; w.now.Before(end); n++ {
		w.now = w.now.Add(min(step, end.Sub(w.now)))
		if n%5 == 0 || !w.now.Before(end) {
			for _, v := range w.p.Vantages {
				if _, ok := w.said[v.Name]; ok && w.fault["mute "+string(v.Name)] == "" {
					w.report(v.Name)
				}
			}
		}
		w.feed(Tick{})
	}
}

// faulty gives the newest vote its class.
func (w *world) faulty(v VantageName, c ClusterName, f Fault) {
	s := w.said[v][c]
	s.Fault = f
	w.said[v][c] = s
}

// vote sets what a vantage sees of a cluster from now on.
func (w *world) vote(v VantageName, c ClusterName, word, reason string) {
	if w.said[v] == nil {
		w.said[v] = map[ClusterName]Sighting{}
	}
	old, had := w.said[v][c]
	n := Sighting{Fall: w.p.Count.Fall, Rise: w.p.Count.Rise, Reason: reason, LastProbe: w.now, Client: old.Client, ClientAt: old.ClientAt, Canary: CanaryOK, CanaryAt: w.now}
	switch word {
	case "up":
		n.Vote, n.Identity, n.UpSince, n.Hits = Up, reason != "anonymous", w.now, w.p.Count.Rise
		if had && old.Vote == Up {
			n.UpSince = old.UpSince
		} else if !had {
			n.UpSince = w.now.Add(-w.uptime)
		}
	case "down":
		n.Vote, n.Misses, n.FirstMiss, n.LastMiss = Down, w.p.Count.Fall, w.now, w.now
		if had && old.Vote == Down {
			n.FirstMiss = old.FirstMiss
		}
	case "unknown":
		n.Vote = Unknown
	default: // a number of misses on an up vote
		n = old
		n.Reason = reason
		if _, err := fmt.Sscanf(word, "%d", &n.Misses); err != nil {
			panic("vote " + word)
		}
		n.LastMiss, n.FirstMiss = w.now, w.now
	}
	w.said[v][c] = n
}

func (w *world) report(v VantageName) { w.feed(w.reportOf(v)) }

// reportOf is what the vantage says now.
func (w *world) reportOf(v VantageName) Report {
	cl := map[ClusterName]Sighting{}
	for c, s := range w.said[v] {
		s.LastProbe = w.now
		if s.Vote == Down {
			s.LastMiss = w.now
		}
		if w.p.ClientProbes && s.Client != "" {
			s.ClientAt = w.now
			if s.Client != ClientSilent {
				s.Client = ClientRefused
				if w.open[c] {
					s.Client = ClientAccepted
				}
			}
		}
		cl[c] = s
	}
	gen := w.gen[v]
	if gen == "" {
		gen = "cfg1"
	}
	return Report{Vantage: v, Generation: gen, Want: "cfg1", Sick: w.sick[v], Clusters: cl}
}

func (w *world) command(c Command) Reply {
	w.refs++
	c.Ref = fmt.Sprint("r", w.refs)
	if c.By == "" {
		c.By = "ann"
	}
	n := len(w.replies)
	w.feed(c)
	if i := slices.IndexFunc(w.replies[n:], func(r Reply) bool { return r.Ref == c.Ref }); i >= 0 {
		return w.replies[n+i]
	}
	return Reply{}
}

// settleUp makes everybody say up of both clusters and lets the adopting
// phase pass.
func (w *world) settleUp() {
	for _, v := range w.p.Vantages {
		for _, c := range w.p.Clusters {
			w.vote(v.Name, c, "up", "200")
			if w.p.ClientProbes {
				s := w.said[v.Name][c]
				s.Client = ClientAccepted
				w.said[v.Name][c] = s
			}
		}
		w.report(v.Name)
	}
}

func (w *world) all(c ClusterName, word, reason string) {
	for _, v := range w.p.Vantages {
		w.vote(v.Name, c, word, reason)
	}
	for _, v := range w.p.Vantages {
		w.report(v.Name)
	}
}
