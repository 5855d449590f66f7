package controller

import (
	"testing"
	"testing/synctest"
	"time"

	"pointsman/internal/failover"
)

func TestWhoIsReadyFirstHasItsTurnFirst(t *testing.T) {
	var q queue
	owners := make([]*owner, 500)
	for i := range owners {
		owners[i] = &owner{}
	}
	next := 0
	for i, o := range owners {
		q.push(o)
		if i%3 == 2 { // so that the ring goes round, and grows
			if got := q.pop(); got != owners[next] {
				t.Fatalf("turn %d is not that of who was ready first", next)
			}
			next++
		}
	}
	for ; !q.empty(); next++ {
		if got := q.pop(); got != owners[next] {
			t.Fatalf("turn %d is not that of who was ready first", next)
		}
	}
	if next != len(owners) {
		t.Errorf("%d turns, want %d", next, len(owners))
	}
}

func TestARemovedInstanceHasNoMoreTurns(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		gone := w.roster.Load().owners[billing]
		if err := w.Reload(Setup{Policies: []failover.Policy{policy(t, orders)}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		planned := func() bool {
			w.crew.mu.Lock()
			defer w.crew.mu.Unlock()
			return gone.seat.place != 0
		}
		if planned() {
			t.Error("it is still in the agenda")
		}
		w.script.forget()
		gone.inbox.putReport(failover.Report{Vantage: "van-1", Sick: "too late"}) // from somebody who had looked it up before
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if es := w.script.stamped(billing); len(es) > 0 || planned() {
			t.Errorf("after its removal the core saw %+v", es)
		}
		if len(w.script.stamped(orders)) == 0 {
			t.Error("the other one has no turns either")
		}
	})
}

func TestAnInstanceThatAReloadMayRemoveWaitsAndThenGoesOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		p, err := w.Prepare(Setup{Policies: []failover.Policy{policy(t, orders)}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.script.forget()
		deliver := func() {
			if err := w.Deliver(billing, failover.Report{Vantage: "van-1", Sick: "news"}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		deliver()
		if es := w.script.stamped(billing); len(es) > 0 {
			t.Errorf("it was found with nothing in hand, and has turns all the same: %+v", es)
		}
		p.Drop()
		synctest.Wait()
		if len(only[failover.Report](w.script, billing)) != 1 {
			t.Error("what came meanwhile is not looked at once the reload was dropped")
		}
	})
}
