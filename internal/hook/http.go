package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"pointsman/internal/failover"
)

// Headers of a request.
const (
	HeaderID        = "Pointsman-Hook-Id"
	HeaderTimestamp = "Pointsman-Hook-Timestamp" // seconds since 1970
	HeaderSignature = "Pointsman-Hook-Signature" // v1=HEX, see Sign
)

// maxAnswer bounds the body of an answer.
const maxAnswer = 64 << 10

// answer is the body of a 200 to a pre-hook.
type answer struct {
	Verdict failover.HookVerdict `json:"verdict"` // pass or veto
	Reason  string               `json:"reason"`
}

// Sign is the signature of a request: HMAC-SHA256 over timestamp, id and body,
// each but the last followed by a dot. A receiver computes the same, compares
// in constant time, refuses timestamps far from its own clock and ids that it
// has seen.
func Sign(secret []byte, timestamp, id string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	for _, s := range []string{timestamp, ".", id, "."} {
		m.Write([]byte(s))
	}
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

// request asks a receiver. Every connection is made anew, to an address that
// was looked at after the name was resolved; no redirect is followed and no
// proxy of the environment used.
func (d *Def) request(ctx context.Context, cfg *Config, b Body) (failover.HookVerdict, string) {
	body := b.json()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return failover.HookBroken, "not sent: " + plain(err)
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "pointsman")
	req.Header.Set(HeaderID, b.ID)
	req.Header.Set(HeaderTimestamp, stamp)
	req.Header.Set(HeaderSignature, Sign(d.Secret, stamp, b.ID, body))
	c := client(cfg.Forbidden)
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return failover.HookBroken, d.outOfTime(ctx)
		}
		return failover.HookBroken, plain(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return failover.HookBroken, d.outOfTime(ctx)
	case err != nil:
		return failover.HookBroken, "its answer broke off: " + plain(err)
	case len(data) > maxAnswer:
		return failover.HookBroken, fmt.Sprintf("its answer has more than %d KiB", maxAnswer>>10)
	case d.When == failover.HookPost && resp.StatusCode/100 == 2:
		return failover.HookPassed, ""
	case resp.StatusCode != http.StatusOK:
		return failover.HookBroken, fmt.Sprintf("it answers %d: %s", resp.StatusCode, oneLine(string(data), 200))
	}
	a, err := readAnswer(data)
	if err != nil {
		return failover.HookBroken, "its answer is no verdict: " + err.Error()
	}
	return a.Verdict, a.Reason
}

// readAnswer takes exactly one object with a known verdict and no other key.
func readAnswer(data []byte) (a answer, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return answer{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return answer{}, errors.New("something follows the object")
	}
	if a.Verdict != failover.HookPassed && a.Verdict != failover.HookVetoed {
		return answer{}, fmt.Errorf("verdict %.40q is neither pass nor veto", string(a.Verdict))
	}
	return a, nil
}

func client(forbidden func(netip.Addr) error) *http.Client {
	dialer := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return forbidden(to.Addr())
	}}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil, DialContext: dialer.DialContext, DisableKeepAlives: true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxAnswer, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// plain drops the URL, which may hold what is nobody's business.
func plain(err error) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return err.Error()
}
