package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

// memo is a channel that remembers what went through it, and when.
type memo struct {
	mu    sync.Mutex
	calls []call
	began time.Time
	fail  func(n int) error // of the n-th call, from 0; nil: all go well
}

type call struct {
	at  time.Duration // since the beginning
	id  string
	ids []string
}

func (c call) String() string { return fmt.Sprintf("%s %s", c.at, strings.Join(c.ids, "+")) }

func (m *memo) send(_ context.Context, p *parcel) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := call{at: time.Since(m.began), id: p.id}
	for _, x := range p.msgs {
		c.ids = append(c.ids, x.ID)
	}
	m.calls = append(m.calls, c)
	if m.fail != nil {
		return m.fail(len(m.calls) - 1)
	}
	return nil
}

func (m *memo) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, c := range m.calls {
		out = append(out, c.String())
	}
	return out
}

// stage is a notifier in a bubble of time with channels that remember.
type stage struct {
	*Notifier
	to map[string]*memo
}

// play runs act in a bubble; the channels are those of the setup.
func play(t *testing.T, s Setup, act func(st *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		for i := range s.Channels {
			s.Channels[i].Type, s.Channels[i].Path = Folder, "unused"
			if s.Channels[i].Limits == nil {
				s.Channels[i].Limits = []Limit{{1000, time.Second}}
			}
		}
		n, err := Open(Config{Setup: s, Name: "ctl-1", Log: quietLog})
		if err != nil {
			t.Fatal(err)
		}
		st := &stage{n, map[string]*memo{}}
		for _, c := range s.Channels {
			st.to[c.Name] = &memo{began: time.Now()}
			n.senders[c.Name] = st.to[c.Name]
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = n.Run(ctx) }()
		act(st)
		synctest.Wait()
		cancel()
		<-done
	})
}

// tell hands a message over and lets everything come to rest.
func (st *stage) tell(m Message) {
	m.Instance = failover.InstanceName(orElse(string(m.Instance), "orders"))
	st.Notify(m)
	synctest.Wait()
}

