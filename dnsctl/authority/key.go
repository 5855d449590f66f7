package authority

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"pointsman/internal/failover"
)

// Key is a shared key for transaction signatures (RFC 8945).
type Key struct {
	Name      failover.RecordName `yaml:"name"`      // as the other side has it
	Algorithm string              `yaml:"algorithm"` // hmac-sha256, hmac-sha384 or hmac-sha512
	// Secret may be missing: then the key is known and proves nothing, so
	// everything that needs it is refused.
	Secret Secret `yaml:"-"`
}

// Secret is the shared secret of a key. It prints as [redacted] under every
// verb and encoding, inside other structures as well; the zero value is no
// secret.
type Secret struct {
	// A function, because formatting walks into unexported fields, and
	// through pointers, without asking their methods.
	raw func() []byte
}

// minSecret is the least length of a secret in octets. A shorter one than the
// output of a small hash is a mistake more often than a choice.
const minSecret = 16

// ParseSecret reads a secret in base64, as tsig-keygen and keymgr print it;
// white space around it is ignored. The error never contains the text.
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
	return "[redacted]"
}

// Format hides the secret under every verb.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the secret in JSON, YAML and logs.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
