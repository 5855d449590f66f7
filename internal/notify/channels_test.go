package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pointsman/internal/failover"
)

var hookSecret = []byte("0123456789abcdef0123456789abcdef")

// hookReceiver is what docs/delivery.md tells receivers to do.
type hookReceiver struct {
	mu   sync.Mutex
	seen map[string]bool
	got  []Body
}

func (h *hookReceiver) accept(header http.Header, data []byte) error {
	if err := Verify(hookSecret, header, data, time.Now(), 5*time.Minute); err != nil {
		return err
	}
	b, err := ParseBody(header.Get(HeaderID), data)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[b.ID] {
		return errors.New("seen before")
	}
	h.seen[b.ID] = true
	h.got = append(h.got, b)
	return nil
}

func TestTheWebhookIsSignedAndNotReplayed(t *testing.T) {
	h := &hookReceiver{seen: map[string]bool{}}
	var header http.Header
	var body []byte
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		header = r.Header.Clone()
		if err := h.accept(header, body); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	x := mustSender(t, Channel{Type: Webhook, URL: at, Secret: hookSecret}, real())
	p := &parcel{id: "digest-1", msgs: []*Message{message("1"), message("2")}}
	if err := x.send(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b := h.got[0]
	if b.Version != 1 || b.ID != "digest-1" || len(b.Messages) != 2 || b.Messages[1].ID != "2" || b.Messages[0].Evidence[0].Vantage != "van-2" ||
		!strings.HasPrefix(b.Subject, "[FIRE] orders: an operation is held") || !strings.Contains(b.Text, "van-2 (rack-2) says down") {
		t.Errorf("got %+v", b)
	}
	first := string(body)
	for what, change := range map[string]func(http.Header, []byte) (http.Header, []byte){
		"seen before":                          func(h http.Header, b []byte) (http.Header, []byte) { return h, b },
		ErrSignature.Error():                   func(h http.Header, b []byte) (http.Header, []byte) { return h, append(b, ' ') },
		ErrSignature.Error() + " (other time)": func(h http.Header, b []byte) (http.Header, []byte) { h.Set(HeaderTimestamp, "1"); return h, b },
		ErrSignature.Error() + " (other ID)":   func(h http.Header, b []byte) (http.Header, []byte) { h.Set(HeaderID, "2"); return h, b },
		ErrSignature.Error() + " (none)":       func(h http.Header, b []byte) (http.Header, []byte) { h.Del(HeaderSignature); return h, b },
		ErrStale.Error(): func(h http.Header, b []byte) (http.Header, []byte) {
			old := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
			h.Set(HeaderTimestamp, old)
			h.Set(HeaderSignature, Sign(hookSecret, old, h.Get(HeaderID), b))
			return h, b
		},
	} {
		hd, data := change(header.Clone(), slices.Clone(body))
		if err := h.accept(hd, data); err == nil || !strings.HasPrefix(what, err.Error()) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	// Again is the same body: only the timestamp and the signature are new.
	if err := x.send(t.Context(), p); err == nil || !strings.Contains(err.Error(), "seen before") {
		t.Errorf("got %v", err)
	}
	if string(body) != first {
		t.Errorf("the body of the second try differs:\n%s\n%s", body, first)
	}
	if err := x.send(t.Context(), &parcel{id: "r-1", msgs: []*Message{{ID: "r-1", State: Info, Kind: ReportKind, Document: &Document{Title: "weekly", Markdown: "# x", JSON: []byte(`{"a":1}`)}}}}); err != nil {
		t.Fatal(err)
	}
	if d := h.got[1].Document; d == nil || d.Title != "weekly" || string(d.Report) != `{"a":1}` {
		t.Errorf("the report came as %+v", d)
	}
}

// dingTalk is a robot as the vendor describes it: sign over the timestamp in
// the last hour, 20 messages in any minute, then ten minutes of silence. Its
// minute is shorter here.
type dingTalk struct {
	mu     sync.Mutex
	minute time.Duration
	got    []dingTalkMessage
	at     []time.Time
	muted  time.Time
}

const dingSecret = "SEC3a1b2c3d4e5f"

func (d *dingTalk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := func(code int, text string) { fmt.Fprintf(w, `{"errcode":%d,"errmsg":%q}`, code, text) }
	q, now := r.URL.Query(), time.Now()
	ms, err := strconv.ParseInt(q.Get("timestamp"), 10, 64)
	if q.Get("access_token") != "0f1e2d3c4b5a" || err != nil || now.Sub(time.UnixMilli(ms)).Abs() > time.Hour || q.Get("sign") != dingTalkSign([]byte(dingSecret), q.Get("timestamp")) {
		answer(310000, "sign not match")
		return
	}
	var m dingTalkMessage
	if json.NewDecoder(r.Body).Decode(&m) != nil || m.MsgType != "markdown" || m.Markdown.Title == "" || len(m.Markdown.Text) > 20_000 {
		answer(400035, "bad message")
		return
	}
	if now.Before(d.muted) {
		answer(130101, "send too fast")
		return
	}
	n := 0
	for _, t := range d.at {
		if now.Sub(t) < d.minute {
			n++
		}
	}
	if n >= 20 {
		d.muted = now.Add(10 * d.minute)
		answer(130101, "send too fast, exceed 20 times per minute")
		return
	}
	d.at, d.got = append(d.at, now), append(d.got, m)
	answer(0, "ok")
}

// A sign that openssl made:
// printf '1577262236757\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64
func TestTheSignOfDingTalk(t *testing.T) {
	if got := dingTalkSign([]byte("this is secret"), "1577262236757"); got != "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=" {
		t.Errorf("got %s", got)
	}
}

func TestDingTalk(t *testing.T) {
	d := &dingTalk{minute: time.Minute}
	at := serve(t, d.ServeHTTP)
	c := Channel{Type: DingTalk, URL: at + "/robot/send?access_token=0f1e2d3c4b5a", Secret: []byte(dingSecret), Mobiles: []string{"13800000000", "13900000000"}, Keyword: "告警词", Language: Chinese}
	x := mustSender(t, c, real())
	if err := x.send(t.Context(), single(message("1"))); err != nil {
		t.Fatal(err)
	}
	m := d.got[0]
	for _, want := range []string{"告警词", "操作被暂缓", "@13800000000 @13900000000", "> pointsman explain orders", "a：van-2 (rack-2) 判断为不可用"} {
		if !strings.Contains(m.Markdown.Text, want) {
			t.Errorf("%q is not in\n%s", want, m.Markdown.Text)
		}
	}
	if !slices.Equal(m.At.Mobiles, c.Mobiles) {
		t.Errorf("called are %v", m.At.Mobiles)
	}
	news := message("2")
	news.State = Info
	if err := x.send(t.Context(), single(news)); err != nil || len(d.got[1].At.Mobiles) != 0 {
		t.Errorf("news call people: %v, %v", err, d.got[1].At)
	}
	long := message("3")
	long.Document = &Document{Title: "weekly", Markdown: strings.Repeat("很长", 20_000)}
	if err := x.send(t.Context(), single(long)); err != nil {
		t.Error(err)
	}
	for i := range 17 {
		if err := x.send(t.Context(), single(message(fmt.Sprint(i)))); err != nil {
			t.Fatal(err)
		}
	}
	err := x.send(t.Context(), single(message("one too many")))
	if th := (*throttled)(nil); !errors.As(err, &th) || th.after != dingTalkMute {
		t.Errorf("got %v", err)
	}
	c.Secret = []byte("another")
	err = mustSender(t, c, real()).send(t.Context(), single(message("x")))
	if err == nil || err.Error() != "errcode 310000: sign not match" || errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	bad := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>welcome</html>") })
	c.URL = bad + "/?access_token=0f1e2d3c4b5a"
	if err := mustSender(t, c, real()).send(t.Context(), single(message("x"))); err == nil || !strings.HasPrefix(err.Error(), "the answer is none of a robot") {
		t.Errorf("got %v", err)
	}
}

// Through the outbox the robot is never sent more than it takes.
func TestTheOutboxKeepsTheRateOfDingTalk(t *testing.T) {
	const minute = 600 * time.Millisecond
	d := &dingTalk{minute: minute}
	at := serve(t, d.ServeHTTP)
	n := mustOpen(t, t.TempDir(), Setup{Channels: []Channel{{
		Name: "ding", Type: DingTalk, URL: at + "/robot/send?access_token=0f1e2d3c4b5a", Secret: []byte(dingSecret), Allow: loopback, Limits: []Limit{{20, minute}},
	}}})
	running(t, n)
	for i := range 50 {
		m := *message(fmt.Sprint("id-", i))
		m.Instance = failover.InstanceName(fmt.Sprint("orders-", i)) // each is an incident of its own
		n.Notify(m)
	}
	await(t, "all of them", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.got) == 50 })
	if st := n.Stats()[0]; st.Throttled != 0 || !d.muted.IsZero() {
		t.Errorf("the robot was muted: %+v", st)
	}
}

