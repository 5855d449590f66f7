package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// children are what the test binary does when it is run again with childEnv.
var children = map[string]func(dir string) error{
	"commit":       commitForEver,
	"eio-commit":   func(dir string) error { return commitUnderFilter(dir, eioAtSync) },
	"enospc-write": func(dir string) error { return commitUnderFilter(dir, enospcAtWrite) },
	"eio-open":     func(dir string) error { return openUnderFilter(dir, eioAtSync) },
	"enospc-open":  func(dir string) error { return openUnderFilter(dir, enospcAtWrite) },
	"holder":       holdLock,
}

// child prepares a run of one of them over dir.
func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=exitcode=66")
	cmd.Stderr = os.Stderr
	return cmd
}

const childInstances = 4

// commitForEver commits from several goroutines and acknowledges each commit
// on standard output after Commit has returned.
func commitForEver(dir string) error {
	s, err := Open(context.Background(), Config{Dir: dir, Owner: "child"})
	if err != nil {
		return err
	}
	term, err := s.Term()
	if err != nil {
		return err
	}
	s.unsaved = checkpointEvery - 40 // so that kills meet checkpoints too
	fmt.Printf("term %d\n", term)
	failed := make(chan error)
	for i := range childInstances {
		go func() {
			id := failover.InstanceName(fmt.Sprintf("i%d", i))
			r, ok, err := s.Load(context.Background(), id)
			for err == nil {
				if !ok {
					r, ok = orders(0, "a.lab.test."), true
					r.Instance = id
				}
				r.Term = term
				r.Names[0].TTL++
				var rc Receipt
				if rc, err = s.Commit(context.Background(), r, []failover.AuditEntry{entry("step", "one"), entry("step", "two")}); err == nil {
					r = rc.Record
					fmt.Printf("ack %s %d %d %s\n", id, r.Rev, rc.Serials["lab.test."], r.AuditHead)
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

func TestKillingTheProcessLosesNoAcknowledgedCommit(t *testing.T) {
	const kills = 64 / thorough
	dir := memDir(t)
	r := rand.New(rand.NewPCG(5, 6))
	acked := map[string]uint64{} // highest acknowledged rev of each instance
	serial, term, total := uint32(0), uint64(0), 0
	for kill := range kills {
		cmd := child(t, "commit", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatalf("kill %d: the child said nothing: %v", kill, cmd.Wait())
		}
		var childTerm uint64
		if _, err := fmt.Sscanf(lines.Text(), "term %d", &childTerm); err != nil || childTerm <= term {
			t.Fatalf("kill %d: %q after term %d", kill, lines.Text(), term)
		}
		term = childTerm
		// Read acknowledgements up to a random one, then kill, then read those
		// that were on their way.
		for n := r.IntN(60); n >= 0 && lines.Scan(); n-- {
			total += note(t, lines.Text(), acked, &serial)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			total += note(t, lines.Text(), acked, &serial)
		}
		_ = cmd.Wait() // killed

		if kill%4 != 3 {
			continue // the next child opens what this one left
		}
		s := mustOpen(t, Config{Dir: dir})
		for id, rev := range acked {
			if got := mustLoad(t, s, failover.InstanceName(id)); got.Rev < rev {
				t.Fatalf("kill %d: %s is at rev %d, acknowledged %d", kill, id, got.Rev, rev)
			}
		}
		if now, _ := s.Serial(t.Context(), "lab.test."); now < serial {
			t.Fatalf("kill %d: serial %d, acknowledged %d", kill, now, serial)
		}
		if now, err := s.Term(); err != nil || now <= term {
			t.Fatalf("kill %d: term %d after %d: %v", kill, now, term, err)
		} else {
			term = now
		}
		mustVerify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) != childInstances || total < kills {
		t.Fatalf("%d instances and %d acknowledgements show nothing", len(acked), total)
	}
	t.Logf("%d kills, %d acknowledged commits", kills, total)
}

// note reads one acknowledgement. A torn last line is none.
func note(t *testing.T, line string, acked map[string]uint64, serial *uint32) int {
	t.Helper()
	var id, head string
	var rev uint64
	var rose uint32
	if _, err := fmt.Sscanf(line, "ack %s %d %d %s", &id, &rev, &rose, &head); err != nil || len(head) != 64 {
		return 0
	}
	if rev <= acked[id] {
		t.Fatalf("%s was acknowledged at rev %d after rev %d: a commit was lost in between", id, rev, acked[id])
	}
	acked[id] = rev
	*serial = max(*serial, rose)
	return 1
}

// holdLock opens the ledger and waits for its standard input to end.
func holdLock(dir string) error {
	s, err := Open(context.Background(), Config{Dir: dir, Owner: "ctl-far"})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

func TestASecondProcessIsRefusedUntilTheFirstIsKilled(t *testing.T) {
	dir := memDir(t)
	cmd := child(t, "holder", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatal(line, err)
	}
	_, err = Open(t.Context(), Config{Dir: dir, Owner: "ctl-1"})
	want := fmt.Sprintf("by pid %d (controller ctl-far)", cmd.Process.Pid)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want %q", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	s := mustOpen(t, Config{Dir: dir})
	if term, err := s.Term(); term != 2 || err != nil {
		t.Fatal(term, err)
	}
}

// inChild runs a child to its end and returns what it said.
func inChild(t *testing.T, name, dir string) string {
	t.Helper()
	out, err := child(t, name, dir).Output()
	if err != nil {
		t.Fatalf("child %s: %v\n%s", name, err, out)
	}
	return string(out)
}

// seeded is a folder with a ledger that was killed after its third commit, so
// that its log is full of commits.
func seeded(t *testing.T) string {
	t.Helper()
	dir := memDir(t)
	s := mustOpen(t, Config{Dir: dir})
	for rev := range uint64(3) {
		mustCommit(t, s, named("orders", rev), entry("step", "seed"))
	}
	return image(t, dir, filepath.Join(memDir(t), "data"))
}
