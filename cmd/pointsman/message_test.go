package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/failover"
)

func TestEveryErrorHasAHintAndTheStatusOfItsKind(t *testing.T) {
	refused := api.Reply{Code: failover.ReplyRefused, Guard: "exposure", Text: "too much", Refused: []failover.Refusal{
		{Guard: "exposure", Why: "would lose 40s"}, {Guard: "paused", Why: "work", Hint: "resume"},
	}}
	for _, c := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"plain", errors.New("broken"), exitError, "pointsman: broken"},
		{"failure", fmt.Errorf("start: %w", failed("do this", "no")), exitError, "hint: do this"},
		{"unreachable", fmt.Errorf("%w at x", api.ErrUnreachable), exitError, "pointsman run -c FILE"},
		{"not ours", api.ErrNotOurs, exitError, "something else answers"},
		{"problem", &api.Problem{Message: "no such thing"}, exitError, "no such thing"},
		{"problem with a hint", &api.Problem{Message: "no", Hint: "yes"}, exitError, "hint: yes"},
		{"unknown name", nearInstance(&api.Problem{Message: "no x", Known: []string{"orders", "billing"}}, "ordres"), exitError, "did you mean orders?"},
		{"far name", nearInstance(&api.Problem{Message: "no x", Known: []string{"orders", "billing"}}, "zzz"), exitError, "there is orders, billing"},
		{"interrupted", context.Canceled, exitError, "pointsman: interrupted"},
		{"refused", replyError(refused, "failover"), exitRefused, "refused by exposure: would lose 40s\n  also by paused: work"},
		{"stale", replyError(api.Reply{Code: failover.ReplyStale, Text: "moved"}, "apply"), exitRefused, "refused by stale: moved"},
		{"not leading", replyError(api.Reply{Code: failover.ReplyNotLeading, Text: "disk is full"}, "ack"), exitNotLeading, "not leading: disk is full"},
		{"bad", replyError(api.Reply{Code: failover.ReplyBad, Text: "senseless"}, "ack"), exitError, "senseless"},
		{"unknown code", replyError(api.Reply{Code: "new", Text: "of a newer server"}, "ack"), exitError, "of a newer server"},
	} {
		var b bytes.Buffer
		if code := report(&b, c.err); code != c.code {
			t.Errorf("%s: exit status %d, want %d", c.name, code, c.code)
		}
		if out := b.String(); !strings.Contains(out, c.want) || !strings.Contains(out, "\nhint: ") || !strings.HasPrefix(out, "pointsman: ") {
			t.Errorf("%s: printed %q", c.name, out)
		}
	}
	for _, code := range []failover.ReplyCode{failover.ReplyDone, failover.ReplyStarted, failover.ReplyNothing} {
		if err := replyError(api.Reply{Code: code}, "x"); err != nil {
			t.Errorf("%s is an error: %v", code, err)
		}
	}
	var b bytes.Buffer
	if report(&b, nil) != exitOK || report(&b, errStatus(exitChanges)) != exitChanges || b.Len() != 0 {
		t.Errorf("a status without a message printed %q", b.String())
	}
}

func TestNearestFindsTypingMistakesOnly(t *testing.T) {
	known := []string{"orders", "billing", "search"}
	for typed, want := range map[string]string{
		"ordres": "orders", "order": "orders", "biling": "billing", "serach": "search", "xyz": "", "": "", "b": "",
	} {
		if got := nearest(typed, known); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// nasty tries to forge a line, to clear the screen in two ways, and to turn
// the direction of what follows.
const nasty = "no\ntime=1 level=ERROR msg=forged \x1b[2J \u009b2J \u202e \x7f \u2066"

func TestNothingFromOutsideReachesATerminalAsAControl(t *testing.T) {
	var b bytes.Buffer
	report(&b, errors.New(nasty))
	writeTable(&b, []string{"X"}, [][]string{{nasty}})
	writeList(&b, "notice", nasty)
	for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\x7f", "\u2066"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("%q came through: %q", bad, b.String())
		}
	}
	if s := "plain, 日本語, tab\tand line\n"; clean(s) != s {
		t.Errorf("%q was changed to %q", s, clean(s))
	}
}

type shouting struct{}

func (shouting) String() string { return nasty }

func TestLogLinesCannotBeForged(t *testing.T) {
	for _, format := range []string{"text", "json", "color"} {
		var b bytes.Buffer
		h, ok := logHandler(format, &b, slog.LevelInfo)
		if !ok {
			t.Fatal(format)
		}
		slog.New(h).Info(nasty, "reason", nasty, "err", errors.New(nasty), "thing", shouting{}, nasty, 1)
		out := b.String()
		if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") {
			t.Errorf("%s: %d lines: %q", format, strings.Count(out, "\n"), out)
		}
		for _, bad := range []string{"\x1b[2J", "\u009b", "\u202e", "\x7f", "\u2066"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: %q came through: %q", format, bad, out)
			}
		}
		if format == "json" && !json.Valid(b.Bytes()) {
			t.Errorf("not JSON: %q", out)
		}
	}
	if _, ok := logHandler("xml", nil, 0); ok {
		t.Error("xml is a format")
	}
}

func TestDataCarriesUTCWhereverItIsNested(t *testing.T) {
	east := time.Date(2026, 1, 2, 8, 0, 0, 0, time.FixedZone("", 8*3600))
	v := failover.View{
		At: east, Stops: []failover.Stop{{Since: east}},
		Op:     &failover.Op{StepAt: map[failover.StepName]time.Time{"move": east}},
		LastOp: &failover.OpSummary{At: east},
	}
	data, err := json.Marshal(utc([]failover.View{v}))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "+08:00") || strings.Count(string(data), "2026-01-02T00:00:00Z") != 4 {
		t.Errorf("got %s", data)
	}
	if _, off := v.LastOp.At.Zone(); off != 8*3600 {
		t.Error("the original was changed")
	}
	if utc(nil) != nil {
		t.Error("nil is something")
	}
}

func TestAgesAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 12345 * time.Microsecond: "12ms", 1449 * time.Millisecond: "1.4s",
		200*time.Second + 300*time.Millisecond: "3m20s", 26*time.Hour + 30*time.Second: "26h1m",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
