package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// create makes the first record of an instance whose names are all served by
// our own authority: they start with the config's primary. A name that lives
// elsewhere is taken over by adopt alone.
func (t *turn) create() {
	if !t.p.AllEmbedded() || t.p.ForceShadow {
		return
	}
	t.found(t.p.Primary)
	e := t.note("create", fmt.Sprintf("new record: %s is served by %s", t.p.Instance, t.p.Primary))
	e.After = string(t.p.Primary)
}

// found drafts a record with the given active cluster.
func (t *turn) found(active ClusterName) *Record {
	d := t.edit()
	*d = Record{
		Version: RecordVersion, Instance: t.p.Instance, Term: t.term(), Active: active,
		Standby: Standby{State: StandbyPlain}, ConfigHash: t.p.Expected,
		TermBase: t.s.rec.TermBase,
		LeftOver: slices.DeleteFunc(slices.Clone(t.s.rec.LeftOver), func(n NameRecord) bool { return t.p.Name(n.Name) != nil }),
	}
	for _, np := range t.p.Names {
		n := NameRecord{Name: np.Name, Provider: np.Provider, Zone: np.Zone, Embedded: np.Embedded, Value: np.Targets[active], TTL: t.p.TTL}
		if np.Embedded {
			n.Mark = t.mark("create")
		}
		d.Names = append(d.Names, n)
	}
	return d
}

// configNames brings the record's list of names in line with the config. A
// name that was added starts at the active cluster; one that lives elsewhere
// must show it already. A name that left the config is let go as it stands. A
// changed target moves nothing by itself.
func (t *turn) configNames() {
	if t.rec.Op != nil || t.p.ForceShadow {
		return
	}
	for _, np := range t.p.Names {
		if t.rec.Name(np.Name) != nil {
			continue
		}
		n := NameRecord{Name: np.Name, Provider: np.Provider, Zone: np.Zone, Embedded: np.Embedded, Value: np.Targets[t.rec.Active], TTL: t.p.TTL}
		if np.Embedded {
			n.Mark = t.mark("create")
			// One that comes back keeps what it shows, unless that is the standby.
			i := slices.IndexFunc(t.rec.LeftOver, func(x NameRecord) bool { return x.Name == n.Name })
			if i >= 0 && np.Holder(t.rec.LeftOver[i].Value) != t.p.Other(t.rec.Active) {
				n.Value = t.rec.LeftOver[i].Value
			}
			d := t.edit()
			d.Names = append(slices.Clone(d.Names), n)
			d.noLeftOver(n.Name)
			t.note("write", fmt.Sprintf("%s CNAME %s: the name is new in the config", n.Name, n.Value))
			continue
		}
		f := t.s.names[np.Name]
		switch {
		case !f.fresh || f.read.Err != "":
			t.readName(n)
		case !f.read.Absent && f.read.Value == n.Value:
			n.TTL = f.read.TTL
			if m, err := ParseMark(f.read.Mark); err == nil {
				n.Mark = m
			}
			d := t.edit()
			d.Names = append(slices.Clone(d.Names), n)
			d.noLeftOver(n.Name)
			t.note("config", fmt.Sprintf("%s is new in the config and shows %s already", n.Name, n.Value))
		default: // it joins when it shows the active cluster; the view says so
			t.readName(n)
		}
	}
	for _, n := range t.rec.Names {
		if t.p.Name(n.Name) == nil {
			d := t.edit()
			d.Names = slices.DeleteFunc(slices.Clone(d.Names), func(x NameRecord) bool { return x.Name == n.Name })
			if n.Embedded {
				d.LeftOver = append(slices.Clone(d.LeftOver), n)
			}
			t.note("config", fmt.Sprintf("%s left the config and stays at %s", n.Name, n.Value))
			t.liftDrift(n.Name, t.p.By, "the name left the config")
		}
	}
}

// noLeftOver notes that a name has come back into the config.
func (r *Record) noLeftOver(name RecordName) {
	r.LeftOver = slices.DeleteFunc(slices.Clone(r.LeftOver), func(x NameRecord) bool { return x.Name == name })
}

// want persists a write before it is given out.
func (t *turn) want(i int, w NameWant) {
	d := t.edit()
	w.Since, w.Sender = t.now, Token{t.term(), d.Epoch}
	d.Names[i].Want = &w
	n := &d.Names[i]
	e := t.note("write", fmt.Sprintf("%s CNAME %s, TTL %d, %s (%s)", n.Name, w.Value, w.TTL, w.Mark, w.Why))
	e.Before, e.After = string(n.Value), string(w.Value)
}

