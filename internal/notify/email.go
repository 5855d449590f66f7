package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// ErrNoTLS: the server offers no TLS and the config demands it. Nothing of the
// message was sent, and no password.
var ErrNoTLS = errors.New("the server offers no STARTTLS, and the config demands it")

// postman sends e-mails through one server.
type postman struct {
	host     string
	port     int
	security Security
	user     string
	password string
	from     string
	to       []string
	timeout  time.Duration
	d        *dialer
	roots    *tls.Config
	w        writer
	received received
}

func newEmail(c Channel, s *Setup, o outer) (sender, error) {
	host, port, err := net.SplitHostPort(c.Server)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || host == "" || n == 0 {
		return nil, errors.New("the server is no host:port")
	}
	if len(c.To) == 0 {
		return nil, errors.New("nobody is named in to")
	}
	for _, a := range append([]string{c.Sender}, c.To...) {
		if err := CheckMailbox(a); err != nil {
			return nil, err
		}
	}
	if c.User != "" && len(c.Secret) == 0 {
		return nil, errors.New("a user needs a password")
	}
	p := &postman{
		host: host, port: int(n), security: c.Security, user: c.User, password: string(c.Secret), from: c.Sender, to: c.To,
		timeout: c.timeout(), d: c.dialer(o), roots: o.roots, w: c.writer(s, o),
	}
	if p.security == "" {
		p.security = StartTLS
	}
	if p.security == NoTLS && p.user != "" {
		return nil, errors.New("a password does not go over a connection without TLS")
	}
	return p, nil
}

// CheckMailbox says whether a text is the address of a mailbox.
func CheckMailbox(s string) error {
	if a, err := mail.ParseAddress(s); err != nil || !strings.Contains(a.Address, "@") || strings.ContainsAny(s, "\r\n") {
		return fmt.Errorf("%.80q is no address of a mailbox", s)
	}
	return nil
}

func (p *postman) send(ctx context.Context, x *parcel) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	m, err := p.message(x)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	line := &phone{}
	// The library leaves the connection open when the greeting, STARTTLS or
	// the login fails, and knows no end of a context after it was dialled.
	defer line.hangUp()
	stop := context.AfterFunc(ctx, line.hangUp)
	defer stop()
	c, err := p.client(line)
	if err == nil {
		var talk *smtp.Client
		if talk, err = c.DialToSMTPClientWithContext(ctx); err == nil {
			if err = p.transact(talk, m, x.id); err == nil || errors.As(err, new(*partly)) {
				_ = talk.Quit() // what was taken is taken
			}
		}
	}
	if part := (*partly)(nil); errors.As(err, &part) {
		return hide(err, p.secrets())
	}
	if late := net.Error(nil); err != nil && (ctx.Err() != nil || errors.As(err, &late) && late.Timeout()) {
		err = errNoAnswer
	}
	return hide(p.reason(err), p.secrets())
}

func (p *postman) secrets() []string {
	if p.password == "" {
		return nil
	}
	return loginForms(p.user, p.password)
}

// phone keeps the connection that the library dialled.
type phone struct {
	mu   sync.Mutex
	conn net.Conn
}

func (l *phone) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

func (p *postman) tls() *tls.Config {
	c := &tls.Config{}
	if p.roots != nil {
		c = p.roots.Clone()
	}
	c.ServerName, c.MinVersion = p.host, tls.VersionTLS12
	return c
}

