package failover

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts; review the diff")

// TestTranscripts runs every story in testdata: lines that begin with "> " are
// what happens, the lines below are what the core wants and says.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(string(b))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("the story goes another way:\n%s", diff(string(b), got))
			}
		})
	}
}

func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := 0; i < max(len(w), len(g)); i++ {
		var x, y string
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\n want: %s\n got:  %s", i+1, x, y)
		}
	}
	return ""
}

// play runs a story and returns it with what really happened.
func play(story string) string {
	var out strings.Builder
	w := newWorld(testPolicy())
	for line := range strings.Lines(story) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), line == "" && out.Len() == 0:
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			w.out.Reset()
			if err := w.line(strings.TrimPrefix(line, "> ")); err != nil {
				fmt.Fprintf(&w.out, "error: %v\n", err)
			}
			for o := range strings.Lines(w.out.String()) {
				out.WriteString("  " + o)
			}
		}
	}
	return out.String()
}

// line carries out one line of a story.
func (w *world) line(line string) error {
	f := strings.Fields(line)
	verb, args := f[0], f[1:]
	switch verb {
	case "policy":
		return w.policyLine(args)
	case "start":
		w.start()
	case "crash": // the process dies; the next line may start another
		w.queued = nil
		w.start()
	case "settle":
		w.settleUp()
	case "after":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		w.after(d)
	case "skip": // time in which nothing is heard
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		w.now = w.now.Add(d)
		w.feed(Tick{})
	case "say":
		return w.sayLine(args)
	case "mute":
		w.fault["mute "+args[0]] = "always x"
	case "unmute":
		delete(w.fault, "mute "+args[0])
	case "exposure":
		return w.exposureLine(args)
	case "standby":
		state, of, _ := strings.Cut(args[0], "/")
		why := make([]string, 0, len(args))
		for _, x := range args[1:] {
			why = append(why, strings.ReplaceAll(x, "_", " "))
		}
		w.feed(StandbyChanged{Cluster: ClusterName(of), State: StandbyState(state), Why: why})
	case "trouble":
		w.feed(WritePath{Provider: args[0], Trouble: strings.Join(args[1:], " ")})
	case "tilt":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		w.feed(Tilted{Stall: d})
	case "lease":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		w.feed(Lead{Leading: true, Term: w.term, Until: w.now.Add(d)})
	case "depose":
		w.feed(Lead{Why: strings.Join(args, " ")})
	case "fault":
		w.fault[strings.ReplaceAll(args[0], "_", " ")] = strings.Join(args[1:], " ")
	case "heal":
		delete(w.fault, strings.ReplaceAll(args[0], "_", " "))
	case "manual":
		w.manual = true
	case "let": // carry out what waits
		w.manual = false
		q := w.queued
		w.queued = nil
		for _, a := range q {
			w.perform(a)
		}
	case "drained": // an answer that comes by itself
		w.feed(w.drained(Drain{Op: opID(w.s.rec.Op)}, strings.Join(args, " ")))
	case "drop": // what waits is never done
		w.queued, w.manual = nil, false
	case "dns":
		return w.dnsLine(args)
	case "do":
		return w.doLine(args)
	case "record":
		w.showRecord()
	case "status":
		w.showStatus()
	case "moved":
		m := Look(&w.s, &w.p, w.now).MovedBy
		if m == nil {
			w.say("nothing has moved")
			break
		}
		w.say("%s", m.Words())
		for _, b := range m.Terms {
			w.say("term %s %s unbounded %v: %s", b.Term, b.Is.Round(time.Millisecond), b.Unbounded, b.Note)
		}
		w.say("verified %v missing %v", m.Verified, m.Missing)
	case "explain":
		x := Explain(&w.s, &w.p, w.now)
		w.say("%s", x.Headline)
		for _, l := range x.Lines {
			w.say("%s", l)
		}
		for _, g := range x.Verdicts {
			if !g.Allow && g.Binds {
				w.say("guard %s refuses: %s", g.Guard, g.Why)
			}
		}
	case "plan":
		return w.planLine(args)
	default:
		return fmt.Errorf("unknown line %q", line)
	}
	return nil
}

