package failover

import (
	"testing"
	"time"
)

func TestTheEndOfAStopWakes(t *testing.T) {
	p := testPolicy()
	now := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	s := State{found: true}
	s.rec.Stops = []Stop{{Kind: StopLockout}, {Kind: StopCooldown, Until: now.Add(time.Hour)}, {Kind: StopPause, Until: now.Add(time.Millisecond)}}
	if got := NextWake(&s, &p, now); !got.Equal(now.Add(time.Millisecond)) {
		t.Errorf("wakes after %s", got.Sub(now))
	}
	if got := NextWake(&s, &p, now.Add(time.Second)); !got.After(now.Add(time.Second)) {
		t.Errorf("an end that is over wakes at %s", got.Sub(now))
	}
}
