package lab

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestTheConfigsOfRivalsAreForTheClustersOfTheLab(t *testing.T) {
	w := newWorld(t, Orders)
	addr := netip.MustParseAddrPort("127.0.0.1:5399")
	servers := map[string]server{}
	for _, r := range rivals() {
		servers[r.part()] = r.server(w, addr)
	}
	if len(servers) != 4 {
		t.Fatalf("%d rivals", len(servers))
	}
	for _, a := range answerers() {
		servers[a.name] = a.server(w, "cost-"+a.name, addr)
	}
	for name, s := range servers {
		text := ""
		for _, f := range s.files {
			text += f
		}
		for _, want := range []string{"5399", w.Clusters[0].Addr.Addr().String(), "orders"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		if strings.Contains(text, "%!") || s.addr != addr || s.program == "" || !strings.HasPrefix(s.dir, w.Dir) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for part, want := range map[string]string{
		"gdnsd-fastest": "interval => 2, timeout => 1", "pdns-fastest": "lua-health-checks-interval=1",
	} {
		config := servers[part].files["config"] + servers[part].files["pdns.conf"]
		if !strings.Contains(config, want) {
			t.Errorf("%s is not as fast as it can be:\n%s", part, config)
		}
		slow := servers[strings.Replace(part, "fastest", "default", 1)]
		if strings.Contains(slow.files["config"]+slow.files["pdns.conf"], want) {
			t.Errorf("%s is not as it comes", slow.part)
		}
	}
}

func TestAnAnswerWithoutACNAMEIsJudgedByItsAddress(t *testing.T) {
	a := netip.MustParseAddr("127.0.1.1")
	flat := map[netip.Addr]string{a: "a.lab.test."}
	answer := func(code int, addrs ...string) []byte {
		m := new(dns.Msg).SetQuestion(rivalName, dns.TypeA)
		m.Response, m.Rcode = true, code
		for _, x := range addrs {
			rr, err := dns.NewRR(rivalName + " 5 IN A " + x)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want Answer
	}{
		"the first cluster":    {answer(dns.RcodeSuccess, "127.0.1.1"), Answer{Kind: AnswerTarget, Target: "a.lab.test."}},
		"an address of nobody": {answer(dns.RcodeSuccess, "192.0.2.1"), Answer{Kind: AnswerOdd}},
		"both":                 {answer(dns.RcodeSuccess, "127.0.1.1", "127.0.1.2"), Answer{Kind: AnswerOdd}},
		"nothing":              {answer(dns.RcodeSuccess), Answer{Kind: AnswerEmpty}},
		"no such name":         {answer(dns.RcodeNameError), Answer{Kind: AnswerNXDomain}},
		"failure":              {answer(dns.RcodeServerFailure), Answer{Kind: AnswerServfail}},
		"refused":              {answer(dns.RcodeRefused), Answer{Kind: AnswerOdd}},
		"garbage":              {[]byte("nonsense"), Answer{Kind: AnswerOdd}},
	} {
		got := classifyFlat(c.b, flat)
		got.Note = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestFiguresStandBesideOurFastProfile(t *testing.T) {
	f := Figures{Figures: []Figure{
		{Name: "kill_pointsman_fast-lab_ms", Values: []float64{100, 200, 300}},
		{Name: "kill_pointsman_stateless-http_ms", Values: []float64{3000}},
		{Name: "kill_gdnsd_fastest_ms", Values: []float64{2000}},
		{Name: "stall_gdnsd_fastest_ms", Values: []float64{2000}}, // none of ours beside it
		{Name: "cost_pointsman_us", Values: []float64{10}},
		{Name: "cost_NSD_us", Values: []float64{5}},
		{Name: "cost_Knot_us", Missing: "Knot is not installed"},
	}}
	f.sum()
	f.compare()
	for i, want := range []string{"1.00 × ours", "15.0 × ours", "10.0 × ours", "", "1.00 × ours", "0.50 × ours", ""} {
		if got := f.Figures[i].Beside; got != want {
			t.Errorf("%s: %q, want %q", f.Figures[i].Name, got, want)
		}
	}
}

func TestTheCPUTimeOfAGroupIsThatOfAllItsProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("there is no /proc here")
		return
	}
	cmd := exec.Command("sh", "-c", "(while :; do :; done) & while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	eventually(t, "use of both", func() bool {
		all, err := groupCPU(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		one, err := readUsage(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		return one.cpu > 50*time.Millisecond && all > one.cpu+20*time.Millisecond
	})
	if d, err := groupCPU(1 << 30); err == nil {
		t.Errorf("a group that there is not has used %s", d)
	}
	if _, err := groupCPU(0); err == nil {
		t.Error("group 0 was found")
	}
}
