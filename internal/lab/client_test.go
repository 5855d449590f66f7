package lab

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func answersWith(target string) func(*dns.Msg) *dns.Msg {
	return func(q *dns.Msg) *dns.Msg { return says(q, target) }
}

func TestAClientFollowsACNAMEThatComesWithoutItsAddress(t *testing.T) {
	server := authority(t, func(q *dns.Msg) *dns.Msg {
		m := says(q, "b.lab.test.")
		if q.Question[0].Name == "b.lab.test." {
			m.Answer = m.Answer[1:] // the address of the target itself
		} else {
			m.Answer = m.Answer[:1]
		}
		return m
	})
	target, addr, err := Client{Server: server, Name: testName}.Resolve(t.Context())
	if err != nil || target != "b.lab.test." || addr != testHosts["b.lab.test."] {
		t.Errorf("%s %s %v", target, addr, err)
	}
}

func TestAClientSaysWhatItMet(t *testing.T) {
	for says, answer := range map[string]func(*dns.Msg) *dns.Msg{
		"the authority says SERVFAIL":        func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) },
		"no address":                         func(q *dns.Msg) *dns.Msg { return new(dns.Msg).SetReply(q) },
		"the authority does not answer":      func(*dns.Msg) *dns.Msg { return nil },
		"nothing of the lab lives at b.lab.": answersWith("b.lab.test."),
	} {
		c := Client{Server: authority(t, answer), Name: testName, Timeout: patient}
		if strings.Contains(says, "does not answer") {
			c.Timeout = 200 * time.Millisecond // it is waited out
		}
		if got := c.Once(t.Context()).Outcome(); !strings.Contains(got, says) {
			t.Errorf("%q, want it to say %q", got, says)
		}
	}
}

func TestTransitionsAreToldOnceEachWithTheLengthOfTheOutage(t *testing.T) {
	at := func(ms int, by string, err error) Call {
		return Call{At: moment(ms), Took: 2 * time.Millisecond, By: by, Claims: by, Err: err}
	}
	refused := errors.New("refused")
	var tr Transitions
	var lines []string
	for _, c := range []Call{at(0, "a", nil), at(200, "a", nil), at(400, "", refused), at(600, "", refused), at(800, "b", nil), at(1000, "b", nil)} {
		if line := tr.Add(c); line != "" {
			lines = append(lines, line)
		}
	}
	want := []string{
		"00:00:00.002  served by a",
		"00:00:00.402  errors: refused",
		"00:00:00.802  served by b  (402 ms after the first failed call)",
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if tr.Calls != 6 || tr.Failed != 2 {
		t.Errorf("%d calls, %d failed", tr.Calls, tr.Failed)
	}
}

func TestWatchCallsUntilItIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	Client{Server: authority(t, answersWith("a.lab.test.")), Name: testName, Timeout: patient}.Watch(ctx, time.Millisecond, func(Call) {
		if calls++; calls == 5 {
			cancel()
		}
	})
	if calls != 5 {
		t.Errorf("%d calls, want 5", calls)
	}
}

func TestALookUpMayHaveAPatienceOfItsOwn(t *testing.T) {
	w := newWorld(t, Orders)
	slow := authority(t, func(q *dns.Msg) *dns.Msg {
		time.Sleep(300 * time.Millisecond)
		return answersWith("a.lab.test.")(q)
	})
	c := Client{Server: slow, Name: testName, Sites: w.Clusters, Timeout: 100 * time.Millisecond}
	if got := c.Once(t.Context()); got.Err == nil || got.Target != "" {
		t.Errorf("without: %q, %v", got.Target, got.Err)
	}
	c.Patience = ResolverPatience
	if got := c.Once(t.Context()); got.Target != "a.lab.test." { // nobody serves there, but it was found
		t.Errorf("with: %q, %v", got.Target, got.Err)
	}
}
