package notify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// sender is one channel at work: it carries one parcel there. It may be called
// by several at once. Its errors hold no secret, and are a [throttled] or wrap
// [errRefused] where the receiver said so.
type sender interface {
	send(ctx context.Context, p *parcel) error
}

// outer is what a sender has from its surroundings; tests put their own there.
type outer struct {
	now    func() time.Time
	lookup func(context.Context, string) ([]netip.Addr, error) // nil: the system's
	dial   dialFunc                                            // nil: the network
	roots  *tls.Config                                         // nil: the system's
}

// Times of one try.
const (
	timeoutHTTP  = 10 * time.Second
	timeoutEmail = time.Minute
)

func (c *Channel) timeout() time.Duration {
	switch {
	case c.Timeout > 0:
		return c.Timeout
	case c.Type == Email:
		return timeoutEmail
	default:
		return timeoutHTTP
	}
}

// limits are those of the config, or of the type: behind shoutrrr, of the
// service.
func (c *Channel) limits() []Limit {
	if c.Limits != nil {
		return c.Limits
	}
	if c.Type == Shoutrrr {
		if l, ok := defaults[service(c.URL)]; ok {
			return l
		}
	}
	return defaults[string(c.Type)]
}

func (c *Channel) dialer(o outer) *dialer {
	return &dialer{allow: c.Allow, lookup: o.lookup, dial: o.dial}
}

func (c *Channel) guarded(o outer) *guarded {
	return newGuarded(c.dialer(o), o.roots, c.timeout())
}

func (c *Channel) writer(s *Setup, o outer) writer {
	return writer{lang: c.Language, zone: s.Zone, runbook: s.Runbook, now: o.now}
}

// newSender builds the sender of a channel. An error is a mistake of the
// config or a secret that cannot be one; it holds no secret.
func newSender(c Channel, s *Setup, o outer) (sender, error) {
	if c.Trouble != nil {
		return nil, c.Trouble
	}
	switch c.Type {
	case Folder:
		return newFolder(c, s, o)
	case Email:
		return newEmail(c, s, o)
	case Webhook:
		return newWebhook(c, s, o)
	case DingTalk:
		return newDingTalk(c, s, o)
	case Alertmanager:
		return newAlertmanager(c, s, o)
	case Shoutrrr:
		return newShoutrrr(c, s, o)
	default:
		return nil, fmt.Errorf("type %q is not known", c.Type)
	}
}

// broken is the sender of a channel that could not be built.
type broken struct{ why error }

func (b broken) send(context.Context, *parcel) error { return b.why }

// post sends a JSON body by the rules and returns the answer.
func post(ctx context.Context, g *guarded, url string, body []byte, header http.Header) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, newBody(body))
	if err != nil {
		return nil, nil, errURL
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "pointsman")
	return exchange(ctx, g, r)
}
