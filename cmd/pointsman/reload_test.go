package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// paper is a renewable that reads its file and does nothing else: "bad" in it
// is refused, "panic" is a fault of ours, and more= names another file.
type paper struct {
	file string

	mu    sync.Mutex
	text  string
	tries []attempt
}

func (p *paper) renew(_ context.Context, a attempt) outcome {
	data, err := os.ReadFile(p.file)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries = append(p.tries, a)
	text := string(data)
	var names []string
	if _, path, ok := strings.Cut(text, "more="); ok {
		names = []string{path}
		if _, err := os.Stat(path); err != nil {
			return outcome{result: api.ReloadRefused, err: err, names: names}
		}
	}
	switch {
	case err != nil:
		return refuse("", err)
	case strings.Contains(text, "panic"):
		panic("here")
	case strings.Contains(text, "bad"):
		return refuse("h", errors.New("it is bad"))
	case text == p.text:
		return outcome{result: api.ReloadUnchanged, hash: text}
	}
	if !a.DryRun {
		p.text = text
	}
	return outcome{result: api.ReloadOK, hash: text, changes: []config.Change{{Path: "x", New: text}}}
}

func (p *paper) made() madeOf {
	p.mu.Lock()
	defer p.mu.Unlock()
	return madeOf{hash: p.text}
}

func (p *paper) unchanged() bool {
	data, err := os.ReadFile(p.file)
	p.mu.Lock()
	defer p.mu.Unlock()
	return err == nil && string(data) == p.text
}

func (p *paper) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tries)
}

// bench runs a reloader over a paper.
type bench struct {
	*testing.T
	paper *paper
	re    *reloader
	hup   chan os.Signal
}

func newBench(t *testing.T, text string) *bench {
	t.Helper()
	return benchOf(t, &paper{file: filepath.Join(t.TempDir(), "x.yaml"), text: text})
}

func benchOf(t *testing.T, p *paper) *bench {
	t.Helper()
	d := &bench{T: t, paper: p, hup: make(chan os.Signal, 1)}
	if err := os.MkdirAll(filepath.Dir(p.file), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write(p.text)
	d.re = newReloader(d.paper.file, d.paper, d.hup, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.re.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the loop ended with %v", err)
		}
	})
	// A dry run answers when the loop and its watch stand.
	d.reload(api.ReloadRequest{By: "t", DryRun: true})
	return d
}

func (d *bench) write(text string) {
	d.Helper()
	if err := os.WriteFile(d.paper.file, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
}

func (d *bench) reload(q api.ReloadRequest) api.ReloadReply {
	d.Helper()
	rep, err := d.re.Reload(d.Context(), q)
	if err != nil {
		d.Fatal(err)
	}
	return rep
}

func (d *bench) wait(what string, ok func() bool) {
	d.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			d.Fatalf("%s did not come; state %+v, counts %v", what, d.re.Config(), d.re.counted())
		}
	}
}

func TestAWatchedFileIsTakenAndARefusalIsClearedByAGoodOne(t *testing.T) {
	d := newBench(t, "one")
	d.write("two")
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
	d.write("bad")
	d.wait("the refusal", func() bool { return !d.re.Config().OK })
	if st := d.re.Config(); st.Hash != "two" || st.Refused.Reason != "it is bad" || st.Refused.By != byWatch {
		t.Errorf("state %+v %+v", st, st.Refused)
	}
	if n := d.re.notice(); !strings.Contains(n, "is refused since") || !strings.Contains(n, "it is bad; the old one (two, loaded") {
		t.Errorf("notice %q", n)
	}
	d.write("two")
	d.wait("the end of the refusal", func() bool { return d.re.Config().OK })
	if d.re.notice() != "" {
		t.Errorf("notice %q", d.re.notice())
	}
}

