package dnsctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
	"pointsman/internal/lab/alicloud"
)

// fate is what becomes of one request to the API of the model.
type fate int

const (
	fateDone       fate = iota
	fateRefused         // throttled: an answer, and no effect
	fateLost            // no answer, and no effect
	fateUnheard         // no answer, and the effect at once
	fateLate            // no answer, and the effect up to settle later
	fateFailed          // an answer that says nothing of the effect, and none
	fateKilled          // as unheard, and the process ends here
	fateKilledLate      // as late, and the process ends here
	fates
)

// modelAPI is what the vendor's API does and nothing of how it is spoken to:
// records by ID, each changed by itself, without any condition.
type modelAPI struct {
	mu     sync.Mutex
	recs   []cloudRecord
	before []cloudRecord // of the last change
	at     time.Time     // of the last change
	stale  time.Duration // how long after a change readings may still show what was before
	fates  map[string][]fate
	late   time.Duration // how long a late request takes
	kill   context.CancelFunc
	wg     sync.WaitGroup
	sent   []string
}

func (a *modelAPI) list(ctx context.Context, _ lane, _ failover.RecordName) ([]cloudRecord, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w", ErrNotSent)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.before != nil && time.Since(a.at) < a.stale {
		return slices.Clone(a.before), nil
	}
	return slices.Clone(a.recs), nil
}

func (a *modelAPI) change(id string, f func(*cloudRecord)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before, a.at = slices.Clone(a.recs), time.Now()
	for i := range a.recs {
		if a.recs[i].id == id {
			f(&a.recs[i])
		}
	}
}

func (a *modelAPI) do(ctx context.Context, r cloudRecord, what string, f func(*cloudRecord)) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w", ErrNotSent)
	}
	a.mu.Lock()
	to := fateDone
	if l := a.fates[r.line]; len(l) > 0 {
		to, a.fates[r.line] = l[0], l[1:]
	}
	a.sent = append(a.sent, fmt.Sprintf("%s %s: %d", r.line, what, to))
	kill, after := a.kill, a.late
	a.mu.Unlock()
	late := func() { a.wg.Go(func() { time.Sleep(after); a.change(r.id, f) }) }
	switch to {
	case fateDone:
		a.change(r.id, f)
		return nil
	case fateRefused:
		return fmt.Errorf("%w", ErrThrottled)
	case fateFailed:
		return fmt.Errorf("%w", ErrServer)
	case fateUnheard:
		a.change(r.id, f)
	case fateLate:
		late()
	case fateKilled:
		a.change(r.id, f)
		kill()
	case fateKilledLate:
		late()
		kill()
	}
	return fmt.Errorf("%w", ErrNoAnswer)
}

func (a *modelAPI) setValue(ctx context.Context, _ failover.RecordName, r cloudRecord, v failover.Target, ttl uint32) error {
	return a.do(ctx, r, "value "+string(v), func(r *cloudRecord) { r.value, r.ttl = v, ttl })
}

func (a *modelAPI) setRemark(ctx context.Context, r cloudRecord, remark string) error {
	return a.do(ctx, r, "remark "+remark, func(r *cloudRecord) { r.mark = fromRemark(remark) })
}

func (a *modelAPI) zoneFacts(context.Context, lane) (zoneFacts, error) { return zoneFacts{}, nil }
func (a *modelAPI) command(failover.RecordName, cloudRecord, failover.Target, uint32) string {
	return ""
}

func (a *modelAPI) find(failover.RecordName, CloudMove) CloudByHand              { return CloudByHand{} }
func (a *modelAPI) lookAtName(context.Context, *inspection, failover.RecordName) {}
func (a *modelAPI) lookAtZone(context.Context, *inspection)                      {}

func (a *modelAPI) shows() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, r := range a.recs {
		out = append(out, fmt.Sprintf("%s ttl %d", r.shows(), r.ttl))
	}
	return strings.Join(out, "; ")
}

// all says whether every line shows just this.
func (a *modelAPI) all(v failover.Target, ttl uint32, mark string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.recs {
		if r.value != v || r.ttl != ttl || r.mark != mark {
			return false
		}
	}
	return true
}

const modelSettle = 30 * time.Second

