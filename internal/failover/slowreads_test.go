package failover

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestSlowReadsDelayAMoveAndNeverPreventIt: a provider that answers one read
// after the other, or each one slowly, makes a failover late; a person hears of
// it when it takes long.
func TestSlowReadsDelayAMoveAndNeverPreventIt(t *testing.T) {
	for _, c := range []struct {
		names   int
		takes   time.Duration
		inTurns bool
		paged   bool
	}{
		{1, 300 * time.Millisecond, true, false},
		{2, 1100 * time.Millisecond, true, false},
		{3, 600 * time.Millisecond, true, false},
		{3, 2 * time.Second, false, false},
		{10, 2500 * time.Millisecond, true, true},
	} {
		t.Run(fmt.Sprintf("%d names, %s each, in turns %v", c.names, c.takes, c.inTurns), func(t *testing.T) {
			p := testPolicy()
			p.Names = nil
			for i := range c.names {
				p.Names = append(p.Names, externalName(RecordName(fmt.Sprintf("n%d.test.", i))))
			}
			w := newWorld(p)
			w.start()
			w.settleUp()
			w.command(Command{Do: DoAdopt})
			w.after(10 * time.Second)
			w.command(Command{Do: DoArm, Mode: ModeAuto})
			w.after(time.Minute)
			w.pages, w.manual = nil, true
			w.all("a", "down", "refused")
			began := w.now
			var busy time.Time // with the read that was asked for last
			type read struct {
				name RecordName
				at   time.Time
			}
			var reads []read
			urgent := 0
			// Each read twice over, once on schedule and once for the move.
			most := p.RideOut + 2*time.Duration(c.names+1)*c.takes + 5*time.Second
			for w.ledger.Op == nil {
				if w.now.Sub(began) > most {
					t.Fatalf("no failover %s after the fault", w.now.Sub(began))
				}
				w.now = w.now.Add(50 * time.Millisecond)
				for _, v := range p.Vantages {
					for cl, s := range w.said[v.Name] {
						s.LastProbe = w.now
						if cl == "a" {
							s.LastMiss = w.now
						}
						w.said[v.Name][cl] = s
					}
					w.report(v.Name)
				}
				for len(reads) > 0 && !reads[0].at.After(w.now) {
					w.feed(w.read(reads[0].name))
					reads = reads[1:]
				}
				w.feed(Tick{})
				for len(w.queued) > 0 {
					a := w.queued[0]
					w.queued = w.queued[1:]
					switch a := a.(type) {
					case ReadName:
						if a.Urgent {
							urgent++
						} else if !w.s.wanted.IsZero() {
							t.Errorf("%s is read as if there was time", a.Name.Name)
						}
						from := w.now
						if c.inTurns && busy.After(from) {
							from = busy
						}
						busy = from.Add(c.takes)
						reads = append(reads, read{a.Name.Name, busy})
						slices.SortStableFunc(reads, func(x, y read) int { return x.at.Compare(y.at) })
					case Commit:
						w.commit(a)
						w.feed(Committed{Rev: w.rev})
					default:
						w.effect(a)
					}
				}
			}
			if urgent < c.names {
				t.Errorf("%d reads went before the routine ones, of %d names", urgent, c.names)
			}
			if paged := slices.ContainsFunc(w.pages, func(p Page) bool { return p.Kind == "slow-reads" }); paged != c.paged {
				t.Errorf("pages %v", w.pages)
			}
		})
	}
}

// TestNoMoveIsMadeOnReadsFromBeforeItWasWanted: what was read in an outage that
// ended says nothing of the next one.
func TestNoMoveIsMadeOnReadsFromBeforeItWasWanted(t *testing.T) {
	p := testPolicy()
	p.Names = []NamePolicy{externalName("orders.test.")}
	p.ReadEvery = time.Hour
	w := newWorld(p)
	w.start()
	w.settleUp()
	w.command(Command{Do: DoAdopt})
	w.after(10 * time.Second)
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	w.after(time.Minute)
	d := w.dns["orders.test."]
	d.value = "c.test." // somebody's edit, after the last read
	w.dns["orders.test."] = d
	w.all("a", "down", "refused")
	w.after(time.Minute)
	if w.ledger.Op != nil || w.ledger.Stop(StopDrift) == nil {
		t.Errorf("it began %+v over an edit that stood there already; stops %v", w.ledger.Op, w.ledger.Stops)
	}
}

// TestWhatWasWantedInAnEndedOutageIsForgotten, so that the next one asks anew.
func TestWhatWasWantedInAnEndedOutageIsForgotten(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(w *world)
	}{
		{"it is up", func(w *world) { w.all("a", "up", "200") }},
		{"its outage began anew", func(w *world) { w.all("a", "up", "200"); w.all("a", "down", "refused") }},
	} {
		p := testPolicy()
		p.RideOut = 10 * time.Second
		w := newWorld(p)
		w.start()
		w.settleUp()
		w.all("a", "down", "refused")
		w.s.wanted = w.now
		c.then(w)
		w.feed(Tick{})
		if !w.s.wanted.IsZero() {
			t.Errorf("%s: a move has been wanted since %s ago", c.name, w.now.Sub(w.s.wanted))
		}
	}
}
