package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// whole is a controller process in this one, with two clusters that answer.
type whole struct {
	*testing.T
	*process
	file, text string
}

// newWhole runs a process of the file that storyConfig is with one more
// instance, pay. fail is asked at every failpoint.
func newWhole(t *testing.T, fail func(string) error) *whole {
	t.Helper()
	dir, err := os.MkdirTemp("", "whole") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	dns, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	answer := func(c string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", c) }))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	one := strings.NewReplacer("$DNS", dns, "$CONTROL", control.Addr().String(), "$A", answer("a"), "$B", answer("b")).Replace(storyConfig)
	w := &whole{T: t, file: filepath.Join(dir, "pointsman.yaml")}
	w.write(one + strings.ReplaceAll(one[strings.Index(one, "  - name: orders"):], "orders", "pay"))
	cfg, err := config.Load(w.file)
	if err != nil {
		t.Fatal(err)
	}
	w.process, err = newProcess(t.Context(), processConfig{Config: cfg, Log: slog.New(slog.DiscardHandler), Fail: fail, Version: buildVersion()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.process.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the process ended with %v", err)
		}
	})
	w.healthy()
	return w
}

func (w *whole) healthy() {
	w.Helper()
	for _, i := range []failover.InstanceName{"orders", "pay"} {
		w.until(func() bool {
			v, _ := w.view(i)
			return v.Leading && len(v.Clusters) == 2 && v.Clusters[0].Verdict == failover.Up && v.Clusters[1].Verdict == failover.Up
		})
	}
}

func (w *whole) until(ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			v, _ := w.view("pay")
			w.Fatalf("it did not come: %+v", v)
		}
	}
}

func (w *whole) write(text string) {
	w.Helper()
	w.text = text
	if err := os.WriteFile(w.file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// without is the file that has no pay any more and lets its name vanish.
func (w *whole) without() string {
	text := w.text[:strings.Index(w.text, "  - name: pay")]
	return strings.Replace(text, "ns: [ns1.lab.test.]\n", "ns: [ns1.lab.test.]\n      retired: [pay.lab.test.]\n", 1)
}

// begin starts a switchover of pay that goes on as long as the failpoint at
// its verification fails.
func (w *whole) begin() error {
	if _, err := w.ctl.Do(w.Context(), "pay", failover.Command{Do: failover.DoArm, Mode: failover.ModePropose, By: "t"}); err != nil {
		return err
	}
	rep, err := w.ctl.Do(w.Context(), "pay", failover.Command{Do: failover.DoSwitchover, By: "t"})
	if err == nil && rep.Code != failover.ReplyStarted {
		err = errors.New(rep.Text)
	}
	return err
}

// TestADryRunSaysWhatTheReloadSays: whatever room refuses, and for whatever
// reason, the dry run refuses it in the same words, and neither changes
// anything that is answered.
func TestADryRunSaysWhatTheReloadSays(t *testing.T) {
	var stuck atomic.Bool
	w := newWhole(t, func(point string) error {
		if stuck.Load() && strings.HasPrefix(point, "verify/") {
			return errors.New("not now")
		}
		return nil
	})
	good := w.text
	for _, c := range []struct {
		what string
		by   []string // texts, each followed by what takes its place
		want string
	}{
		{"a key that wants a restart", []string{"name: ctl-1, data", "name: ctl-2, data"}, "controller.name cannot change"},
		{"another address to listen on", []string{`listen: ["`, `listen: ["127.0.0.2:5311", "`}, "authority.listen cannot change"},
		{"a name that passes to another instance", []string{"name: pay.lab", "name: orders.lab", "name: orders.lab", "name: pay.lab"}, "a name would move"},
		{"an instance under another name", []string{"name: pay\n", "name: paid\n"}, "belongs to the instance pay"},
		{"the host that a name shows", []string{", b.lab.test.: [127.0.0.1]}", "}"}, "has no address for it"},
		{"a host in place of a name that leaves", []string{"hosts: {", "hosts: {pay.lab.test.: [127.0.0.1], ", "name: pay.lab", "name: new.lab"}, "would meet another record"},
		{"a vantage that may not probe", []string{"127.0.0.1:", "169.254.0.1:"}, ""},
		{"a zone with its names", []string{"lab.test.", "lab2.test."}, "the zone lab.test. would go"},
		{"rights", nil, "others than its owner"},
		{"mistakes", []string{"rise: 2", "rize: 2"}, `unknown key "rize"`},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.by == nil {
				if err := os.Chmod(w.file, 0o666); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = os.Chmod(w.file, 0o600) }()
			}
			w.agree(t, strings.NewReplacer(c.by...).Replace(good), c.want)
		})
	}
	t.Run("an operation in hand", func(t *testing.T) {
		stuck.Store(true)
		defer stuck.Store(false)
		w.write(good)
		w.healthy()
		if err := w.begin(); err != nil {
			t.Fatal(err)
		}
		w.agree(t, w.without(), "pay: the instance cannot be removed now: the switchover")
	})
}

