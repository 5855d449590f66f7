package alicloud

import (
	"crypto/hmac"
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
	"time"
)

// Families of signatures.
const (
	signRPC    = "HMAC-SHA1"        // parameters carry it; Go SDK, pop-core
	signACS3   = "ACS3-HMAC-SHA256" // a header carries it; the generated SDKs of today
	signBearer = "BEARERTOKEN"
	signNone   = "none" // AssumeRoleWithOIDC is not signed: the token is the proof
)

// maxSkew is how far the clock of a client may be off, to either side.
const maxSkew = 15 * time.Minute

// claim is what a request says of itself: who asks for what, when, and how
// that can be verified.
type claim struct {
	family    string
	action    string
	version   string
	keyID     string
	token     string // security token of temporary credentials
	nonce     string
	stamp     string
	signature string
	toSign    string // what the server would have signed
}

// readClaim finds the claim; what is missing is an error here already.
func readClaim(w *wire) (claim, *apiError) {
	if auth := w.header.Get("Authorization"); strings.HasPrefix(auth, signACS3) {
		return acs3Claim(w, auth)
	}
	c := claim{
		family: signRPC, action: w.params["Action"], version: w.params["Version"], keyID: w.params["AccessKeyId"],
		token: w.params["SecurityToken"], nonce: w.params["SignatureNonce"], stamp: w.params["Timestamp"],
		signature: w.params["Signature"],
	}
	if c.action == "" {
		// A generated SDK names the action in a header even where it does not sign.
		c.action, c.version = w.header.Get("x-acs-action"), w.header.Get("x-acs-version")
	}
	if c.action == "" {
		return c, bad("MissingAction", "Action is mandatory for this action.")
	}
	if c.version == "" {
		return c, bad("MissingVersion", "Version is mandatory for this action.")
	}
	if c.signature == "" && c.action == "AssumeRoleWithOIDC" {
		c.family = signNone
		return c, nil
	}
	for _, name := range []string{"SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp", "AccessKeyId", "Signature"} {
		if w.params[name] == "" && (name != "AccessKeyId" || w.params["BearerToken"] == "") {
			return c, missing(name)
		}
	}
	if w.params["SignatureMethod"] != "HMAC-SHA1" || w.params["SignatureVersion"] != "1.0" {
		return c, bad("InvalidParameter", "Specified parameter SignatureMethod or SignatureVersion is not valid: HMAC-SHA1 with 1.0 is.")
	}
	if w.params["SignatureType"] == signBearer {
		c.family, c.token = signBearer, w.params["BearerToken"]
	}
	c.toSign = rpcStringToSign(w.method, w.params)
	return c, nil
}

// rpcStringToSign follows the vendor's RPC signature mechanism, version 1.0:
// all parameters but the signature, sorted by name, both sides
// percent-encoded, and the whole percent-encoded again.
func rpcStringToSign(method string, params map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(params)) {
		if k == "Signature" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(percent(k) + "=" + percent(params[k]))
	}
	return method + "&%2F&" + percent(b.String())
}

// percent encodes as RFC 3986, section 2.3, with upper-case digits: all but
// letters, digits and -_.~ is encoded.
func percent(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") // url keeps the rest as the RFC does
}

