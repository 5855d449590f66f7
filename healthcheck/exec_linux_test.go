package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script writes a program for /bin/sh and returns its path.
func script(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// runs is a target whose check is a command.
func runs(command ...string) Target {
	tg := target(Exec, "192.0.2.1:5432")
	tg.Check.Exec.Command = command
	return tg
}

func TestExecExitCodes(t *testing.T) {
	for text, tc := range map[string]struct {
		own  bool
		says string
	}{
		"exit 0":            {false, ""},
		"echo fine; exit 0": {false, ""},
		"exit 1":            {false, "exec: exit 1"},
		"echo; echo replication is behind; echo more; exit 2": {false, "exec: exit 2: replication is behind"},
		"echo to stderr >&2; exit 3":                          {false, "exec: exit 3: to stderr"},
		"printf 'a\\033[31mb'; exit 4":                        {false, "exec: exit 4: a?[31mb"},
		"exit 75":                                             {true, "exec: exit 75 (not possible now)"},
		"echo no licence; exit 75":                            {true, "exec: exit 75 (not possible now): no licence"},
		"kill -SEGV $$":                                       {true, "exec: ended by a signal that we did not send: segmentation fault"},
		"kill -KILL $$":                                       {true, "exec: ended by a signal that we did not send: killed"},
	} {
		_, err := probe(t, runs(script(t, text)))
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || errors.Is(err, ErrOwn) != tc.own || err.Error() != tc.says) {
			t.Errorf("%s: got %v, want %q", text, err, tc.says)
		}
	}
}

func TestExecGetsACleanEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("POINTSMAN_SECRET", "hunter2")
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(filepath.Join(t.TempDir(), "held")) // must not be inherited
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tg := runs(script(t, `{ env | sort; pwd; ls -l /proc/self/fd | grep -c held; wc -c; echo "$# $1 $2"; } >"$3" 2>&1; ulimit -c >>"$3"; ulimit -n >>"$3"; ulimit -d >>"$3"; ulimit -t >>"$3"`), "a b", "$HOME;*", out)
	tg.Identity = "blue"
	if _, err := probe(t, tg); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		got = append(got, line)
	}
	want := []string{
		"HOME=/", "LANG=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"POINTSMAN_ADDRESS=192.0.2.1:5432", "POINTSMAN_CLUSTER=a", "POINTSMAN_IDENTITY=blue", "POINTSMAN_INSTANCE=orders", "POINTSMAN_NAME=orders.lab.test",
		"PWD=/", "/",
		"0", "0", "3 a b $HOME;*",
		"0", "256", strconv.Itoa(maxData >> 10), "7", // the timeout of 5 s and 2
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// pidsIn waits for n process numbers in a file.
func pidsIn(t *testing.T, path string, n int) []int {
	t.Helper()
	var pids []int
	eventually(t, "process numbers in "+path, func() bool {
		text, _ := os.ReadFile(path)
		pids = nil
		for _, w := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(w); err == nil {
				pids = append(pids, pid)
			}
		}
		return len(pids) >= n
	})
	return pids
}

// alive says that a process still runs; what only waits for its parent to take
// its status does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// Whatever a command starts, and however it tries to live on, is dead when the
// probe is over.
func TestExecIsKilledWithAllThatItStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		pids  int
		says  string // empty: healthy
		warns bool
	}{
		"it does not end":                           {`echo $$ >$1; sleep 60`, 1, "exec: killed with its group: no answer within ", false},
		"it ignores SIGTERM":                        {`trap '' TERM INT HUP; echo $$ >$1; while :; do sleep 1; done`, 1, "exec: killed with its group: no answer within ", false},
		"children ignore it too":                    {`for i in 1 2 3; do sh -c 'trap "" TERM; echo $$ >>'$1'; sleep 60; sleep 60' & done; wait`, 3, "exec: killed with its group: no answer within ", false},
		"a child outlives a healthy command":        {`sleep 60 & echo $! >$1; exit 0`, 1, "", false},
		"the same with the output in its hand":      {`(sleep 60; echo late) & echo $! >$1; exit 0`, 1, "", false},
		"a child of another group holds the output": {`setsid sh -c 'echo $$ >'$1'; exec sleep 60' & while ! test -s $1; do sleep 0.01; done; exit 0`, 1, "", true},
		"the same until it is too late":             {`setsid sh -c 'echo $$ >'$1'; exec sleep 60' & while ! test -s $1; do sleep 0.01; done; sleep 60`, 1, "exec: killed with its group: no answer within ", true},
		"a daemon that keeps nothing of ours":       {`(setsid env -i sh -c 'echo $$ >'$1'; exec sleep 60' </dev/null >/dev/null 2>&1 &) ; while ! test -s $1; do sleep 0.01; done; exit 0`, 1, "", true},
		"daemons of daemons":                        {`: >$1; for i in 1 2 3; do (setsid sh -c 'echo $$ >>'$1'; (setsid sh -c "echo \$\$ >>'$1'; exec sleep 60" >/dev/null 2>&1 &); exec sleep 60' >/dev/null 2>&1 &); done; while test $(wc -l <$1) -lt 6; do sleep 0.01; done; exit 0`, 6, "", true},
		"its leader goes to another group":          {`setsid -w sh -c 'echo $$ >'$1'; sleep 60'`, 1, "exec: killed with its group: no answer within ", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			tg := runs(script(t, tc.text), file)
			if tc.says != "" {
				tg.Timeout = 700 * time.Millisecond
			}
			start := time.Now()
			tr, err := probe(t, tg)
			took := time.Since(start)
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || isOwn(err) || !strings.HasPrefix(err.Error(), tc.says)) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
			if took > 30*time.Second { // whatever it started sleeps for 60 s
				t.Errorf("took %s", took)
			}
			if strings.Contains(strings.Join(tr.Warnings, "\n"), "out of its group") != tc.warns {
				t.Errorf("warnings %q", tr.Warnings)
			}
			for _, pid := range pidsIn(t, file, tc.pids) {
				eventually(t, "the end of process "+strconv.Itoa(pid), func() bool { return !alive(pid) })
			}
		})
	}
}

