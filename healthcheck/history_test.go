package healthcheck

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailuresAreKeptLongerThanSuccesses(t *testing.T) {
	h := newHistory(Keep{Successes: 3, Failures: 5})
	at := time.Unix(1_000_000, 0)
	for i := range 1000 {
		o := Observation{Sent: at.Add(time.Duration(i) * time.Second), Outcome: Success}
		switch i {
		case 10, 20, 30:
			o.Outcome, o.Reason = Miss, "refused"
		case 40:
			o.Outcome, o.Reason = OwnFault, "too many open files"
		}
		h.add(o)
	}
	var got []int
	for _, o := range h.list() {
		got = append(got, int(o.Sent.Sub(at)/time.Second))
	}
	check(t, "kept, newest first", got, []int{999, 998, 997, 40, 30, 20, 10})
}

func TestHistoryIsBounded(t *testing.T) {
	h := newHistory(Keep{}.withDefaults())
	for i := range 10_000 {
		h.add(Observation{Sent: time.Unix(int64(i), 0), Outcome: []Outcome{Success, Miss, OwnFault}[i%3]})
	}
	list := h.list()
	check(t, "kept", len(list), 8+64)
	for i := 1; i < len(list); i++ {
		if list[i].Sent.After(list[i-1].Sent) {
			t.Fatal("not newest first")
		}
	}
}

// What a person needs at three in the morning: how far it came, from where to
// where, how long each part took, and why it failed.
func TestAFailureIsKeptWithPhaseTimingsAndAddresses(t *testing.T) {
	l := listen(t)
	tg := target(HTTP, l.Addr().String())
	tg.Timeout = 150 * time.Millisecond
	p, err := NewProber(Config{Vantage: "van-1", Targets: []Target{tg}, Controls: []Control{{l.Addr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	w := p.now.instances[0].watches[0]
	o := flight{watch: w, target: w.target, probe: p.longWay(w), due: time.Now()}.execute(t.Context())
	ob := o.observation()
	if ob.Outcome != Miss || ob.Phase != PhaseRead || ob.Connect <= 0 || ob.Answer <= 0 || ob.Took < ob.Answer ||
		ob.Remote.String() != l.Addr().String() || !ob.Local.IsValid() || ob.Reason == "" {
		t.Errorf("kept %+v", ob)
	}
}

func TestHistoryIsFoundByInstanceAndCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{answer: func(_ context.Context, tg Target, _ time.Duration) error {
			if tg.Cluster == "b" {
				return errDead
			}
			return nil
		}}
		p := w.run(t, Config{Targets: pair(), Controls: []Control{{"192.0.2.9:22"}}, Keep: Keep{Successes: 2, Failures: 4}}, 30*time.Second)
		check(t, "of a", len(p.History("orders", "a")), 2)
		check(t, "of b", len(p.History("orders", "b")), 4)
		check(t, "of the control", len(p.History(controlInstance, "tcp://192.0.2.9:22")), 2)
		check(t, "of nobody", len(p.History("billing", "a"))+len(p.History("orders", "c")), 0)
		if h := p.History("orders", "b")[0]; h.Reason != "connection refused" || h.Outcome != Miss {
			t.Errorf("newest of b: %+v", h)
		}
	})
}

// However many clusters there are and however long all of them fail: what is
// kept of them is bounded in all, also after a reload that adds many.
func TestWhatIsKeptOfAllIsBounded(t *testing.T) {
	p, err := NewProber(Config{Vantage: "van-1", Targets: crowdOf(10, TCP, "192.0.2.1:80")})
	if err != nil {
		t.Fatal(err)
	}
	fill := func() (kept, clusters int) {
		for _, in := range p.now.instances {
			for _, w := range in.watches {
				for range 100 {
					w.history.add(Observation{Outcome: Miss})
				}
				kept += len(w.history.list())
				clusters++
			}
		}
		return kept, clusters
	}
	kept, clusters := fill()
	check(t, "few", []int{kept, clusters}, "[640 10]")
	if err := p.Reload(Config{Vantage: "van-1", Targets: crowdOf(10_000, TCP, "192.0.2.1:80")}); err != nil {
		t.Fatal(err)
	}
	kept, clusters = fill()
	check(t, "many", []int{kept, clusters}, "[260000 10000]")
}
