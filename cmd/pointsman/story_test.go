package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain registers the program's own main, so that stories run it as a
// process of its own.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"pointsman": main, "aliyun": labAliyun})
}

type leakChecked struct{ m *testing.M }

// ends is what is left to do when all tests are over.
var ends struct {
	sync.Mutex
	do []func()
}

func atEnd(f func()) {
	ends.Lock()
	defer ends.Unlock()
	ends.do = append(ends.do, f)
}

// beside is how many of the stories that wait most of the time are told beside
// one another, and of the worlds of many processes; the detector leaves no time
// to wait in.
const beside = 4

func (l leakChecked) Run() int {
	if f := flag.Lookup("test.parallel"); f != nil && !underRace { // a command line may say another number
		_ = f.Value.Set(fmt.Sprint(beside))
	}
	code := l.m.Run()
	for _, f := range ends.do {
		f()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestStories runs the user stories in testdata: one file each, named after
// what it shows. Beside the program they have two clusters in this process:
//
//	cluster NAME up|down|says OTHER   turn a cluster's knobs
//	await REGEXP COMMAND…             run COMMAND until its stdout matches, a minute at most
//	dig NAME WANT                     ask the authority over UDP and TCP; "-" wants no answer
//	rc N COMMAND…                     run COMMAND and want exit status N; again where it is refused because this machine is late
//	get PATH STATUS REGEXP            ask the API over TCP without a token until it answers so, a minute at most; with !, that it does not at once
//	hook FILE                         open a receiver of messages; write pointsman.yaml with channels to FILE
//	hooked REGEXP                     wait until a message that it received and verified matches, a minute at most
//	hup                               send SIGHUP to what runs in the background
//	disk mount|fill|free|unmount DIR  a file system of 1 MiB; where the condition [mount] holds
func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               setUp,
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"cluster": turnKnob,
			"await":   await,
			"dig":     digName,
			"rc":      runWithStatus,
			"get":     getPath,
			"disk":    tinyDisk,
			"hup":     hangUp,
			"hook":    openHook,
			"hooked":  notified,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "mount" {
				return mayMount(), nil
			}
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// site is one cluster: an HTTP server that says which cluster it is.
type site struct {
	addr string
	says atomic.Pointer[string]

	mu     sync.Mutex
	server *http.Server
	done   chan struct{}
}

type sitesKey struct{}

// setUp starts two clusters and a control, picks a port for DNS and the API,
// and writes a config that the stories may change.
func setUp(env *testscript.Env) error {
	sites := make(map[string]*site)
	env.Values[sitesKey{}] = sites
	env.Values[hooksKey{}] = &hooks{}
	for _, name := range []string{"a", "b"} {
		addr, err := freePort() // it goes down and comes up again
		if err != nil {
			return err
		}
		s := &site{addr: addr}
		s.says.Store(&name)
		if err := s.up(); err != nil {
			return err
		}
		env.Defer(s.down)
		sites[name] = s
		env.Setenv(strings.ToUpper(name), s.addr)
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Defer(func() { control.Close() })
	env.Setenv("CONTROL", control.Addr().String())
	for _, v := range []string{"DNS", "API"} {
		addr, err := freePort()
		if err != nil {
			return err
		}
		env.Setenv(v, addr)
	}
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else every verb built with the detector takes a second more
	env.Setenv("NO_COLOR", "1")
	env.Setenv("USER", "alice")
	r := strings.NewReplacer("$DNS", env.Getenv("DNS"), "$API", env.Getenv("API"), "$CONTROL", env.Getenv("CONTROL"),
		"$A", env.Getenv("A"), "$B", env.Getenv("B"))
	for name, text := range map[string]string{"pointsman.yaml": storyConfig, "listen.yaml": listenConfig(), "taken.yaml": strings.Replace(listenConfig(), "$API", "$A", 1), "shadow.yaml": shadowConfig, "three.yaml": threeConfig(), "disk.yaml": diskConfig(), "patient.yaml": patientConfig()} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(r.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"token": "0123456789abcdef0123456789abcdef", "van-2.key": strings.Repeat("2", 64), "van-3.key": strings.Repeat("3", 64),
	} {
		if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// freePort finds an address that is free for UDP and TCP, and stays so: below
// the range from which the kernel gives out ports of clients and outside that of
// the lab, and claimed until this process ends. Whoever listens there may stop
// and start again.
func freePort() (string, error) {
	for range 200 {
		port := 10000 + rand.IntN(10000)
		if addr := fmt.Sprintf("127.0.0.1:%d", port); claim(port) && bindable(addr) {
			return addr, nil
		}
	}
	return "", errors.New("no port is free for UDP and TCP")
}

// bindable tries both. A process that is started meanwhile has a copy of our
// sockets until its exec, and they would stay open that long: none is started.
func bindable(addr string) bool {
	if runtime.GOOS == "linux" { // elsewhere who opens a socket takes this lock
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return p.Close() == nil
}

// claimed are the sockets that say which ports are taken, though nobody may be
// listening there right now.
var claimed struct {
	sync.Mutex
	ports   map[int]bool
	sockets []net.Listener
}

// claim says that a port is ours: to the others in this process, and to other
// processes by a socket at an address of loopback that nobody else uses.
func claim(port int) bool {
	claimed.Lock()
	defer claimed.Unlock()
	if claimed.ports[port] {
		return false
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.53.53.53:%d", port))
	switch {
	case err == nil:
		claimed.sockets = append(claimed.sockets, l)
	case !errors.Is(err, syscall.EADDRNOTAVAIL): // a system whose loopback is one address knows of this process alone
		return false
	}
	if claimed.ports == nil {
		claimed.ports = make(map[int]bool)
	}
	claimed.ports[port] = true
	return true
}

func (s *site) up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Cluster", *s.says.Load())
		fmt.Fprintln(w, "fine")
	})}
	s.done = make(chan struct{})
	go func(srv *http.Server, done chan struct{}) {
		defer close(done)
		_ = srv.Serve(l)
	}(s.server, s.done)
	return nil
}

func (s *site) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.Close()
		<-s.done
		s.server = nil
	}
}

func turnKnob(ts *testscript.TestScript, neg bool, args []string) {
	sites := ts.Value(sitesKey{}).(map[string]*site)
	if neg || len(args) < 2 || sites[args[0]] == nil {
		ts.Fatalf("usage: cluster a|b up|down|says OTHER")
	}
	s := sites[args[0]]
	switch {
	case args[1] == "up":
		ts.Check(s.up())
	case args[1] == "down":
		s.down()
	case args[1] == "says" && len(args) == 3:
		s.says.Store(&args[2])
	default:
		ts.Fatalf("usage: cluster a|b up|down|says OTHER")
	}
}

// patience is how long a story waits for what must come. It is the time of a
// machine that does much else; what comes sooner is not waited for.
const patience = time.Minute

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await REGEXP COMMAND…")
	}
	want := regexp.MustCompile("(?m)" + args[0])
	var out string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if here, ok := look(ts, args[1:]); ok && !want.MatchString(here) {
			out = here
			continue
		}
		_ = ts.Exec(args[1], args[2:]...)
		if out = ts.ReadFile("stdout"); want.MatchString(out) {
			return
		}
	}
	ts.Fatalf("%q did not come within %s; the last output was:\n%s%s", args[0], patience, out, ts.ReadFile("stderr"))
}