// execPart names the file into which a vantage that is to be killed has its
// command write process numbers.
const execPart = "HEALTHCHECK_EXEC_PART"

func init() {
	file := os.Getenv(execPart)
	if file == "" {
		return
	}
	p, err := NewProbe(runs(file+".sh", file), ProbeConfig{})
	if err == nil {
		err = p(context.Background())
	}
	fmt.Println(err) // it was to be killed
	os.Exit(1)
}

// kill -9 of the vantage: nothing of its command lives on.
func TestExecDiesWithTheVantage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, dead := range map[string]func(vantage, launcher int) error{
		"the vantage is killed": func(v, _ int) error { return syscall.Kill(v, syscall.SIGKILL) },
		// Its launcher has no word in it: that is PR_SET_PDEATHSIG of the command.
		"so is the launcher": func(v, l int) error {
			return errors.Join(syscall.Kill(l, syscall.SIGKILL), syscall.Kill(v, syscall.SIGKILL))
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pids")
			text := "#!/bin/sh\n" + `setsid sh -c 'echo $$ >>'$1'; exec sleep 60' >/dev/null 2>&1 & while ! test -s $1; do sleep 0.01; done; echo $$ >>$1; echo $PPID >>$1; while :; do sleep 60; done` + "\n"
			if err := os.WriteFile(file+".sh", []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			vantage := exec.Command(self)
			vantage.Env = append(os.Environ(), execPart+"="+file)
			if err := vantage.Start(); err != nil {
				t.Fatal(err)
			}
			pids := pidsIn(t, file, 3)
			stray, command, launcher := pids[0], pids[1], pids[2]
			if err := dead(vantage.Process.Pid, launcher); err != nil {
				t.Error(err)
			}
			_ = vantage.Wait()
			eventually(t, "the end of the command", func() bool { return !alive(command) })
			eventually(t, "the end of the launcher", func() bool { return !alive(launcher) })
			if name == "so is the launcher" {
				_ = syscall.Kill(-command, syscall.SIGKILL)
				_ = syscall.Kill(stray, syscall.SIGKILL) // who kills the launcher sets it free: that is not promised
			}
			eventually(t, "the end of the stray", func() bool { return !alive(stray) })
		})
	}
}

// Whatever is open in this process, and with a way to a child, is not open in
// a command.
func TestExecInheritsNoDescriptors(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	open, err := syscall.Dup(int(f.Fd())) // without FD_CLOEXEC, as somebody may have left one before we were started
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(open)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := probe(t, runs(script(t, `ls -l /proc/self/fd >$1`), out)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if _, fd, ok := strings.Cut(strings.TrimSpace(line), " -> "); ok && !strings.HasPrefix(fd, "/proc/") { // that is ls looking
			got = append(got, strings.SplitN(fd, ":", 2)[0])
		}
	}
	if want := []string{"/dev/null", out, "pipe"}; !slices.Equal(got, want) {
		t.Errorf("open are %q, want %q\n%s", got, want, text)
	}
}

func TestExecThatIsCalledOffIsKilledAndOurOwnFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	p, err := NewProbe(runs(script(t, `echo $$ >$1; sleep 60`), file), ProbeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p(ctx) }()
	pid := pidsIn(t, file, 1)[0]
	cancel()
	if err := <-done; !errors.Is(err, ErrOwn) {
		t.Errorf("got %v", err)
	}
	if alive(pid) {
		t.Error("it still runs")
	}
}

