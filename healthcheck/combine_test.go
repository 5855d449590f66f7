package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verdicts are the kinds of findings of one check.
var verdicts = map[string]error{
	"success":  nil,
	"miss":     errors.New("status 503"),
	"wrong":    fmt.Errorf("%w: says b, want a", ErrWrongCluster),
	"own":      Own(errors.New("too many open files")),
	"disputed": Own(fmt.Errorf("connect: %w", syscall.ENETUNREACH)),
}

// oracle states the rules as the documentation has them, once for a vantage
// that reaches a control and once for one without controls.
func oracle(rule Combine, kinds []string, control bool) Outcome {
	has := func(kind string) bool { return slices.Contains(kinds, kind) }
	miss, own := has("miss"), has("own")
	if has("disputed") {
		miss, own = miss || control, own || !control
	}
	switch {
	case has("wrong"):
		return Miss
	case rule == Any && has("success"):
		return Success
	case rule == Any && own:
		return OwnFault
	case miss:
		return Miss
	case own:
		return OwnFault
	default:
		return Success
	}
}

// judged is what the prober makes of an error, see observe.
func judged(err error, control bool) Outcome {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, ErrOwn) && (!control || !disputed(err)):
		return OwnFault
	default:
		return Miss
	}
}

// every calls f with all sequences of 1 to n kinds.
func every(n int, f func(kinds []string)) {
	names := sortedKeys(verdicts)
	var grow func(kinds []string)
	grow = func(kinds []string) {
		if len(kinds) > 0 {
			f(kinds)
		}
		if len(kinds) == n {
			return
		}
		for _, name := range names {
			grow(append(slices.Clip(kinds), name))
		}
	}
	grow(nil)
}

func TestEveryCombinationOfFindingsFollowsTheRule(t *testing.T) {
	seen := 0
	for _, rule := range []Combine{All, Any, ""} {
		every(4, func(kinds []string) {
			seen++
			fs := make([]finding, len(kinds))
			for i, k := range kinds {
				fs[i] = finding{part: part{label: fmt.Sprintf("checks[%d]", i)}, err: verdicts[k]}
				fs[i].trace.Identity = k == "success" && i%2 == 1
			}
			decider, err := combined(rule, fs)
			for _, control := range []bool{true, false} {
				if got, want := judged(err, control), oracle(rule, kinds, control); got != want {
					t.Errorf("%s of %v with control %v: %s (%v), want %s", rule, kinds, control, got, err, want)
				}
			}
			if slices.Contains(kinds, "wrong") != errors.Is(err, ErrWrongCluster) {
				t.Errorf("%s of %v: %v hides the wrong cluster or invents one", rule, kinds, err)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("checks[%d]: ", decider)) {
				t.Errorf("%s of %v: %q does not name the check", rule, kinds, err)
			}
		})
	}
	if want := 3 * (5 + 25 + 125 + 625); seen != want {
		t.Errorf("%d cases, want %d", seen, want)
	}
}

// In whatever order the checks end, and whatever is called off because of it:
// the outcome is that of all of them.
func TestOrderInWhichChecksEndDoesNotMatter(t *testing.T) {
	for _, rule := range Combines {
		every(3, func(kinds []string) {
			for _, order := range orders(len(kinds)) {
				for control := range 2 {
					err := runOrdered(rule, kinds, order)
					if got, want := judged(err, control == 1), oracle(rule, kinds, control == 1); got != want {
						t.Errorf("%s of %v ending in the order %v: %s (%v), want %s", rule, kinds, order, got, err, want)
					}
				}
			}
		})
	}
}

func orders(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var out [][]int
	for _, o := range orders(n - 1) {
		for at := range n {
			out = append(out, slices.Insert(slices.Clone(o), at, n-1))
		}
	}
	return out
}

// runOrdered ends one check after the other; one that is called off before its
// turn ends as a fault of our own, as real probes do.
func runOrdered(rule Combine, kinds []string, order []int) error {
	turns := make([]chan struct{}, len(kinds)+1)
	for i := range turns {
		turns[i] = make(chan struct{})
	}
	close(turns[0])
	place := make([]int, len(kinds))
	for turn, i := range order {
		place[i] = turn
	}
	parts := make([]part, len(kinds))
	for i, k := range kinds {
		turn := place[i]
		parts[i] = part{label: fmt.Sprintf("checks[%d]", i), identity: k == "wrong", probe: func(ctx context.Context) error {
			<-turns[turn]
			defer close(turns[turn+1])
			return blame(ctx, errors.Join(ctx.Err(), verdicts[k]))
		}}
	}
	return runParts(context.Background(), rule, parts)
}

