package failover

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// someEvents is one event of every kind, and for outcomes one of every kind
// of outcome.
func someEvents(w *world) []Event {
	name := w.p.Names[0].Name
	rec, found := w.s.Record()
	es := []Event{
		Tick{},
		Loaded{},
		Loaded{Record: rec, Found: found},
		Lead{},
		Lead{Leading: true, Term: w.term + 1, Until: w.now.Add(time.Hour)},
		Report{Vantage: "v1", Clusters: map[ClusterName]Sighting{"a": {Vote: Down, FirstMiss: w.now, LastMiss: w.now}}},
		Report{Vantage: "nobody"},
		Committed{Rev: 99},
		CommitFailed{Err: "x"},
		CommitFailed{Err: "x", Conflict: true},
		NameRead{Name: name, Err: "x"},
		NameRead{Name: name, Absent: true},
		NameRead{Name: name, Value: "b.test."},
		NameRead{Name: "other.test."},
		Verified{},
		Verified{Names: map[RecordName]NameAgreement{name: {Agree: true, Wanted: "a.test."}}},
		Exposure{Known: true},
		Exposure{Gap: "x"},
		GateDone{Cluster: "a", Want: GateClosed},
		GateDone{Cluster: "b", Err: "x"},
		Drained{Empty: true},
		Drained{Bound: -1},
		CutDone{},
		CutDone{Err: "x"},
		StandbyChanged{State: StandbyRefilling},
		HooksDone{OpID: "orders-1.7", When: HookPre, Attempt: 1, Results: []HookResult{{Name: "gate", Verdict: HookPassed}}},
		HooksDone{OpID: "orders-1.7", When: HookPre, Attempt: 1, Results: []HookResult{{Name: "gate", Verdict: HookVetoed, Reason: "no"}}},
		HooksDone{OpID: "orders-1.6", When: HookPost, Attempt: 1, Results: []HookResult{{Name: "tell", Verdict: HookBroken}}},
		HooksDone{OpID: "orders-1.7", When: HookPost, Attempt: 9, Err: "x"},
		FloodVerdict{OK: true},
		FloodVerdict{},
		Tilted{},
		WritePath{Provider: "bind", Trouble: "x"},
		WritePath{Provider: "bind"},
	}
	for _, o := range []WriteOutcome{WriteDone, WriteMismatch, WriteUnknown, WriteRefused, "nonsense"} {
		es = append(es, NameWritten{Name: name, Outcome: o})
	}
	for _, v := range []Verb{DoSwitchover, DoFailover, DoAbort, DoPause, DoResume, DoAck, DoAdopt, DoRestore, DoArm, DoDisarm, "nonsense"} {
		es = append(es, Command{Ref: "r", Do: v, To: "b", Mode: ModeAuto, Reason: "x"})
	}
	return es
}