func acs3Claim(w *wire, auth string) (claim, *apiError) {
	c := claim{
		family: signACS3, action: w.header.Get("x-acs-action"), version: w.header.Get("x-acs-version"),
		token: w.header.Get("x-acs-security-token"), nonce: w.header.Get("x-acs-signature-nonce"), stamp: w.header.Get("x-acs-date"),
	}
	var signed string
	for part := range strings.SplitSeq(strings.TrimSpace(strings.TrimPrefix(auth, signACS3)), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			c.keyID = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			c.signature = value
		}
	}
	switch {
	case c.action == "":
		return c, bad("MissingAction", "The header x-acs-action is mandatory.")
	case c.version == "":
		return c, bad("MissingVersion", "The header x-acs-version is mandatory.")
	case c.keyID == "" || c.signature == "" || signed == "":
		return c, bad("IncompleteSignature", "The request signature does not conform to Aliyun standards: Credential, SignedHeaders and Signature are needed.")
	case c.nonce == "":
		return c, missing("SignatureNonce")
	case c.stamp == "":
		return c, missing("Timestamp")
	}
	names := strings.Split(signed, ";")
	if len(names) > 100 {
		return c, bad("IncompleteSignature", "More than 100 signed headers.")
	}
	for _, must := range []string{"host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-content-sha256"} {
		if !slices.Contains(names, must) {
			return c, bad("IncompleteSignature", "The header %s has to be signed.", must)
		}
	}
	sum := sha256.Sum256(w.body)
	hash := hex.EncodeToString(sum[:])
	if w.header.Get("x-acs-content-sha256") != hash {
		return c, bad("InvalidParameter", "The header x-acs-content-sha256 is not the hash of the body.")
	}
	var headers strings.Builder
	for _, name := range names {
		value := w.header.Get(name)
		if name == "host" {
			value = w.host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	var query strings.Builder
	for _, k := range slices.Sorted(maps.Keys(w.query)) {
		for _, v := range w.query[k] {
			if query.Len() > 0 {
				query.WriteByte('&')
			}
			query.WriteString(percent(k) + "=" + percent(v))
		}
	}
	canonical := strings.Join([]string{w.method, "/", query.String(), headers.String(), signed, hash}, "\n")
	sum = sha256.Sum256([]byte(canonical))
	c.toSign = signACS3 + "\n" + hex.EncodeToString(sum[:])
	return c, nil
}

// signs says whether this secret made the signature of the claim.
func (c claim) signs(secret string) bool {
	var want string
	if c.family == signACS3 {
		want = hex.EncodeToString(mac(sha256.New, secret, c.toSign))
	} else {
		want = base64.StdEncoding.EncodeToString(mac(sha1.New, secret+"&", c.toSign))
	}
	return hmac.Equal([]byte(want), []byte(c.signature))
}

func mac(h func() hash.Hash, key, text string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// authenticate holds the claim against the keys. The order is that of the
// gateway as far as it shows: who, when, whether it is true, whether it is new.
// s.mu is held.
func (s *Server) authenticate(c claim) (*key, *apiError) {
	if c.family == signNone {
		return &key{}, nil
	}
	now := s.wall()
	var k *key
	if c.family == signBearer {
		return nil, bad("UnsupportedSignatureType", "Bearer tokens are not taken here.")
	}
	if k = s.keys[c.keyID]; k == nil {
		return nil, refuse(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	if k.Inactive {
		return nil, bad("InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
	}
	if k.Token != "" || c.token != "" {
		switch {
		case c.token == "":
			// A key of STS without its token is nobody's key.
			return nil, refuse(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
		case k.Token == "":
			return nil, bad("InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey.")
		case !hmac.Equal([]byte(k.Token), []byte(c.token)):
			return nil, bad("InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")
		case !k.Expires.IsZero() && now.After(k.Expires):
			return nil, bad("InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")
		}
	}
	at, err := time.Parse("2006-01-02T15:04:05Z", c.stamp)
	if err != nil {
		return nil, bad("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	if off := now.Sub(at); off > maxSkew || off < -maxSkew {
		return nil, bad("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	if !c.signs(k.Secret) {
		return nil, bad("SignatureDoesNotMatch", "Specified signature is not matched with our calculation. server string to sign is:%s", c.toSign)
	}
	if _, used := s.nonces[c.keyID+" "+c.nonce]; used {
		return nil, bad("SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	s.useNonce(c.keyID+" "+c.nonce, now)
	return k, nil
}

// useNonce remembers a nonce for as long as its request could be played again.
func (s *Server) useNonce(nonce string, now time.Time) {
	if len(s.nonces) > max(s.tidyAt, 10_000) {
		maps.DeleteFunc(s.nonces, func(_ string, at time.Time) bool { return now.Sub(at).Abs() > 2*maxSkew })
		s.tidyAt = 2 * len(s.nonces)
	}
	s.nonces[nonce] = now
}
