package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/notify"
)

// atNoon is an instance whose active cluster is down.
func atNoon() failover.View {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	return failover.View{
		Instance: "orders", Phase: failover.PhaseIdle, Leading: true, Mode: failover.ModeAuto.String(), Auto: failover.AutoAuto, Active: "a", Standby: "b",
		Wants: "failover to b",
		Clusters: []failover.ClusterView{
			{Name: "a", Role: "active", Verdict: failover.Down, DownSince: now.Add(-time.Minute), Votes: []failover.VantageView{
				{Vantage: "ctl-1", Domain: "rack-1", Vote: failover.Down, Reason: "connect: refused", AgeMS: 200},
				{Vantage: "van-2", Domain: "rack-2", AgeMS: -1},
			}},
			{Name: "b", Role: "standby", Verdict: failover.Up, Proof: &failover.Proof{}},
		},
	}
}

// Every kind of call has words in both languages, and the two commands that it
// names are commands of this program.
func TestEveryCallForPeopleHasItsWords(t *testing.T) {
	tree := programTree()
	for _, kind := range slices.Concat(allPages, replicationPages) {
		if !slices.Contains(notify.Kinds(), kind) {
			t.Errorf("no words for %s", kind)
		}
		for name, bend := range map[string]func(*failover.View){
			"idle": func(*failover.View) {},
			"operation": func(v *failover.View) {
				v.Op = &failover.Op{ID: "orders-1.1", From: "a", To: "b", Auto: true}
			},
			"proposal": func(v *failover.View) { v.Proposal = &failover.Proposal{ID: "orders-p3", To: "b"} },
		} {
			v := atNoon()
			bend(&v)
			m := pageMessage(&v, failover.Page{Kind: kind, Text: "words"}, time.Now())
			if len(m.Commands) != 2 || m.Commands[0] == m.Commands[1] {
				t.Errorf("%s, %s: commands are %v", kind, name, m.Commands)
			}
			for _, c := range m.Commands {
				if fault := callFault(tree, strings.Fields(c)[1:]); fault != "" {
					t.Errorf("%s, %s: %q: %s", kind, name, c, fault)
				}
			}
		}
	}
}

