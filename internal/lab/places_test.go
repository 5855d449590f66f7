package lab

import (
	"strings"
	"testing"
	"time"
)

// TestAPlaceIsJudged: each promise of the story of the places, broken once.
func TestAPlaceIsJudged(t *testing.T) {
	death := moment(100)
	settled := View{Active: "b", LastOp: &OpSummary{Outcome: "settled", Op: Op{DetectedAt: moment(109), StepAt: map[string]time.Time{"settle": moment(230)}}}}
	commits := []Commit{{moment(110), "b.back.test."}}
	is := func(ms int, target string) Answer {
		return Answer{Asked: moment(ms), Received: moment(ms + 1), Kind: AnswerTarget, Target: target}
	}
	none := func(ms int, kind AnswerKind) Answer {
		return Answer{Asked: moment(ms), Received: moment(ms + 1), Kind: kind}
	}
	sound := []Answer{is(50, "a.back.test."), is(105, "a.back.test."), is(120, "b.back.test."), is(300, "b.back.test.")}
	still := settled
	still.Active, still.LastOp = "a", nil
	for name, c := range map[string]struct {
		answers []Answer
		commits []Commit
		view    View
		why     string
	}{
		"sound":          {sound, commits, settled, ""},
		"lost ones":      {append(sound[:3:3], none(200, AnswerMissing)), commits, settled, ""},
		"an empty one":   {append(sound[:3:3], none(200, AnswerEmpty)), commits, settled, "1 empty, 0 NXDOMAIN"},
		"no such name":   {append(sound[:3:3], none(200, AnswerNXDomain)), commits, settled, "1 NXDOMAIN"},
		"not moved":      {sound[:2], nil, settled, "the name went a.back.test., not a.back.test. → b.back.test."},
		"gone back":      {append(sound[:3:3], is(400, "a.back.test.")), commits, settled, "the name went a.back.test. → b.back.test. → a.back.test."},
		"somewhere else": {append(sound[:3:3], is(400, "c.back.test.")), commits, settled, "c.back.test. was never committed"},
		"too early":      {sound, []Commit{{moment(200), "b.back.test."}}, settled, "b.back.test. was never committed"},
		"not settled":    {sound, commits, still, "the failover did not settle: a is active"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Place{Name: "orders.bind.test.", from: "a.back.test.", to: "b.back.test."}
			p.judge(c.answers, c.commits, c.view, death)
			if got := strings.Join(p.Why, "; "); (got == "") != (c.why == "") || !strings.Contains(got, c.why) {
				t.Errorf("%q, want %q", got, c.why)
			}
			if c.view.LastOp != nil && (p.DetectedMS == nil || *p.DetectedMS != 9 || *p.SettledMS != 130) {
				t.Errorf("detected %v, settled %v", p.DetectedMS, p.SettledMS)
			}
			r := PlacesReport{Places: []*Place{p}}
			var b strings.Builder
			r.WriteTable(&b)
			if strings.Contains(b.String(), "BROKEN") != (c.why != "") || !strings.Contains(b.String(), c.why) {
				t.Errorf("the table:\n%s", b.String())
			}
		})
	}
}

func TestAPlaceIsWrittenWhenItWasReadBack(t *testing.T) {
	audit := []auditEntry{
		{At: moment(50), Kind: "proof", Text: "orders.bind.test. shows CNAME b.back.test. with v=1 (before)"},
		{At: moment(110), Kind: "write", Text: "orders.bind.test. CNAME b.back.test."},
		{At: moment(120), Kind: "proof", Text: "orders.cloud.test. shows CNAME b.back.test. with v=1 (another)"},
		{At: moment(130), Kind: "proof", Text: "orders.bind.test. shows CNAME b.back.test. with v=1 (it)"},
		{At: moment(140), Kind: "proof", Text: "orders.bind.test. shows CNAME b.back.test. with v=1 (again)"},
	}
	for embedded, want := range map[bool]float64{false: 30, true: 10} {
		p := &Place{Name: "orders.bind.test.", to: "b.back.test.", embedded: embedded}
		p.written(audit, moment(100))
		if p.WrittenMS == nil || *p.WrittenMS != want {
			t.Errorf("embedded %v: %v, want %v", embedded, p.WrittenMS, want)
		}
	}
}

// TestPlacesAreLeftOutWithoutBIND: by name, so that CI notices.
func TestPlacesAreLeftOutWithoutBIND(t *testing.T) {
	var b strings.Builder
	PlacesReport{OK: true, LeftOut: []string{"story providers: install bind9"}}.WriteTable(&b)
	if b.String() != "left out: story providers: install bind9\n" {
		t.Errorf("%q", b.String())
	}
}
