package notify

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
)

func emailTo(s *smtpServer) Channel {
	return Channel{Type: Email, Server: "mail.example.com:587", Sender: "pointsman <pm@example.com>", To: []string{"oncall@example.com", "二线 <second@example.com>"}, Timeout: time.Minute}
}

// part is one leaf of a MIME tree.
type part struct {
	kind, id, disposition, text string
}

// leaves reads the whole tree of an e-mail.
func leaves(t *testing.T, kind, encoding string, head func(string) string, body io.Reader) []part {
	t.Helper()
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		t.Fatalf("%q: %v", kind, err)
	}
	if !strings.HasPrefix(media, "multipart/") {
		switch strings.ToLower(encoding) {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		}
		data, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return []part{{media, head("Content-Id"), head("Content-Disposition"), string(data)}}
	}
	var out []part
	r := multipart.NewReader(body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, leaves(t, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p.Header.Get, p)...)
	}
}

func parse(t *testing.T, raw string) (*mail.Message, []part) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m, leaves(t, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Header.Get, m.Body)
}

func kinds(ps []part) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.kind)
	}
	return out
}

func TestAnEmailHasAPlainPartAndAPage(t *testing.T) {
	for name, s := range map[string]*smtpServer{
		"starttls and login": {starttls: true, login: "pm s3cret-word"},
		"implicit and login": {implicit: true, login: "pm s3cret-word"},
		"starttls":           {starttls: true},
		"clear":              {},
	} {
		t.Run(name, func(t *testing.T) {
			s.start(t)
			c := emailTo(s)
			c.Language = Chinese
			if s.login != "" {
				c.User, c.Secret = "pm", []byte("s3cret-word")
			}
			if s.implicit {
				c.Security = Implicit
			}
			if name == "clear" {
				c.Security = NoTLS
			}
			x := mustSender(t, c, bent(s.addr, s.roots))
			m := message("id-1")
			m.Text = "<script>alert(1)</script>\u202e"
			*m = m.bound()
			for range 2 {
				if err := x.send(t.Context(), single(m)); err != nil {
					t.Fatal(err)
				}
			}
			got, parts := parse(t, s.mails[0])
			subject, _ := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			if subject != "【告警】 orders: 操作被暂缓 (a down, b up)" || got.Header.Get("Message-Id") != "<id-1@example.com>" || got.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("subject %q, %v", subject, got.Header)
			}
			if at, err := got.Header.Date(); err != nil || !at.Equal(noon) {
				t.Errorf("dated %s, %v", at, err)
			}
			if to, err := got.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Name != "二线" {
				t.Errorf("to %v, %v", to, err)
			}
			if !slices.Equal(kinds(parts), []string{"text/plain", "text/html"}) {
				t.Fatalf("parts are %v", kinds(parts))
			}
			if !strings.Contains(parts[0].text, "a：van-2 (rack-2) 判断为不可用") || !strings.Contains(parts[1].text, "pointsman abort orders") {
				t.Errorf("%s\n%s", parts[0].text, parts[1].text)
			}
			if strings.Contains(parts[1].text, "<script>") || !strings.Contains(parts[1].text, "&lt;script&gt;") {
				t.Errorf("words from outside are page: %s", parts[1].text)
			}
			again, _ := parse(t, s.mails[1])
			if again.Header.Get("Message-Id") != "<id-1@example.com>" {
				t.Error("the second try has another ID")
			}
		})
	}
}

func TestAReportByEmail(t *testing.T) {
	s := (&smtpServer{starttls: true}).start(t)
	x := mustSender(t, emailTo(s), bent(s.addr, s.roots))
	png := "\x89PNG\r\n\x1a\nnot really"
	d := &Document{Title: "orders: weekly", Summary: "could fail over\nnow", Markdown: "# weekly", HTML: `<p>fine</p><img src="cid:up.png">`, JSON: []byte(`{"a":1}`), PNGs: []Image{{"up.png", []byte(png)}}}
	if err := x.send(t.Context(), single(&Message{ID: "r-1", Kind: ReportKind, State: Info, At: noon, Document: d})); err != nil {
		t.Fatal(err)
	}
	m, parts := parse(t, s.mails[0])
	if got := kinds(parts); !slices.Equal(got, []string{"text/plain", "text/html", "image/png", "application/json"}) {
		t.Fatalf("parts are %v", got)
	}
	if m.Header.Get("Subject") != "orders: weekly" || !strings.Contains(parts[0].text, "could fail over") || !strings.Contains(parts[0].text, "# weekly") {
		t.Errorf("%v\n%s", m.Header, parts[0].text)
	}
	if p := parts[2]; p.id != "<up.png>" || !strings.HasPrefix(p.disposition, "inline") || p.text != png {
		t.Errorf("the chart is %+v", p)
	}
	if p := parts[3]; !strings.HasPrefix(p.disposition, "attachment") || p.text != `{"a":1}` {
		t.Errorf("the report for programs is %+v", p)
	}
}