func (w *world) policyLine(args []string) error {
	p := testPolicy()
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		d, derr := time.ParseDuration(v)
		n, nerr := strconv.Atoi(v)
		var err error
		switch k {
		case "preset":
			q, e := PresetPolicy(Preset(v))
			if e != nil {
				return e
			}
			q.Auto = AutoAuto // how far it goes is what a story arms
			q.Instance, q.By, q.Clusters, q.Primary, q.Expected, q.Names, q.Vantages = p.Instance, p.By, p.Clusters, p.Primary, p.Expected, p.Names, p.Vantages
			p = q
		case "names":
			p.Names = nil
			for x := range strings.SplitSeq(v, ",") {
				name, kind, _ := strings.Cut(x, ":")
				if kind == "external" {
					p.Names = append(p.Names, externalName(RecordName(name)))
				} else {
					p.Names = append(p.Names, embeddedName(RecordName(name)))
				}
			}
		case "targets":
			x, y, _ := strings.Cut(v, ",")
			for i := range p.Names {
				p.Names[i].Targets = map[ClusterName]Target{"a": Target(x), "b": Target(y)}
			}
		case "vantages":
			p.Vantages = nil
			for x := range strings.SplitSeq(v, ",") {
				name, dom, _ := strings.Cut(x, "/")
				p.Vantages = append(p.Vantages, VantagePolicy{VantageName(name), DomainName(dom)})
			}
		case "single-vantage":
			p.SingleVantage = v == "accept"
		case "ride-out":
			p.RideOut, err = d, derr
		case "min-up":
			p.MinUp, err = d, derr
		case "cooldown":
			p.Cooldown, err = d, derr
		case "settle":
			p.Settle, err = d, derr
		case "ttl":
			p.TTL, err = uint32(n), nerr
		case "clients": // allowance/request/connection, empty for what is not known
			x := strings.Split(v, "/")
			p.Clients.ResolverAllowance, _ = time.ParseDuration(x[0])
			p.Clients.RequestTimeout, _ = time.ParseDuration(x[1])
			p.Clients.ConnectionLife, _ = time.ParseDuration(x[2])
		case "budget":
			p.Budget, err = []Budget{{n, time.Hour}}, nerr
		case "ack":
			p.NeedAck = v == "yes"
		case "auto":
			p.Auto = Auto(v)
		case "fence":
			p.Fence, p.GateDriver, p.Gated, p.ClientProbes = Fence(v), FenceStrict, true, true
		case "driver":
			p.GateDriver = Fence(v)
		case "rpo":
			p.Replicated = true
			switch v {
			case "none", "zero":
				p.RPO = RPO{Kind: RPOKind(v)}
			default:
				p.RPO, err = RPO{Kind: RPOBounded, Bound: d}, derr
			}
		case "cut":
			p.CanCut = v == "yes"
		case "client":
			p.ClientProbes = v == "yes"
		case "canary":
			p.Canary = v == "yes"
		case "move-proof":
			p.MoveProof = MoveProofPolicy(v)
		case "approvals":
			p.Approvals, err = n, nerr
		case "people":
			p.People = strings.Split(v, ",")
		case "approval-life":
			p.ApprovalLife, err = d, derr
		case "freeze": // from..to
			from, to, _ := strings.Cut(v, "..")
			win := Window{Reason: "quarter end"}
			if win.From, err = time.Parse(time.RFC3339, from); err == nil {
				win.To, err = time.Parse(time.RFC3339, to)
			}
			p.Freeze = append(p.Freeze, win)
		case "shadow":
			p.ForceShadow = v == "forced"
		case "maintenance": // cluster/minutes after 03:00/length/reason
			x := strings.Split(v, "/")
			from, ferr := time.ParseDuration(x[1])
			length, lerr := time.ParseDuration(x[2])
			t0 := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
			p.Maintenance = append(p.Maintenance, Window{Cluster: ClusterName(x[0]), From: t0.Add(from), To: t0.Add(from + length), Reason: strings.ReplaceAll(x[3], "_", " ")})
			err = cmp.Or(ferr, lerr)
		case "hook": // pre|post/name/timeout[/failover|switchover][/pass]
			h, herr := parseHook(v)
			p.Hooks, err = append(p.Hooks, h), herr
		case "hook-retry":
			p.HookRetry, err = d, derr
		case "expected":
			p.Expected = v
		default:
			return fmt.Errorf("unknown setting %q", k)
		}
		if err != nil {
			return err
		}
	}
	for _, err := range p.Validate() {
		w.say("invalid: %v", err)
	}
	if w.ledger != nil { // a changed config under a living instance
		w.p = p
		w.feed(PolicyChanged{})
		return nil
	}
	said := w.out.String()
	*w = *newWorld(p)
	w.out.WriteString(said)
	return nil
}