func (t *turn) nameWritten(e NameWritten) {
	s := t.s
	delete(s.busy, "name:"+string(e.Name))
	f := s.names[e.Name]
	f.fresh, f.err = false, e.Err // NOERROR is no proof either: the name is read back
	switch e.Outcome {
	case WriteDone: // where it does not show, it is written again, ever more slowly
		f.done++
		f.failures, f.nextTry, f.err = 0, time.Time{}, ""
		f.nextSend = t.now.Add(backoff(f.done))
		if f.done >= doneEnough {
			f.err = "the provider says done, and the name does not show it"
			t.pageOnce("write-path", string(e.Name), fmt.Sprintf("%s: %s; does something else stand there, is the TTL clamped, or does the server answer from a cache?", e.Name, f.err))
		}
	case WriteMismatch, WriteUnknown: // read back at once, write again later
		f.nextTry = time.Time{}
		f.failures++
		f.nextSend = t.now.Add(backoff(f.failures))
	case WriteRefused:
		f.failures++
		f.nextSend = t.now.Add(backoff(f.failures))
		t.pageOnce("write-path", string(e.Name), fmt.Sprintf("%s: the provider refuses the write: %s", e.Name, e.Err))
	}
	set(&s.names, e.Name, f)
}

// doneEnough is how often a provider says that a write is done before it is
// taken at its word.
const doneEnough = 4

// backoff is 100 ms doubled per failure, at most 5 s.
func backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(max(failures-1, 0), 6), 5*time.Second)
}

// claimedNames says whether every name that lives elsewhere bears a mark of
// our own term, so that every older sender fails its prerequisite.
func (t *turn) claimedNames() bool {
	for _, n := range t.rec.Names {
		if !n.Embedded && (n.Want != nil || n.Mark.Token.Term != t.term()) {
			return false
		}
	}
	return true
}

// syncNames brings every name that lives elsewhere to what the record wants,
// and watches it in between.
func (t *turn) syncNames() {
	if t.rec.Op == nil && !t.s.shadow(t.p) {
		t.keepGates()
	}
	for i := range t.rec.Names {
		if !t.rec.Names[i].Embedded {
			t.syncName(i)
		}
	}
}

func (t *turn) syncName(i int) {
	n := t.rec.Names[i]
	f := t.s.names[n.Name]
	if _, busy := t.s.busy["name:"+string(n.Name)]; busy {
		return
	}
	if !f.fresh || f.read.Err != "" {
		t.readName(n)
		return
	}
	seen := f.read
	switch {
	case n.Want == nil:
		t.watchName(i, seen)
	case t.p.ForceShadow:
	default:
		t.bringName(i, seen)
	}
	t.readName(t.rec.Names[i])
}

// newer says whether a mark bears a token above everything that we committed.
func (t *turn) newer(mark string) bool {
	m, err := ParseMark(mark)
	return err == nil && Token{t.term(), t.rec.Epoch}.Less(m.Token)
}

// watchName compares a name at rest with the record.
func (t *turn) watchName(i int, seen NameRead) {
	n := &t.rec.Names[i]
	if showsRecord(n, seen) {
		t.liftDrift(n.Name, t.p.By, "the name shows the record again")
		n = &t.rec.Names[i]
		armed := !t.s.shadow(t.p) || t.rec.Op != nil && !t.p.ForceShadow
		if armed && n.Mark.Token.Term != t.term() {
			m := t.mark("claim")
			if n.Mark.Op != "" {
				m.Op, m.Token.Epoch = n.Mark.Op, n.Mark.Token.Epoch
			}
			t.want(i, NameWant{Value: n.Value, TTL: n.TTL, Mark: m, Why: "claim"})
		}
		return
	}
	t.drift(n, seen)
}

// showsRecord says whether a name at rest is what the record says.
func showsRecord(n *NameRecord, seen NameRead) bool {
	return !seen.Absent && seen.Value == n.Value && seen.Mark == markText(n.Mark) && seen.Other == ""
}

func markText(m Mark) string {
	if m == (Mark{}) {
		return ""
	}
	return m.String()
}

// drift reports somebody else's edit. It is adopted or restored on command,
// and never fought.
func (t *turn) drift(n *NameRecord, seen NameRead) {
	shows := "CNAME " + string(seen.Value)
	if seen.Absent {
		shows = "no CNAME"
	}
	why := fmt.Sprintf("%s shows %s with mark %q, the record says CNAME %s with mark %q", n.Name, shows, seen.Mark, n.Value, markText(n.Mark))
	if seen.Other != "" {
		why += "; besides: " + seen.Other
	}
	if t.newer(seen.Mark) {
		why += "; the mark is newer than the record: another controller, or a ledger that was restored"
	}
	if st := t.rec.drift(n.Name); st != nil && st.Why == why {
		return
	}
	t.stop(Stop{Kind: StopDrift, By: t.p.By, Why: why, Name: n.Name, Seen: seen.Value, SeenMark: seen.Mark})
	t.unpageOnce("drift", string(n.Name))
	t.pageOnce("drift", string(n.Name), why)
}

