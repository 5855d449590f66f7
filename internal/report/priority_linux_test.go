package report

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// A report is made on a thread that gives way, and the thread is not used for
// anything else afterwards.
func TestAReportGivesWay(t *testing.T) {
	nice := func() int {
		data, err := os.ReadFile("/proc/thread-self/stat")
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		n, err := strconv.Atoi(strings.Fields(rest)[16]) // proc_pid_stat(5), field 19
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	d := newDesk(t)
	seen, before := 0, nice()
	if before == 19 {
		t.Skip("nothing gives way to nice 19")
	}
	d.facts = func(i failover.InstanceName) (Facts, bool) {
		seen = nice()
		return healthy(i, d.now()), true
	}
	v := d.service()
	for range 3 {
		if _, err := v.Make(t.Context(), Ask{}); err != nil {
			t.Fatal(err)
		}
		if want := min(before+10, 19); seen != want {
			t.Errorf("it is made at nice %d and everything else at %d, want %d", seen, before, want)
		}
		for range 20 {
			if got := nice(); got != before {
				t.Errorf("another goroutine runs at nice %d, it was %d", got, before)
			}
		}
	}
}
