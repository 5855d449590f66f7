package authority

import (
	"bytes"
	"runtime"
	"testing"
)

// TestASnapshotWaitsForThePublicationInHand: one that is taken in the middle of
// a publication would show what some names are now under the serial of before.
func TestASnapshotWaitsForThePublicationInHand(t *testing.T) {
	s := newTransferLab(t, transferConfig(t))
	apex, err := keyOf("lab.test.")
	if err != nil {
		t.Fatal(err)
	}
	s.publishing.Lock()
	var got *snapshot
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		got, err = s.snapshot(apex)
	}()
	for waits := false; !waits; waits = waitsForALock("authority.(*Server).snapshot(") {
		select {
		case <-taken:
			s.publishing.Unlock()
			t.Fatal("a snapshot was taken while a publication was in hand")
		default:
			runtime.Gosched()
		}
	}
	const next = 1_700_000_077
	s.view.Load().tree.zones[apex].serial.raise(next)
	s.published++
	s.publishing.Unlock()
	<-taken
	if err != nil {
		t.Fatal(err)
	}
	if got.serial != next || got.at != s.published {
		t.Errorf("got serial %d of publication %d, want %d of %d", got.serial, got.at, next, s.published)
	}
}

// waitsForALock says whether a goroutine that waits for a mutex is in a call of f.
func waitsForALock(f string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for one := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(one, []byte("[sync.Mutex.Lock")) && bytes.Contains(one, []byte(f)) {
			return true
		}
	}
	return false
}