func TestAFaultOfOursCostsTheAttemptAndNothingElse(t *testing.T) {
	d := newBench(t, "one")
	d.write("panic")
	if rep := d.reload(api.ReloadRequest{By: "t"}); rep.Result != api.ReloadRefused || !strings.Contains(rep.Reason, "a fault of this program") {
		t.Errorf("reply %+v", rep)
	}
	d.write("two")
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
}

func TestOnlyWhatDiffersIsTriedByWatch(t *testing.T) {
	p := &paper{file: filepath.Join(t.TempDir(), "x.yaml"), text: "one"}
	d := &bench{T: t, paper: p, re: newReloader(p.file, p, nil, slog.New(slog.DiscardHandler))}
	d.write("one")
	d.re.seen = lookAt(d.re.files())
	for _, step := range []struct {
		do    func()
		tries int
	}{
		{func() {}, 0},
		{func() { d.write("one") }, 0},
		{func() { d.write("two") }, 1},
		{func() { d.write("two") }, 1},
		{func() { d.write("bad") }, 2},
		{func() {}, 2},
		{func() { _ = os.Chmod(p.file, 0o644) }, 3},
		{func() { _ = os.Remove(p.file) }, 4},
		{func() {}, 4},
	} {
		step.do()
		d.re.look(t.Context())
		if n := p.count(); n != step.tries {
			t.Fatalf("%d tries, want %d: %+v", n, step.tries, p.tries)
		}
	}
}

func TestASignalAlwaysTries(t *testing.T) {
	d := newBench(t, "one")
	d.hup <- os.Interrupt
	d.wait("the try of the signal", func() bool { return d.re.counted()[api.ReloadUnchanged] == 1 })
	if last := d.paper.tries[len(d.paper.tries)-1]; last.By != bySignal {
		t.Errorf("by %q", last.By)
	}
}

func TestAnEndlessStreamOfEventsHoldsNoReloadOff(t *testing.T) {
	d := newBench(t, "one")
	var stop atomic.Bool
	done := make(chan struct{})
	noise := filepath.Join(filepath.Dir(d.paper.file), "noise")
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			_ = os.WriteFile(noise, []byte(fmt.Sprint(i)), 0o600)
			time.Sleep(quietFor / 20) // never quiet for long enough
		}
	}()
	defer func() { stop.Store(true); <-done }()
	d.write("two")
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
}

func TestAFileThatARefusedTextNamesIsWatched(t *testing.T) {
	d := newBench(t, "one")
	key := filepath.Join(t.TempDir(), "key")
	d.write("more=" + key)
	d.wait("the refusal", func() bool { return !d.re.Config().OK })
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.wait("the file", func() bool { return d.re.Config().OK })
}