func (st *stage) want(t *testing.T, channel string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := st.to[channel].said(); !slices.Equal(got, want) {
		t.Errorf("through %s went\n%s\nwant\n%s", channel, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func fire(id, kind string) Message { return Message{ID: id, Kind: kind, State: Fire} }
func info(id string) Message       { return Message{ID: id, Kind: "settled", State: Info} }
func one(limits ...Limit) Setup {
	return Setup{Channels: []Channel{{Name: "x", Info: true, Limits: limits}}}
}

// News that wants nobody and is held back by the rate stands in the way of no
// change of state, and is not pinned to what it will carry: what comes later
// of the same incident goes with it.
func TestHeldBackNewsBlocksNoChangeOfState(t *testing.T) {
	play(t, one(Limit{2, time.Minute}), func(st *stage) {
		st.tell(info("a"))
		time.Sleep(time.Second)
		st.tell(info("b")) // one place is left, and kept
		st.want(t, "x", "0s a")
		st.tell(fire("C", "held"))
		st.want(t, "x", "0s a", "1s C")
		time.Sleep(29 * time.Second)
		st.tell(info("d")) // of the incident
		st.tell(info("e"))
		st.want(t, "x", "0s a", "1s C")
		time.Sleep(5 * time.Minute)
		// b came before the incident and is none of its.
		st.want(t, "x", "0s a", "1s C", "1m1s b", "2m1s d+e")
	})
}

// What is held back stands in nobody's way, whichever came first, and of what
// may go the change of state goes first, however late it came.
func TestTheUrgentGoFirst(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	s := &Setup{Channels: []Channel{{Name: "x", Info: true, Limits: []Limit{{2, time.Minute}}}}}
	o.fit(s)
	put := func(m Message) { o.put(s, &m, noon) }
	for _, m := range []Message{{ID: "a", Instance: "pay", State: Info}, {ID: "b", Instance: "web", State: Info}, {ID: "C", Instance: "orders", Kind: "held", State: Fire}} {
		put(m)
	}
	var got []string
	at := noon
	for range 3 {
		p, wait := o.next("x", at)
		for p == nil {
			at = at.Add(wait)
			p, wait = o.next("x", at)
		}
		got = append(got, fmt.Sprintf("%s %s", at.Sub(noon), p.id))
		o.done(p, nil, at)
	}
	if want := []string{"0s C", "1m0s a", "2m0s b"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Of several that are held back each may have its own time: a digest that waits
// for a place does not hide one that needs none.
func TestWhatIsHeldBackHidesNothing(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	s := &Setup{Channels: []Channel{{Name: "x", Info: true, Limits: []Limit{{2, time.Minute}}}}}
	o.fit(s)
	o.rates["x"].spend(noon)
	o.put(s, &Message{ID: "a", Instance: "pay", State: Info}, noon)
	if p, wait := o.next("x", noon); p != nil || wait != time.Minute {
		t.Errorf("got %v, wait %s", p, wait)
	}
	o.put(s, &Message{ID: "B", Instance: "orders", Kind: "held", State: Fire}, noon)
	if p, _ := o.next("x", noon); p == nil || p.id != "B" {
		t.Errorf("got %v", p)
	}
}

// A digest that was tried once and waits for the next try is pinned; a change
// of state passes it by.
func TestADigestThatWaitsForItsNextTryBlocksNothing(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = func(n int) error {
			if n == 0 {
				return errors.New("not now")
			}
			return nil
		}
		st.tell(info("a"))
		st.tell(fire("B", "held"))
		st.want(t, "x", "0s a", "0s B")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := st.to["x"].said(); len(got) != 3 || !strings.HasSuffix(got[2], " a") {
			t.Errorf("got %v", got)
		}
	})
}

// What waits of one incident goes as one, with an ID that follows from theirs;
// what waits of another instance does not go with it.
func TestWhatWaitsOfOneIncidentGoesAsOne(t *testing.T) {
	play(t, one(Limit{1, time.Minute}), func(st *stage) {
		for _, m := range []Message{fire("1", "operation"), fire("2", "held"), {ID: "p", Kind: "held", State: Fire, Instance: "pay"}, fire("3", "move"), info("4")} {
			st.tell(m)
		}
		time.Sleep(10 * time.Minute)
		st.want(t, "x", "0s 1", "1m0s 2+3+4", "2m0s p")
		c := st.to["x"].calls[1]
		if c.id != digestID([]*Message{{ID: "2"}, {ID: "3"}, {ID: "4"}}) || len(c.id) != 2*idBytes {
			t.Errorf("the digest's ID is %s", c.id)
		}
	})
}

// A digest holds no more than people read.
func TestADigestIsBounded(t *testing.T) {
	play(t, one(Limit{1, time.Minute}), func(st *stage) {
		for i := range 2*20 + 2 {
			st.tell(fire(fmt.Sprint(i), "held"))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var sizes []int
		for _, c := range st.to["x"].calls {
			sizes = append(sizes, len(c.ids))
		}
		if !slices.Equal(sizes, []int{1, 20, 20, 1}) {
			t.Errorf("sizes are %v", sizes)
		}
	})
}

// In no minute go more than the rate allows, however many come.
func TestTheRateHoldsInEveryWindow(t *testing.T) {
	limits := []Limit{{20, time.Minute}, {5, time.Second}}
	play(t, one(limits...), func(st *stage) {
		for i := range 150 {
			m := fire(fmt.Sprint(i), "held")
			m.Instance = failover.InstanceName(fmt.Sprint("i", i)) // no digests
			st.tell(m)
			time.Sleep(time.Duration(i%7) * 50 * time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		calls := st.to["x"].calls
		if len(calls) != 150 {
			t.Errorf("%d went", len(calls))
		}
		for i := range calls {
			for _, l := range limits {
				if i >= l.Count && calls[i].at-calls[i-l.Count].at < l.Per {
					t.Errorf("%d went within %s: %s and %s", l.Count+1, l.Per, calls[i-l.Count].at, calls[i].at)
				}
			}
		}
		if last := calls[149].at; last > 8*time.Minute {
			t.Errorf("the last went after %s: the rate is not used", last)
		}
	})
}

func steps() Setup {
	return Setup{
		Channels: []Channel{{Name: "chat", Info: true}, {Name: "pager"}, {Name: "boss"}},
		Routes:   []Route{{Steps: []Step{{Channel: "chat"}, {"pager", 10 * time.Minute}, {"boss", 30 * time.Minute}}}},
	}
}

func TestWhatNobodyAcknowledgesGoesToTheNextChannel(t *testing.T) {
	play(t, steps(), func(st *stage) {
		st.tell(fire("1", "operation"))
		time.Sleep(4 * time.Minute)
		st.tell(fire("2", "held"))
		st.tell(info("3"))
		time.Sleep(8 * time.Minute)
		st.tell(fire("4", "move")) // the pager has been told: it hears the news
		st.want(t, "chat", "0s 1", "4m0s 2", "4m0s 3", "12m0s 4")
		st.want(t, "pager", "10m0s 1+2", "12m0s 4")
		st.want(t, "boss")
		time.Sleep(time.Hour)
		st.want(t, "boss", "30m0s 1+2+4")
		st.tell(Message{ID: "5", Kind: Over, State: Resolve})
		st.want(t, "pager", "10m0s 1+2", "12m0s 4", "1h12m0s 5")
		st.want(t, "boss", "30m0s 1+2+4", "1h12m0s 5")
		if open := st.Open(); len(open) != 0 {
			t.Errorf("open is %v", open)
		}
		st.tell(Message{ID: "6", Kind: Over, State: Resolve}) // nobody was told of anything
		st.want(t, "boss", "30m0s 1+2+4", "1h12m0s 5")
	})
}

func TestAnAcknowledgementStopsTheEscalation(t *testing.T) {
	play(t, steps(), func(st *stage) {
		st.tell(fire("1", "operation"))
		time.Sleep(15 * time.Minute)
		st.Acknowledge("orders")
		synctest.Wait()
		time.Sleep(15 * time.Minute)
		st.tell(fire("2", "operation")) // known: who was told hears the news, nobody else
		time.Sleep(2 * time.Hour)
		st.want(t, "pager", "10m0s 1", "30m0s 2")
		st.want(t, "boss")
		// What nobody knew of begins anew.
		st.tell(fire("3", "held"))
		time.Sleep(time.Hour)
		st.want(t, "pager", "10m0s 1", "30m0s 2", "2h30m0s 3")
		st.want(t, "boss", "3h0m0s 3")
		st.Acknowledge("pay") // nothing is open there
		st.want(t, "chat", "0s 1", "30m0s 2", "2h30m0s 3")
	})
}

func TestTheEndOfAnIncidentStopsTheEscalation(t *testing.T) {
	play(t, steps(), func(st *stage) {
		st.tell(fire("1", "drift"))
		st.tell(fire("2", "held"))
		time.Sleep(5 * time.Minute)
		st.Resolve("orders", "drift") // one of two: it goes on
		synctest.Wait()
		if open := st.Open(); len(open) != 1 {
			t.Errorf("open is %v", open)
		}
		st.Resolve("orders", "held")
		synctest.Wait()
		if open := st.Open(); len(open) != 0 {
			t.Errorf("open is %v", open)
		}
		time.Sleep(time.Hour)
		st.want(t, "pager") // it was never told of anything
		if got := st.to["chat"].said(); len(got) != 4 {
			t.Errorf("the chat got %v", got)
		}
	})
}

// The first route that fits is taken; a channel that wants no news gets none.
func TestRoutes(t *testing.T) {
	s := steps()
	s.Routes = append([]Route{
		{Instances: []failover.InstanceName{"pay"}, Kinds: []string{"drift"}, Steps: []Step{{Channel: "boss"}}},
		{Instances: []failover.InstanceName{"pay"}, Steps: []Step{{Channel: "pager"}}},
	}, s.Routes...)
	play(t, s, func(st *stage) {
		st.tell(Message{ID: "1", Kind: "drift", State: Fire, Instance: "pay"})
		st.tell(Message{ID: "2", Kind: "held", State: Fire, Instance: "pay"})
		st.tell(Message{ID: "3", Kind: "settled", State: Info, Instance: "pay"})
		st.tell(fire("4", "drift"))
		st.want(t, "boss", "0s 1")
		st.want(t, "pager", "0s 2")
		st.want(t, "chat", "0s 4")
	})
	s.Routes = s.Routes[:2]
	play(t, s, func(st *stage) {
		st.tell(fire("1", "drift"))
		st.want(t, "chat")
		st.want(t, "boss")
	})
	s.Routes = nil
	play(t, s, func(st *stage) {
		st.tell(fire("1", "drift"))
		for c := range st.to {
			st.want(t, c, "0s 1")
		}
	})
}

// Failed tries come ever more seldom and not in step; after its time a message
// is given up and counted.
func TestTriesBackOffUntilTheMessageIsTooOld(t *testing.T) {
	s := one()
	s.Keep = 2 * time.Hour
	play(t, s, func(st *stage) {
		st.to["x"].fail = func(int) error { return errors.New("down") }
		st.tell(fire("1", "held"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		calls := st.to["x"].calls
		if n := len(calls); n < 20 || n > 60 {
			t.Errorf("%d tries", n)
		}
		exact := 0
		for i := 1; i < len(calls); i++ {
			mid := min(firstRetry<<min(i-1, 20), lastRetry)
			wait := calls[i].at - calls[i-1].at
			if wait < mid/2-time.Second || wait > mid*3/2+time.Second {
				t.Errorf("try %d came %s after the last, want about %s", i, wait, mid)
			}
			if wait == mid {
				exact++
			}
		}
		if exact == len(calls)-1 {
			t.Error("there is no jitter")
		}
		got := st.Stats()[0]
		if got.Waiting != 0 || got.Dropped[string(dropAge)] != 1 || got.Failed != uint64(len(calls)) || got.LastError != "down" {
			t.Errorf("%+v", got)
		}
	})
}

// A receiver that asks for time gets it, and the message loses no try.
func TestRetryAfterIsHonoured(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = func(n int) error {
			if n == 0 {
				return &throttled{7 * time.Minute, "status 429"}
			}
			return nil
		}
		st.tell(fire("1", "held"))
		time.Sleep(time.Minute)
		st.tell(fire("2", "drift"))
		time.Sleep(time.Hour)
		st.want(t, "x", "0s 1", "7m0s 1", "7m0s 2")
		if got := st.Stats()[0]; got.Failed != 0 || got.Throttled != 1 || got.Sent != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhatTheReceiverRefusesIsGivenUpSoon(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = func(n int) error {
			if n < maxRefusals {
				return fmt.Errorf("%w: status 400", errRefused)
			}
			return nil
		}
		st.tell(info("1"))
		time.Sleep(time.Hour)
		st.tell(fire("2", "held"))
		synctest.Wait()
		if got := st.to["x"].said(); len(got) != maxRefusals+1 || !strings.HasSuffix(got[maxRefusals], " 2") {
			t.Errorf("got %v", got)
		}
		if got := st.Stats()[0]; got.Dropped[string(dropRefused)] != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// A panic in a channel costs a try.
func TestAPanicOfAChannelIsAFailedTry(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = func(n int) error {
			if n == 0 {
				panic("oh")
			}
			return nil
		}
		st.tell(fire("1", "held"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := st.to["x"].said(); len(got) != 2 {
			t.Errorf("got %v", got)
		}
	})
}

// Without room what wants nobody goes first, the oldest of it.
func TestAFullOutboxDropsWhatWantsNobody(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	s := &Setup{Channels: []Channel{{Name: "x", Info: true}}}
	o.fit(s)
	put := func(id string, st State) {
		o.put(s, &Message{ID: id, Instance: failover.InstanceName("i" + id), Kind: "held", State: st}, noon)
	}
	put("0", Fire) // older than the news, and wanted
	put("news", Info)
	put("news2", Info)
	for i := range maxEntries - 1 {
		put(fmt.Sprint(i+1), Fire)
	}
	if first, next := o.entries[0].msg.ID, o.entries[1].msg.ID; first != "0" || next != "1" || len(o.entries) != 5000 {
		t.Errorf("first are %s and %s of %d", first, next, len(o.entries))
	}
	put("more", Fire)
	if got := o.entries[0].msg.ID; got != "1" || o.stats["x"].Dropped[string(dropFull)] != 3 {
		t.Errorf("first is %s, %+v", got, o.stats["x"])
	}
}

func TestDocumentsThatWaitAreBounded(t *testing.T) {
	o := newOutbox(nil, time.Hour)
	s := &Setup{Channels: []Channel{{Name: "x", Info: true}}}
	o.fit(s)
	for i := range 12 {
		m := &Message{ID: fmt.Sprint(i), State: Info, Document: &Document{HTML: strings.Repeat("x", maxDocument)}}
		o.deliver(s.Channels, m, noon)
	}
	if o.docBytes > maxDocuments || len(o.entries) != maxDocuments/maxDocument || o.entries[0].msg.ID != "4" {
		t.Errorf("%d bytes, %d entries", o.docBytes, len(o.entries))
	}
}

// A clock that was set back locks no channel.
func TestARateSurvivesAClockThatGoesBack(t *testing.T) {
	r := &rate{limits: []Limit{{2, time.Minute}}}
	r.spend(noon.Add(24 * time.Hour))
	r.spend(noon.Add(24 * time.Hour))
	r.forget(noon)
	if at := r.ready(noon, true); at.Sub(noon) > time.Minute {
		t.Errorf("the next may go at %s", at)
	}
}

// News that wants nobody goes to the first step alone: it is nothing that
// anybody would acknowledge.
func TestNewsGoesToNoLaterStep(t *testing.T) {
	s := Setup{
		Channels: []Channel{{Name: "chat", Info: true}, {Name: "pager", Info: true}},
		Routes:   []Route{{Steps: []Step{{Channel: "chat"}, {Channel: "pager", After: 10 * time.Minute}}}},
	}
	play(t, s, func(st *stage) {
		st.tell(info("1"))
		time.Sleep(time.Hour)
		st.want(t, "chat", "0s 1")
		st.want(t, "pager")
	})
}

// Whatever a receiver asks for, it is asked again within an hour.
func TestNoReceiverSilencesUsForLong(t *testing.T) {
	play(t, one(), func(st *stage) {
		st.to["x"].fail = func(n int) error {
			if n == 0 {
				return &throttled{1000 * time.Hour, "status 429"}
			}
			return nil
		}
		st.tell(fire("1", "held"))
		time.Sleep(2 * time.Hour)
		st.want(t, "x", "0s 1", "1h0m0s 1")
	})
}
