package lab

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// logOf is a log in which each number is the cluster that acknowledged that
// row, 0 for none.
func logOf(by ...uint8) []Entry {
	var log []Entry
	for i, b := range by {
		log = append(log, Entry{At: moment(100 * i).UnixNano(), By: b})
	}
	return log
}

// rowsOf are rows as the Writer writes them.
func rowsOf(numbers ...int64) []Held {
	held := []Held{}
	for _, n := range numbers {
		held = append(held, Held{n, orderText(n)})
	}
	return held
}

func TestALogThatLiesIsFoundOut(t *testing.T) {
	both := []string{"a", "b"}
	// Rows 1 to 3 at a, 4 unknown, 5 and 6 at b.
	log := logOf(1, 1, 1, 0, 2, 2)
	for name, c := range map[string]struct {
		a, b []Held
		why  string // empty: nothing is broken
	}{
		"all is where it was acknowledged":     {rowsOf(1, 2, 3), rowsOf(5, 6), ""},
		"an answer that did not arrive":        {rowsOf(1, 2, 3, 4), rowsOf(5, 6), ""},
		"a try that was finished late":         {rowsOf(1, 2, 3, 5), rowsOf(5, 6), ""},
		"one that was acknowledged is lost":    {rowsOf(1, 3), rowsOf(5, 6), "a acknowledged and does not hold 1 row: 2"},
		"it is at the other one, which is not": {rowsOf(1, 2), rowsOf(3, 5, 6), "a acknowledged and does not hold 1 row: 3"},
		"all are lost":                         {rowsOf(), rowsOf(5, 6), "a acknowledged and does not hold 3 rows: 1-3"},
		"one that nobody wrote":                {rowsOf(1, 2, 3), rowsOf(5, 6, 7), "b holds what nobody wrote, 1 row: 7"},
		"one of no number":                     {append(rowsOf(1, 2, 3), Held{}), rowsOf(5, 6), "a holds what nobody wrote, 1 row: 0"},
		"one that says something else":         {append(rowsOf(1, 2), Held{3, "order 4"}), rowsOf(5, 6), "a has altered 1 row: 3"},
	} {
		_, why := JudgeWrites(log, both, map[string][]Held{"a": c.a, "b": c.b})
		got := strings.Join(why, "\n")
		if c.why == "" && got != "" || !strings.Contains(got, c.why) {
			t.Errorf("%s: %q, want %q", name, got, c.why)
		}
	}
}

func TestWhatTheNewClusterLacksIsCountedAndBreaksNothing(t *testing.T) {
	sides, why := JudgeWrites(logOf(1, 1, 1, 0, 2, 2, 1), []string{"a", "b"}, map[string][]Held{"a": rowsOf(1, 2, 3, 4, 7), "b": rowsOf(2, 5, 6)})
	want := []WriteSide{
		{Cluster: "a", Acknowledged: 4, Held: 5, Lacks: 2, Which: "5-6", Beyond: 1},
		{Cluster: "b", Acknowledged: 2, Held: 3, Lacks: 3, Which: "1, 3, 7", Beyond: 1},
	}
	if len(why) > 0 || !slices.Equal(sides, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", why, sides, want)
	}
	sides, why = JudgeWrites(logOf(1, 2), []string{"a", "b"}, map[string][]Held{"b": rowsOf(2)})
	if len(why) > 0 || sides[0] != (WriteSide{Cluster: "a", Acknowledged: 1, Unread: "not read"}) || sides[1].Lacks != 1 {
		t.Errorf("one that could not be read: %v %+v", why, sides)
	}
}

// Two stores that keep what they acknowledge are never blamed; one that drops
// an acknowledged row always is, with its number.
func TestTheJudgeOfWritesIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "rows")
		var log []Entry
		held := map[string][]Held{"a": {}, "b": {}}
		acked := map[string][]int64{}
		for i := range int64(n) {
			by := rapid.SampledFrom([]uint8{0, 1, 2}).Draw(t, "by")
			log = append(log, Entry{By: by})
			for k, c := range []string{"a", "b"} {
				if int(by) == k+1 {
					acked[c] = append(acked[c], i+1)
				}
				if int(by) == k+1 || rapid.IntRange(0, 9).Draw(t, "beyond") == 0 {
					held[c] = append(held[c], Held{i + 1, orderText(i + 1)})
				}
			}
		}
		sides, why := JudgeWrites(log, []string{"a", "b"}, held)
		if len(why) > 0 {
			t.Fatalf("blamed: %v", why)
		}
		for k, c := range []string{"a", "b"} {
			if s := sides[k]; s.Acknowledged != len(acked[c]) || s.Held != len(held[c]) || s.Beyond != s.Held-s.Acknowledged {
				t.Fatalf("%+v", s)
			}
		}
		for _, c := range []string{"a", "b"} {
			if len(acked[c]) == 0 {
				continue
			}
			lost := rapid.SampledFrom(acked[c]).Draw(t, "lost")
			held[c] = slices.DeleteFunc(held[c], func(h Held) bool { return h.N == lost })
			_, why := JudgeWrites(log, []string{"a", "b"}, held)
			if want := fmt.Sprintf("%s acknowledged and does not hold 1 row: %d", c, lost); len(why) != 1 || why[0] != want {
				t.Fatalf("%v, want %s", why, want)
			}
			return
		}
	})
}

func TestRangesNameNumbersInFewWords(t *testing.T) {
	var scattered []int64
	for i := range int64(20) {
		scattered = append(scattered, 2*i)
	}
	for want, numbers := range map[string][]int64{
		"":          nil,
		"4":         {4},
		"1-3, 7":    {3, 1, 2, 7, 2},
		"1, 3, 5-6": {1, 3, 5, 6},
		"0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 8 more": scattered,
	} {
		if got := ranges(numbers); got != want {
			t.Errorf("%v: %q, want %q", numbers, got, want)
		}
	}
}

func TestTheViewOfAClientSaysHowLongItStayedWithTheOldCluster(t *testing.T) {
	at := func(ms int, by uint8) Entry { return Entry{At: moment(ms).UnixNano(), By: by, To: by} }
	failed := func(ms int, to uint8) Entry { return Entry{At: moment(ms).UnixNano(), To: to} }
	log := []Entry{at(100, 1), at(200, 1), failed(700, 1), at(900, 1), at(1000, 1), failed(1100, 1), failed(1150, 2), failed(1160, 0), at(1600, 2)}
	v := viewOf(log, moment(0), moment(2500), moment(850), 1)
	if want := (ClientView{Acknowledged: 5, Errors: 4, PauseMS: 900, Old: 2, OldErrors: 1, OldMS: 250}); v != want {
		t.Errorf("%+v, want %+v", v, want)
	}
	if v := viewOf(log[:2], moment(0), moment(250), time.Time{}, 1); v != (ClientView{Acknowledged: 2, PauseMS: 100}) {
		t.Errorf("nothing moved: %+v", v)
	}
	if v := viewOf(nil, moment(0), moment(3000), time.Time{}, 1); v.PauseMS != 3000 {
		t.Errorf("nothing was acknowledged at all: %+v", v)
	}
}
