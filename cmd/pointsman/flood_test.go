package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/internal/failover"
)

// The load that the authority of a team is asked for on a busy day, and ten
// times that, in questions a second.
const normalLoad, floodLoad = 2_000, 20_000

// TestAFailoverUnderATenfoldFloodOfQuestionsIsTheSameFailover: the controller
// and its authority are one process. What comes from outside must not reach
// what decides: with ten times the load a failover takes the same steps to the
// same end, every answer is right, and no report is dropped or refused. How
// long it takes is printed, and measured by `pointsman-lab bench`.
func TestAFailoverUnderATenfoldFloodOfQuestionsIsTheSameFailover(t *testing.T) {
	w := newFloodWorld(t)
	w.run(t)
	w.vantage(t, "van-2", "pointsman.yaml")
	w.vantage(t, "van-3", "pointsman.yaml")
	w.until(t, "everybody to say up", allUp)
	w.verb(t, exitOK, "arm", "orders", "--mode", "auto", "--yes")

	var steps [2][]failover.StepName
	for i, rate := range []int{normalLoad, floodLoad} {
		w.until(t, "calm at a", func(v failover.View) bool { return allUp(v) && settledAt("a")(v) })
		f := startFlood(t, w.dns, rate)
		wit := startWitness(t, w.dns, secondName)
		f.asked(t, int64(rate)/2) // it flows
		before := w.counters(t)
		died := time.Now()
		w.a.kill()
		v := w.until(t, "b", settledAt("b"))
		f.asked(t, f.sent.Load()+int64(rate)/2) // and goes on after the move
		f.end()
		wit.end()

		op := v.LastOp
		if op == nil || op.Outcome != failover.Settled || !op.Op.Auto || op.Op.Held != nil || op.Op.UnwindWhy != "" || len(op.Op.Stragglers) > 0 {
			t.Fatalf("at %d questions a second: %+v", rate, op)
		}
		for _, s := range failover.Steps(op.Op.Kind) {
			if _, ok := op.Op.StepAt[s.Step]; ok {
				steps[i] = append(steps[i], s.Step)
			}
		}
		if got := fmt.Sprint(wit.targets()); got != fmt.Sprint([]string{secondA, secondB}) || len(wit.bad) > 0 {
			t.Errorf("at %d questions a second the name showed %s, bad: %v", rate, got, wit.bad)
		}
		if n := f.wrong.Load(); n > 0 {
			t.Errorf("at %d questions a second %d of %d answers were wrong, such as %s", rate, n, f.answers.Load(), f.example.Load())
		}
		for name, n := range w.counters(t) {
			if n != before[name] {
				t.Errorf("at %d questions a second %s grew by %g", rate, name, n-before[name])
			}
		}
		t.Logf("%d questions a second: %d sent, %d answered; b was answered %s after the death", rate, f.sent.Load(), f.answers.Load(),
			wit.at[len(wit.at)-1].Sub(died).Round(time.Millisecond))

		w.a.up(t)
		w.until(t, "a up for everybody", allUp)
		w.verb(t, exitOK, "switchover", "orders", "--to", "a", "--yes")
	}
	if fmt.Sprint(steps[0]) != fmt.Sprint(steps[1]) {
		t.Errorf("steps at the normal load %v, in the flood %v", steps[0], steps[1])
	}
}

// allUp wants every rack to say up: one that still says down would refuse a
// move to that cluster.
func allUp(v failover.View) bool {
	for _, c := range v.Clusters {
		if slices.ContainsFunc(c.Domains, func(d failover.DomainView) bool { return d.Vote != failover.Up }) {
			return false
		}
	}
	return bothUp(v)
}

// floodWorld is the program with its own authority, three racks and two
// clusters.
type floodWorld struct {
	*bindWorld
	dns, listen string
}

