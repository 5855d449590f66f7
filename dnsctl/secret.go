package dnsctl

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/miekg/dns"
)

// Secret is the shared secret of a key. It prints as [redacted] under every
// verb and encoding, inside other structures as well; the zero value is no
// secret.
type Secret struct {
	// A function, because formatting walks into unexported fields, and
	// through pointers, without asking their methods; of a function it can
	// print no more than the address.
	raw func() []byte
}

const redacted = "[redacted]"

// minSecret is the least length of a secret in octets. A shorter one than the
// output of a small hash is a mistake more often than a choice.
const minSecret = 16

// ParseSecret reads a secret in base64, as tsig-keygen prints it; white space
// around it is ignored. The error never contains the text.
func ParseSecret(text string) (Secret, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Secret{}, errors.New("secret is empty")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Secret{}, errors.New("secret is not base64: give only the text between the quotes that tsig-keygen prints")
	}
	if len(raw) < minSecret {
		return Secret{}, fmt.Errorf("secret has %d octets, at least %d are needed: make one with tsig-keygen", len(raw), minSecret)
	}
	return Secret{raw: func() []byte { return raw }}, nil
}

// IsZero says that there is no secret.
func (s Secret) IsZero() bool { return s.raw == nil }

// String hides the secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format hides the secret under every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the secret in JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Key is a shared key for transaction signatures (RFC 8945).
type Key struct {
	Name      string // as the server has it; canonicalised
	Algorithm string // hmac-sha256, hmac-sha384 or hmac-sha512
	Secret    Secret
}

// algorithms are those that are accepted; MD5 and SHA-1 are refused.
var algorithms = map[string]func() hash.Hash{
	dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384,
	dns.HmacSHA512: sha512.New,
}

// Validate returns every fault, each with its key path below "key".
func (k Key) Validate() []error {
	var errs []error
	if _, _, err := labels(k.Name); err != nil {
		errs = append(errs, fmt.Errorf("key.name: %q %w", k.Name, err))
	} else if canonical(k.Name) == "." {
		errs = append(errs, errors.New("key.name: the root is no key"))
	}
	if algorithms[canonical(k.Algorithm)] == nil {
		errs = append(errs, fmt.Errorf("key.algorithm: %q is none of hmac-sha256, hmac-sha384, hmac-sha512", k.Algorithm))
	}
	if k.Secret.IsZero() {
		errs = append(errs, errors.New("key.secret: is missing"))
	}
	return errs
}

// signer signs requests and checks answers with one key.
type signer struct {
	name, algorithm string
	raw             func() []byte
}

func newSigner(k Key) *signer {
	return &signer{name: canonical(k.Name), algorithm: canonical(k.Algorithm), raw: k.Secret.raw}
}

// Generate implements dns.TsigProvider.
func (s *signer) Generate(msg []byte, t *dns.TSIG) ([]byte, error) {
	newHash := algorithms[canonical(t.Algorithm)]
	if newHash == nil || canonical(t.Hdr.Name) != s.name {
		return nil, dns.ErrSecret
	}
	h := hmac.New(newHash, s.raw())
	h.Write(msg)
	return h.Sum(nil), nil
}

// Verify implements dns.TsigProvider.
func (s *signer) Verify(msg []byte, t *dns.TSIG) error {
	want, err := s.Generate(msg, t)
	if err != nil {
		return err
	}
	got, err := hex.DecodeString(t.MAC)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, got) {
		return dns.ErrSig
	}
	return nil
}

// sign packs m with a signature of the given second and returns the request's
// MAC, under which the answer is signed too.
func (s *signer) sign(m *dns.Msg, unix int64) (wire []byte, mac string, err error) {
	m.SetTsig(s.name, s.algorithm, tsigFudge, unix)
	return dns.TsigGenerateWithProvider(m, s, "", false)
}

// check accepts an answer only if it bears one signature, as its last record,
// by our key and algorithm, over our request (RFC 8945 section 5.3). The
// library's own check is not enough: it does not look whether a signature is
// there at all, nor by which key, and it gives up on every NOTAUTH, so that
// the server's own word on its clock would be believed unsigned.
func (s *signer) check(wire []byte, m *dns.Msg, requestMAC string) error {
	n := 0
	for _, rr := range m.Extra {
		if rr.Header().Rrtype == dns.TypeTSIG {
			n++
		}
	}
	t := m.IsTsig()
	switch {
	case n == 0, t != nil && t.MACSize == 0:
		return ErrUnsigned
	case n > 1 || t == nil:
		return fmt.Errorf("%w: the signature is not the last record", ErrSignature)
	case canonical(t.Hdr.Name) != s.name:
		return fmt.Errorf("%w: by the key %q", ErrSignature, t.Hdr.Name)
	case canonical(t.Algorithm) != s.algorithm:
		return fmt.Errorf("%w: with the algorithm %q", ErrSignature, t.Algorithm)
	}
	p := append([]byte(nil), wire...)
	v := &restoring{signer: s, flags: p[3], at: 2 + len(requestMAC)/2 + 3}
	p[3] &^= 0x0f
	err := dns.TsigVerifyWithProvider(p, v, requestMAC, false)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dns.ErrTime):
		// The signature itself was good. A BADTIME answer repeats the time
		// of our request (RFC 8945 section 5.2.3), so its age says nothing.
		if t.Error == dns.RcodeBadTime {
			return nil
		}
		return fmt.Errorf("%w: its time is more than %d s from ours", ErrSignature, t.Fudge)
	default:
		return ErrSignature
	}
}

// restoring puts the response code back into the buffer before the signature
// is computed: it was taken out because the library refuses to look at any
// answer with NOTAUTH.
type restoring struct {
	*signer
	flags byte
	at    int // of the fourth header octet: length, request MAC, then the message
}

// Verify implements dns.TsigProvider.
func (r *restoring) Verify(msg []byte, t *dns.TSIG) error {
	if r.at >= len(msg) {
		return dns.ErrSig
	}
	msg[r.at] = r.flags
	return r.signer.Verify(msg, t)
}