func TestAChangeBetweenStartAndWatchIsSeen(t *testing.T) {
	p := &paper{file: filepath.Join(t.TempDir(), "x.yaml"), text: "one"}
	if err := os.WriteFile(p.file, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	re := newReloader(p.file, p, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- re.Run(ctx) }()
	(&bench{T: t, re: re}).wait("two", func() bool { return re.Config().Hash == "two" })
	cancel()
	<-done
}

func TestADryRunChangesNothingAndCountsNothing(t *testing.T) {
	d := newBench(t, "one")
	d.write("two")
	if rep := d.reload(api.ReloadRequest{By: "t", DryRun: true}); rep.Result != api.ReloadOK || len(rep.Changes) != 1 {
		t.Errorf("reply %+v", rep)
	}
	d.wait("two", func() bool { return d.re.Config().Hash == "two" })
	if n := d.re.counted()[api.ReloadOK]; n != 1 {
		t.Errorf("%d reloads were counted", n)
	}
}

// TestAFolderThatGoesAndComesBackIsWatchedAgain: neither waits for the look
// that comes every 30 s.
func TestAFolderThatGoesAndComesBackIsWatchedAgain(t *testing.T) {
	p := &paper{file: filepath.Join(t.TempDir(), "far", "below", "x.yaml"), text: "one"}
	d := benchOf(t, p)
	for _, text := range []string{"two", "three"} {
		if err := os.RemoveAll(filepath.Dir(filepath.Dir(p.file))); err != nil {
			t.Fatal(err)
		}
		d.wait("the refusal", func() bool { return !d.re.Config().OK })
		if err := os.MkdirAll(filepath.Dir(filepath.Dir(p.file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Dir(p.file), 0o700); err != nil {
			t.Fatal(err)
		}
		d.write(text)
		d.wait(text, func() bool { return d.re.Config().OK && d.re.Config().Hash == text })
	}
}

func TestAFolderInThePlaceOfTheFileIsRefusedUntilTheFileIsBack(t *testing.T) {
	d := newBench(t, "one")
	if err := os.Remove(d.paper.file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.paper.file, 0o700); err != nil {
		t.Fatal(err)
	}
	d.wait("the refusal", func() bool {
		st := d.re.Config()
		return !st.OK && strings.Contains(st.Refused.Reason, "no regular file")
	})
	if err := os.Remove(d.paper.file); err != nil {
		t.Fatal(err)
	}
	d.write("two")
	d.wait("two", func() bool { return d.re.Config().OK && d.re.Config().Hash == "two" })
}

func TestADryRunOfWhatIsNoFileCountsNothingEither(t *testing.T) {
	p := &paper{file: t.TempDir(), text: "one"}
	re := newReloader(p.file, p, nil, slog.New(slog.DiscardHandler))
	if out := re.try(t.Context(), attempt{By: "t", DryRun: true}); out.result != api.ReloadRefused {
		t.Errorf("a directory: %+v", out)
	}
	if !re.Config().OK || re.counted()[api.ReloadRefused] != 0 {
		t.Errorf("it is in the state: %+v, %v", re.Config(), re.counted())
	}
}

func TestEveryDirectoryAlongLinksIsWatched(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"map/..one", "far"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for to, from := range map[string]string{"map/..data": "..one", "map/x.yaml": "..data/x.yaml", "map/..one/x.yaml": "../../far/x.yaml", "loop": "loop"} {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	got := dirsOf([]string{filepath.Join(dir, "map/x.yaml"), filepath.Join(dir, "loop")})
	for _, want := range []string{"map", "map/..one", "far", ""} {
		if !slices.Contains(got, filepath.Join(dir, want)) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}

func TestANameThatWouldMoveIsNamed(t *testing.T) {
	instance := func(name string, primary failover.ClusterName) config.Instance {
		return config.Instance{Policy: failover.Policy{
			Instance: failover.InstanceName(name), Primary: primary, Clusters: [2]failover.ClusterName{"a", "b"},
			Names: []failover.NamePolicy{{Name: "x.test.", Embedded: true, Targets: map[failover.ClusterName]failover.Target{"a": "a.test.", "b": "b.test."}}},
		}}
	}
	shows := failover.NameRecord{Name: "x.test.", Embedded: true, Value: "b.test."}
	for name, c := range map[string]struct {
		file    config.Instance
		records []failover.Record
		want    string
	}{
		"new":                      {instance("i", "a"), nil, ""},
		"its own":                  {instance("i", "a"), []failover.Record{{Instance: "i", Active: "b", Names: []failover.NameRecord{shows}}}, ""},
		"another's":                {instance("j", "b"), []failover.Record{{Instance: "i", Active: "b", Names: []failover.NameRecord{shows}}}, "the name x.test. belongs to the instance i"},
		"left over of another":     {instance("j", "b"), []failover.Record{{Instance: "i", Active: "a", LeftOver: []failover.NameRecord{shows}}}, "belongs to the instance i"},
		"comes back as it was":     {instance("i", "a"), []failover.Record{{Instance: "i", Active: "b", LeftOver: []failover.NameRecord{shows}}}, ""},
		"comes back after a move":  {instance("i", "a"), []failover.Record{{Instance: "i", Active: "a", LeftOver: []failover.NameRecord{shows}}}, "would come back at a.test."},
		"elsewhere, another's too": {instance("j", "a"), []failover.Record{{Instance: "i", Names: []failover.NameRecord{{Name: "x.test.", Value: "b.test."}}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(claims(&config.Config{Instances: []config.Instance{c.file}}, c.records), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAReloadThatIsCutOffLeavesNothingHalfDone kills the program in the middle
// of a reload that adds an instance, and lets rooms refuse in it.
func TestAReloadThatIsCutOffLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	bin := failpointBinary(t)
	for _, point := range reloadPoints {
		for _, what := range []string{"kill", "error"} {
			if what == "error" && (point == "reload/authority" || point == "reload/controller") {
				continue // nothing can refuse there
			}
			t.Run(point+"="+what, func(t *testing.T) { cutOff(t, bin, point+"="+what) })
		}
	}
}

func cutOff(t *testing.T, bin, fail string) {
	point, _, _ := strings.Cut(fail, "=")
	dir, err := os.MkdirTemp("", "cut") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dns, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	one := strings.NewReplacer("$DNS", dns, "$CONTROL", dns, "$A", "127.0.0.1:1", "$B", "127.0.0.1:2").Replace(storyConfig)
	file := filepath.Join(dir, "pointsman.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	verb := func(args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), bin, append(args, "--socket", filepath.Join(dir, "s/s"))...)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	shows := func(name, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if got = ask("udp", dns, name); got == want {
				return
			}
		}
		t.Fatalf("%s shows %s, want %s", name, got, want)
	}
	start := func(fail string) (end func() string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), bin, "run", "-c", file)
		c.Env = append(os.Environ(), "POINTSMAN_FAILPOINT="+fail)
		said := new(strings.Builder)
		c.Stderr = said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		end = sync.OnceValue(func() string {
			wait := time.Duration(0)
			if strings.HasSuffix(fail, "kill") {
				wait = patience // it ends by itself
			}
			late := time.AfterFunc(wait, func() { _ = c.Process.Kill() })
			defer late.Stop()
			_ = c.Wait()
			return said.String()
		})
		t.Cleanup(func() {
			if said := end(); t.Failed() {
				t.Log(said)
			}
		})
		shows("orders.lab.test.", "a.lab.test.")
		return end
	}
	write(one)
	end := start(fail)
	both := one + strings.ReplaceAll(one[strings.Index(one, "  - name: orders"):], "orders", "pay")
	write(both)
	out, err := verb("reload")
	for strings.Contains(out, "no running pointsman") && strings.HasSuffix(fail, "error") {
		out, err = verb("reload") // its socket does not stand yet
	}
	if err == nil {
		t.Fatalf("the reload went on: %s", out)
	}
	if strings.HasSuffix(fail, "error") {
		// Refused by a room: everything is as before, and it says so.
		shows("orders.lab.test.", "a.lab.test.")
		// SERVFAIL would be a name that is known and waits for its record.
		if r, err := mdns.Exchange(new(mdns.Msg).SetQuestion("pay.lab.test.", mdns.TypeCNAME), dns); err != nil || r.Rcode != mdns.RcodeNameError {
			t.Errorf("pay.lab.test.: %v, %v", r, err)
		}
		if st, _ := verb("config", "running", "-o", "json"); !strings.Contains(st, `"ok": false`) {
			t.Errorf("config running: %s", st)
		}
		if au, _ := verb("audit"); !strings.Contains(au, "the reload was not done, everything is as before") {
			t.Errorf("audit: %s", au)
		}
		if st, _ := verb("status"); strings.Contains(st, "pay ") {
			t.Errorf("status: %s", st)
		}
	}
	if said := end(); !strings.Contains(said, "failpoint "+point+"#1") {
		t.Errorf("the program never came to %s:\n%s", point, said)
	}
	start("")
	shows("pay.lab.test.", "a.lab.test.")
	shows("orders.lab.test.", "a.lab.test.")
	if out, err := verb("audit", "--verify"); err != nil {
		t.Errorf("audit: %v %s", err, out)
	}
}
