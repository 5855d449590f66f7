package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A controller that is killed takes the program of its hook with it: what nobody
// waits for any more answers nothing.
func TestAHookDiesWithItsController(t *testing.T) {
	dir := t.TempDir()
	d := script(t, "echo $$ > "+dir+"/new; mv "+dir+"/new "+dir+"/pid; exec sleep 60")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOOK_TEST_CHILD="+d.Command[0])
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pid")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil || time.Now().After(end) {
			break
		}
	}
	_ = cmd.Process.Kill() // SIGKILL
	_ = cmd.Wait()
	if pid := pidIn(t, file); !dead(pid) {
		t.Errorf("%s still runs", pid)
	}
}
