package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

func TestEveryReadingCallComesBackOverTheSocket(t *testing.T) {
	w := newWorld()
	c := overSocket(t, w)
	ctx := t.Context()
	if vs, err := c.Views(ctx); err != nil || len(vs) != 1 || vs[0].Active != "a" {
		t.Errorf("views: %+v, %v", vs, err)
	}
	if v, err := c.View(ctx, "orders"); err != nil || v.Token.Epoch != 7 {
		t.Errorf("view: %+v, %v", v, err)
	}
	if e, err := c.Explain(ctx, "orders"); err != nil || e.Headline != "nothing to do" {
		t.Errorf("explain: %+v, %v", e, err)
	}
	if ls, err := c.Audit(ctx, Query{Instance: "orders", Limit: 5}); err != nil || len(ls) != 1 || ls[0].Kind != "create" || ls[0].Hash != "aa" {
		t.Errorf("audit: %+v, %v", ls, err)
	}
	if ls, err := c.History(ctx, Query{}); err != nil || ls == nil || len(ls) != 0 {
		t.Errorf("history: %#v, %v (an empty list is wanted, not null)", ls, err)
	}
	if ls, err := c.Probes(ctx, Query{}); err != nil || len(ls) != 1 || ls[0].Phase != "dial" {
		t.Errorf("probes: %+v, %v", ls, err)
	}
	if v, err := c.Version(ctx); err != nil || v.Version != "test" {
		t.Errorf("version: %+v, %v", v, err)
	}
	if cond, err := c.VerifyAudit(ctx); err != nil || !cond.OK {
		t.Errorf("verify: %+v, %v", cond, err)
	}
	w.chain = errors.New("entry 4 does not follow")
	if cond, err := c.VerifyAudit(ctx); err != nil || cond.OK || cond.Why != "entry 4 does not follow" {
		t.Errorf("verify of a broken chain: %+v, %v", cond, err)
	}
}

func TestQueryReachesTheReader(t *testing.T) {
	w := newWorld()
	c := overSocket(t, w)
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 8*3600))
	if _, err := c.Audit(t.Context(), Query{Instance: "orders", Since: since, Limit: 17, Kind: "outcome"}); err != nil {
		t.Fatal(err)
	}
	if q := w.queries[0]; q.Instance != "orders" || !q.Since.Equal(since) || q.Limit != 17 || q.Kind != "outcome" {
		t.Errorf("query came in as %+v", q)
	}
	if _, err := c.Audit(t.Context(), Query{Limit: MaxPage + 1}); err == nil {
		t.Error("a page above the cap was given")
	}
}

func TestCommandArrivesWithEveryFieldAndTheCallersUser(t *testing.T) {
	w := newWorld()
	c := overSocket(t, w)
	epoch := uint64(7)
	rep, err := c.Do(t.Context(), "orders", CommandRequest{
		Verb: failover.DoFailover, By: "alice@desk", To: "b", Reason: "a is lost", Override: []failover.Guard{failover.GuardExposure},
		AcceptLoss: "40s", AcceptPinned: true, ExpectActive: "a", ExpectEpoch: &epoch,
	})
	if err != nil || rep.Code != failover.ReplyDone {
		t.Fatalf("reply %+v, %v", rep, err)
	}
	got := w.commands()[0]
	if want := fmt.Sprintf("alice@desk (uid %d)", os.Geteuid()); got.By != want {
		t.Errorf("by %q, want %q", got.By, want)
	}
	if got.Do != failover.DoFailover || got.To != "b" || got.Reason != "a is lost" || !got.AcceptPinned ||
		got.ExpectActive != "a" || got.ExpectEpoch == nil || *got.ExpectEpoch != 7 ||
		got.AcceptLoss == nil || *got.AcceptLoss != 40*time.Second || len(got.Override) != 1 {
		t.Errorf("command came in as %+v", got)
	}
	if got.Ref != "" || got.OpID != "" || got.PlanHash != "" {
		t.Errorf("a field that is not for people was set: %+v", got)
	}
}

func TestRefusalsComeBackAsRepliesNotErrors(t *testing.T) {
	w := newWorld()
	c := overSocket(t, w)
	for _, code := range []failover.ReplyCode{
		failover.ReplyDone, failover.ReplyStarted, failover.ReplyNothing, failover.ReplyRefused,
		failover.ReplyStale, failover.ReplyNotLeading, failover.ReplyBad,
	} {
		w.reply = failover.Reply{
			Code: code, Guard: "exposure", Text: "text", Hint: "hint", OpID: "op-1",
			Refused: []failover.Refusal{{Guard: "exposure", Why: "too much"}},
		}
		rep, err := c.Do(t.Context(), "orders", CommandRequest{Verb: failover.DoAck, By: "x"})
		if err != nil || rep.Code != code || rep.Guard != "exposure" || rep.Hint != "hint" || rep.OpID != "op-1" || len(rep.Refused) != 1 {
			t.Errorf("%s came back as %+v, %v", code, rep, err)
		}
	}
}