func (a *modelAPI) process(t testing.TB) *cloud {
	c, err := newCloud("alidns", CloudConfig{
		Endpoint: "https://api.lab.test", Zone: labZone, Timeout: 3 * time.Second, Settle: modelSettle,
		Allowed: map[failover.RecordName][]failover.Target{orders: {targetA, targetB}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.api = a
	return c
}

// modelCore decides as the core does of a name that lives elsewhere: it commits
// what it wants before it is written, and goes forward from what is read.
type modelCore struct {
	term, epoch uint64
	value       failover.Target
	mark        string
	ttl         uint32
	want        *Change
	over        *State // what a person agreed to overwrite
	seen        State
	drift       string
}

func (c *modelCore) newMark() string { return mark(c.term, c.epoch) }

// intend commits a wish; one that is on its way is only replaced while it does
// not change the value: past that point the core has no way back.
func (c *modelCore) intend(v failover.Target, ttl uint32) {
	if c.want != nil && c.want.Value != c.value {
		v = c.want.Value
	}
	c.epoch++
	c.over = nil
	c.want = &Change{Name: orders, Value: v, TTL: ttl, Mark: c.newMark()}
}

// restart is another life of the controller, under the next term.
func (c *modelCore) restart() {
	c.term++
	if c.want != nil {
		m, _ := failover.ParseMark(c.want.Mark)
		m.Token.Term = c.term
		w := *c.want
		w.Mark = m.String()
		c.want = &w
	}
}

// turn reads, and writes if something is wanted. It says whether it is at rest.
func (c *modelCore) turn(ctx context.Context, p *cloud) bool {
	s, err := p.Read(ctx, orders)
	if err != nil {
		return false
	}
	other := s.Other
	if other == "" {
		other = s.Apart()
	}
	c.drift, c.seen = "", s
	if c.want == nil {
		if s.Value != c.value || s.Mark != c.mark || other != "" {
			c.drift = fmt.Sprintf("%s with %q %s", s.Value, s.Mark, other)
			return true
		}
		if m, _ := failover.ParseMark(c.mark); m.Token.Term != c.term { // claim it
			m.Token.Term = c.term
			c.want = &Change{Name: orders, Value: c.value, TTL: c.ttl, Mark: m.String()}
			return false
		}
		return true
	}
	w := *c.want
	if s.Value == w.Value && s.Mark == w.Mark && s.TTL == w.TTL && other == "" {
		c.value, c.mark, c.ttl, c.want, c.over = w.Value, w.Mark, w.TTL, nil, nil
		return true
	}
	m, err := failover.ParseMark(s.Mark)
	ours := err == nil
	switch {
	case ours && (failover.Token{Term: c.term, Epoch: c.epoch}).Less(m.Token):
		c.drift = "a newer mark: " + s.Mark
		return true
	case c.over != nil && c.over.Value == s.Value && c.over.Mark == s.Mark:
	case s.Value == w.Value && (ours || s.Mark == ""), s.Value == c.value && (ours || s.Mark == c.mark):
	default:
		c.drift = fmt.Sprintf("%s with %q %s", s.Value, s.Mark, other)
		return true
	}
	w.Expect, w.ExpectMark = s.Value, &s.Mark
	_, err = p.Write(ctx, w)
	if errors.Is(err, ErrOtherRecord) || errors.Is(err, ErrReplaced) {
		c.drift = err.Error()
		return true
	}
	return false
}

// A name with one to three lines is moved to and fro while requests are
// refused, lost, unheard or late, the process is killed between any two of
// them, an earlier intent is overruled half way, readings are late and
// somebody edits a line. In the end every line shows the last intent, or the
// name is reported as another than the record says; and it is never taken for
// proved while a line shows something else.
func TestCloudModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var settled, drifted, killed, turned int
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) { // without the deadline, which a bubble does not tell
			api := &modelAPI{fates: make(map[string][]fate)}
			core := &modelCore{term: 1, epoch: 1, value: targetA, ttl: 60}
			core.mark = core.newMark()
			for i, l := range []string{"default", "edu", "telecom"}[:rapid.IntRange(1, 3).Draw(rt, "lines")] {
				api.recs = append(api.recs, cloudRecord{id: fmt.Sprint(i + 1), rtype: "CNAME", line: l, value: targetA, ttl: 60, mark: core.mark})
			}
			p := api.process(t)
			edited := false
			ctx, cancel := context.WithCancel(t.Context())
			api.kill = cancel
			reborn := func() {
				killed++
				api.mu.Lock()
				ctx, cancel = context.WithCancel(t.Context())
				api.kill = cancel
				api.mu.Unlock()
				p = api.process(t)
				core.restart()
			}
			proof := func(had bool) {
				if had && core.want == nil && !edited && !api.all(core.value, core.ttl, core.mark) {
					rt.Fatalf("proved %s with %q ttl %d, and the lines: %s\nsent %q", core.value, core.mark, core.ttl, api.shows(), api.sent)
				}
			}
			agreed := func() bool { // a person, to what was seen being overwritten
				if core.drift == "" || !rapid.Bool().Draw(rt, "a person agrees") {
					return false
				}
				turned++
				seen := core.seen
				if core.want == nil {
					core.intend(core.value, core.ttl)
				}
				core.over, core.drift = &seen, ""
				return true
			}
			stale := rapid.Bool().Draw(rt, "stale readings")
			for range rapid.IntRange(1, 12).Draw(rt, "events") {
				agreed()
				switch rapid.IntRange(0, 11).Draw(rt, "event") {
				case 0, 1: // somebody, or an outage, wants it elsewhere, or back
					if core.drift != "" {
						break // nothing begins before that
					}
					core.intend(rapid.SampledFrom([]failover.Target{targetA, targetB}).Draw(rt, "to"), rapid.SampledFrom([]uint32{60, 600}).Draw(rt, "ttl"))
				case 2, 3: // the world gets worse
					for _, r := range api.recs {
						api.fates[r.line] = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fate { return fate(rapid.IntRange(0, int(fates)-1).Draw(t, "fate")) }), 0, 4).Draw(rt, "fates of "+r.line)
					}
					api.late = time.Duration(rapid.IntRange(1, int(modelSettle/time.Millisecond)-1).Draw(rt, "late")) * time.Millisecond
				case 4:
					if stale {
						api.stale = time.Duration(rapid.IntRange(0, 4000).Draw(rt, "stale ms")) * time.Millisecond
					}
				case 5, 10, 11: // a person, in the console, which leaves the remark alone
					if stale {
						break
					}
					edited = true
					r := rapid.SampledFrom(api.recs).Draw(rt, "line")
					v := rapid.SampledFrom([]failover.Target{targetA, targetB, "c.lab.test."}).Draw(rt, "edit")
					api.change(r.id, func(r *cloudRecord) { r.value = v })
				case 6:
					reborn()
				default:
					had := core.want != nil
					core.turn(ctx, p)
					proof(had)
					if ctx.Err() != nil {
						reborn()
					}
				}
				time.Sleep(time.Duration(rapid.IntRange(0, 20000).Draw(rt, "pause ms")) * time.Millisecond)
			}
			// The world gets well.
			api.mu.Lock()
			api.fates, api.stale = make(map[string][]fate), 0
			api.mu.Unlock()
			for well := true; well; well = agreed() {
				for range 60 {
					time.Sleep(2 * time.Second)
					had := core.want != nil
					core.turn(ctx, p)
					proof(had)
				}
			}
			api.wg.Wait()
			core.turn(ctx, p)
			switch {
			case core.drift != "" && (edited || stale):
				drifted++
			case core.drift != "":
				rt.Fatalf("drift without an edit: %s; lines %s\nsent %q", core.drift, api.shows(), api.sent)
			case core.want != nil:
				rt.Fatalf("stuck at %+v; lines %s\nsent %q", *core.want, api.shows(), api.sent)
			case !api.all(core.value, core.ttl, core.mark) && !edited:
				rt.Fatalf("the record says %s with %q ttl %d, the lines %s\nsent %q", core.value, core.mark, core.ttl, api.shows(), api.sent)
			default:
				for _, r := range api.recs {
					if r.value != core.value || r.mark != core.mark {
						rt.Fatalf("the record says %s with %q, nothing is reported, and %s\nsent %q", core.value, core.mark, api.shows(), api.sent)
					}
				}
				settled++
			}
			cancel()
		})
		if settled == 0 || drifted == 0 || killed == 0 || turned == 0 {
			t.Errorf("%d settled, %d drifted, %d killed, %d overruled: not put to the test", settled, drifted, killed, turned)
		}
		t.Logf("%d settled, %d drifted, %d killed, %d overruled", settled, drifted, killed, turned)
	})
}

