package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// services are those of shoutrrr that are let through: their calls were read
// and go through an [http.Client] whose transport is ours. The others speak
// past HTTP (smtp), to nobody (logger), or were not read.
var services = []string{"slack", "lark", "wecom", "teams", "pagerduty", "telegram", "opsgenie", "generic"}

// service is the scheme of a service URL, without what follows a plus.
func service(raw string) string {
	scheme, _, ok := strings.Cut(strings.TrimSpace(raw), ":")
	if !ok {
		return ""
	}
	scheme, _, _ = strings.Cut(strings.ToLower(scheme), "+")
	return scheme
}

// Most bytes of a text, per service, as the library or the vendor refuses more.
var most = map[string]int{"wecom": 4000, "lark": 4000, "telegram": 4000, "slack": 12_000, "teams": 20_000, "pagerduty": 1000, "opsgenie": 10_000, "generic": 60_000}

// library sends through shoutrrr.
type library struct {
	service string
	url     string
	w       writer
	c       Channel
	o       outer
	g       *guarded
}

func newShoutrrr(c Channel, s *Setup, o outer) (sender, error) {
	raw := strings.TrimSpace(c.URL)
	name := service(raw)
	if !slices.Contains(services, name) {
		return nil, fmt.Errorf("the service %.20q is none of %s", name, strings.Join(services, ", "))
	}
	l := &library{service: name, url: raw, w: c.writer(s, o), c: c, o: o, g: c.guarded(o)}
	if _, err := l.build(); err != nil {
		return nil, err
	}
	crossing.open()
	return l, nil
}

// build makes the service anew for each message: it keeps state that two calls
// would share.
func (l *library) build() (_ types.Service, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the URL is no %s service URL", l.service)
		}
	}()
	s, err := (&router.ServiceRouter{}).Locate(l.url)
	if err != nil {
		return nil, fmt.Errorf("the URL is no %s service URL: see docs/delivery.md for the form of each", l.service) // its own error may hold the URL
	}
	if s, ok := s.(interface{ SetHTTPClient(*http.Client) }); ok {
		s.SetHTTPClient(&http.Client{Transport: crossing})
	}
	return s, nil
}

func (l *library) send(ctx context.Context, p *parcel) (err error) {
	s, err := l.build()
	if err != nil {
		return err
	}
	marked := *p
	marked.id = l.mark(p.id)
	t := l.w.write(&marked)
	text := t.Plain()
	if d := p.document(); d != nil && d.Markdown != "" {
		text += "\n" + d.Markdown
	}
	text = chatText(text, marked.id, most[l.service])
	ln := &lane{id: marked.id, ctx: ctx, g: newGuarded(l.c.dialer(l.o), l.o.roots, l.c.timeout())}
	crossing.enter(ln)
	defer crossing.leave(ln)
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("the library panicked")
		}
	}()
	err = s.Send(text, l.params(p, t))
	return hide(ln.judge(err), secretsOf(l.url))
}

// mark is the ID of a message on its way through this channel: that of the
// message, which may be on its way through others at the same time, and what
// nobody can guess who does not know the URL. It is the same over every try.
func (l *library) mark(id string) string {
	h := hmac.New(sha256.New, []byte(l.url))
	_, _ = io.WriteString(h, id)
	return id + "-" + hex.EncodeToString(h.Sum(nil)[:markBytes])
}

const markBytes = 4 // before they are hex

// chatText is at most so many bytes and ends with the ID, by which the call is
// found again on its way out.
func chatText(text, id string, most int) string {
	text = strings.TrimSpace(text)
	end := ""
	if !strings.Contains(clipBytes(text, most), id) {
		end = "\nid " + id
	}
	return clipBytes(strings.NewReplacer("<", "‹", ">", "›").Replace(text), most-len(end)) + end
}

