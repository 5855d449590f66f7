package lab

import (
	"strings"
	"testing"
	"time"
)

// Every mode has a row for each fault, without a ride-out and beyond one, and
// its goal depends on whether a watch in that mode can see the fault at all.
func TestEveryModeOfTheWatchHasItsRowsAndGoals(t *testing.T) {
	var got []string
	for _, f := range declareWatch(2 * time.Second) {
		got = append(got, f.Name+": "+f.Goal)
	}
	want := `watch_off_kill_ms: 
watch_hold_kill_ms: < 20, never 100, and a durable write
watch_request_kill_ms: < 20, never 100, and a durable write
watch_off_stall_ms: 
watch_hold_stall_ms: 
watch_request_stall_ms: < 500, never 800
watch_off_kill_beyond_ms: < 500 (a round and 300)
watch_hold_kill_beyond_ms: < 300
watch_request_kill_beyond_ms: < 300
watch_off_stall_beyond_ms: < 500 (a round and 300)
watch_hold_stall_beyond_ms: < 500 (a round and 300)
watch_request_stall_beyond_ms: < 300`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