// bringName compares a name with what an issued write leads to, and issues it
// again where it did not land. Every write is conditional on what was seen.
func (t *turn) bringName(i int, seen NameRead) {
	n := &t.rec.Names[i]
	w := n.Want
	mine := w.Mark.Token.Term == t.term()
	if !seen.Absent && seen.Value == w.Value && seen.Mark == w.Mark.String() && seen.Other == "" {
		if seen.TTL == w.TTL || seen.TTL == 0 {
			t.proved(i)
			return
		}
		// Clients are told the value, and the provider keeps a TTL of its own: what
		// it says it has done is all that it will do, and nothing waits for more.
		if t.s.names[n.Name].done >= doneEnough {
			t.page("ttl", fmt.Sprintf("%s: %s shows %s with a TTL of %d s where %d s were written; its provider keeps a TTL of its own: write it as ttl_floor", t.p.Instance, n.Name, seen.Value, seen.TTL, w.TTL))
			c := *w
			c.TTL = seen.TTL
			t.edit().Names[i].Want = &c
			t.proved(i)
			return
		}
	}
	if t.newer(seen.Mark) {
		t.drift(n, seen)
		return
	}
	if !mine { // issued by an earlier life: take it over under our own term
		d := t.edit()
		c := *d.Names[i].Want
		c.Mark.Token.Term, c.Mark.By = t.term(), t.mark("").By
		c.Sender = Token{t.term(), d.Epoch}
		d.Names[i].Want = &c
		t.note("resume", fmt.Sprintf("%s: the write (%s) is taken over under term %d", n.Name, c.Why, t.term()))
		return
	}
	if !t.expected(n, seen) {
		t.drift(n, seen)
		return
	}
	if t.rec.drift(n.Name) != nil {
		t.liftDrift(n.Name, t.p.By, "the name shows what may be replaced")
		return
	}
	f := t.s.names[n.Name]
	if t.now.Before(f.nextSend) {
		return
	}
	mark := seen.Mark
	expect := seen.Value
	if seen.Absent {
		expect = ""
	}
	t.do("name:"+string(n.Name), WriteName{Name: *n, Expect: expect, ExpectMark: &mark, Value: w.Value, TTL: w.TTL, Mark: w.Mark})
}

// expected says whether what stands at the name may be replaced by the wanted
// write: our own last state, the same moved on by an older sender of ours, the
// new value put there by hand, or a foreign state that a person agreed to
// overwrite.
func (t *turn) expected(n *NameRecord, seen NameRead) bool {
	w := n.Want
	if o := w.Over; o != nil && o.Absent == seen.Absent && o.Value == seen.Value && o.Mark == seen.Mark {
		return true
	}
	if seen.Absent {
		return false
	}
	_, err := ParseMark(seen.Mark)
	ours := err == nil // its token is not newer: that was asked before
	switch seen.Value {
	case w.Value:
		return ours || seen.Mark == ""
	case n.Value:
		return ours || seen.Mark == markText(n.Mark)
	}
	return false
}

// proved takes what the write point shows into the record.
func (t *turn) proved(i int) {
	d := t.edit()
	n := &d.Names[i]
	w := *n.Want
	n.Value, n.TTL, n.Mark, n.Want = w.Value, w.TTL, w.Mark, nil
	t.note("proof", fmt.Sprintf("%s shows CNAME %s with %s (%s)", n.Name, w.Value, w.Mark, w.Why))
	t.liftDrift(n.Name, t.p.By, "the name shows the record")
	t.unpageOnce("write-path", string(n.Name))
	f := t.s.names[n.Name]
	f.done, f.err = 0, ""
	set(&t.s.names, n.Name, f)
	if d.Op != nil {
		t.operateAgain()
	}
}

// operateAgain lets the operation see in the same turn that its write landed.
func (t *turn) operateAgain() {
	if !t.s.resuming && !t.p.ForceShadow {
		t.advance()
	}
}

// shown lists what was last read at names that live elsewhere.
func (t *turn) shown() (map[RecordName]NameRead, string) {
	out := map[RecordName]NameRead{}
	var bad []string
	for _, np := range t.p.Names {
		if np.Embedded {
			continue
		}
		f, ok := t.s.names[np.Name]
		if !ok || f.readAt.IsZero() || !f.fresh {
			bad = append(bad, fmt.Sprintf("%s was not read yet", np.Name))
			continue
		}
		if f.read.Err != "" {
			bad = append(bad, fmt.Sprintf("%s cannot be read: %s", np.Name, f.read.Err))
			continue
		}
		out[np.Name] = f.read
	}
	slices.Sort(bad)
	return out, strings.Join(bad, "; ")
}