func TestAlertmanager(t *testing.T) {
	var got []alert
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var as []alert
		err := json.NewDecoder(r.Body).Decode(&as)
		switch {
		case r.URL.Path != "/prefix/api/v2/alerts" || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer am-token-1":
			http.Error(w, "not here", http.StatusNotFound)
		case err != nil || len(as) != 1 || as[0].Labels["alertname"] == "" || as[0].EndsAt.Before(as[0].StartsAt):
			http.Error(w, "bad alert", http.StatusBadRequest)
		default:
			got = append(got, as[0])
		}
	})
	x, err := newSender(Channel{Type: Alertmanager, URL: at + "/prefix/", Secret: []byte("am-token-1"), Labels: map[string]string{"team": "db", "instance": "x"}, Allow: loopback}, &Setup{Runbook: "https://wiki.example.com/KIND"}, real())
	if err != nil {
		t.Fatal(err)
	}
	over := &Message{ID: "2", Instance: "orders", Kind: Over, State: Resolve, At: noon.Add(time.Hour)}
	news := &Message{ID: "3", Instance: "orders", Kind: "settled", State: Info, At: noon, Shadow: true}
	for _, m := range []*Message{message("1"), over, news} {
		if err := x.send(t.Context(), single(m)); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := got[0], got[1], got[2]
	if a.Labels["team"] != "db" || a.Labels["severity"] != "critical" || !a.StartsAt.Equal(noon.Add(-time.Minute)) || !a.EndsAt.Equal(noon.Add(alertLasts)) ||
		a.Annotations["runbook_url"] != "https://wiki.example.com/held" || a.Annotations["kind"] != "held" {
		t.Errorf("fire: %+v", a)
	}
	if fmt.Sprint(a.Labels) != fmt.Sprint(b.Labels) || !b.EndsAt.Equal(noon.Add(time.Hour)) {
		t.Errorf("the end has other labels, or another time: %+v", b)
	}
	if c.Labels["severity"] != "info" || c.Labels["mode"] != "shadow" || c.EndsAt.Sub(c.StartsAt) != noteLasts {
		t.Errorf("news: %+v", c)
	}
}

func TestTheFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "notices")
	x := mustSender(t, Channel{Type: Folder, Path: dir, Keep: 3}, real())
	names := func() []string {
		es, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range es {
			out = append(out, e.Name())
		}
		return out
	}
	for range 2 { // the second try replaces the first
		if err := x.send(t.Context(), single(message("id-1"))); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"20261128T120000Z-fire-orders-held-id-1.txt"}
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("there are %v", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, want[0]))
	if err != nil || !strings.Contains(string(text), "pointsman abort orders") {
		t.Errorf("%s, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	report := &Message{ID: "../../etc/r", State: Info, Kind: ReportKind, At: noon.Add(time.Minute), Document: &Document{
		Title: "weekly", Summary: "fine", Markdown: "# weekly", HTML: `<img src="cid:up.png">`, JSON: []byte("{}"), PNGs: []Image{{"up.png", []byte("PNG")}},
	}}
	if err := x.send(t.Context(), single(report)); err != nil {
		t.Fatal(err)
	}
	stem := "20261128T120100Z-info-report-______etc_r"
	for _, f := range []string{".txt", ".md", ".json", ".html", "-up.png"} {
		if !slices.Contains(names(), stem+f) {
			t.Errorf("%s is not among %v", stem+f, names())
		}
	}
	if page, _ := os.ReadFile(filepath.Join(dir, stem+".html")); string(page) != `<img src="`+stem+`-up.png">` {
		t.Errorf("the page is %s", page)
	}
	for i := range 3 {
		m := message(fmt.Sprint("new-", i))
		m.At = noon.Add(time.Hour)
		if err := x.send(t.Context(), single(m)); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); len(got) != 4 || !slices.Contains(got, "mine.txt") {
		t.Errorf("kept are %v", got)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x = mustSender(t, Channel{Type: Folder, Path: filepath.Join(dir, "mine.txt")}, real())
	if err := x.send(t.Context(), single(message("1"))); err == nil || !strings.HasSuffix(err.Error(), "mine.txt: not a directory") {
		t.Errorf("got %v", err)
	}
}

// chat is a receiver that stands for any of the vendors' hosts.
func chat(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string)) outer {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	roots.ServerName = "example.com" // that of the server's certificate
	return bent(s.Listener.Addr().String(), roots)
}

