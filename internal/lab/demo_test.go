package lab

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", name, got)
	}
}

func sampleReport() Report {
	f := func(v float64) *float64 { return &v }
	return Report{OK: false, Stories: []Result{
		{
			Name: "kill", OK: true, From: "a", To: "b", DetectedMS: f(11.3), DecidedMS: f(12), AnsweredMS: f(15.2), VerifiedMS: f(121.9),
			Counts: Counts{Answers: 903, Missing: 1},
		},
		{Name: "both-down", OK: true, From: "b", Counts: Counts{Answers: 1500}},
		{
			Name: "switchover", OK: false, From: "b", To: "a", DecidedMS: f(30.5), AnsweredMS: f(33), VerifiedMS: f(140),
			Counts: Counts{Answers: 700, Empty: 1, NXDomain: 2, Servfail: 3, Wrong: 4}, Why: []string{"the name went b → a → b, not b → a"},
		},
		{
			Name: "fast-evidence", OK: true, From: "b", To: "a", AnsweredMS: f(200), UnwatchedMS: f(450),
			Evidence: []string{"pointsman_held_lost_total at the controller's own vantage: {reason=\"silent\"} +1", "van-2 in rack-2 says down of b"},
		},
		{Name: "kill", OK: true, From: "a", To: "b", AnsweredMS: f(25.2)},
	}}
}

func TestTheReportAsJSON(t *testing.T) {
	b, err := sampleReport().JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", b)
	if b, _ := (Report{OK: true}).JSON(); !strings.Contains(string(b), `"stories": []`) {
		t.Errorf("no stories are %s, want an empty list", b)
	}
}

func TestTheReportAsATable(t *testing.T) {
	var b bytes.Buffer
	sampleReport().WriteTable(&b)
	golden(t, "report.txt", b.Bytes())
}

// play judges one story that left the given answers and status behind.
func play(s Story, answers []Answer, after View) []string {
	w := &World{Clusters: []ClusterSite{{Name: "a", Target: "a."}, {Name: "b", Target: "b."}}}
	st := &stage{lab: &Lab{World: w}, from: "a", to: "b", before: View{Active: "a", LastOp: &OpSummary{Op: Op{ID: "1"}}}}
	st.judge(s, answers, after)
	return st.why
}

func TestAStoryIsBrokenWhenTheNameDoesWhatItMustNot(t *testing.T) {
	ended := func(id, outcome string) *OpSummary {
		return &OpSummary{Op: Op{ID: id, From: "a", To: "b"}, Outcome: outcome}
	}
	stayed, moved := []Answer{seen(1, 2, "a.")}, []Answer{seen(1, 2, "a."), seen(3, 4, "b.")}
	back := append(slices.Clone(moved), seen(5, 6, "a."))
	for name, c := range map[string]struct {
		moves   bool
		answers []Answer
		after   View
		says    string // empty: nothing is broken
	}{
		"moved and settled":           {true, moved, View{Active: "b", LastOp: ended("2", "settled")}, ""},
		"stayed":                      {false, stayed, View{Active: "a", LastOp: ended("1", "settled")}, ""},
		"moved and must not":          {false, moved, View{Active: "b", LastOp: ended("2", "settled")}, "the name went a → b, not a"},
		"did not move and must":       {true, stayed, View{Active: "a", LastOp: ended("1", "settled")}, "the name went a, not a → b"},
		"moved and came back":         {true, back, View{Active: "b", LastOp: ended("2", "settled")}, "the name went a → b → a, not a → b"},
		"the record says another":     {true, moved, View{Active: "a", LastOp: ended("2", "settled")}, "a is active at the end, not b"},
		"still in hand":               {true, moved, View{Active: "b", Op: &Op{ID: "2", Step: "confirm"}, LastOp: ended("1", "settled")}, "operation 2 still stands at step confirm"},
		"unwound":                     {true, moved, View{Active: "b", LastOp: ended("2", "unwound")}, "the operation was unwound"},
		"an operation that undid all": {false, stayed, View{Active: "a", LastOp: ended("2", "unwound")}, "operation 2 began, from a to b"},
	} {
		t.Run(name, func(t *testing.T) {
			why := strings.Join(play(Story{Moves: c.moves}, c.answers, c.after), "; ")
			if c.says == "" && why != "" || !strings.Contains(why, c.says) {
				t.Errorf("broken: %q, want %q", why, c.says)
			}
		})
	}
}

func TestTimesAreAfterTheFaultAndNullWhereThereIsNone(t *testing.T) {
	st := &stage{from: "a", to: "b", fault: moment(100), answered: moment(116)}
	op := Op{Since: moment(112), StepAt: map[string]time.Time{"settle": moment(220)}} // nothing was detected
	res := st.result(Story{Name: "switchover", Moves: true}, View{Active: "b", LastOp: &OpSummary{Op: op}})
	if res.To != "b" || res.DetectedMS != nil || *res.DecidedMS != 12 || *res.AnsweredMS != 16 || *res.VerifiedMS != 120 {
		t.Errorf("%+v", res)
	}
	res = st.result(Story{Name: "both-down"}, View{Active: "a", LastOp: &OpSummary{Op: op}})
	if res.To != "" || res.DetectedMS != nil || res.DecidedMS != nil || res.AnsweredMS != nil || res.VerifiedMS != nil {
		t.Errorf("%+v of a story in which nothing moves", res)
	}
}

func TestStoriesAreFoundByName(t *testing.T) {
	for _, s := range Stories(HTTP) {
		if got, err := FindStory(HTTP, s.Name); err != nil || got.Says != s.Says {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if _, err := FindStory(HTTP, "kil"); err == nil || !strings.Contains(err.Error(), "wrong-identity") {
		t.Errorf("%v, want the list of stories", err)
	}
}
