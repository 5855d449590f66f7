package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// robot is a custom robot of DingTalk. Its security mode is a signature, a
// keyword, or both.
//
// Sources: open.dingtalk.com, "custom robot access" (message types, sign, at
// most 20 messages a minute, then limited for 10 minutes) and "custom robot
// security settings" (timestamp within an hour, sign over
// timestamp + "\n" + secret).
type robot struct {
	url     string
	secret  []byte
	keyword string
	mobiles []string
	g       *guarded
	w       writer
	now     func() time.Time
}

const (
	// maxDingTalk is the most that a message may have, in bytes.
	maxDingTalk = 18_000
	// dingTalkMute is how long a robot that sent too fast is not heard.
	dingTalkMute = 10 * time.Minute
)

func newDingTalk(c Channel, s *Setup, o outer) (sender, error) {
	if err := checkURL(c.URL); err != nil {
		return nil, err
	}
	if len(c.Secret) == 0 && c.Keyword == "" {
		return nil, errors.New("a robot has a secret or a keyword, and neither is given")
	}
	return &robot{url: strings.TrimSpace(c.URL), secret: c.Secret, keyword: c.Keyword, mobiles: c.Mobiles, g: c.guarded(o), w: c.writer(s, o), now: o.now}, nil
}

type dingTalkMessage struct {
	MsgType  string           `json:"msgtype"`
	Markdown dingTalkMarkdown `json:"markdown"`
	At       dingTalkAt       `json:"at"`
}

type dingTalkMarkdown struct {
	Title string `json:"title"`
	Text  string `json:"text"`
}

type dingTalkAt struct {
	Mobiles []string `json:"atMobiles,omitempty"`
	All     bool     `json:"isAtAll"`
}

func (r *robot) send(ctx context.Context, p *parcel) error {
	body, err := json.Marshal(r.message(p))
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	secrets := append(secretsOf(r.url), string(r.secret))
	resp, said, err := post(ctx, r.g, r.signed(), body, nil)
	if err != nil {
		return hide(err, secrets)
	}
	if err := judge(resp, said, r.now()); err != nil {
		return hide(err, secrets)
	}
	return hide(dingTalkAnswer(said), secrets)
}

func (r *robot) message(p *parcel) dingTalkMessage {
	t := r.w.write(p)
	text := t.Markdown()
	if d := p.document(); d != nil && d.Markdown != "" {
		text += "\n" + d.Markdown
	}
	title := tame(t.Subject)
	if r.keyword != "" && !strings.Contains(text, r.keyword) {
		text = r.keyword + "\n\n" + text
	}
	m := dingTalkMessage{MsgType: "markdown", Markdown: dingTalkMarkdown{Title: title}}
	if p.urgent && p.newest().State == Fire && len(r.mobiles) > 0 {
		// In Markdown somebody is called only where the number stands in the
		// text, too.
		m.At.Mobiles = r.mobiles
		call := "\n@" + strings.Join(r.mobiles, " @")
		m.Markdown.Text = clipBytes(text, maxDingTalk-len(call)) + call
		return m
	}
	m.Markdown.Text = clipBytes(text, maxDingTalk)
	return m
}

// signed is the URL with timestamp and sign, where there is a secret.
func (r *robot) signed() string {
	if len(r.secret) == 0 {
		return r.url
	}
	ts := strconv.FormatInt(r.now().UnixMilli(), 10)
	sep := "?"
	if strings.Contains(r.url, "?") {
		sep = "&"
	}
	return r.url + sep + "timestamp=" + ts + "&sign=" + url.QueryEscape(dingTalkSign(r.secret, ts))
}

func dingTalkSign(secret []byte, timestamp string) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(timestamp + "\n" + string(secret)))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Codes of the robot's answers.
const (
	dingTalkTooFast   = 130101 // send too fast, exceed 20 times per minute
	dingTalkLimited   = 410100 // sent too fast and limited
	dingTalkSystem    = -1     // busy
	dingTalkMismatch  = 310000 // keyword, sign or address: the config is wrong and can be mended
	dingTalkNoToken   = 400101
	dingTalkStopped   = 400102
	dingTalkDissolved = 400013
)

// dingTalkAnswer reads what the robot says: the status of its answers is 200
// whatever happened.
func dingTalkAnswer(said []byte) error {
	var a struct {
		Code    *int   `json:"errcode"`
		Message string `json:"errmsg"`
	}
	if json.Unmarshal(said, &a) != nil || a.Code == nil {
		return fmt.Errorf("the answer is none of a robot: %s", said)
	}
	why := fmt.Sprintf("errcode %d: %s", *a.Code, a.Message)
	switch *a.Code {
	case 0:
		return nil
	case dingTalkTooFast, dingTalkLimited:
		return &throttled{dingTalkMute, why}
	case dingTalkSystem, dingTalkMismatch, dingTalkNoToken, dingTalkStopped, dingTalkDissolved:
		return errors.New(why)
	default:
		if strings.Contains(strings.ToLower(a.Message), "too fast") {
			return &throttled{dingTalkMute, why}
		}
		return fmt.Errorf("%w: %s", errRefused, why)
	}
}