// The services of the library, each against a receiver that stands in for its
// vendor: every call goes by our transport, has the host, the path and the
// words of the message.
func TestTheServicesOfTheLibrary(t *testing.T) {
	teams := "teams://11111111-4444-4444-8444-cccccccccccc@22222222-4444-4444-8444-cccccccccccc/33333333012222222222333333333344/44444444-4444-4444-8444-cccccccccccc/V2ESyij_gAljSoUQHvZoZYzlpAoAXExyOl26dlf1xHEx05?host=test.webhook.office.com"
	for _, x := range []struct{ url, host, path, ok string }{
		{"slack://hook:TABCDEFGH-BABCDEFGH-abcdefghijklmnopqrstuvwx@webhook", "hooks.slack.com", "/services/TABCDEFGH/BABCDEFGH/abcdefghijklmnopqrstuvwx", "ok"},
		{"lark://open.feishu.cn/0f1e2d3c-token?secret=larksecret", "open.feishu.cn", "/open-apis/bot/v2/hook/0f1e2d3c-token", `{"code":0,"msg":"ok"}`},
		{"wecom://693a1b2c-7d8e-4bc4-97a0-0ec25ifa5aaa", "qyapi.weixin.qq.com", "/cgi-bin/webhook/send", `{"errcode":0,"errmsg":"ok"}`},
		{teams, "test.webhook.office.com", "/webhookb2/", "1"},
		{"pagerduty://events.pagerduty.com/eb243592faa24ba2a5511afdf565c889", "events.pagerduty.com", "/v2/enqueue", `{"status":"success"}`},
		{"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@channel-1", "api.telegram.org", "/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage", `{"ok":true,"result":{}}`},
		{"opsgenie://api.opsgenie.com/eb243592-faa2-4ba2-a551q-1afdf565c889", "api.opsgenie.com", "/v2/alerts", `{}`},
		{"generic://hooks.example.com/in?template=json", "hooks.example.com", "/in", "fine"},
	} {
		name := service(x.url)
		t.Run(name, func(t *testing.T) {
			status, said := http.StatusOK, x.ok
			var host, path, body string
			o := chat(t, func(w http.ResponseWriter, r *http.Request, b string) {
				host, path, body = r.Host, r.URL.Path, b
				if status == http.StatusTooManyRequests {
					w.Header().Set("Retry-After", "30")
				}
				if name == "opsgenie" && status == http.StatusOK {
					w.WriteHeader(http.StatusAccepted)
				}
				if status != http.StatusOK {
					w.WriteHeader(status)
				}
				fmt.Fprint(w, said)
			})
			s := mustSender(t, Channel{Type: Shoutrrr, URL: x.url}, o)
			m := message("0123456789abcdef01234567")
			m.Text = "a <!channel> of @all"
			if err := s.send(t.Context(), single(m)); err != nil {
				t.Fatal(err)
			}
			if strings.Split(host, ":")[0] != x.host || !strings.HasPrefix(path, x.path) {
				t.Errorf("it went to %s%s", host, path)
			}
			for _, want := range []string{"an operation is held", "0123456789abcdef01234567"} {
				if !strings.Contains(body, want) {
					t.Errorf("%q is not in %s", want, body)
				}
			}
			if strings.Contains(body, "<!channel>") || strings.Contains(body, `\u003c!channel\u003e`) {
				t.Errorf("a word from outside calls the channel: %s", body)
			}
			status, said = http.StatusTooManyRequests, "slow down"
			err := s.send(t.Context(), single(m))
			if th := (*throttled)(nil); !errors.As(err, &th) || th.after != 30*time.Second {
				t.Errorf("429: got %v", err)
			}
			status, said = http.StatusForbidden, "no such token"
			err = s.send(t.Context(), single(m))
			if err == nil {
				t.Error("403 is no error")
			}
			for _, secret := range secretsOf(x.url) {
				if err != nil && strings.Contains(err.Error(), secret) && len(secret) > 12 && !strings.Contains(x.host, secret) {
					t.Errorf("the error tells %s: %v", secret, err)
				}
			}
			// A vendor's name that leads inside is not dialled.
			o.lookup = nil
			inside := o
			inside.lookup = bent("", nil).lookup
			z, err := newSender(Channel{Type: Shoutrrr, URL: x.url}, &Setup{}, inside)
			if err != nil {
				t.Fatal(err)
			}
			if err := z.send(t.Context(), single(m)); !errors.Is(err, ErrAddress) {
				t.Errorf("a name that leads to loopback: got %v", err)
			}
		})
	}
}

