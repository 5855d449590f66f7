package doctor

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func TestClustersAreJudgedByWhatAClientWouldMeet(t *testing.T) {
	sound := ProbeFacts{Instance: "orders", Cluster: "b", Client: "orders.example.com", Address: "192.0.2.20:443", Identity: "b", Proved: true, Took: time.Millisecond}
	with := func(change func(p *ProbeFacts)) Finding { p := sound; change(&p); return JudgeProbe(p) }
	for name, c := range map[string]struct {
		f    Finding
		want verdictIs
	}{
		"sound":          {JudgeProbe(sound), verdictIs{"cluster.probe", OK, "192.0.2.20:443 as orders.example.com: passed in 1ms, and says that it is b", ""}},
		"another":        {with(func(p *ProbeFacts) { p.Err, p.Wrong = "wrong cluster: says a, want b", true }), verdictIs{"cluster.probe", Fail, "says a, want b", "address of cluster b"}},
		"the name":       {with(func(p *ProbeFacts) { p.Err, p.Name = "valid for other", true }), verdictIs{"cluster.probe", Fail, "valid for other", "certificate that covers orders.example.com"}},
		"the chain":      {with(func(p *ProbeFacts) { p.Err, p.Trust = "unknown authority", true }), verdictIs{"cluster.probe", Fail, "unknown authority", "check.ca_file"}},
		"down":           {with(func(p *ProbeFacts) { p.Err = "connection refused" }), verdictIs{"cluster.probe", Fail, "connection refused", "start cluster b"}},
		"our fault":      {with(func(p *ProbeFacts) { p.Err, p.Own = "no such host", true }), verdictIs{"cluster.probe", Warn, "a fault of this host: no such host", "says nothing of the cluster"}},
		"no identity":    {with(func(p *ProbeFacts) { p.Identity, p.Proved = "", false }), verdictIs{"cluster.probe", Warn, "does not ask which cluster answers", "check.identity"}},
		"unproved":       {with(func(p *ProbeFacts) { p.Proved = false }), verdictIs{"cluster.probe", Warn, "did not prove that it is b", "check.identity"}},
		"with a warning": {with(func(p *ProbeFacts) { p.Warnings = []string{"slow"} }), verdictIs{"cluster.probe", Warn, "with a warning: slow", "warning"}},
		"not from here":  {with(func(p *ProbeFacts) { p.Unwilling, p.Err = true, "a command" }), verdictIs{"cluster.probe", Skipped, "a command", ""}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, []Finding{c.f}) })
	}
}

func TestProofsAreJudgedByAge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	vote := failover.VantageView{Vantage: "v", Vote: failover.Up, Identity: true}
	view := func(p *failover.Proof) failover.View {
		return failover.View{Instance: "orders", Clusters: []failover.ClusterView{{Name: "b", Proof: p, Votes: []failover.VantageView{vote, {Vantage: "w"}}}}}
	}
	for name, c := range map[string]struct {
		proof  *failover.Proof
		policy failover.MoveProofPolicy
		want   verdictIs
	}{
		"fresh":  {&failover.Proof{At: now.Add(-time.Hour), How: "seen"}, failover.MoveProofRequired, verdictIs{"cluster.proof", OK, "proved 1h0m0s ago (seen), counts until 2027-01-22T07:00:00Z; 1 of 2 vantages see", ""}},
		"old":    {&failover.Proof{At: now.Add(-8 * 24 * time.Hour)}, failover.MoveProofRequired, verdictIs{"cluster.proof", Fail, "8 days old", "prove-move orders"}},
		"none":   {nil, failover.MoveProofRequired, verdictIs{"cluster.proof", Fail, "no proof was ever recorded; 1 of 2", "quorum of vantages"}},
		"waived": {nil, failover.MoveProofWaived, verdictIs{"cluster.proof", Warn, "waived", "check.identity"}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, JudgeProof(view(c.proof), c.policy, now)) })
	}
}

