package failover

import "testing"

// BenchmarkStepIdle is one vantage's report about a healthy instance.
func BenchmarkStepIdle(b *testing.B) {
	w := newWorld(testPolicy())
	w.start()
	w.settleUp()
	w.command(Command{Do: DoArm, Mode: ModeAuto})
	r := Report{Vantage: "v1", Want: "cfg1", Generation: "cfg1", Clusters: w.said["v1"]}
	b.ReportAllocs()
	for b.Loop() {
		w.s, _ = Step(w.s, &w.p, r, w.now)
	}
}