// A request of ours is lost, and before it is tried again somebody gives the
// line another mark beside the very value that we want: a newer leader, or a
// person's note. It is theirs, and no mark of ours is put over it.
func TestCloudReadsBackAnotherMark(t *testing.T) {
	for name, theirs := range map[string]string{"a newer leader": mark(2, 1), "a note": "moved by Zhang", "removed": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := &modelAPI{fates: map[string][]fate{"default": {fateLost}}}
				api.recs = []cloudRecord{{id: "1", rtype: "CNAME", line: "default", value: targetA, ttl: 60, mark: mark(1, 0)}}
				p := api.process(t)
				p.settling.pass(1)
				p.pause = func(int) time.Duration { return time.Second }
				go func() {
					time.Sleep(500 * time.Millisecond)
					api.change("1", func(r *cloudRecord) { r.value, r.mark = targetB, theirs })
				}()
				got, err := p.Write(t.Context(), moved())
				wantOutcome(t, got, err, failover.WriteUnknown, ErrPartial)
				if !errors.Is(err, ErrPrerequisite) {
					t.Errorf("%v", err)
				}
				if !api.all(targetB, 60, theirs) {
					t.Errorf("the lines: %s, sent %q", api.shows(), api.sent)
				}
			})
		})
	}
}

// A process that stood still between reading and writing must not write upon
// waking: by then another leads. No timer of its own need have woken it yet, so
// the clock is asked at the last moment, the wall's too: the other one stands
// still while a machine sleeps.
func TestCloudSendsNothingLate(t *testing.T) {
	l := startCloud(t, false, alicloud.Options{}, alicloud.Zone{})
	l.seed("default", targetA, mustRemark(t, mark(1, 0)))
	p := l.provider(nil)
	readOrders(t, p)
	l.Forget()
	for name, late := range map[string]time.Time{"by the clock": time.Now().Add(-time.Millisecond), "by the wall": time.Now().Add(-time.Hour).Round(0)} {
		w := &wire{ctx: asleep{t.Context(), late}, base: core(p).call.http, at: core(p).call.at, secrets: func() []string { return nil }}
		r, err := http.NewRequest(http.MethodGet, core(p).call.at.scheme+"://"+core(p).call.at.host+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.carry(r); !errors.Is(err, ErrNotSent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(l.Requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// asleep is a context whose time is over and whose timer has not run yet.
type asleep struct {
	context.Context
	end time.Time
}

func (a asleep) Deadline() (time.Time, bool) { return a.end, true }

// A list that changes while its pages are read is not taken for the whole.
func TestPagesThatChange(t *testing.T) {
	type page struct {
		ids   string
		total int64
	}
	for name, c := range map[string]struct {
		pages []page
		want  error
	}{
		"whole":                {[]page{{"ab", 3}, {"c", 3}}, nil},
		"one more":             {[]page{{"ab", 3}, {"cd", 4}}, ErrUnstable},
		"one less":             {[]page{{"ab", 3}, {"", 2}}, ErrUnstable},
		"more than said":       {[]page{{"abcd", 3}}, ErrUnstable},
		"moved on":             {[]page{{"ab", 4}, {"bc", 4}}, ErrUnstable},
		"an empty page":        {[]page{{"ab", 3}, {"", 3}}, ErrUnstable},
		"a count that is none": {[]page{{"ab", -1}}, ErrMalformed},
		"without an end":       {[]page{{"ab", maxRecords + 1}}, ErrMalformed},
	} {
		got, err := pages(func(n int) ([]cloudRecord, int, int64, error) {
			if n > len(c.pages) {
				t.Fatalf("%s: page %d is asked for", name, n)
			}
			p := c.pages[n-1]
			var out []cloudRecord
			for _, id := range p.ids {
				out = append(out, cloudRecord{id: string(id)})
			}
			return out, len(out), p.total, nil
		})
		if !errors.Is(err, c.want) || (err == nil) != (len(got) == 3) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
