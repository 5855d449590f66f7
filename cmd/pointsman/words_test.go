package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func TestAnErrorHasOneHintAlsoWhenItCarriesOneInItsWords(t *testing.T) {
	inner := errors.New("read secret k: others may read it\nhint: chmod 600 k")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"plain":      {fmt.Errorf("vantage v: %w", inner), "pointsman: vantage v: read secret k: others may read it\nhint: chmod 600 k\n"},
		"at start":   {startError(inner, "f.yaml"), "pointsman: read secret k: others may read it\nhint: chmod 600 k\n"},
		"with other": {fmt.Errorf("p: %w", failed("make one", "%w", inner)), "pointsman: p: read secret k: others may read it\nhint: make one\n"},
	} {
		var b bytes.Buffer
		report(&b, c.err)
		if b.String() != c.want {
			t.Errorf("%s: %q, want %q", name, b.String(), c.want)
		}
	}
}

func TestWhoDoesNotLeadIsToldWhatHelps(t *testing.T) {
	for text, want := range map[string]string{
		"raise the term: ledger takes no more writes until a restart: disk is full": "disk of controller.data, then restart",
		"degraded: api: address already in use":                                     "then restart the controller",
		"another process leads":                                                     "/leader answers 200",
	} {
		r := api.Reply{Code: failover.ReplyNotLeading, Text: text, Hint: "ask the leading controller: its /leader answers 200"}
		var b bytes.Buffer
		if code := report(&b, replyError(r, "ack")); code != exitNotLeading || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %d %q", text, code, b.String())
		}
	}
}

func TestAStopSaysWhatEndsIt(t *testing.T) {
	for kind, want := range map[failover.StopKind]string{
		failover.StopDrift: "until adopted or restored", failover.StopPause: "until resumed",
		failover.StopUnacknowledged: "until acknowledged",
	} {
		if got := untilWhen(failover.Stop{Kind: kind}); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
	if got := untilWhen(failover.Stop{Kind: failover.StopDrift, Until: time.Now()}); !strings.HasPrefix(got, "until 2") {
		t.Errorf("with an end: %q", got)
	}
}

func TestAStopWithAnEndSaysHowMuchIsLeft(t *testing.T) {
	s := failover.Stop{Kind: failover.StopPause, By: "ann", Why: "a release", Until: time.Now().Add(48*time.Hour + 30*time.Minute)}
	v := failover.View{Instance: "orders", Leading: true, Stops: []failover.Stop{s, {Kind: failover.StopDrift}}}
	if got := stops(v); !strings.HasPrefix(got, "pause (48h") || !strings.HasSuffix(got, " left), drift") {
		t.Errorf("in the table: %q", got)
	}
	if got := banners(v); len(got) != 1 || !strings.Contains(got[0], "by ann: a release, until 2") || !strings.Contains(got[0], ", 48h") {
		t.Errorf("above it: %q", got)
	}
	if got := untilWhen(s); !strings.HasSuffix(got, " left") {
		t.Errorf("in full: %q", got)
	}
}

func TestAPlanThatMovesNothingNamesOneCluster(t *testing.T) {
	for to, want := range map[failover.ClusterName]string{
		"a": "switchover of orders: it is at a already, made at epoch 3\n",
		"b": "switchover of orders from a to b, made at epoch 3\n",
	} {
		var b bytes.Buffer
		a, _ := atTerminal("")
		a.planTable(&b, failover.Plan{Kind: failover.Switchover, Instance: "orders", From: "a", To: to, Epoch: 3})
		if !strings.HasPrefix(b.String(), want) {
			t.Errorf("to %s: %q", to, b.String())
		}
	}
}

func TestHistoryReadsNaturallyAndSaysNothingTwice(t *testing.T) {
	for _, c := range []struct{ kind, data, want string }{
		{"active", `{"cluster":"a","to":"a"}`, "a"},
		{"active", `{"cluster":"b","from":"a","to":"b"}`, "a -> b"},
		{"operation", `{"cluster":"b","to":"failover started","op":"orders-1.1","reason":"a is down"}`, "orders-1.1 failover started: a is down"},
		{"operation", `{"cluster":"b","from":"failover","to":"settled","op":"orders-1.1"}`, "failover orders-1.1 settled"},
		{"step", `{"cluster":"b","to":"move","op":"orders-1.1"}`, "orders-1.1 move"},
		{"verdict", `{"cluster":"b","from":"up","to":"down","reason":"quorum"}`, "b up -> down: quorum"},
		{"page", `{"kind":"x","text":"come"}`, "come"},
		{"outcome", `{"op":{"id":"o-1","kind":"failover","from":"a","to":"b","reason":"r"},"outcome":"settled"}`, "failover o-1 from a to b settled: r"},
	} {
		if got := sampleWords(api.Sample{Kind: c.kind, Data: []byte(c.data)}); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.kind, c.data, got, c.want)
		}
	}
}

func TestColoursOfATableAreOursAndNothingElsePasses(t *testing.T) {
	v := failover.View{
		Instance: "x", Leading: true, Mode: "auto\x1b[2J",
		Clusters: []failover.ClusterView{{Name: "a\x1b[8m", Verdict: failover.Up}},
	}
	for tty, want := range map[bool]string{true: "a\\u001b[8m \x1b[32mup\x1b[0m  auto\\u001b[2J", false: "a\\u001b[8m up  auto\\u001b[2J"} {
		var b strings.Builder
		a := &app{stdoutTTY: tty, env: func(string) string { return "" }}
		if a.statusTable(&b, []failover.View{v}); !strings.Contains(b.String(), want) {
			t.Errorf("on a terminal %v: %q, want %q in it", tty, b.String(), want)
		}
	}
	if got := cleanPainted("\x1b[32m\x07\x1b[0m\x1b[31mopen"); got != "\x1b[32m\\u0007\x1b[0m\\u001b[31mopen" {
		t.Errorf("%q", got)
	}
}
