package ledger

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// TestKeepTellsTheSameThingAnew: what goes on is one line that is told anew,
// at its own place, also after a reopen, and a new line once it was pushed out.
func TestKeepTellsTheSameThingAnew(t *testing.T) {
	dir := memDir(t)
	h := mustHistory(t, historyConfig{dir: dir, count: 300})
	keep := func(key string, n int) {
		t.Helper()
		if err := h.Keep(t.Context(), key, sample(n)); err != nil {
			t.Fatal(err)
		}
	}
	keep("one", 1)
	add(t, h, sample(2))
	keep("two", 3)
	keep("one", 4)
	if got := listed(t, h, HistoryFilter{}); got != "4 2 3" {
		t.Fatal(got)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = mustHistory(t, historyConfig{dir: dir, count: 300})
	keep("one", 5)
	if got := listed(t, h, HistoryFilter{}); got != "5 2 3" {
		t.Fatalf("after a reopen: %s", got)
	}
	for n := range 2 * pruneEvery {
		add(t, h, sample(1000+n))
	}
	h.flush()
	h.turn.Lock() // how much was added since it was pruned last depends on how the disk took it
	err := h.prune()
	h.turn.Unlock()
	if got := h.Stats().Reach; err != nil || !got.Equal(sample(1000+2*pruneEvery-301).At) {
		t.Errorf("the history is whole from %s on: %v", got, err)
	}
	keep("one", 6)
	s, err := h.List(t.Context(), HistoryFilter{Limit: 1})
	if err != nil || len(s) != 1 || string(s[0].Data) != "6" {
		t.Fatalf("%v %v: a line that was pushed out comes again as a new one", s, err)
	}
	if err := h.Keep(t.Context(), "bad", Sample{Data: json.RawMessage("{")}); err == nil {
		t.Error("what is no JSON was kept")
	}
}

// TestVotesPushOutOnlyVotes: of one instance and of all there are so many and
// no more, and nothing else goes for them.
func TestVotesPushOutOnlyVotes(t *testing.T) {
	h := mustHistory(t, historyConfig{dir: memDir(t), votes: [2]int{150, 100}})
	add(t, h, sample(1))
	for n := range 700 {
		add(t, h, Sample{At: day.Add(time.Duration(n) * time.Second), Instance: failover.InstanceName(fmt.Sprint("i", n/500)), Kind: KindVotes, Data: json.RawMessage(fmt.Sprint(n))})
		if n%50 == 49 {
			h.flush()
		}
	}
	for i, want := range map[failover.InstanceName][2]int{"i0": {50, 499}, "i1": {100, 699}} {
		s, err := h.List(t.Context(), HistoryFilter{Instance: i, Kind: KindVotes})
		if err != nil || len(s) < want[0] || len(s) > 100 || string(s[len(s)-1].Data) != fmt.Sprint(want[1]) {
			t.Errorf("%s has %d lines, %v", i, len(s), err)
		}
	}
	if got := listed(t, h, HistoryFilter{Kind: "probe"}); got != "1" {
		t.Errorf("the votes pushed out %q", got)
	}
	if r := h.Stats().Reach; !r.IsZero() {
		t.Errorf("the history is said to be whole only from %s on", r)
	}
}