// TestEveryEventInEveryState: the transition table is total. Every step of
// every kind, forward and backward, held and not, just entered and past its
// budget, takes every event without a panic, and a commit is always alone.
func TestEveryEventInEveryState(t *testing.T) {
	policies := map[string]func(*Policy){"plain": func(*Policy) {}}
	for n, f := range historyPolicies {
		policies[n] = f
	}
	n := 0
	for name, change := range policies {
		for _, kind := range []OpKind{Failover, Switchover} {
			for _, d := range Steps(kind) {
				for _, age := range []time.Duration{0, time.Second, time.Hour} {
					for _, unwind := range []bool{false, true} {
						for _, resuming := range []bool{false, true} {
							w := ready(change)
							w.s.resuming = resuming
							w.s.rec.Op = &Op{ID: "orders-1.7", Kind: kind, Step: d.Step, Unwind: unwind, From: "a", To: "b", StepSince: w.now.Add(-age), Since: w.now.Add(-age), LoweredAt: w.now.Add(-age), CloseAt: w.now.Add(-age), OpenAt: w.now.Add(-age), Held: &Held{Why: "x"}}
							w.s.rec.Epoch = 7
							w.s.pending = nil
							for _, e := range someEvents(w) {
								s, acts := Step(w.s, &w.p, e, w.now)
								for _, a := range acts {
									if _, ok := a.(Commit); ok && countEffects(acts) != 1 {
										t.Fatalf("%s %s %s %T: a commit is not alone: %v", name, kind, d.Step, e, acts)
									}
								}
								if wake := NextWake(&s, &w.p, w.now); !wake.After(w.now) {
									t.Fatalf("%s %s %s %T: it would wake at %s", name, kind, d.Step, e, wake)
								}
								Explain(&s, &w.p, w.now)
								n++
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d transitions", n)
}

// TestEveryTimeoutHasAnOutcome: no step with a budget is without a named
// outcome, and the order is the same for both kinds.
func TestEveryTimeoutHasAnOutcome(t *testing.T) {
	for _, kind := range []OpKind{Failover, Switchover} {
		if len(Steps(kind)) != len(stepOrder) {
			t.Fatalf("%s has %d steps", kind, len(Steps(kind)))
		}
		for i, d := range Steps(kind) {
			if d.Step != stepOrder[i] {
				t.Errorf("%s: step %d is %s", kind, i, d.Step)
			}
			if (d.Budget == 0) != (d.Late == LateNever) {
				t.Errorf("%s %s: budget %s, late %s", kind, d.Step, d.Budget, d.Late)
			}
			if stepIndex(d.Step) >= stepIndex(StepMove) && (d.Late == LateUnwind || d.Late == LateHold) {
				t.Errorf("%s %s: %s after the point of no return", kind, d.Step, d.Late)
			}
		}
	}
}

// TestDocumentedTable: the table in the documents is drawn from the code.
func TestDocumentedTable(t *testing.T) {
	f := filepath.Join("..", "..", "docs", "operations.md")
	b, err := os.ReadFile(f)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- steps: begin -->\n", "<!-- steps: end -->"
	doc := string(b)
	i, j := strings.Index(doc, begin), strings.Index(doc, end)
	if i < 0 || j < i {
		t.Fatalf("%s has no table of steps", f)
	}
	want := doc[:i+len(begin)] + DocTable() + doc[j:]
	if doc == want {
		return
	}
	if *update {
		if err := os.WriteFile(f, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s does not show the table of the code; run go test ./internal/failover -update", f)
}

// DocTable draws the table of steps and the list of guards.
func DocTable() string {
	var b strings.Builder
	for _, kind := range []OpKind{Failover, Switchover} {
		fmt.Fprintf(&b, "\n**%s**\n\n| step | does | done when | budget | when late |\n| --- | --- | --- | --- | --- |\n", kind)
		for _, d := range Steps(kind) {
			budget := "none"
			if d.Budget > 0 {
				budget = d.Budget.String()
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.Step, d.Does, d.Proof, budget, d.Late)
		}
	}
	fmt.Fprintf(&b, "\n**Guards**\n\n| guard | binds | asked again before going on | override by name |\n| --- | --- | --- | --- |\n")
	yes := map[bool]string{true: "yes", false: "no"}
	for _, g := range guards {
		binds := "everyone"
		if g.auto {
			binds = "automation"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", g.name, binds, yes[g.world], yes[g.override])
	}
	b.WriteString("\n")
	return b.String()
}

// TestTheManualNamesEveryGuardThatMayBeOverridden, in the sentence that people
// read while an operation is held.
func TestTheManualNamesEveryGuardThatMayBeOverridden(t *testing.T) {
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "These guards can be overridden by name")
	text, _, end := strings.Cut(text, "`exposure` wants a number")
	if !ok || !end {
		t.Fatal("the sentence is gone")
	}
	for _, g := range guards {
		if named := strings.Contains(text, "`"+string(g.name)+"`"); named != (g.override && g.name != GuardExposure) {
			t.Errorf("%s: named %v, may be overridden by name: %v", g.name, named, g.override)
		}
	}
}

// TestCloneIsDeep: a clone shares nothing that could be changed through it.
func TestCloneIsDeep(t *testing.T) {
	r := Record{
		Names:  []NameRecord{{Name: "x.", Want: &NameWant{Over: &Foreign{Value: "y."}}}},
		Op:     &Op{ID: "1", Held: &Held{}, Consent: &Consent{}, Evidence: []string{"e"}, Override: []Guard{"g"}, StepAt: map[StepName]time.Time{"x": {}}, Cut: []string{"c"}, Stragglers: []string{"s"}, Notes: []string{"n"}, Hooks: &OpHooks{Asked: []string{"a"}, Notes: []string{"n"}}},
		Vetoes: &Vetoes{}, HooksDue: []HookDue{{Left: []string{"l"}, Op: HookOp{Names: []HookName{{}}, Evidence: []string{"e"}}}},
		Gates: map[ClusterName]Gate{"a": {}}, Standby: Standby{Why: []string{"w"}}, Stops: []Stop{{}}, Moves: []time.Time{{}},
		LastOp: &OpSummary{Op: Op{Notes: []string{"n"}}}, Proofs: map[ClusterName]Proof{"a": {}},
	}
	before, _ := json.Marshal(r)
	c := r.Clone()
	if !reflect.DeepEqual(r, c) {
		t.Fatal("a clone differs")
	}
	scribble(reflect.ValueOf(&c).Elem())
	after, _ := json.Marshal(r)
	if string(before) != string(after) {
		t.Fatalf("changed through its clone:\n%s\n%s", before, after)
	}
}

// scribble changes everything that can be reached.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scribble(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
			return
		}
		for i := range v.NumField() {
			scribble(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			x := reflect.New(v.Type().Elem()).Elem()
			x.Set(v.MapIndex(k))
			scribble(x)
			v.SetMapIndex(k, x)
		}
	case reflect.String:
		v.SetString("scribble")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64, reflect.Int8:
		v.SetInt(99)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(99)
	default:
	}
}

func FuzzParseMark(f *testing.F) {
	f.Add("v=1 term=7 epoch=12 op=orders-7.12 by=ctl")
	f.Add("v=1 term=18446744073709551616 epoch=1 op=x by=y")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMark(s)
		if err != nil {
			return
		}
		again, err := ParseMark(m.String())
		if err != nil || again != m {
			t.Fatalf("%q: %v, %v", s, again, err)
		}
	})
}
