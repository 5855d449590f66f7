package tablestore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
)

// These are a client by hand, and what the strictest clients check of an
// answer. They share nothing with the server but what its documents say.

func frontServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask is a request that a test may spoil before it is sent.
type ask struct {
	method, path string
	header       map[string]string // a value of "-" takes one away
	body         []byte
	id, secret   string
	unsigned     bool // leaves the signature as it is
	client       *http.Client
}

func (s *Server) ask(op string, m protoadapt.MessageV1) ask {
	k := s.Key()
	q := ask{method: http.MethodPost, path: "/" + op, id: k.ID, secret: k.Secret, header: map[string]string{}}
	if m != nil {
		q.body, _ = proto.Marshal(protoadapt.MessageV2Of(m))
	}
	return q
}

// request builds and signs it: path, method, query, then the headers, each
// line ended, HMAC-SHA1.
func (q ask) request(ctx context.Context, endpoint string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, endpoint+q.path, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	sum := md5.Sum(q.body)
	h := map[string]string{
		"x-ots-date": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "x-ots-apiversion": "2015-12-31",
		"x-ots-accesskeyid": q.id, "x-ots-instancename": "lab", "x-ots-contentmd5": base64.StdEncoding.EncodeToString(sum[:]),
	}
	maps.Copy(h, q.header)
	path, query, _ := strings.Cut(q.path, "?")
	text := path + "\n" + q.method + "\n" + query + "\n"
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if h[name] != "-" && strings.HasPrefix(name, "x-ots-") && name != "x-ots-signature" {
			text += name + ":" + h[name] + "\n"
		}
	}
	if _, given := h["x-ots-signature"]; !given && !q.unsigned {
		h["x-ots-signature"] = handMAC(q.secret, text)
	}
	for name, value := range h {
		if value != "-" {
			r.Header.Set(name, value)
		}
	}
	return r, nil
}

func handMAC(secret, text string) string {
	m := hmac.New(sha1.New, []byte(secret))
	_, _ = io.WriteString(m, text)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// got is an answer.
type got struct {
	*http.Response
	body []byte
	code string // of an error
	text string
}

func (q ask) do(t testing.TB, s *Server) (got, error) {
	t.Helper()
	r, err := q.request(t.Context(), s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	c := q.client
	if c == nil {
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		c = &http.Client{Transport: tr}
	}
	a, err := c.Do(r)
	if err != nil {
		return got{}, err
	}
	defer a.Body.Close()
	g := got{Response: a}
	if g.body, err = io.ReadAll(a.Body); err != nil {
		return g, err
	}
	if a.StatusCode != http.StatusOK {
		var e otsprotocol.Error
		if err := proto.Unmarshal(g.body, protoadapt.MessageV2Of(&e)); err == nil {
			g.code, g.text = e.GetCode(), e.GetMessage()
		}
	}
	return g, nil
}

// wants asks and checks all there is to check of the answer.
func (q ask) wants(t testing.TB, s *Server, status int, code, text string) got {
	t.Helper()
	g, err := q.do(t, s)
	if err != nil {
		t.Errorf("%s: %v", q.path, err)
		return g
	}
	if g.StatusCode != status || g.code != code || g.text != text {
		t.Errorf("%s: %d %s %q, want %d %s %q", q.path, g.StatusCode, g.code, g.text, status, code, text)
	}
	if q.method == http.MethodHead {
		return g
	}
	path, _, _ := strings.Cut(q.path, "?")
	if err := checkPython(g, path, q.id, q.secret); err != nil {
		t.Errorf("%s: the SDK for Python would say: %v", q.path, err)
	}
	if g.StatusCode == http.StatusOK {
		if err := checkJava(g, path, q.secret); err != nil {
			t.Errorf("%s: the SDK for Java would say: %v", q.path, err)
		}
	}
	return g
}

// lower are the headers of an answer as clients see them.
func lower(h http.Header) map[string]string {
	out := map[string]string{}
	for name, v := range h {
		out[strings.ToLower(name)] = v[0]
	}
	return out
}

func signedText(h map[string]string) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, "x-ots-") {
			text += name + ":" + h[name] + "\n"
		}
	}
	return text
}

