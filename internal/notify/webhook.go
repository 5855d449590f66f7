package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook. The signature is "v1=" and the HMAC-SHA256, in hex,
// over timestamp, ID and body with a dot between them.
const (
	HeaderID        = "Pointsman-Id"
	HeaderTimestamp = "Pointsman-Timestamp" // seconds since 1970, of this try
	HeaderSignature = "Pointsman-Signature"
)

// BodyVersion is that of the body of a webhook. It grows when a key changes its
// meaning or goes; keys may come without that.
const BodyVersion = 1

// Body is what a webhook carries, as JSON. It is the same over every try.
type Body struct {
	Version  int       `json:"version"`
	ID       string    `json:"id"`
	Subject  string    `json:"subject"`
	Text     string    `json:"text"`               // in words, of all messages
	Messages []Message `json:"messages"`           // oldest first; several are a digest of one incident
	Document *BodyDoc  `json:"document,omitempty"` // of a report
}

// BodyDoc is a report in a webhook: without its page and its charts.
type BodyDoc struct {
	Title    string          `json:"title"`
	Summary  string          `json:"summary"`
	Markdown string          `json:"markdown,omitempty"`
	Report   json.RawMessage `json:"report,omitempty"`
}

// Errors of a receiver that verifies and parses what came.
var (
	ErrSignature = errors.New("the signature does not match")
	ErrStale     = errors.New("the timestamp is too old or in the future")
	ErrBody      = errors.New("the body is no message of ours")
)

// Sign returns the value of the header [HeaderSignature].
func Sign(secret []byte, timestamp, id string, body []byte) string {
	h := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(h, timestamp+"."+id+".")
	_, _ = h.Write(body)
	return "v1=" + hex.EncodeToString(h.Sum(nil))
}

// Verify says whether a request was signed with the secret within the last
// tolerance. Whoever also keeps the IDs of that time accepts nothing twice.
func Verify(secret []byte, h http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	timestamp, id := h.Get(HeaderTimestamp), h.Get(HeaderID)
	if !hmac.Equal([]byte(Sign(secret, timestamp, id, body)), []byte(h.Get(HeaderSignature))) {
		return ErrSignature
	}
	sec, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || sec < 0 || sec > 1<<40 {
		return ErrStale
	}
	if d := now.Sub(time.Unix(sec, 0)); d > tolerance || d < -tolerance {
		return ErrStale
	}
	return nil
}

// maxBody is the most that ParseBody reads, in bytes.
const maxBody = maxDocument + 1<<20

// ParseBody reads the body of a webhook. Keys that it does not know are left
// out; another version, another ID than that of the header, and what is no
// such body is [ErrBody].
func ParseBody(id string, data []byte) (Body, error) {
	var b Body
	if len(data) > maxBody {
		return b, fmt.Errorf("%w: it is larger than %d MiB", ErrBody, maxBody>>20)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&b); err != nil {
		return Body{}, fmt.Errorf("%w: %w", ErrBody, err)
	}
	switch {
	case d.More():
		return Body{}, fmt.Errorf("%w: something follows it", ErrBody)
	case b.Version != BodyVersion:
		return Body{}, fmt.Errorf("%w: version %d is not known", ErrBody, b.Version)
	case b.ID == "" || b.ID != id:
		return Body{}, fmt.Errorf("%w: its ID is not that of the header", ErrBody)
	case len(b.Messages) == 0 && b.Document == nil:
		return Body{}, fmt.Errorf("%w: it carries nothing", ErrBody)
	}
	return b, nil
}

// hook is our own webhook.
type hook struct {
	url    string
	secret []byte
	g      *guarded
	w      writer
	now    func() time.Time
}

func newWebhook(c Channel, s *Setup, o outer) (sender, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("its secret is shorter than %d bytes", minSecret)
	}
	return &hook{url: strings.TrimSpace(c.URL), secret: c.Secret, g: c.guarded(o), w: c.writer(s, o), now: o.now}, nil
}

// minSecret is the least length of the key of a webhook, in bytes.
const minSecret = 16

func (h *hook) send(ctx context.Context, p *parcel) error {
	body, err := json.Marshal(h.body(p))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	ts := strconv.FormatInt(h.now().Unix(), 10)
	header := http.Header{HeaderID: {p.id}, HeaderTimestamp: {ts}, HeaderSignature: {Sign(h.secret, ts, p.id, body)}}
	resp, said, err := post(ctx, h.g, h.url, body, header)
	if err != nil {
		return hide(err, secretsOf(h.url))
	}
	return hide(judge(resp, said, h.now()), secretsOf(h.url))
}

func (h *hook) body(p *parcel) Body {
	// Words of a distance in time would differ from try to try.
	w := h.w
	w.now = func() time.Time { return p.newest().At }
	t := w.write(p)
	b := Body{Version: BodyVersion, ID: p.id, Subject: t.Subject, Text: t.Plain()}
	for _, m := range p.msgs {
		b.Messages = append(b.Messages, *m)
	}
	if d := p.document(); d != nil {
		b.Document = &BodyDoc{Title: d.Title, Summary: d.Summary, Markdown: d.Markdown}
		if json.Valid(d.JSON) {
			b.Document.Report = d.JSON
		}
	}
	return b
}