func TestVantagesAreJudgedByTheirVoice(t *testing.T) {
	view := func(vs ...failover.VantageView) failover.View {
		return failover.View{Clusters: []failover.ClusterView{{Name: "a", Votes: vs}, {Name: "b", Votes: vs}}}
	}
	v := failover.VantageView{Vantage: "van-2", Vote: failover.Up, AgeMS: 100}
	mute, old, sick := v, v, v
	mute.AgeMS, old.AgeMS, sick.Vote, sick.Reason = -1, 90_000, failover.Unknown, "sick: no control"
	for name, c := range map[string]struct {
		view failover.View
		want verdictIs
	}{
		"well":  {view(v), verdictIs{"vantage.reports", OK, "reports are fresh", ""}},
		"never": {view(mute), verdictIs{"vantage.reports", Fail, "no report of it ever came", "pointsman vantage"}},
		"stale": {view(old), verdictIs{"vantage.reports", Fail, "1m30s old and counts no more", "controller.advertise"}},
		"sick":  {view(sick), verdictIs{"vantage.reports", Warn, "it abstains: a: sick: no control; b: sick", "config vantage"}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, JudgeReports(c.view, 2*time.Second)) })
	}
}

func TestAControllerIsJudgedByWhatItSays(t *testing.T) {
	sound := RunningFacts{Where: "s", Instances: 2, Leading: 2, Hash: "abc", FileHash: "abc"}
	with := func(change func(r *RunningFacts)) RunningFacts { r := sound; change(&r); return r }
	for name, c := range map[string]struct {
		r    RunningFacts
		want verdictIs
	}{
		"sound":     {sound, verdictIs{"config.running", OK, "leads 2 instances, with configuration abc", ""}},
		"nobody":    {RunningFacts{Err: "no answer"}, verdictIs{"config.running", Skipped, "no answer", ""}},
		"hangs":     {RunningFacts{Err: "it does not answer in time", Hangs: true}, verdictIs{"config.running", Fail, "does not answer in time", "its log"}},
		"no lead":   {with(func(r *RunningFacts) { r.Leading, r.LeadWhy = 1, []string{"disk is full"} }), verdictIs{"config.running", Fail, "leads 1 of 2 instances: disk is full", "restart"}},
		"other":     {with(func(r *RunningFacts) { r.FileHash = "def" }), verdictIs{"config.running", Warn, "runs abc, and the file is def", "reload"}},
		"refused":   {with(func(r *RunningFacts) { r.Refused = "1 mistake" }), verdictIs{"config.running", Fail, "refused, an older configuration runs: 1 mistake", "--dry-run"}},
		"rewritten": {with(func(r *RunningFacts) { r.Audit = "entry 3" }), verdictIs{"config.running", Fail, "chain of the audit is broken: entry 3", "who changed it"}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, JudgeRunning(c.r)) })
	}
}

func TestControlsAndChannelsAreTried(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	good, bad := Reach(t.Context(), l.Addr().String()), Reach(t.Context(), gone.Addr().String())
	own := good
	own.Own = true
	for name, c := range map[string]struct {
		controls []ReachFacts
		want     verdictIs
	}{
		"good":  {[]ReachFacts{good}, verdictIs{"vantage.controls", OK, l.Addr().String() + " answer", ""}},
		"one":   {[]ReachFacts{good, bad}, verdictIs{"vantage.controls", Warn, gone.Addr().String() + ": nothing listens there", "do not answer"}},
		"none":  {[]ReachFacts{bad}, verdictIs{"vantage.controls", Fail, "none answers", "abstains from everything"}},
		"empty": {nil, verdictIs{"vantage.controls", Warn, "has no controls", "vantage.controls"}},
		"own":   {[]ReachFacts{own}, verdictIs{"vantage.controls", Warn, "its only control is this program itself", "gateway"}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, []Finding{JudgeControls("v", c.controls)}) })
	}
	fs := ReachChannels(t.Context(), []Channel{
		{"mail", "smtp.example.com:587", func(context.Context) error { return nil }},
		{"chat", "hooks.example.com", func(context.Context) error { return errors.New("certificate expired") }},
		{"slack", "shoutrrr", nil},
	})
	verdictIs{"channels", Skipped, "shoutrrr can be tried only by a message: pointsman notify test slack", ""}.check(t, fs)
	verdictIs{"channels", OK, "smtp.example.com:587 can be reached", ""}.check(t, fs)
	verdictIs{"channels", Fail, "hooks.example.com cannot be reached: certificate expired", "address"}.check(t, fs)
	verdictIs{"channels", Skipped, "no channel", ""}.check(t, ReachChannels(t.Context(), nil))
}