func TestAPlanIsAppliedForTheWorldItWasMadeFor(t *testing.T) {
	w := newWorld()
	c := overSocket(t, w)
	p, err := c.Plan(t.Context(), "orders", CommandRequest{Verb: failover.DoSwitchover, By: "x", Reason: "r", Override: []failover.Guard{"paused"}})
	if err != nil {
		t.Fatal(err)
	}
	w.reply = failover.Reply{Code: failover.ReplyStale, Text: "moved"}
	rep, err := c.Apply(t.Context(), ApplyRequest{By: "x", Plan: p})
	if err != nil || rep.Code != failover.ReplyStale {
		t.Fatalf("apply: %+v, %v", rep, err)
	}
	got := w.commands()[1]
	if got.Do != failover.DoSwitchover || got.PlanHash != "h1" || got.ExpectActive != "a" || *got.ExpectEpoch != 7 || got.To != "b" || len(got.Override) != 1 {
		t.Errorf("plan came in as %+v", got)
	}
	p.Hash = ""
	if _, err := c.Apply(t.Context(), ApplyRequest{By: "x", Plan: p}); err == nil {
		t.Error("a plan without a hash was taken")
	}
}

func TestUnknownInstanceNamesThoseThatExist(t *testing.T) {
	c := overSocket(t, newWorld())
	_, err := c.View(t.Context(), "ordres")
	var p *Problem
	if !errors.As(err, &p) || p.Status != 404 || len(p.Known) != 1 || p.Known[0] != "orders" {
		t.Errorf("got %v, %+v", err, p)
	}
}

func TestALostAnswerIsNotTakenForARefusal(t *testing.T) {
	w := newWorld()
	w.askErr = errGone
	c := overSocket(t, w)
	_, err := c.Do(t.Context(), "orders", CommandRequest{Verb: failover.DoAck, By: "x"})
	var p *Problem
	if !errors.As(err, &p) || p.Status != 503 || !strings.Contains(p.Hint, "not known") {
		t.Errorf("got %v, %+v", err, p)
	}
}

func TestWatchShowsChangesAndEndsWithTheServer(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srvCtx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(srvCtx) }()
	c, err := NewClient(ClientConfig{Socket: cfg.Socket})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = c.Watch(t.Context(), "orders", func(vs []failover.View) error {
		seen++
		switch vs[0].Active {
		case "a":
			w.change(func(v *failover.View) { v.Active = "b" })
		case "b":
			stop()
		}
		return nil
	})
	if seen < 2 {
		t.Errorf("%d pictures, the change was missed", seen)
	}
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("watch ended with %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("server ended with %v", err)
	}
	if _, err := os.Lstat(cfg.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket is left behind: %v", err)
	}
}

func TestWatchEndsWhenTheReaderWantsIt(t *testing.T) {
	c := overSocket(t, newWorld())
	enough := errors.New("enough")
	if err := c.Watch(t.Context(), "", func([]failover.View) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	if err := c.Watch(t.Context(), "nobody", nil); err == nil || errors.Is(err, ErrUnreachable) {
		t.Errorf("watch of an unknown instance: %v", err)
	}
}

func TestNobodyThereIsSaidPlainly(t *testing.T) {
	c, err := NewClient(ClientConfig{Socket: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Views(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestSocketIsForItsOwnerOnlyAndNeverTakenFromALivingProcess(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	serveTest(t, cfg)
	fi, err := os.Stat(cfg.Socket)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := New(cfg); !errors.Is(err, ErrSocketTaken) {
		t.Errorf("second server: %v", err)
	}

	dir := filepath.Join(filepath.Dir(cfg.Socket), "new")
	cfg.Socket = filepath.Join(dir, "s")
	serveTest(t, cfg)
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %v, %v", fi.Mode(), err)
	}
}

func TestSocketOfADeadProcessIsReplaced(t *testing.T) {
	w := newWorld()
	cfg := w.config(t)
	l, err := net.Listen("unix", cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	serveTest(t, cfg)
	c, _ := NewClient(ClientConfig{Socket: cfg.Socket})
	if _, err := c.Views(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAFileInPlaceOfTheSocketIsNotRemoved(t *testing.T) {
	cfg := newWorld().config(t)
	if err := os.WriteFile(cfg.Socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil {
		t.Error("the server started")
	}
	if b, _ := os.ReadFile(cfg.Socket); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

func TestSocketInADirectoryThatOthersMayWriteIsRefused(t *testing.T) {
	cfg := newWorld().config(t)
	if err := os.Chmod(filepath.Dir(cfg.Socket), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); !errors.Is(err, ErrSocketDir) {
		t.Errorf("got %v", err)
	}
}
