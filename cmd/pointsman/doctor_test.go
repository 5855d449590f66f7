package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pointsman/dnsctl"
	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/doctor"
	"pointsman/internal/failover"
)

// secureTarget is a cluster that speaks https, with the certificate of the
// test server, which is made out for example.com, as its authority.
func secureTarget(t *testing.T, name string, trusted bool) healthcheck.Target {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Cluster", "b") }))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	c := healthcheck.Check{Type: healthcheck.HTTPS, Path: "/", Identity: healthcheck.IdentityCheck{Header: "X-Cluster"}}
	if trusted {
		c.CA = strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	}
	return healthcheck.Target{
		Instance: "orders", Cluster: "b", Address: s.Listener.Addr().String(), Name: name, Identity: "b", Check: c,
		Round: 5 * time.Second, Timeout: 4 * time.Second, Burst: time.Second, Count: failover.CountPolicy{Fall: 1, Rise: 1},
	}
}

func TestDoctorSeesACertificateAsClientsWould(t *testing.T) {
	for what, c := range map[string]struct {
		name    string
		trusted bool
		verdict doctor.Verdict
		text    string
	}{
		"sound":            {"example.com.", true, doctor.OK, "says that it is b"},
		"without the name": {"orders.lab.test.", true, doctor.Fail, "give cluster b a certificate that covers orders.lab.test: clients bring that name"},
		"of nobody":        {"example.com.", false, doctor.Fail, "check.ca_file"},
	} {
		t.Run(what, func(t *testing.T) {
			f := doctor.JudgeProbe(probeFrom(t.Context(), &config.Config{}, secureTarget(t, c.name, c.trusted)))
			if f.Verdict != c.verdict || !strings.Contains(f.Evidence+f.Fix, c.text) {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestDoctorReadsTheDateOverTLSToo(t *testing.T) {
	f := clusterClock(t.Context(), &config.Config{}, secureTarget(t, "example.com.", true))
	if f.Err != "" || f.Absent != "" || f.Offset.Abs() > f.Unsure+time.Second {
		t.Errorf("%+v", f)
	}
	if f := clusterClock(t.Context(), &config.Config{}, secureTarget(t, "orders.lab.test.", true)); !strings.Contains(f.Err, "not orders.lab.test") {
		t.Errorf("the certificate of another: %+v", f)
	}
	tcp := healthcheck.Target{Cluster: "a", Address: "127.0.0.1:1", Check: healthcheck.Check{Type: healthcheck.TCP}}
	if f := clusterClock(t.Context(), &config.Config{}, tcp); !strings.Contains(f.Absent, "not http, https or tablestore") {
		t.Errorf("%+v", f)
	}
	meta := healthcheck.Target{Cluster: "a", Address: "169.254.169.254:80", Check: healthcheck.Check{Type: healthcheck.HTTP}}
	if f := clusterClock(t.Context(), &config.Config{}, meta); !strings.Contains(f.Err, healthcheck.ErrForbidden.Error()) {
		t.Errorf("the metadata of a cloud is asked: %+v", f)
	}
}

// TestBINDDoctorReadsTheClockOfASignature: BIND signs what it answers, and with
// the wrong key says so.
func TestBINDDoctorReadsTheClockOfASignature(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	file := filepath.Join(t.TempDir(), "tsig.key")
	provider := func(key string) config.Provider {
		return config.Provider{Name: "bind", SecretFile: file, Update: &dnsctl.RFC2136Config{
			Server: bind.addr, Zone: "example.com.", Key: dnsctl.Key{Name: key, Algorithm: "hmac-sha256"},
		}}
	}
	if f := dnsClock(t.Context(), provider("ctl.")); !strings.Contains(f.Absent, "its key cannot be read: read secret "+file+": no such file") {
		t.Errorf("without a file: %+v", f)
	}
	writeFiles(t, filepath.Dir(file), map[string]string{"tsig.key": ctlSecret + "\n"})
	if f := dnsClock(t.Context(), provider("ctl.")); f.Err != "" || f.Absent != "" || f.Offset.Abs() > f.Unsure+time.Second {
		t.Errorf("%+v", f)
	}
	if f := dnsClock(t.Context(), provider("nobody.")); f.Err == "" || strings.Contains(f.Err, ctlSecret) {
		t.Errorf("a key that BIND does not know: %+v", f)
	}
	writeFiles(t, filepath.Dir(file), map[string]string{"tsig.key": handSecret + "\n"})
	if f := dnsClock(t.Context(), provider("ctl.")); f.Err == "" || strings.Contains(f.Err, handSecret) {
		t.Errorf("a wrong secret: %+v", f)
	}
}

func TestATimeThatIsTooFarOffIsReadFromTheError(t *testing.T) {
	if at, ok := signedAt(&dns.TSIG{TimeSigned: 5, Error: dns.RcodeBadTime, OtherData: "0000693a1b2c"}); !ok || at.Unix() != 0x693a1b2c {
		t.Errorf("%v %v", at, ok)
	}
	if at, ok := signedAt(&dns.TSIG{TimeSigned: 5}); ok || at.Unix() != 5 {
		t.Errorf("%v %v", at, ok)
	}
	if _, ok := signedAt(&dns.TSIG{Error: dns.RcodeBadTime, OtherData: "zz0000000000"}); ok {
		t.Error("what is no time is taken for one")
	}
}

// TestDoctorIsNotHeldUpByAControllerThatHangs: it takes connections and never
// answers.
func TestDoctorIsNotHeldUpByAControllerThatHangs(t *testing.T) {
	t.Parallel()
	dir := shortDir(t, "hang")
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var conns []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	defer func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	}()
	text := strings.NewReplacer("data: data, socket: s/s", "data: data, socket: s", "$CONTROL", "127.0.0.1:1", "$DNS", freeAddr(t), "$A", "127.0.0.1:2", "$B", "127.0.0.1:3").Replace(storyConfig)
	writeFiles(t, dir, map[string]string{"pointsman.yaml": text})
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, env: func(string) string { return "" }, config: filepath.Join(dir, "pointsman.yaml")}
	ids, _ := doctor.Select([]string{"config", "files", "clock.controller"})
	began := time.Now()
	r, err := a.examine(t.Context(), doctorFlags{within: time.Minute}, ids, doctor.Asker{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > askTime+30*time.Second {
		t.Errorf("it took %s", took)
	}
	if text := findingLines(r.Findings); !strings.Contains(text, "fail config.running "+filepath.Join(dir, "s")+": it does not answer in time | look at its log") || !strings.Contains(text, "ok files.data") {
		t.Errorf("%s", text)
	}
	// And whoever interrupts gets the rest at once.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := a.examine(ctx, doctorFlags{within: time.Minute}, ids, doctor.Asker{}, nil); err != nil || r.Skipped == 0 || r.OK != 0 {
		t.Errorf("%v %+v", err, r)
	}
}

func TestProgressStandsOnATerminalAlone(t *testing.T) {
	var errs bytes.Buffer
	a := &app{stderr: &errs, env: func(string) string { return "" }}
	if a.progress() != nil {
		t.Error("without a terminal")
	}
	a.stderrTTY = true
	say := a.progress()
	say(1, 3, "lab.test.\x1b[2J")
	say(3, 3, "lab.test.")
	if got, want := errs.String(), "\r\x1b[K1 of 3  lab.test.\\u001b[2J\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestProxiesAreShownWithoutTheirSecrets(t *testing.T) {
	env := map[string]string{"HTTP_PROXY": "http://user:hunter2@proxy:3128/x", "https_proxy": "::", "NO_PROXY": "a,b"}
	got := strings.Join(proxies(func(k string) string { return env[k] }), " ")
	if got != "HTTP_PROXY=http://proxy:3128 https_proxy=set NO_PROXY=a,b" {
		t.Errorf("%q", got)
	}
}

func TestScrubMasksWhatLooksLikeASecret(t *testing.T) {
	for in, want := range map[string]string{
		"https://oapi.dingtalk.com/robot/send?access_token=abc":                        "https://oapi.dingtalk.com[masked]",
		"https://hooks.slack.com/services/T0/B0/abcdefghijklmnopqrstuvwx, then":        "https://hooks.slack.com[masked] then",
		"https://open.feishu.cn/open-apis/bot/v2/hook/aaaaaaaa-bbbb-cccc-dddd-eeeeeee": "https://open.feishu.cn[masked]",
		"http://user:pass@proxy:3128/x":                                                "http://[masked]",
		"http://127.0.0.1:8053/readyz":                                                 "http://127.0.0.1:8053/readyz",
		"Authorization: Bearer abcdefgh12345":                                          "Authorization: Bearer [masked]",
		"token=hunter2hunter2; next":                                                   "token=[masked]; next",
		"password: hunter2":                                                            "password: [masked]",
		"LTAI5tAbCdEfGhIjKlMnOp":                                                       "[masked]",
		"the secret is " + ctlSecret:                                                   "the secret is [masked]",
		`"https://h.example.com/x?a=b\u0026sign=zz", 1`:                                `"https://h.example.com[masked]", 1`,
		`{"reason":"token=hunter2"}`:                                                   `{"reason":"token=[masked]"}`,
		"v=1 term=1 epoch=2 op=orders-1.2 by=ctl-1":                                    "v=1 term=1 epoch=2 op=orders-1.2 by=ctl-1",
		"hash 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef":        "hash 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----":                 "-----BEGIN PRIVATE KEY-----[masked]-----END PRIVATE KEY-----",
	} {
		if got := string(scrub([]byte(in))); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

// FuzzScrub: whatever it masks, JSON stays JSON, and a second pass changes nothing more.
func FuzzScrub(f *testing.F) {
	f.Add("https://u:p@h/x?y=z token=\"abcd\" Bearer abcdefgh")
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(map[string]string{"a": s, "b": "end"})
		if err != nil {
			return
		}
		var back map[string]string
		if err := json.Unmarshal(scrub(data), &back); err != nil || back["b"] != "end" {
			t.Errorf("%q became %q: %v", data, scrub(data), err)
		}
	})
}

func TestABundleKeepsItsBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	b, err := newBundle(path)
	if err != nil {
		t.Fatal(err)
	}
	b.add("big", bytes.Repeat([]byte("x"), maxPart+5), "")
	for i := range maxBundle/maxPart + 2 {
		b.add(fmt.Sprint("part", i), bytes.Repeat([]byte("y"), maxPart-1), "")
	}
	r, err := b.finish()
	if err != nil {
		t.Fatal(err)
	}
	if r.Parts[0].Bytes != maxPart || r.Parts[0].Cut != fmt.Sprintf("the first %d of %d bytes", maxPart, maxPart+5) {
		t.Errorf("%+v", r.Parts[0])
	}
	if len(r.Missing) == 0 || !strings.Contains(r.Missing[0].Why, "bytes already, and takes") {
		t.Errorf("%+v", r.Missing)
	}
	lines := make([]string, 100)
	for i := range lines {
		lines[i] = strings.Repeat("z", maxPart/50)
	}
	if kept, left := newestThatFit(lines); left == 0 || len(kept)+left != 100 || len(kept) < 45 {
		t.Errorf("kept %d, left %d", len(kept), left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || info.Size() != r.Bytes {
		t.Errorf("%v %v", info, err)
	}
	if _, err := newBundle(path); err == nil || hintOf(err) != "name another file by --output" {
		t.Errorf("a second time: %v", err)
	}
}

// bundleFiles reads a bundle, and checks each part against the manifest.
func bundleFiles(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "pointsman-bundle/")] = string(data)
	}
}

// TestBINDABundleHoldsNoSecretOfItsWorld: keys of vantages, the token, the
// secret of the TSIG key, webhooks and passwords that people typed.
func TestBINDABundleHoldsNoSecretOfItsWorld(t *testing.T) {
	bind := startNamed(t, bindA, bindGrants)
	w := newBindWorld(t, bind, bind.addr, threeRacks(bindConfig))
	w.run(t)
	w.until(t, "a view", func(v failover.View) bool { return v.Instance == "orders" })
	w.adopt(t)
	const hook, robot, password = "https://hooks.slack.com/services/T000/B000/abcdefghijklmnopqrstuvwx", "https://oapi.dingtalk.com/robot/send?access_token=feedfacefeedfacefeed", "hunter2hunter2"
	w.verb(t, exitOK, "pause", "orders", "--reason", "told "+hook+" and "+robot+", password="+password+", key "+ctlSecret)
	bind.byHand(t, `add shop.example.com. 30 TXT "token=`+password+`"`)
	w.verb(t, exitOK, "bundle", "-c", "pointsman.yaml", "--output", "all.tar.gz")
	files := bundleFiles(t, filepath.Join(w.dir, "all.tar.gz"))
	for _, part := range []string{"MANIFEST.json", "config.json", "audit.json", "metrics.txt", "doctor.json", "instances/orders/status.json", "instances/orders/explain.json"} {
		if files[part] == "" {
			t.Errorf("it has no %s", part)
		}
	}
	if !strings.Contains(files["audit.json"], "told https://hooks.slack.com[masked]") {
		t.Errorf("the reason is not in the audit:\n%s", files["audit.json"])
	}
	for name, text := range files {
		for what, secret := range map[string]string{
			"the TSIG secret": ctlSecret, "the other": handSecret, "the token": strings.Repeat("t", 32), "a key": strings.Repeat("2", 64), "another": strings.Repeat("3", 64),
			"a webhook": "abcdefghijklmnopqrstuvwx", "a robot": "feedfacefeedface", "a password": password,
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", name, what)
			}
		}
	}
}