func (w *whole) agree(t *testing.T, text, want string) {
	t.Helper()
	w.write(text)
	try := func(dry bool) api.ReloadReply {
		t.Helper()
		rep, err := w.reloads.Reload(t.Context(), api.ReloadRequest{By: "t", DryRun: dry})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	dry := try(true)
	if want != "" && (dry.Result != api.ReloadRefused || !strings.Contains(dry.Reason, want)) {
		t.Errorf("the dry run says %q: %s; want %q", dry.Result, dry.Reason, want)
	}
	if took := try(false); took.Result != dry.Result || took.Reason != dry.Reason || took.Hint != dry.Hint {
		t.Errorf("the dry run says %q: %s (%s)\nthe reload says %q: %s (%s)", dry.Result, dry.Reason, dry.Hint, took.Result, took.Reason, took.Hint)
	}
	for _, name := range []failover.RecordName{"orders.lab.test.", "pay.lab.test."} {
		if _, ok := w.authority.Shown(name); !ok {
			t.Errorf("%s shows nothing any more", name)
		}
	}
}

// TestAnOperationThatBeginsDuringAReloadKeepsItsName: between the question and
// the swap an operation began at an instance whose name the file takes away.
// It is refused before anybody was answered that the name is gone.
func TestAnOperationThatBeginsDuringAReloadKeepsItsName(t *testing.T) {
	var w *whole
	var began, ends atomic.Bool
	w = newWhole(t, func(point string) error {
		switch {
		case point == "reload/audited" && began.CompareAndSwap(false, true):
			return w.begin()
		case began.Load() && !ends.Load() && strings.HasPrefix(point, "verify/"):
			return errors.New("not now")
		}
		return nil
	})
	var stop atomic.Bool
	var gone atomic.Uint64
	var look sync.WaitGroup
	look.Go(func() {
		for !stop.Load() {
			if _, ok := w.authority.Shown("pay.lab.test."); !ok {
				gone.Add(1)
			}
		}
	})
	w.write(w.without())
	rep, err := w.reloads.Reload(t.Context(), api.ReloadRequest{By: "t"})
	stop.Store(true)
	look.Wait()
	if err != nil || rep.Result != api.ReloadRefused || !strings.Contains(rep.Reason, "cannot be removed now") || !began.Load() {
		t.Fatalf("%v %+v", err, rep)
	}
	if n := gone.Load(); n > 0 {
		t.Errorf("the name was not answered %d times", n)
	}
	// Nothing of the attempt is left: the operation goes on and ends.
	ends.Store(true)
	w.until(func() bool {
		v, _ := w.view("pay")
		return v.Op == nil && v.LastOp != nil
	})
	w.until(func() bool {
		rep, err := w.reloads.Reload(t.Context(), api.ReloadRequest{By: "t"})
		return err == nil && rep.Result == api.ReloadOK
	})
	if _, ok := w.authority.Shown("pay.lab.test."); ok {
		t.Error("pay.lab.test. is retired and still there")
	}
}