// A server without TLS gets nothing where TLS is demanded, and no connection
// is left open: not there, and not after any other fault of it.
func TestServersThatMisbehaveLeaveNoConnection(t *testing.T) {
	for name, x := range map[string]struct {
		s    *smtpServer
		bend func(c *Channel)
		want string
		is   error
	}{
		"no TLS": {&smtpServer{}, nil, ErrNoTLS.Error(), ErrNoTLS},
		"no TLS, with a password": {&smtpServer{login: "pm s3cret-word"}, func(c *Channel) {
			c.User, c.Secret = "pm", []byte("s3cret-word")
		}, ErrNoTLS.Error(), ErrNoTLS},
		"another certificate": {&smtpServer{starttls: true}, func(c *Channel) { c.Server = "other.example.com:587" }, "certificate", nil},
		"wrong password": {&smtpServer{starttls: true, login: "pm s3cret-word"}, func(c *Channel) {
			c.User, c.Secret = "pm", []byte("wr0ng-word")
		}, "535", nil},
		"no login offered": {&smtpServer{starttls: true}, func(c *Channel) {
			c.User, c.Secret = "pm", []byte("s3cret-word")
		}, "does not support SMTP AUTH", nil},
		"hangs":         {&smtpServer{hang: true}, nil, "no answer in time", errNoAnswer},
		"no such user":  {&smtpServer{starttls: true, rcpt: "550 5.1.1 no such user"}, nil, "550", errRefused},
		"later, please": {&smtpServer{starttls: true, rcpt: "451 4.7.1 greylisted"}, nil, "451", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := x.s.start(t)
			c := emailTo(s)
			if x.s.hang {
				c.Timeout = time.Second // the others have the time of a loaded machine
			}
			if x.bend != nil {
				x.bend(&c)
			}
			err := mustSender(t, c, bent(s.addr, s.roots)).send(t.Context(), single(message("id-1")))
			if err == nil || !strings.Contains(err.Error(), x.want) || x.is != nil && !errors.Is(err, x.is) {
				t.Errorf("got %v, want %q", err, x.want)
			}
			if name == "later, please" && errors.Is(err, errRefused) {
				t.Errorf("it is given up: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "-word") {
				t.Errorf("the error tells the password: %v", err)
			}
			await(t, "the end of the connection", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.open == 0 && s.served > 0 })
			if len(s.mails) > 0 || strings.HasPrefix(name, "no TLS") && len(s.logins) > 0 {
				t.Errorf("it got %v, %v", s.mails, s.logins)
			}
		})
	}
}

func TestEmailChannelsThatCannotBe(t *testing.T) {
	s := &smtpServer{}
	for want, bend := range map[string]func(c *Channel){
		"the server is no host:port":                           func(c *Channel) { c.Server = "mail.example.com" },
		"nobody is named in to":                                func(c *Channel) { c.To = nil },
		`"x" is no address of a mailbox`:                       func(c *Channel) { c.To = []string{"x"} },
		`"a@b\r\nBcc: c@d" is no address of a mailbox`:         func(c *Channel) { c.Sender = "a@b\r\nBcc: c@d" },
		"a user needs a password":                              func(c *Channel) { c.User = "pm" },
		"a password does not go over a connection without TLS": func(c *Channel) { c.User, c.Secret, c.Security = "pm", []byte("x"), NoTLS },
	} {
		c := emailTo(s)
		bend(&c)
		if _, err := newSender(c, &Setup{}, real()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c := emailTo(s)
	c.Server = "127.0.0.1:25"
	x, err := newSender(c, &Setup{}, real()) // without allow
	if err != nil {
		t.Fatal(err)
	}
	if err := x.send(t.Context(), single(message("1"))); !errors.Is(err, ErrAddress) {
		t.Errorf("got %v", err)
	}
}
