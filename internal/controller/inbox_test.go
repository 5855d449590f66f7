package controller

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/internal/failover"
)

func TestWhenReportsPileUpTheNewestOfEachVantageIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vantages := rapid.IntRange(1, 12).Draw(t, "vantages")
		b := newInbox(vantages)
		newest := make(map[failover.VantageName]string)
		dropped := 0
		n := rapid.IntRange(1, 200).Draw(t, "reports")
		for i := range n {
			v := failover.VantageName(fmt.Sprint(rapid.IntRange(1, vantages).Draw(t, "of")))
			newest[v] = fmt.Sprint(i)
			if !b.putReport(failover.Report{Vantage: v, Sick: newest[v]}) {
				dropped++
			}
			if i%7 == 0 {
				b.putAnswer(answer{id: uint64(i)})
			}
		}
		last := make(map[failover.VantageName]string)
		kept, answers, before := 0, 0, -1
		for _, it := range waiting(b) {
			if it.answer != nil {
				answers++
				continue
			}
			r := it.event.(failover.Report)
			kept++
			last[r.Vantage] = r.Sick
			var at int
			if _, err := fmt.Sscan(r.Sick, &at); err != nil || at <= before {
				t.Fatalf("report %s came after %d", r.Sick, before)
			}
			before = at
		}
		if kept > b.maxReports || kept+dropped != n {
			t.Fatalf("kept %d and dropped %d of %d, with room for %d", kept, dropped, n, b.maxReports)
		}
		if answers != (n+6)/7 {
			t.Fatalf("%d answers, want %d: an answer is never dropped", answers, (n+6)/7)
		}
		for v, want := range newest {
			if last[v] != want {
				t.Fatalf("of vantage %s the newest kept is %q, want %q", v, last[v], want)
			}
		}
	})
}

func TestAVantageThatFloodsDropsItsOwnOlderReportsFirst(t *testing.T) {
	b := newInbox(2)
	b.putReport(failover.Report{Vantage: "calm", Sick: "1"})
	b.putReport(failover.Report{Vantage: "calm", Sick: "2"})
	for i := range 100 {
		b.putReport(failover.Report{Vantage: "flood", Sick: fmt.Sprint(i)})
	}
	var got []string
	for _, it := range waiting(b) {
		got = append(got, it.event.(failover.Report).Sick)
	}
	if want := "[1 2 86 87 88 89 90 91 92 93 94 95 96 97 98 99]"; fmt.Sprint(got) != want {
		t.Errorf("kept %v, want %s", got, want)
	}
}

func TestReportsBeyondTheBoundAreDroppedAndCountedWithoutWaiting(t *testing.T) {
	w := build(t, nil) // does not run
	for range 100 {
		if err := w.Deliver(orders, failover.Report{Vantage: "van-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Deliver(orders, failover.Report{Vantage: "stranger"}); !errors.Is(err, ErrUnknownVantage) {
		t.Errorf("a vantage that may not vote: %v", err)
	}
	if err := w.Deliver("nobody", failover.Report{Vantage: "van-1"}); !errors.Is(err, ErrUnknownInstance) {
		t.Errorf("unknown instance: %v", err)
	}
	if st := w.Stats(); st.ReportsDropped != 100-leastReports || st.ReportsStrange != 1 {
		t.Errorf("counted %+v", st)
	}
}

func TestANewerFactReplacesTheOneThatWaits(t *testing.T) {
	b := newInbox(3)
	for i := range 5 {
		b.putFact(failover.Exposure{Lag: time.Duration(i)})
		b.putFact(failover.WritePath{Provider: "bind", Trouble: fmt.Sprint(i)})
		b.putFact(failover.WritePath{Provider: "other", Trouble: fmt.Sprint(i)})
		b.putFact(failover.StandbyChanged{Why: []string{fmt.Sprint(i)}})
	}
	items := waiting(b)
	if len(items) != 4 {
		t.Fatalf("%d wait, want 4", len(items))
	}
	if e := items[0].event.(failover.Exposure); e.Lag != 4 {
		t.Errorf("exposure %v is not the newest", e)
	}
}

func TestALossOfTheLeadIsNeverSkippedOver(t *testing.T) {
	b := newInbox(3)
	on := func(until int64) failover.Lead {
		return failover.Lead{Leading: true, Term: 7, Until: time.Unix(until, 0)}
	}
	off := failover.Lead{Leading: false, Term: 7}
	for _, l := range []failover.Lead{on(1), on(2), off, on(3), on(4)} {
		b.putFact(l)
	}
	b.putFact(failover.Lead{Leading: true, Term: 8})
	var got []failover.Lead
	for _, it := range waiting(b) {
		got = append(got, it.event.(failover.Lead))
	}
	want := []failover.Lead{on(2), off, on(4), {Leading: true, Term: 8}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFactsReachTheCore(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, w *world) {
		if err := Tell(w.Controller, orders, failover.Exposure{Known: true, Rows: 7}); err != nil {
			t.Fatal(err)
		}
		if err := Tell(w.Controller, "nobody", failover.Exposure{}); !errors.Is(err, ErrUnknownInstance) {
			t.Errorf("unknown instance: %v", err)
		}
		time.Sleep(time.Millisecond)
		if got := only[failover.Exposure](w.script, orders); len(got) != 1 || got[0].Rows != 7 {
			t.Errorf("the core saw %+v", got)
		}
	})
}

func waiting(b *inbox) []item {
	items, _ := b.take()
	return items
}

// Two reloads may rename every vantage while an instance has no turn: what the
// former ones said makes room.
func TestReportsOfFormerVantagesMakeRoom(t *testing.T) {
	b := newInbox(8)
	for life := range 3 {
		b.fit(8)
		for i := range 8 {
			b.putReport(failover.Report{Vantage: failover.VantageName(fmt.Sprintf("v%d-%d", life, i))})
		}
	}
	if b.reports > b.maxReports {
		t.Errorf("%d reports wait, at most %d may", b.reports, b.maxReports)
	}
	if r, ok := b.items[len(b.items)-1].event.(failover.Report); !ok || r.Vantage != "v2-7" {
		t.Errorf("the newest report is of %s", r.Vantage)
	}
}