// checkPython checks what protocol.py of the SDK for Python does: on success
// all headers must be there; what is there must be right; the signature of a
// 403 with OTSAuthFailed is not looked at.
func checkPython(g got, path, id, secret string) error {
	h, ok := lower(g.Header), g.StatusCode/100 == 2
	for _, name := range []string{"x-ots-contentmd5", "x-ots-requestid", "x-ots-date", "x-ots-contenttype"} {
		if ok && h[name] == "" {
			return fmt.Errorf("%q is missing in response header", name)
		}
	}
	sum := md5.Sum(g.body)
	if v, there := h["x-ots-contentmd5"]; there && v != base64.StdEncoding.EncodeToString(sum[:]) {
		return errors.New("MD5 mismatch in response")
	}
	if v, there := h["x-ots-date"]; there {
		at, err := time.Parse("2006-01-02T15:04:05.999999Z", v)
		if err != nil || len(v) != len("2006-01-02T15:04:05.999999Z") {
			return fmt.Errorf("invalid date format in response: %s", v)
		}
		if d := time.Since(at); d.Abs() > 15*time.Minute {
			return fmt.Errorf("date in response is %s off", d)
		}
	}
	if g.StatusCode == http.StatusForbidden && g.code == "OTSAuthFailed" {
		return nil
	}
	auth, there := h["authorization"]
	if !there {
		if ok || g.StatusCode == http.StatusForbidden {
			return errors.New("\"Authorization\" is missing in response header")
		}
		return nil
	}
	rest, is := strings.CutPrefix(auth, "OTS ")
	who, signature, one := strings.Cut(rest, ":")
	switch {
	case !is || !one || strings.Contains(signature, ":"):
		return errors.New("invalid Authorization in response")
	case who != id:
		return errors.New("invalid accesskeyid in response")
	case signature != handMAC(secret, signedText(h)+path):
		return errors.New("invalid signature in response")
	}
	return nil
}

// checkJava checks what ContentMD5ResponseHandler and
// OTSValidationResponseHandler of the SDK for Java do.
func checkJava(g got, path, secret string) error {
	h := lower(g.Header)
	for _, name := range []string{"x-ots-contentmd5", "x-ots-contenttype", "authorization"} {
		if h[name] == "" {
			return fmt.Errorf("missing header: %s", name)
		}
	}
	sum := md5.Sum(g.body)
	if h["x-ots-contentmd5"] != base64.StdEncoding.EncodeToString(sum[:]) {
		return errors.New("the digest is not that of the content")
	}
	signature := handMAC(secret, signedText(h)+path)
	at := strings.Index(h["authorization"], signature)
	switch {
	case at < 0:
		return errors.New("cannot find signature")
	case at == 0 || h["authorization"][at-1] != ':':
		return errors.New("cannot find separator ':'")
	case at+len(signature) != len(h["authorization"]):
		return errors.New("signature is not the last part")
	}
	return nil
}

// TestChecksOfAnswersFindWhatIsWrong shows that the checks above can fail.
func TestChecksOfAnswersFindWhatIsWrong(t *testing.T) {
	s := frontServer(t, Options{})
	q := s.ask("ListTable", nil)
	for name, spoil := range map[string]func(*got){
		"":                  func(*got) {},
		"body":              func(g *got) { g.body = append(g.body, 0) },
		"digest":            func(g *got) { g.Header.Set("x-ots-contentmd5", "AAAA") },
		"no digest":         func(g *got) { g.Header.Del("x-ots-contentmd5") },
		"no type":           func(g *got) { g.Header.Del("x-ots-contenttype") },
		"type":              func(g *got) { g.Header.Set("x-ots-contenttype", "x") },
		"id":                func(g *got) { g.Header.Set("x-ots-requestid", "x") },
		"no signature":      func(g *got) { g.Header.Del("Authorization") },
		"signature":         func(g *got) { g.Header.Set("Authorization", "OTS "+q.id+":AAAA") },
		"date is not there": func(g *got) { g.Header.Del("x-ots-date") },
	} {
		g, err := q.do(t, s)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{} // the names on the wire are in lower case
		for k, v := range g.Header {
			h.Set(k, v[0])
		}
		g.Header = h
		spoil(&g)
		err = cmp.Or(checkPython(g, q.path, q.id, q.secret), checkJava(g, q.path, q.secret))
		if (err != nil) != (name != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