// several is a target with several checks at one address.
func several(rule Combine, address string, checks ...Check) Target {
	tg := target("", address)
	tg.Combine, tg.Checks = rule, checks
	return tg
}

func TestReasonsAndWarningsNameTheCheck(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/db" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	tcp, web, db := Check{Type: TCP, Slow: 1}, Check{Type: HTTP, Name: "web", Slow: 1}, Check{Type: HTTP, Name: "db", Path: "/db"}
	if _, err := probe(t, several(All, addr, tcp, web, db)); err == nil || err.Error() != "checks[2] (db): status 503, want 200-299" || isOwn(err) {
		t.Errorf("all: got %v", err)
	}
	other := db
	other.Name = ""
	tr, err := probe(t, several(Any, addr, db, other))
	if want := "none of 2 checks succeeded: checks[0] (db): status 503, want 200-299; checks[1]: status 503, want 200-299"; err == nil || err.Error() != want {
		t.Errorf("any: got %v, want %s", err, want)
	}
	if tr.Phase != PhaseStatus || !tr.Remote.IsValid() {
		t.Errorf("phase %s at %s", tr.Phase, tr.Remote)
	}
	tr, err = probe(t, several("", addr, tcp, web))
	if err != nil || len(tr.Warnings) != 2 || !strings.HasPrefix(tr.Warnings[0], "checks[0]: slow: ") || !strings.HasPrefix(tr.Warnings[1], "checks[1] (web): slow: ") {
		t.Errorf("got %v with warnings %q", err, tr.Warnings)
	}
}

func TestIdentityIsThatOfAPassingCheckAndTheWrongClusterAlwaysAMiss(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Cluster", strings.TrimPrefix(r.URL.Path, "/"))
	})
	who := func(path string) Check {
		return Check{Type: HTTP, Path: path, Identity: IdentityCheck{Header: "X-Cluster"}}
	}
	broken := who("/a")
	broken.Status = []StatusRange{{404, 404}}
	for _, tc := range []struct {
		rule   Combine
		checks []Check
		proved bool
		wrong  bool
	}{
		{All, []Check{{Type: TCP}, who("/a")}, true, false},
		{Any, []Check{who("/a"), broken}, true, false},
		{Any, []Check{{Type: TCP}, broken}, false, false},
		{All, []Check{who("/a"), who("/b")}, false, true},
		{Any, []Check{who("/a"), {Type: TCP}, who("/b")}, false, true},
	} {
		tg := several(tc.rule, addr, tc.checks...)
		tg.Identity = "a"
		tr, err := probe(t, tg)
		if errors.Is(err, ErrWrongCluster) != tc.wrong || (err == nil) == tc.wrong || tr.Identity && !tc.proved || !tc.wrong && tr.Identity != tc.proved {
			t.Errorf("%s of %d checks: %v, identity proved %v", tc.rule, len(tc.checks), err, tr.Identity)
		}
	}
}

