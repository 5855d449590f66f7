package replication

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pointsman/replication/ots"
)

// second is a moment, in seconds after another.
func second(s float64) time.Time {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// pageOf is a page that was asked for at one moment and has records of others.
func pageOf(sent float64, next string, epoch int32, times ...float64) ots.Page {
	p := ots.Page{Next: next, Sent: second(sent), Received: second(sent + 0.01)}
	for i, s := range times {
		p.Records = append(p.Records, ots.Record{Seq: ots.Sequence{Epoch: epoch, Time: second(s).UnixMicro(), Index: int32(i)}})
	}
	return p
}

func TestClaimsOfPages(t *testing.T) {
	var (
		none    = offset{}
		exact   = offset{known: true}
		between = offset{low: -time.Second, high: 3 * time.Second, known: true}
		behind  = offset{low: -3 * time.Second, high: -2 * time.Second, known: true}
	)
	type step struct {
		page  ots.Page
		clock offset
		upto  float64 // 0: none
		empty bool
	}
	for name, steps := range map[string][]step{
		"an empty read shows what was before it": {
			{pageOf(10, "a", 0), none, 9, true},
			{pageOf(12, "a", 0), none, 11, true},
		},
		"a moved iterator shows nothing": {{pageOf(10, "b", 0), exact, 0, false}},
		"nor does an end":                {{pageOf(10, "a", 0), exact, 9, true}, {pageOf(20, "", 0), exact, 9, false}},
		"a record shows what was before it": {
			{pageOf(100, "b", 0, 10, 11, 12), exact, 11, false},
			{pageOf(100, "c", 0, 14), between, 11, false},
			{pageOf(100, "d", 0, 20), between, 16, false},
			{pageOf(100, "e", 0, 20.5), behind, 16.5, false}, // its time may be of before that clock went back
			{pageOf(100, "f", 0, 40), none, 16.5, false},
			{pageOf(101, "f", 0), behind, 100, true},
			{pageOf(110, "g", 0, 104), behind, 105, false},
		},
		"no more than an empty read would": {{pageOf(10, "b", 0, 30), exact, 9, false}, {pageOf(10, "c", 0, 30), behind, 9, false}},
		"another epoch drops what records showed": {
			{pageOf(10, "a", 0), exact, 9, true},
			{pageOf(100, "b", 0, 50), exact, 49, false},
			{pageOf(100, "c", 1, 20), exact, 9, false},
			{pageOf(100, "d", 1, 30), exact, 9, false},
			{pageOf(101, "d", 1), exact, 100, true},
			{pageOf(110, "e", 1, 109), exact, 108, false},
		},
		"what was written before the clock went back is not taken for newer": {
			{pageOf(100, "a", 0), offset{low: 60 * time.Second, high: 60 * time.Second, known: true}, 99, true},
			{pageOf(110, "b", 0, 162), exact, 101, false}, // written at 102
			{pageOf(110, "c", 0, 168), exact, 107, false},
		},
		"also in the middle of a page": {
			{pageOf(100, "b", 0, 50), exact, 49, false},
			{func() ots.Page {
				p := pageOf(100, "c", 0, 60, 61)
				p.Records[1].Seq.Epoch = 1
				return p
			}(), exact, 0, false},
		},
		"times that go back are not believed": {
			{pageOf(100, "b", 0, 50), exact, 49, false},
			{pageOf(100, "c", 0, 40), exact, 0, false},
		},
		"our clock was set back": {
			{pageOf(100, "a", 0), exact, 99, true},
			{pageOf(50, "b", 0, 70), exact, 49, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := claim{visibility: time.Second}, position{Iterator: "a"}
			for i, s := range steps {
				var empty bool
				p, empty = c.next(p, s.page, s.clock)
				want := second(s.upto)
				if s.upto == 0 {
					want = time.Time{}
				}
				if !p.Upto.Equal(want) || empty != s.empty {
					t.Fatalf("step %d: upto %v, %v, want %v, %v", i, p.Upto, empty, want, s.empty)
				}
				if p.Iterator != s.page.Next || p.Done != (s.page.Next == "") || p.Proved.After(p.Upto) {
					t.Fatalf("step %d: %+v", i, p)
				}
			}
		})
	}
}

// A service whose clock is off, by more or less but within bounds that are
// known, and that is late with its records: no page says more than is so.
func TestClaimsAreNeverAboveTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const visibility = time.Second
		ms := func(name string, low, high int) time.Duration {
			return time.Duration(rapid.IntRange(low, high).Draw(t, name)) * time.Millisecond
		}
		clock := offset{low: -ms("low", 0, 3000), high: ms("high", 0, 3000), known: rapid.Bool().Draw(t, "known")}
		type write struct {
			made time.Time // of our clock
			at   time.Time // and acknowledged
			seq  ots.Sequence
		}
		var log []write
		now, read := second(0), 0
		c, p := claim{visibility: visibility}, position{Iterator: "0"}
		var last int64
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(ms("passes", 0, 900))
			if rapid.Bool().Draw(t, "write") {
				off := time.Duration(rapid.Int64Range(int64(clock.low), int64(clock.high)).Draw(t, "offset"))
				last = max(last, now.Add(off).UnixMicro()) // of one machine or another
				log = append(log, write{now, now.Add(ms("answer", 0, 300)), ots.Sequence{Time: last, Index: int32(len(log))}})
				continue
			}
			late := ms("late", 0, int(visibility/time.Millisecond))
			page := ots.Page{Sent: now}
			n := rapid.IntRange(0, 3).Draw(t, "limit")
			for _, w := range log[read:] {
				if len(page.Records) == n || w.made.Add(late).After(now) {
					break
				}
				page.Records = append(page.Records, ots.Record{Seq: w.seq})
			}
			all := read+len(page.Records) == len(log) || log[read+len(page.Records)].made.Add(late).After(now)
			page.Next = p.Iterator
			if read += len(page.Records); len(page.Records) > 0 || !all {
				page.Next += "."
			}
			p, _ = c.next(p, page, clock)
			for _, w := range log[read:] {
				if w.at.Before(p.Upto) {
					t.Fatalf("upto %v, and a write that was acknowledged at %v is still to be read", p.Upto, w.at)
				}
			}
		}
	})
}