// look is what a verb that only looks prints, without the price of a process
// for each look. ok is false for any other command.
func look(ts *testscript.TestScript, args []string) (out string, ok bool) {
	if len(args) < 2 || args[0] != "pointsman" || !slices.Contains([]string{"status", "history", "explain", "audit", "shadow"}, args[1]) {
		return "", false
	}
	args = slices.Clone(args[1:])
	paths := map[string]bool{"-c": true, "--socket": true, "--token-file": true}
	found := ts.Getenv("POINTSMAN_SOCKET") != ""
	for i, a := range args[:len(args)-1] {
		if paths[a] {
			found, args[i+1] = true, ts.MkAbs(args[i+1])
		}
	}
	if !found {
		return "", false
	}
	var b bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &b, stderr: io.Discard, env: func(k string) string {
		v := ts.Getenv(k)
		if v != "" && (k == "POINTSMAN_SOCKET" || k == "POINTSMAN_TOKEN_FILE") {
			v = ts.MkAbs(v)
		}
		return v
	}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a.run(ctx, args)
	return b.String(), true
}

func hangUp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hup")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGHUP))
	}
}

func runWithStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rc N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got, said := patiently(want, func() (int, string) {
		err, code := ts.Exec(args[1], args[2:]...), 0
		if err != nil {
			var exit interface{ ExitCode() int }
			if !errors.As(err, &exit) {
				ts.Fatalf("%v", err)
			}
			code = exit.ExitCode()
		}
		return code, ts.ReadFile("stdout") + ts.ReadFile("stderr")
	})
	if got != want {
		ts.Fatalf("exit status %d, want %d\n%s", got, want, said)
	}
}

// lateWords are those of a vantage, or a controller, on a machine that has too
// much to do: it has no vote for a round, or wants fresh ones first.
var lateWords = regexp.MustCompile(`late on our own schedule|no probe has ended for|its newest answer is|the loop stalled`)