func (p *postman) client(line *phone) (*gomail.Client, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := p.d.connect(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if p.security == Implicit {
			secure := tls.Client(conn, p.tls())
			if err := secure.HandshakeContext(ctx); err != nil {
				_ = conn.Close()
				return nil, err
			}
			conn = secure
		}
		line.mu.Lock()
		line.conn = conn
		line.mu.Unlock()
		return conn, nil
	}
	opts := []gomail.Option{
		gomail.WithPort(p.port), gomail.WithTimeout(p.timeout), gomail.WithTLSConfig(p.tls()), gomail.WithDialContextFunc(dial),
		gomail.WithHELO("localhost"), // RFC 5321 section 4.1.3 wants a name; that of the machine is nobody's business
	}
	switch p.security {
	case NoTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	case Implicit:
		// Encrypted since it was dialled, and the library sees that it is: such
		// a server offers no STARTTLS, so this policy asks for none.
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	default:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if p.user != "" {
		opts = append(opts, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(p.user), gomail.WithPassword(p.password))
	}
	return gomail.NewClient(p.host, opts...)
}

// reason gives an error of the library our name for it.
func (p *postman) reason(err error) error {
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "does not support STARTTLS") {
		return ErrNoTLS
	}
	return err
}

// message makes the e-mail: a plain part, a page, and the charts of a report.
func (p *postman) message(x *parcel) (*gomail.Msg, error) {
	t, newest := p.w.write(x), x.newest()
	m := gomail.NewMsg()
	if err := errors.Join(m.From(p.from), m.To(p.to...)); err != nil {
		return nil, err
	}
	m.Subject(t.Subject)
	m.SetDateWithValue(newest.At)
	domain := domainOf(p.from)
	m.SetMessageIDWithValue(x.id + "@" + domain)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no machine answers
	m.SetGenHeader("X-Pointsman-Id", x.id)
	if newest.Incident != "" {
		// Mail programs put what belongs together under the first message.
		m.SetGenHeader(gomail.HeaderReferences, "<incident-"+newest.Incident+"@"+domain+">")
	}
	if newest.State == Fire {
		m.SetImportance(gomail.ImportanceHigh)
	}
	d := x.document()
	if d == nil {
		m.SetBodyString(gomail.TypeTextPlain, t.Plain())
		page, err := t.html()
		if err != nil {
			return nil, err
		}
		m.AddAlternativeString(gomail.TypeTextHTML, page)
		return m, nil
	}
	return m, addDocument(m, d, t)
}

// domainOf is that of a mailbox that [CheckMailbox] takes.
func domainOf(mailbox string) string {
	if a, err := mail.ParseAddress(mailbox); err == nil {
		mailbox = a.Address // without a name, and a comment behind it
	}
	return mailbox[strings.LastIndexByte(mailbox, '@')+1:]
}

func addDocument(m *gomail.Msg, d *Document, t Text) error {
	m.SetBodyString(gomail.TypeTextPlain, t.Plain()+"\n"+d.Markdown)
	page := d.HTML
	if page == "" {
		var err error
		if page, err = t.html(); err != nil {
			return err
		}
	}
	m.AddAlternativeString(gomail.TypeTextHTML, page)
	for _, i := range d.PNGs {
		name := oneLine(i.Name, maxName)
		if err := m.EmbedReader(name, bytes.NewReader(i.Data), gomail.WithFileContentID("<"+name+">"), gomail.WithFileContentType("image/png")); err != nil {
			return err
		}
	}
	if len(d.JSON) > 0 {
		return m.AttachReader("report.json", bytes.NewReader(d.JSON), gomail.WithFileContentType("application/json"))
	}
	return nil
}

// page is what a mail program shows. It loads nothing from anywhere.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html><head><meta charset="utf-8"><title>{{.Subject}}</title></head>
<body style="font-family:sans-serif;font-size:15px;line-height:1.45;max-width:46em">
<h2 style="font-size:18px">{{.Subject}}</h2>
{{range .Lines}}{{if .Label}}<p style="margin:10px 0 2px"><b>{{.Label}}</b>{{if not .Code}} {{.Text}}{{end}}</p>
{{end}}{{if .Code}}<pre style="margin:2px 0;padding:4px 8px;background:#eee">{{.Text}}</pre>
{{else if not .Label}}<p style="margin:2px 0">{{.Text}}</p>
{{end}}{{end}}</body></html>
`))

func (t Text) html() (string, error) {
	var b strings.Builder
	err := page.Execute(&b, t)
	return b.String(), err
}