func newFloodWorld(t *testing.T) *floodWorld {
	t.Helper()
	dir, err := os.MkdirTemp("", "flood") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	var free [2]string
	for i := range free {
		if free[i], err = freePort(); err != nil {
			t.Fatal(err)
		}
	}
	w := &floodWorld{
		bindWorld: &bindWorld{dir: dir, a: startBackend(t, "127.0.1.1", "a"), b: startBackend(t, "127.0.1.2", "b")},
		dns:       free[0], listen: free[1],
	}
	w.replace = strings.NewReplacer("$CONTROL", control.Addr().String(), "$A", w.a.addr, "$B", w.b.addr, "$DNS", w.dns, "$LISTEN", w.listen,
		"  keys: {$KEYS}\n", "", "      secondaries: [$SECONDARIES]\n", "", "single_vantage: accept\n", fmt.Sprintf(`vantages:
  - {name: van-2, domain: rack-2, key_file: van-2.key, controls: ["tcp://%[1]s"]}
  - {name: van-3, domain: rack-3, key_file: van-3.key, controls: ["tcp://%[1]s"]}
`, control.Addr()))
	writeFiles(t, dir, map[string]string{
		"pointsman.yaml": w.replace.Replace(secondaryConfig), "token": strings.Repeat("t", 32) + "\n",
		"van-2.key": strings.Repeat("2", 64) + "\n", "van-3.key": strings.Repeat("3", 64) + "\n",
	})
	return w
}

// lost are the metrics of what was dropped or refused.
var lost = regexp.MustCompile(`(?m)^(pointsman_(?:reports_refused|dropped|history_dropped|faults|commit_conflicts)_total(?:\{.*?\})?) (\S+)$`)

func (w *floodWorld) counters(t *testing.T) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + w.listen + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range lost.FindAllStringSubmatch(string(text), -1) {
		if got[m[1]], err = strconv.ParseFloat(m[2], 64); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) == 0 {
		t.Fatalf("no metric of what is lost:\n%s", text)
	}
	http.DefaultClient.CloseIdleConnections()
	return got
}

// flood asks an authority at a steady rate for the name that moves, in every
// tenth question for a name that there is not, and judges each answer. It does
// not wait for answers.
type flood struct {
	sent, answers, wrong atomic.Int64
	example              atomic.Value

	stop, done chan struct{}
}

func startFlood(t *testing.T, server string, rate int) *flood {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{stop: make(chan struct{}), done: make(chan struct{})}
	f.example.Store("none")
	var questions [10][]byte
	for i := range questions {
		m := new(dns.Msg).SetQuestion(secondName, []uint16{dns.TypeCNAME, dns.TypeA}[i%2])
		if i == 9 {
			m.SetQuestion("nobody.lab.test.", dns.TypeA)
		}
		m.Id = uint16(i)
		if questions[i], err = m.Pack(); err != nil {
			t.Fatal(err)
		}
	}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				f.judge(buf[:n])
			}
		}
	}()
	go func() {
		defer close(f.done)
		defer func() { conn.Close(); <-listening }()
		start := time.Now()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
			}
			for due := int64(time.Since(start).Seconds() * float64(rate)); f.sent.Load() < due; f.sent.Add(1) {
				_, _ = conn.Write(questions[f.sent.Load()%10]) // a full buffer loses one; so it is
			}
		}
	}()
	t.Cleanup(f.end)
	return f
}

func (f *flood) end() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	<-f.done
}

// asked waits until so many questions were sent, and some of them answered.
func (f *flood) asked(t *testing.T, n int64) {
	t.Helper()
	eventually(t, "questions", func() bool { return f.sent.Load() >= n && f.answers.Load() > 0 })
}

func (f *flood) judge(b []byte) {
	f.answers.Add(1)
	m := new(dns.Msg)
	err := m.Unpack(b)
	ok := err == nil && m.Authoritative
	switch {
	case !ok:
	case m.Id == 9:
		ok = m.Rcode == dns.RcodeNameError
	default:
		ok = m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0
		if ok {
			cname, is := m.Answer[0].(*dns.CNAME)
			ok = is && (cname.Target == secondA || cname.Target == secondB)
		}
	}
	if !ok {
		f.wrong.Add(1)
		f.example.Store(fmt.Sprintf("%v %v", err, m))
	}
}