func TestExecOutputWithoutEndIsBoundedAndNamed(t *testing.T) {
	start := time.Now()
	_, err := probe(t, runs(script(t, `exec yes`)))
	if err == nil || isOwn(err) || err.Error() != "exec: wrote more than 1024 KiB and was killed" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it was read for %s", took)
	}
	b := &firstBytes{full: func() {}}
	for range 300 {
		b.Write(make([]byte, 4000))
	}
	if b.kept.Len() != keptLine || b.kept.Cap() > 4*keptLine || !b.over() {
		t.Errorf("kept %d bytes in %d", b.kept.Len(), b.kept.Cap())
	}
	_, err = probe(t, runs(script(t, `head -c 900000 /dev/zero; exit 1`)))
	if err == nil || isOwn(err) || !strings.HasPrefix(err.Error(), "exec: exit 1: ???") || len(err.Error()) > 300 {
		t.Errorf("got %v", err)
	}
}

func TestExecThatCannotStartIsOurOwnFault(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("#!/bin/sh\nexit 0\n"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	foreign := write("foreign", 0o755)
	if err := os.Chown(foreign, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	noInterpreter := write("interpreter", 0o755)
	if err := os.WriteFile(noInterpreter, []byte("#!/no/such/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		filepath.Join(dir, "missing"): "no such file or directory",
		write("text", 0o644):          "is no program",
		dir:                           "is no program",
		write("group", 0o775):         "others could change what is run (mode 0775; try: chmod go-w ",
		write("world", 0o757):         "others could change what is run (mode 0757",
		foreign:                       "others could change what is run (it belongs to uid 12345)",
		noInterpreter:                 "no such file or directory",
	} {
		_, err := probe(t, runs(path))
		if !errors.Is(err, ErrOwn) || disputed(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %s", path, err, says)
		}
	}
	for says, path := range map[string]string{
		"check.exec.command[0]: \"check\" is no absolute path of a program (write it like /usr/local/bin/check-orders)":      "check",
		"check.exec.command[0]: \"/bin/../sh\" is no absolute path of a program (write it like /usr/local/bin/check-orders)": "/bin/../sh",
	} {
		if _, err := NewProbe(runs(path), ProbeConfig{}); err == nil || err.Error() != says {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

// Who may write a folder on the way may put another program there.
func TestExecInAFolderThatOthersMayWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	mkdir := func(name string, mode os.FileMode, uid int) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, mode), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	put := func(dir string) string {
		path := filepath.Join(dir, "check")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(to, from string) string {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
		return from
	}
	good, open, sticky, foreign := mkdir("good", 0o755, 0), mkdir("open", 0o777, 0), mkdir("sticky", 0o777|os.ModeSticky, 0), mkdir("foreign", 0o755, 12345)
	theirs := put(mkdir("theirs", 0o777|os.ModeSticky, 0))
	if err := os.Chown(theirs, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	program := put(good)
	under := mkdir("open/below", 0o755, 0)
	for path, says := range map[string]string{
		program:                                 "",
		put(sticky):                             "",
		link(program, good+"/link"):             "",
		link("../good/link", good+"/far"):       "",
		link(program, sticky+"/link"):           "",
		put(open):                               open + ": others could change what is run (mode 0777 of the folder; try: chmod go-w ",
		put(under):                              open + ": others could change what is run (mode 0777",
		link(program, open+"/link"):             open + ": others could change what is run (mode 0777",
		link(open+"/check", good+"/out"):        open + ": others could change what is run (mode 0777",
		link("../open/below/check", good+"/up"): open + ": others could change what is run (mode 0777",
		put(foreign):                            foreign + ": others could change what is run (the folder belongs to uid 12345)",
		theirs:                                  "others could change what is run (mode 0777 of the folder",
		link("loop", good+"/loop"):              "too many levels of symbolic links",
		good + "/gone/check":                    "no such file or directory",
	} {
		err := CommandFile(path)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: got %v, want %q", path, err, says)
		}
	}
}

func TestExecLeadsAGroupOfItsOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	tg := runs(script(t, `cat /proc/$$/stat | cut -d' ' -f5 >$1; echo $$ >>$1`), file)
	if _, err := probe(t, tg); err != nil {
		t.Fatal(err)
	}
	pids := pidsIn(t, file, 2)
	if pids[0] != pids[1] || pids[0] == syscall.Getpgrp() {
		t.Errorf("process %d leads the group %d, ours is %d", pids[1], pids[0], syscall.Getpgrp())
	}
}

func FuzzExecOutput(f *testing.F) {
	f.Add([]byte("first\nsecond"))
	f.Add([]byte("\n\n\xff\x1b[2J"))
	f.Fuzz(func(t *testing.T, out []byte) {
		b := &firstBytes{full: func() {}}
		b.Write(out)
		if s := b.said(); len(s) > 300 || strings.ContainsAny(s, "\n\x1b") || b.kept.Len() > keptLine {
			t.Fatalf("said %q", s)
		}
	})
}