// patiently runs a verb, and again where it was refused for what passes by
// itself.
func patiently(want int, run func() (code int, said string)) (code int, said string) {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		code, said = run()
		passing := code == exitRefused && lateWords.MatchString(said) ||
			code == exitRefused && code != want && strings.Contains(said, "the world has moved since the plan was made")
		if !passing || time.Now().After(end) {
			return code, said
		}
	}
}

func digName(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dig NAME WANT")
	}
	for _, network := range []string{"udp", "tcp"} {
		got := ask(network, ts.Getenv("DNS"), args[0])
		if got != args[1] {
			ts.Fatalf("%s over %s: %s, want %s", args[0], network, got, args[1])
		}
	}
}

func getPath(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: [!] get PATH STATUS REGEXP")
	}
	want, last := regexp.MustCompile(args[2]), ""
	if neg {
		status, body, err := fetch("http://" + ts.Getenv("API") + args[0])
		ts.Check(err)
		if fmt.Sprint(status) != args[1] || want.MatchString(body) {
			ts.Fatalf("%s gave %d and %q:\n%s", args[0], status, args[2], body)
		}
		return
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		status, body, err := fetch("http://" + ts.Getenv("API") + args[0])
		ts.Check(err)
		if last = body; fmt.Sprint(status) == args[1] && want.MatchString(body) {
			return
		}
	}
	ts.Fatalf("%s did not give %s and %q; the last answer was:\n%s", args[0], args[1], args[2], last)
}

func fetch(url string) (status int, body string, err error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ask returns the CNAME of a name, or "-".
func ask(network, server, name string) string {
	m := new(dns.Msg).SetQuestion(name, dns.TypeCNAME)
	c := &dns.Client{Net: network, Timeout: 2 * time.Second}
	r, _, err := c.Exchange(m, server)
	if err != nil || len(r.Answer) != 1 {
		return "-"
	}
	cname, ok := r.Answer[0].(*dns.CNAME)
	if !ok {
		return "-"
	}
	return cname.Target
}

const storyConfig = `controller: {name: ctl-1, data: data, socket: s/s}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
authority:
  listen: ["$DNS"]
  zones:
    - name: lab.test.
      ns: [ns1.lab.test.]
      hosts: {ns1.lab.test.: [127.0.0.1], a.lab.test.: [127.0.0.1], b.lab.test.: [127.0.0.1]}
instances:
  - name: orders
    preset: fast-lab
    names: [{name: orders.lab.test., provider: embedded}]
    clusters:
      a: {target: a.lab.test., address: "$A"}
      b: {target: b.lab.test., address: "$B"}
    primary: a
    round: 500ms # fast-lab's own figures want a machine that does little else
    timeout: 400ms
    burst: 50ms
    rise: 2
    cooldown: 1h
    config_settle: 0s
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`

func listenConfig() string {
	return strings.Replace(storyConfig, "socket: s/s", `socket: s/s, listen: "$API", token_file: token`, 1)
}

// threeConfig has three failure domains, two of them elsewhere.
func threeConfig() string {
	s := strings.Replace(listenConfig(), "single_vantage: accept\n", "", 1)
	return strings.Replace(s, "authority:\n", `vantages:
  - {name: van-2, domain: rack-2, key_file: van-2.key, controls: ["tcp://$CONTROL"]}
  - {name: van-3, domain: rack-3, key_file: van-3.key, controls: ["tcp://$CONTROL"]}
authority:
`, 1)
}

// patientConfig rides out what the others act upon.
func patientConfig() string {
	return strings.Replace(storyConfig, "    burst: 50ms\n", "    burst: 50ms\n    ride_out: 1m\n    fall: 4\n", 1)
}

// diskConfig keeps its data on a disk of its own.
func diskConfig() string { return strings.Replace(storyConfig, "data: data", "data: disk/data", 1) }

// shadowConfig has a provider whose secret is not there.
const shadowConfig = `controller: {name: ctl-1, data: shadow-data, socket: s/shadow}
single_vantage: accept
vantage: {name: ctl-1, domain: rack-1, controls: ["tcp://$CONTROL"]}
providers:
  bind:
    type: rfc2136
    server: "$DNS"
    zone: example.com.
    key: {name: ctl., algorithm: hmac-sha256, secret_file: absent.key}
    authorities: ["$DNS"]
instances:
  - name: orders
    preset: stateless-http
    names: [{name: orders.example.com., provider: bind}]
    clusters:
      a: {target: a.example.com., address: "$A"}
      b: {target: b.example.com., address: "$B"}
    primary: a
    check: {type: http, path: /healthz, identity: {header: X-Cluster}}
`