// Of chats that say "too fast" with status 200.
func TestChatsThatLimitWithStatus200(t *testing.T) {
	for url, said := range map[string]string{
		"wecom://693a1b2c-7d8e-4bc4-97a0-0ec25ifa5aaa": `{"errcode":45009,"errmsg":"api freq out of limit"}`,
		"lark://open.feishu.cn/0f1e2d3c-token":         `{"code":11232,"msg":"frequency limited"}`,
	} {
		o := chat(t, func(w http.ResponseWriter, _ *http.Request, _ string) { fmt.Fprint(w, said) })
		err := mustSender(t, Channel{Type: Shoutrrr, URL: url}, o).send(t.Context(), single(message(newID())))
		if th := (*throttled)(nil); !errors.As(err, &th) {
			t.Errorf("%s: got %v", said, err)
		}
	}
}

// PagerDuty has one alert for each incident, and its end resolves it.
func TestPagerDutyResolves(t *testing.T) {
	var got []map[string]any
	o := chat(t, func(w http.ResponseWriter, _ *http.Request, b string) {
		var m map[string]any
		_ = json.Unmarshal([]byte(b), &m)
		got = append(got, m)
		w.WriteHeader(http.StatusAccepted)
	})
	x := mustSender(t, Channel{Type: Shoutrrr, URL: "pagerduty://events.pagerduty.com/eb243592faa24ba2a5511afdf565c889"}, o)
	a, b := message("1"), message("2")
	a.Incident, b.Incident, b.State = "inc-1", "inc-1", Resolve
	for _, m := range []*Message{a, b} {
		if err := x.send(t.Context(), single(m)); err != nil {
			t.Fatal(err)
		}
	}
	for i, action := range []string{"trigger", "resolve"} {
		if got[i]["event_action"] != action || got[i]["dedup_key"] != "inc-1" {
			t.Errorf("%d: %v", i, got[i])
		}
	}
}

// Calls that are on their way at once each keep the rules of their channel.
func TestCallsOfTheLibraryDoNotMix(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			want := fmt.Sprintf("/in-%d", i)
			o := chat(t, func(w http.ResponseWriter, r *http.Request, _ string) {
				if r.URL.Path != want {
					t.Errorf("%s came where %s is", r.URL.Path, want)
				}
			})
			x, err := newSender(Channel{Type: Shoutrrr, URL: "generic://hooks.example.com" + want, Allow: loopback}, &Setup{}, o)
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				if err := x.send(t.Context(), single(message(newID()))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// While calls of the library are on their way, a request that belongs to none
// goes by the strictest rules; at other times nothing is changed for anybody.
func TestOtherRequestsAreLeftAlone(t *testing.T) {
	at := serve(t, func(http.ResponseWriter, *http.Request) {})
	crossing.open()
	if http.DefaultTransport != http.RoundTripper(crossing) {
		t.Fatal("it does not stand in the place of the default")
	}
	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	l := &lane{id: "0123", ctx: t.Context(), g: newGuarded(&dialer{allow: loopback}, nil, time.Second)}
	crossing.enter(l)
	if resp, err := http.Get(at); !errors.Is(err, ErrAddress) {
		t.Errorf("got %v, %v", resp, err)
	}
	crossing.leave(l)
	crossing.base.(*http.Transport).CloseIdleConnections()
}

func TestServicesThatAreNotLetThrough(t *testing.T) {
	for _, u := range []string{"smtp://u:p4ssword@mail.example.com", "logger://", "discord://token@id", "nothing", "", "http://x.example.com/"} {
		_, err := newSender(Channel{Type: Shoutrrr, URL: u}, &Setup{}, real())
		if err == nil || !strings.Contains(err.Error(), "is none of slack, lark, wecom") || strings.Contains(err.Error(), "p4ssword") {
			t.Errorf("%s: got %v", u, err)
		}
	}
	for _, u := range []string{"slack://nonsense-token-1", "telegram://bad:token-123@telegram", "teams://x", "wecom://", "lark://evil.example.com"} {
		x, err := newSender(Channel{Type: Shoutrrr, URL: u, Allow: loopback}, &Setup{}, real())
		if err == nil {
			err = x.send(t.Context(), single(message(newID()))) // the library looks later
		}
		if err == nil || strings.Contains(err.Error(), "token-1") {
			t.Errorf("%s: got %v", u, err)
		}
	}
}
