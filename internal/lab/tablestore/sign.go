package tablestore

import (
	"crypto/hmac"
	"crypto/md5" // the protocol's checksum
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The headers of the protocol. What begins with x-ots- is signed.
const (
	headerPrefix      = "x-ots-"
	headerDate        = "x-ots-date"
	headerVersion     = "x-ots-apiversion"
	headerKey         = "x-ots-accesskeyid"
	headerInstance    = "x-ots-instancename"
	headerMD5         = "x-ots-contentmd5"
	headerSignature   = "x-ots-signature"
	headerSignature4  = "x-ots-signaturev4"
	headerSignDate    = "x-ots-signdate"
	headerSignRegion  = "x-ots-signregion"
	headerToken       = "x-ots-ststoken"
	headerCompress    = "x-ots-request-compress-type"
	headerUncompress  = "x-ots-request-compress-size"
	headerRequestID   = "x-ots-requestid"
	headerContentType = "x-ots-contenttype"
)

// apiVersion is the version of the API of tables, rows and streams.
const apiVersion = "2015-12-31"

// signer signs by one secret with HMAC-SHA1. Safe for concurrent use.
type signer struct{ pool sync.Pool }

func newSigner(secret string) *signer {
	s := &signer{}
	s.pool.New = func() any { return hmac.New(sha1.New, []byte(secret)) }
	return s
}

func (s *signer) sign(text []byte) string {
	h := s.pool.Get().(hash.Hash)
	h.Reset()
	h.Write(text)
	var sum [sha1.Size]byte
	out := base64.StdEncoding.EncodeToString(h.Sum(sum[:0]))
	s.pool.Put(h)
	return out
}

// access is a key that may come in, with what signs by it.
type access struct {
	Key
	*signer
}

// signedHeader is a header that a signature covers.
type signedHeader struct{ name, value string }

func signedHeaders(h http.Header) []signedHeader {
	out := make([]signedHeader, 0, 8)
	for name, values := range h {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, headerPrefix) && name != headerSignature && name != headerSignature4 {
			out = append(out, signedHeader{name, strings.TrimSpace(strings.Join(values, ","))})
		}
	}
	slices.SortFunc(out, func(a, b signedHeader) int { return strings.Compare(a.name, b.name) })
	return out
}

// toSign is what a request is signed over: path, method, query, headers, each
// ended by a line feed. The SDK for Go leaves empty headers out, that for
// Python does not.
func toSign(r *http.Request, headers []signedHeader, empty bool) []byte {
	b := make([]byte, 0, 512)
	b = append(b, r.URL.EscapedPath()...)
	b = append(b, '\n')
	b = append(b, r.Method...)
	b = append(b, '\n')
	if r.URL.RawQuery != "" {
		b = append(b, r.URL.Query().Encode()...)
	}
	b = append(b, '\n')
	for _, h := range headers {
		if h.value == "" && !empty {
			continue
		}
		b = append(b, h.name...)
		b = append(b, ':')
		b = append(b, h.value...)
		b = append(b, '\n')
	}
	return b
}

// signature checks the signature of a request and returns what the answer is
// signed by: the secret, or the key that a V4 signature derives from it.
func (k *access) signature(r *http.Request, region string) (*signer, *refusal) {
	headers := signedHeaders(r.Header)
	by, got := k.signer, r.Header.Get(headerSignature)
	check := func(text []byte) bool { return hmac.Equal([]byte(by.sign(text)), []byte(got)) }
	if v4 := r.Header.Get(headerSignature4); v4 != "" {
		date := r.Header.Get(headerSignDate)
		if _, err := time.Parse("20060102", date); err != nil {
			return k.signer, denied("Signature mismatch.")
		}
		derived := signingKey(k.Secret, date, or(region, r.Header.Get(headerSignRegion)))
		by, got = newSigner(derived), v4
		check = func(text []byte) bool {
			h := hmac.New(sha256.New, []byte(derived))
			h.Write(text)
			h.Write([]byte("ots"))
			return hmac.Equal([]byte(base64.StdEncoding.EncodeToString(h.Sum(nil))), []byte(got))
		}
	}
	if check(toSign(r, headers, true)) {
		return by, nil
	}
	if slices.ContainsFunc(headers, func(h signedHeader) bool { return h.value == "" }) && check(toSign(r, headers, false)) {
		return by, nil
	}
	return by, denied("Signature mismatch.")
}

// signingKey derives what V4 signs with: of a day, a region and this product
// alone (credentials.go of the SDK for Go).
func signingKey(secret, date, region string) string {
	key := []byte("aliyun_v4" + secret)
	for _, part := range []string{date, region, "ots", "aliyun_v4_request"} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return base64.StdEncoding.EncodeToString(key)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func contentMD5(body []byte) string {
	sum := md5.Sum(body) // the protocol's checksum
	return base64.StdEncoding.EncodeToString(sum[:])
}

// answerDate is how the SDK for Python reads a date.
const answerDate = "2006-01-02T15:04:05.000000Z"

// parseDate reads the date of a request. Clients write it in several ways; the
// SDK for Go puts three to six digits of anything after the seconds.
func parseDate(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, http.TimeFormat, time.RFC1123Z, time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// maxSkew is how far the clock of a client may be off.
const maxSkew = 15 * time.Minute

// answerHeaders are those that the strictest clients check, on errors too: for
// Python all of them on a success, for Java digest, type and signature. by is
// nil where the caller is not known; then there is no signature.
func answerHeaders(h http.Header, path, keyID string, by *signer, id string, now time.Time, body []byte) {
	sum, date := contentMD5(body), now.UTC().Format(answerDate)
	const kind = "protocol buffer"
	b := make([]byte, 0, 256)
	for _, line := range [...]signedHeader{{headerMD5, sum}, {headerContentType, kind}, {headerDate, date}, {headerRequestID, id}} { // sorted
		h[line.name] = []string{line.value}
		b = append(append(append(append(b, line.name...), ':'), line.value...), '\n')
	}
	if by != nil {
		h["Authorization"] = []string{"OTS " + keyID + ":" + by.sign(append(b, path...))}
	}
}
