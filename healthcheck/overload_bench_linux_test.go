package healthcheck

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkOverload looks for the rate of probes that this machine can just do,
// and then wants that much, twice and ten times as much. It prints how many
// probes were made and found their server well, beside those at 1×, and fails
// on a false down vote. The servers are another process. Run it with
// -benchtime 1x.
func BenchmarkOverload(b *testing.B) {
	addresses, _ := helper(b, scaleServer)
	const round = 500 * time.Millisecond
	at := func(rate int) (goodput, late float64) {
		p := newScaled(b, HTTP, strings.Fields(addresses), rate/4, round) // two clusters, twice a second
		stop := p.start(b)
		defer stop()
		time.Sleep(3 * time.Second)
		was, begun := p.Stats(), time.Now()
		time.Sleep(4 * time.Second)
		now, took := p.Stats(), time.Since(begun).Seconds()
		return float64(now.Successes-was.Successes) / took, float64(now.Late-was.Late) / took
	}
	for range b.N {
		once := 1000
		for rate := once; rate <= 64_000; rate = rate * 5 / 4 {
			goodput, late := at(rate)
			if late > goodput/50 {
				break
			}
			once = rate
		}
		base := 0.0
		for _, factor := range []int{1, 2, 10} {
			goodput, late := at(once * factor)
			if factor == 1 {
				base = goodput
			}
			b.ReportMetric(goodput, fmt.Sprintf("probes/s-at-%d×", factor))
			b.ReportMetric(100*goodput/base, fmt.Sprintf("%%-of-1×-at-%d×", factor))
			b.ReportMetric(late, fmt.Sprintf("late/s-at-%d×", factor))
		}
		b.ReportMetric(0, "ns/op")
	}
}