func (w *world) sayLine(args []string) error {
	who := args[0]
	for _, v := range w.p.Vantages {
		if who != "all" && who != string(v.Name) && who != string(v.Domain) {
			continue
		}
		for _, a := range args[1:] {
			c, word, _ := strings.Cut(a, "=")
			word, reason, _ := strings.Cut(word, ":")
			reason = strings.ReplaceAll(reason, "_", " ")
			switch {
			case c == "sick":
				w.sick[v.Name] = reason + strings.ReplaceAll(word, "_", " ")
			case c == "generation":
				w.gen[v.Name] = word
			case word == "accepted" || word == "refused" || word == "silent":
				s := w.said[v.Name][ClusterName(c)]
				s.Client, s.ClientAt = ClientResult(word), w.now
				w.said[v.Name][ClusterName(c)] = s
			default:
				if reason == "" {
					reason = map[string]string{"up": "200", "down": "connection refused", "unknown": "its own fault"}[word]
				}
				word, class, _ := strings.Cut(word, "/")
				w.vote(v.Name, ClusterName(c), word, reason)
				w.faulty(v.Name, ClusterName(c), Fault(class))
			}
		}
		w.report(v.Name)
	}
	return nil
}

func (w *world) exposureLine(args []string) error {
	e := Exposure{Known: true, Sampled: w.now}
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "lag", "age":
			d, err := time.ParseDuration(v)
			if err != nil {
				return err
			}
			if k == "lag" {
				e.Lag = d
			} else {
				e.Sampled = w.now.Add(-d)
			}
		case "unknown":
			e.Known = false
		case "gap":
			e.Gap = strings.ReplaceAll(v, "_", " ")
		case "watermark":
			e.Watermark = v
		case "from-old":
			e.FromOld = w.now
		case "from":
			e.From = ClusterName(v)
		case "why":
			e.Why = strings.ReplaceAll(v, "_", " ")
		case "rows":
			_, _ = fmt.Sscan(v, &e.Rows)
		case "about":
			_, _ = fmt.Sscan(v, &e.About)
		}
	}
	w.feed(e)
	return nil
}

func (w *world) dnsLine(args []string) error {
	switch args[0] {
	case "show":
		for _, n := range w.p.Names {
			w.say("%s %s", n.Name, w.dns[n.Name])
		}
	case "edit":
		d := w.dns[RecordName(args[1])]
		d.value, d.absent = Target(args[2]), false
		if len(args) > 3 {
			d.mark = strings.ReplaceAll(args[3], "_", " ")
			if d.mark == "none" {
				d.mark = ""
			}
		}
		w.dns[RecordName(args[1])] = d
	case "beside":
		d := w.dns[RecordName(args[1])]
		if d.other = strings.ReplaceAll(args[2], "_", " "); d.other == "none" {
			d.other = ""
		}
		w.dns[RecordName(args[1])] = d
	case "ttl": // by somebody's hand
		d := w.dns[RecordName(args[1])]
		_, _ = fmt.Sscan(args[2], &d.ttl)
		w.dns[RecordName(args[1])] = d
	case "remove":
		w.dns[RecordName(args[1])] = dnsState{absent: true}
	}
	return nil
}

func (w *world) doLine(args []string) error {
	c, err := parseCommand(args)
	if err != nil {
		return err
	}
	w.command(c)
	return nil
}

func parseCommand(args []string) (Command, error) {
	c := Command{Do: Verb(args[0])}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		v = strings.ReplaceAll(v, "_", " ")
		switch k {
		case "to":
			c.To = ClusterName(v)
		case "by":
			c.By = v
		case "reason":
			c.Reason = v
		case "override":
			c.Override = append(c.Override, Guard(v))
		case "accept-loss", "for":
			d, err := time.ParseDuration(v)
			if err != nil {
				return c, err
			}
			if k == "for" {
				c.For = d
			} else {
				c.AcceptLoss = &d
			}
		case "accept-pinned":
			c.AcceptPinned = true
		case "or-failover":
			c.OrFailover = true
		case "expect-active":
			c.ExpectActive = ClusterName(v)
		case "expect-epoch", "term-base":
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				return c, err
			}
			if k == "term-base" {
				c.TermBase = n
			} else {
				c.ExpectEpoch = &n
			}
		case "mode":
			c.Mode = Mode(v)
		case "change":
			c.Change = v
		case "seen":
			c.Seen = Target(v)
		case "who":
			c.Who = v
		case "proposal":
			c.Proposal = v
		case "plan":
			c.PlanHash = v
		default:
			return c, fmt.Errorf("unknown argument %q", a)
		}
	}
	return c, nil
}