func TestAMessageSaysWhatThereIsToKnow(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	expires := now.Add(10 * time.Minute)
	for name, x := range map[string]struct {
		kind string
		bend func(*failover.View)
		want func(m notify.Message) bool
	}{
		"down since the verdict": {"refused", nil, func(m notify.Message) bool {
			return m.State == notify.Fire && m.Since.Equal(now.Add(-time.Minute)) && m.Title == "a down, b up"
		}},
		"evidence of each vantage": {"refused", nil, func(m notify.Message) bool {
			return slices.Equal(m.Evidence, []notify.Sight{
				{Cluster: "a", Vantage: "ctl-1", Domain: "rack-1", Vote: failover.Down, Reason: "connect: refused, 200ms ago"},
				{Cluster: "a", Vantage: "van-2", Domain: "rack-2"},
			})
		}},
		"a rule moves by itself": {"refused", nil, func(m notify.Message) bool { return m.Will == notify.WillFailover && m.WillTo == "b" }},
		"none does":              {"refused", func(v *failover.View) { v.Mode = failover.ModePropose.String() }, func(m notify.Message) bool { return m.Will == "" }},
		"a proposal with its countdown": {"proposal", func(v *failover.View) {
			v.Proposal = &failover.Proposal{ID: "orders-p3", To: "b", Expires: expires}
		}, func(m notify.Message) bool {
			return m.Will == notify.WillExpire && m.WillAt.Equal(expires) && slices.Equal(m.Commands, []string{"pointsman approve orders-p3", "pointsman deny orders-p3"})
		}},
		"a proposal that was denied": {"refused", func(v *failover.View) {
			v.Proposal = &failover.Proposal{ID: "orders-p3", Denied: &failover.Approval{}}
		}, func(m notify.Message) bool { return m.Commands[0] == "pointsman explain orders" }},
		"an operation's step ends at": {"operation", func(v *failover.View) {
			v.Op, v.Step = &failover.Op{To: "b", Auto: true, FaultAt: now.Add(-3 * time.Second)}, &failover.StepView{Deadline: expires}
		}, func(m notify.Message) bool {
			return m.State == notify.Fire && m.Will == notify.WillContinue && m.WillAt.Equal(expires) && m.Since.Equal(now.Add(-3*time.Second))
		}},
		"a person's operation wakes nobody": {"operation", func(v *failover.View) { v.Op = &failover.Op{To: "b"} }, func(m notify.Message) bool {
			return m.State == notify.Info && m.Change
		}},
		"held has no end": {"held", func(v *failover.View) {
			v.Op, v.Step = &failover.Op{To: "b", Held: &failover.Held{Since: now.Add(-time.Hour)}}, &failover.StepView{Deadline: expires}
		}, func(m notify.Message) bool { return m.WillAt.IsZero() && m.Since.Equal(now.Add(-time.Hour)) }},
		"unwinding": {"unwind", func(v *failover.View) { v.Op = &failover.Op{From: "a", To: "b", Unwind: true} }, func(m notify.Message) bool {
			return m.Will == notify.WillUnwind && m.WillTo == "a"
		}},
		"drift since its stop": {"drift", func(v *failover.View) {
			v.Stops = []failover.Stop{{Kind: failover.StopDrift, Since: now.Add(-2 * time.Hour)}}
		}, func(m notify.Message) bool {
			return m.Since.Equal(now.Add(-2*time.Hour)) && m.Commands[0] == "pointsman adopt orders"
		}},
		"what is not measured is not known": {"refused", nil, func(m notify.Message) bool {
			return m.Loss == nil && slices.Contains(m.Unknown, "what a move would lose: nothing measures the replication")
		}},
		"the loss": {"refused", func(v *failover.View) {
			v.Exposure = failover.ExposureView{Applies: true, Known: true, Bound: 12 * time.Second, Rows: 3}
		}, func(m notify.Message) bool {
			return m.Loss != nil && *m.Loss == notify.Loss{Bound: 12 * time.Second, Rows: 3}
		}},
		"shadow":             {"refused", func(v *failover.View) { v.Mode = failover.ModeShadow.String() }, func(m notify.Message) bool { return m.Shadow }},
		"an ended operation": {"settled", nil, func(m notify.Message) bool { return m.State == notify.Info && m.Change }},
		"a standing pause":   {"pause-stands", nil, func(m notify.Message) bool { return m.State == notify.Info && !m.Change }},
		"an unknown kind":    {"comet", nil, func(m notify.Message) bool { return m.State == notify.Fire && len(m.Commands) == 2 }},
		"an unknown verdict": {"refused", func(v *failover.View) { v.Clusters[1].Verdict, v.Clusters[1].Why = failover.Unknown, "nobody says" }, func(m notify.Message) bool {
			return slices.Contains(m.Unknown, "whether b is up: nobody says")
		}},
		"an instance that is not there": {"config", func(v *failover.View) { *v = failover.View{Instance: "orders"} }, func(m notify.Message) bool { return m.Instance == "orders" }},
	} {
		v := atNoon()
		if x.bend != nil {
			x.bend(&v)
		}
		if m := pageMessage(&v, failover.Page{Kind: x.kind, Text: "words"}, now); !x.want(m) || m.Text != "words" || m.Kind != x.kind {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// An incident ends when nothing calls for a person, and not before.
func TestWhatCallsForAPersonKeepsAnIncidentOpen(t *testing.T) {
	fine := func() failover.View {
		v := atNoon()
		v.Wants, v.Clusters[0].Verdict = "", failover.Up
		v.Stops = []failover.Stop{{Kind: failover.StopCooldown}, {Kind: failover.StopPause}}
		v.Names = []failover.NameView{{Published: &failover.NameAgreement{Agree: true}}}
		return v
	}
	if v := fine(); !well(&v) {
		t.Fatal("all is well and it is not over")
	}
	for name, bend := range map[string]func(*failover.View){
		"not leading":      func(v *failover.View) { v.Leading = false },
		"adopting":         func(v *failover.View) { v.Phase = failover.PhaseAdopting },
		"an operation":     func(v *failover.View) { v.Op = &failover.Op{} },
		"a wish":           func(v *failover.View) { v.Wants = "failover to b" },
		"active down":      func(v *failover.View) { v.Clusters[0].Verdict = failover.Down },
		"active unknown":   func(v *failover.View) { v.Clusters[0].Verdict = failover.Unknown },
		"drift":            func(v *failover.View) { v.Stops = append(v.Stops, failover.Stop{Kind: failover.StopDrift}) },
		"lock-out":         func(v *failover.View) { v.Stops = append(v.Stops, failover.Stop{Kind: failover.StopLockout}) },
		"unacknowledged":   func(v *failover.View) { v.Stops = append(v.Stops, failover.Stop{Kind: failover.StopUnacknowledged}) },
		"unreadable name":  func(v *failover.View) { v.Names[0].SeenErr = "timeout" },
		"dissent":          func(v *failover.View) { v.Names[0].Published.Agree = false },
		"an open proposal": func(v *failover.View) { v.Proposal = &failover.Proposal{} },
	} {
		v := fine()
		bend(&v)
		if well(&v) {
			t.Errorf("it is over in spite of %s", name)
		}
	}
	v := fine()
	if m := overMessage(&v, time.Now()); m.Kind != notify.Over || m.State != notify.Resolve || m.Text != "a serves and nothing waits for a person" {
		t.Errorf("%+v", m)
	}
}

// Whoever orders something has seen why people were called; whoever was refused
// has only asked.
func TestACommandIsAnAcknowledgement(t *testing.T) {
	for _, x := range []struct {
		do   failover.Verb
		code failover.ReplyCode
		want bool
	}{
		{failover.DoAck, failover.ReplyDone, true},
		{failover.DoAck, failover.ReplyNothing, true},
		{failover.DoFailover, failover.ReplyStarted, true},
		{failover.DoPause, failover.ReplyDone, true},
		{failover.DoPause, failover.ReplyNothing, false},
		{failover.DoFailover, failover.ReplyRefused, false},
		{failover.DoFailover, failover.ReplyStale, false},
		{failover.DoApprove, failover.ReplyNotLeading, false},
	} {
		if got := acknowledges(x.do, x.code); got != x.want {
			t.Errorf("%s, %s: %v", x.do, x.code, got)
		}
	}
}