// params are what a service knows beside a text.
func (l *library) params(p *parcel, t Text) *types.Params {
	m := p.newest()
	out := types.Params{}
	switch l.service {
	case "pagerduty":
		// One alert for each incident, which its end resolves.
		out["dedup_key"] = orElse(m.Incident, m.ID)
		out["action"], out["severity"] = "trigger", "critical"
		if m.State == Resolve {
			out["action"] = "resolve"
		}
		if m.State == Info {
			out["severity"] = "info"
		}
	case "generic", "opsgenie", "teams":
		out["title"] = t.Subject
	}
	return &out
}

// lane is one call of the library on its way.
type lane struct {
	id  string
	ctx context.Context
	g   *guarded

	mu   sync.Mutex
	sent int   // exchanges
	bad  error // what went wrong in the first that did
}

// judge says what became of the call: what went over the wire counts before
// the words of the library.
func (l *lane) judge(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.bad != nil:
		return withoutURL(l.bad) // its service for Telegram takes errors for success
	case err == nil && l.sent == 0:
		return fmt.Errorf("%w: the library sent nothing", errRefused)
	case err != nil && tooFast(err.Error()):
		return &throttled{defThrottle, err.Error()}
	}
	return err
}

// note keeps what became of one exchange.
func (l *lane) note(resp *http.Response, err error, now time.Time) {
	if err == nil && resp.StatusCode >= 300 {
		err = judge(resp, nil, now)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if l.bad == nil {
		l.bad = err
	}
}

// tooFast finds the answers of chats that say "too fast" with status 200:
// WeCom's errcode 45009, Feishu's 11232 and 9499.
func tooFast(said string) bool {
	for _, sign := range []string{"45009", "11232", "9499", "too fast", "too many request", "frequency limit"} {
		if strings.Contains(strings.ToLower(said), sign) {
			return true
		}
	}
	return false
}

// crossing stands in the place of [http.DefaultTransport]: the services of the
// library have clients of their own without a transport, take no context, and
// most have no deadline. It finds the call that a request belongs to by the ID
// in its body, and sends it by the rules of that channel. While calls are on
// their way, what belongs to none of them goes by the strictest rules, never by
// none; at other times it goes as if nothing stood here.
var crossing = &points{base: http.DefaultTransport}

type points struct {
	base http.RoundTripper
	once sync.Once

	mu    sync.Mutex
	lanes map[*lane]bool
}

func (x *points) open() { x.once.Do(func() { http.DefaultTransport = x }) }

func (x *points) enter(l *lane) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.lanes == nil {
		x.lanes = map[*lane]bool{}
	}
	x.lanes[l] = true
}

func (x *points) leave(l *lane) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.lanes, l)
}

// of finds the lane of a request. any says that some are in use.
func (x *points) of(r *http.Request) (found *lane, any bool) {
	x.mu.Lock()
	quiet := len(x.lanes) == 0
	x.mu.Unlock()
	if quiet {
		return nil, false
	}
	body := peek(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	for l := range x.lanes {
		if strings.Contains(body, l.id) {
			found = l
		}
	}
	return found, len(x.lanes) > 0
}

func peek(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	b, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer b.Close()
	data, _ := io.ReadAll(io.LimitReader(b, 1<<20))
	return string(data)
}

// RoundTrip is one exchange (http.RoundTripper).
func (x *points) RoundTrip(r *http.Request) (*http.Response, error) {
	l, any := x.of(r)
	switch {
	case l != nil:
		return l.exchange(r)
	case any:
		return newGuarded(&dialer{}, nil, timeoutHTTP).RoundTrip(r)
	default:
		return x.base.RoundTrip(r)
	}
}

func (l *lane) exchange(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(l.ctx, cancel)
	resp, err := l.g.RoundTrip(r.WithContext(ctx))
	l.note(resp, err, time.Now())
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &ending{resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

// ending calls a function when a body is closed.
type ending struct {
	io.ReadCloser
	end func()
}

func (e *ending) Close() error {
	defer e.end()
	return e.ReadCloser.Close()
}