func (w *world) planLine(args []string) error {
	c, err := parseCommand(args)
	if err != nil {
		return err
	}
	pl := PlanMove(&w.s, &w.p, c, w.now)
	w.say("plan %s %s to %s epoch %d mode %s refused %v changes %v", pl.Kind, pl.From, pl.To, pl.Epoch, pl.Mode, pl.Refused, pl.Changes)
	for _, d := range pl.Diff {
		w.say("diff %s %s to %s ttl %d", d.Name, d.From, d.To, d.TTL)
	}
	for _, s := range pl.Steps {
		w.say("step %s budget %s late %s skip %q", s.Step, s.Budget, s.Late, s.Skip)
	}
	for _, h := range pl.Hooks {
		w.say("%s-hook %s timeout %s late %q skip %q", h.When, h.Name, h.Timeout, h.Late, h.Skip)
	}
	for _, b := range pl.Bound {
		w.say("bound %s %s unbounded %v", b.Term, b.Is, b.Unbounded)
	}
	for _, g := range pl.Guards {
		if !g.Allow && g.Binds {
			w.say("guard %s refuses: %s", g.Guard, g.Why)
		}
	}
	return nil
}

func (w *world) showRecord() {
	r := w.ledger
	if r == nil {
		w.say("no record")
		return
	}
	w.say("term %d epoch %d active %s mode %s standby %s", r.Term, r.Epoch, r.Active, r.Mode, r.Standby.State)
	for _, n := range r.Names {
		w.say("%s %s ttl %d mark %q want %v", n.Name, n.Value, n.TTL, n.Mark, n.Want != nil)
	}
	if op := r.Op; op != nil {
		w.say("op %s %s %s to %s at %s unwind %v held %v", op.ID, op.Kind, op.From, op.To, op.Step, op.Unwind, op.Held != nil)
	}
	for _, why := range r.Standby.Why {
		w.say("standby because %s", why)
	}
	if r.Standby.Unsynced != "" {
		w.say("unsynced: %s", r.Standby.Unsynced)
	}
	if r.Standby.Refill != "" {
		w.say("may be overwritten: %s", r.Standby.Refill)
	}
	for _, s := range r.Stops {
		w.say("stop %s: %s", s.Kind, s.Why)
	}
	if pr := r.Proposal; pr != nil {
		w.say("proposal %s", pr.Words(w.now))
	}
	for _, n := range r.hookNotices() {
		w.say("%s", n)
	}
	if l := r.LastOp; l != nil && r.Op == nil {
		w.say("last %s %s to %s %s", l.Op.Kind, l.Op.From, l.Op.To, l.Outcome)
		if l.Op.Left != nil {
			w.say("left %s", l.Op.Left.Words(l.Op.From, l.Op.To))
		}
	}
	if r.Divergence != "" {
		w.say("divergence %s", r.Divergence)
	}
}

func (w *world) showStatus() {
	v := Look(&w.s, &w.p, w.now)
	w.say("%s %s active %s mode %s", v.Instance, v.Phase, v.Active, v.Mode)
	if v.Waiting != "" {
		w.say("waiting: %s", v.Waiting)
	}
	for _, c := range v.Clusters {
		w.say("%s %s %s", c.Name, c.Role, c.Why)
	}
	if v.Wants != "" {
		w.say("wants %s", v.Wants)
	}
	for _, r := range v.Refused {
		w.say("refused by %s: %s", r.Guard, r.Why)
	}
	for _, m := range v.Missing {
		w.say("missing %s", m)
	}
	for _, n := range v.Notices {
		w.say("notice %s", n)
	}
	if v.Exposure.Applies {
		w.say("exposure known %v bound %s", v.Exposure.Known, v.Exposure.Bound)
		if v.Exposure.Why != "" && w.s.exposure != nil {
			w.say("exposure %s", v.Exposure.words())
		}
	}
}