// A stalled check costs no time where it cannot change the outcome.
func TestWhatCannotChangeTheOutcomeIsCalledOff(t *testing.T) {
	stalled := listen(t).Addr().(*net.TCPAddr) // accepts and says nothing
	addr := serve(t, func(http.ResponseWriter, *http.Request) {})
	wait := Check{Type: HTTP, Port: stalled.Port}
	broken := Check{Type: HTTP, Status: []StatusRange{{404, 404}}}
	who := wait
	who.Identity.Header = "X-Cluster"
	for name, tc := range map[string]struct {
		target Target
		quick  bool
		says   string
	}{
		"all, after a miss":                           {several(All, addr, wait, broken), true, "checks[1]: status 200, want 404"},
		"all, after a success":                        {several(All, addr, wait, Check{Type: TCP}), false, "checks[0]: read answer: no answer within "},
		"any, after a success":                        {several(Any, addr, wait, Check{Type: TCP}), true, ""},
		"any, after a success, who answers is open":   {several(Any, addr, who, Check{Type: TCP}), false, ""},
		"any, after a miss: the other may still pass": {several(Any, addr, wait, broken), false, "none of 2 checks succeeded: checks[0]: read answer: no answer within "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := tc.target
			tg.Timeout, tg.Identity = 2*time.Second, "a"
			start := time.Now()
			_, err := probe(t, tg)
			took := time.Since(start)
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || isOwn(err) || !strings.HasPrefix(err.Error(), tc.says)) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			if waited := took >= tg.Timeout-10*time.Millisecond; waited == tc.quick {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestEachMistakeInSeveralChecksIsNamed(t *testing.T) {
	http, tcp := Check{Type: HTTP, Name: "web"}, Check{Type: TCP}
	for says, change := range map[string]func(tg *Target){
		"checks: excludes check (keep one of the two)":                                                           func(tg *Target) { tg.Check = tcp },
		`combine: "most" is none of [all any]`:                                                                   func(tg *Target) { tg.Combine = "most" },
		`checks[1].name: "web" is there twice`:                                                                   func(tg *Target) { tg.Checks[1].Name = "web" },
		`checks[1].name: "a b" is no word of at most 63 characters`:                                              func(tg *Target) { tg.Checks[1].Name = "a b" },
		"checks[1].path: means nothing to a tcp check (use type http or https)":                                  func(tg *Target) { tg.Checks[1].Path = "/" },
		"checks: lists 9 checks, more than 8":                                                                    func(tg *Target) { tg.Checks = slices.Repeat([]Check{tcp}, 9) },
		`address: "192.0.2.1" has no port within 1 to 65535`:                                                     func(tg *Target) { tg.Address = "192.0.2.1" },
		"identity: is missing: the check asks who answers, but not who should (usually the name of the cluster)": func(tg *Target) { tg.Checks[0].Identity.Header = "X" },
		"combine: has no use with one check (write several checks, or leave it out)":                             func(tg *Target) { tg.Check, tg.Checks, tg.Combine = tcp, nil, All },
	} {
		tg := several("", "192.0.2.1:80", http, tcp)
		change(&tg)
		var got []string
		for _, f := range tg.Validate() {
			got = append(got, f.Error())
		}
		if strings.Join(got, "\n") != says {
			t.Errorf("got  %s\nwant %s", strings.Join(got, "\n"), says)
		}
		if _, err := NewProbe(tg, ProbeConfig{}); err == nil {
			t.Errorf("a probe was built in spite of %s", says)
		}
	}
}

func TestGenerationOfSeveralChecks(t *testing.T) {
	base := func() []Target {
		return []Target{several("", "192.0.2.1:80", Check{Type: HTTP}, Check{Type: TCP, Port: 81})}
	}
	first := Generation(base())
	for name, change := range map[string]func(tg *Target){
		"the rule written out": func(tg *Target) { tg.Combine = All },
		"defaults written out": func(tg *Target) { tg.Checks[0].Path = "/" },
		"where the port is":    func(tg *Target) { tg.Address, tg.Checks[0].Port = "192.0.2.1", 80 },
	} {
		ts := base()
		if change(&ts[0]); Generation(ts) != first {
			t.Errorf("%s changed the generation", name)
		}
	}
	for name, change := range map[string]func(tg *Target){
		"another rule": func(tg *Target) { tg.Combine = Any }, "the order": func(tg *Target) { slices.Reverse(tg.Checks) },
		"a port": func(tg *Target) { tg.Checks[1].Port = 82 }, "one less": func(tg *Target) { tg.Checks = tg.Checks[:1] },
		"a name": func(tg *Target) { tg.Checks[1].Name = "x" }, "a path": func(tg *Target) { tg.Checks[0].Path = "/x" },
	} {
		ts := base()
		if change(&ts[0]); Generation(ts) == first {
			t.Errorf("%s did not change the generation", name)
		}
	}
}

// Votes of vantages that know nothing of several checks must go on counting.
func TestGenerationOfOneCheckIsWhatItAlwaysWas(t *testing.T) {
	if got, want := Generation([]Target{target(HTTP, "192.0.2.1:8080")}), "b300aaf7b2815925"; got != want {
		t.Errorf("generation %s, was %s before", got, want)
	}
}

func TestFirstCheckThatHoldsAConnection(t *testing.T) {
	tg := several(Any, "192.0.2.1:80", Check{Type: HTTP, Port: 81}, Check{Type: TCP})
	one, ok := tg.Connected()
	if !ok || one.Check.Type != HTTP || one.Checks != nil || one.dialAddress() != "192.0.2.1:81" || len(one.Validate()) > 0 {
		t.Errorf("got %+v", one)
	}
	if one, ok := target(TLS, "192.0.2.1:443").Connected(); !ok || one.Check.Type != TLS {
		t.Errorf("got %+v", one)
	}
}
