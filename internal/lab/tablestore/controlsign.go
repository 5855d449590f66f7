package tablestore

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Families of signatures of the control API.
const (
	schemeROA  = "acs"              // HMAC-SHA1: CommonRequest of the older SDKs
	schemeACS3 = "ACS3-HMAC-SHA256" // the SDKs that the vendor generates today
)

// proof is what a request of the control API says of who sent it.
type proof struct {
	acs3      bool
	keyID     string
	signature string
	toSign    string // what the client must have signed
	stamp     time.Time
	nonce     string
	token     string
}

// readProof finds it; what is missing or contradicts itself is an error here
// already.
func readProof(r *http.Request, body []byte) (*proof, *controlError) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	var p *proof
	var e *controlError
	switch scheme {
	case schemeROA:
		p, e = roaProof(r, rest, body)
	case schemeACS3:
		p, e = acs3Proof(r, rest, body)
	case "":
		return nil, badRequest("MissingAuthorization", "The header Authorization is mandatory for this action.")
	default:
		return nil, badRequest("UnsupportedSignatureType", "The signature of the request is neither %s nor %s.", schemeROA, schemeACS3)
	}
	if e == nil && (p.keyID == "" || p.signature == "") {
		e = badRequest("IncompleteSignature", "The request signature does not conform to Aliyun standards.")
	}
	if e == nil {
		p.token = r.Header.Get("x-acs-security-token")
	}
	return p, e
}

// nonces are those that were used.
type nonces struct {
	mu     sync.Mutex
	seen   map[string]time.Time
	tidyAt int
}

// roaProof follows the vendor's ROA signature mechanism: the method, four
// headers, those that begin with x-acs-, and the path with its query, each on
// its line; neither side of the query is encoded.
func roaProof(r *http.Request, rest string, body []byte) (*proof, *controlError) {
	p := &proof{nonce: r.Header.Get("x-acs-signature-nonce")}
	p.keyID, p.signature, _ = strings.Cut(rest, ":")
	var err error
	if p.stamp, err = http.ParseTime(r.Header.Get("Date")); err != nil {
		return p, badRequest("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	if r.Header.Get("x-acs-signature-method") != "HMAC-SHA1" || r.Header.Get("x-acs-signature-version") != "1.0" {
		return p, badRequest("InvalidParameter", "Specified signature method or version is not valid: HMAC-SHA1 with 1.0 is.")
	}
	sum := md5.Sum(body)
	if got := r.Header.Get("Content-MD5"); got != base64.StdEncoding.EncodeToString(sum[:]) && (got != "" || len(body) > 0) {
		return p, badRequest("InvalidContentMD5", "The header Content-MD5 is not the digest of the body.")
	}
	lines := []string{r.Method}
	for _, name := range []string{"Accept", "Content-MD5", "Content-Type", "Date"} {
		lines = append(lines, r.Header.Get(name))
	}
	for _, name := range acsHeaders(r.Header) {
		lines = append(lines, name+":"+strings.TrimSpace(r.Header.Get(name)))
	}
	resource := r.URL.Path
	query := r.URL.Query()
	for i, k := range slices.Sorted(maps.Keys(query)) {
		resource += map[bool]string{true: "?", false: "&"}[i == 0] + k
		if v := query.Get(k); v != "" {
			resource += "=" + v
		}
	}
	p.toSign = strings.Join(append(lines, resource), "\n")
	return p, nil
}

func acsHeaders(h http.Header) []string {
	var names []string
	for name := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-acs-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// acs3Proof follows the vendor's signature mechanism V3.
func acs3Proof(r *http.Request, rest string, body []byte) (*proof, *controlError) {
	p := &proof{acs3: true, nonce: r.Header.Get("x-acs-signature-nonce")}
	var signed string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			p.keyID = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			p.signature = value
		}
	}
	names := strings.Split(signed, ";")
	if len(names) > 100 {
		return p, badRequest("IncompleteSignature", "More than 100 signed headers.")
	}
	for _, must := range []string{"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-content-sha256", "x-acs-signature-nonce"} {
		if !slices.Contains(names, must) {
			return p, badRequest("IncompleteSignature", "The header %s has to be signed.", must)
		}
	}
	var err error
	if p.stamp, err = time.Parse("2006-01-02T15:04:05Z", r.Header.Get("x-acs-date")); err != nil {
		return p, badRequest("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	if r.Header.Get("x-acs-content-sha256") != digest {
		return p, badRequest("InvalidParameter", "The header x-acs-content-sha256 is not the hash of the body.")
	}
	var headers strings.Builder
	for _, name := range names {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	var query []string
	q := r.URL.Query()
	for _, k := range slices.Sorted(maps.Keys(q)) {
		for _, v := range q[k] {
			query = append(query, percent(k)+"="+percent(v))
		}
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), strings.Join(query, "&"), headers.String(), signed, digest}, "\n")
	sum = sha256.Sum256([]byte(canonical))
	p.toSign = schemeACS3 + "\n" + hex.EncodeToString(sum[:])
	return p, nil
}

// percent encodes as RFC 3986, section 2.3.
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// signs says whether this secret made the signature.
func (p *proof) signs(secret string) bool {
	var want string
	if p.acs3 {
		want = hex.EncodeToString(sum(sha256.New, secret, p.toSign))
	} else {
		want = base64.StdEncoding.EncodeToString(sum(sha1.New, secret, p.toSign))
	}
	return hmac.Equal([]byte(want), []byte(p.signature))
}

func sum(h func() hash.Hash, key, text string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// authenticateControl holds a proof against the keys: who, when, whether it is
// true, whether it is new.
func (s *Server) authenticateControl(p *proof) (Key, *controlError) {
	now := s.clock()
	known := s.access(p.keyID)
	if known == nil {
		return Key{}, &controlError{http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found."}
	}
	k := known.Key
	if k.Disabled {
		return k, badRequest("InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
	}
	switch {
	case p.token != k.Token:
		return k, badRequest("InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return k, badRequest("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
	}
	if now.Sub(p.stamp).Abs() > maxSkew {
		return k, badRequest("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	if !p.signs(k.Secret) {
		return k, badRequest("SignatureDoesNotMatch", "Specified signature is not matched with our calculation. server string to sign is:%s", p.toSign)
	}
	if p.nonce == "" {
		if p.acs3 {
			return k, badRequest("MissingSignatureNonce", "The header x-acs-signature-nonce is mandatory for this action.")
		}
		return k, nil // the older SDKs send none in this style
	}
	c := &s.nonces
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string]time.Time{}
	}
	if _, used := c.seen[p.keyID+" "+p.nonce]; used {
		return k, badRequest("SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	// A nonce is kept for as long as its request could be played again.
	if len(c.seen) >= max(c.tidyAt, 10_000) {
		maps.DeleteFunc(c.seen, func(_ string, at time.Time) bool { return now.Sub(at) > 2*maxSkew })
		c.tidyAt = 2 * len(c.seen)
	}
	c.seen[p.keyID+" "+p.nonce] = now
	return k, nil
}
