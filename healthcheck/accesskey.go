package healthcheck

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// AccessKey is what signs a request to Alibaba Cloud. Its secret is in no
// message: %v of it shows the ID alone.
type AccessKey struct {
	ID     string
	secret string
	token  string // of STS, or empty
}

func (k AccessKey) String() string { return k.ID }

// GoString keeps the secret out of %#v.
func (k AccessKey) GoString() string { return "AccessKey(" + k.ID + ")" }

// ErrAccessKey: what was given is no access key.
var ErrAccessKey = errors.New("no access key")

// ParseAccessKey reads the form in which the vendor hands out keys: JSON with
// AccessKeyId, AccessKeySecret and, for STS, SecurityToken. Errors never hold
// what was read.
func ParseAccessKey(text []byte) (AccessKey, error) {
	var in struct {
		AccessKeyId     string //nolint:revive // the vendor's spelling
		AccessKeySecret string
		SecurityToken   string
	}
	if json.Unmarshal(text, &in) != nil {
		return AccessKey{}, fmt.Errorf("%w: it is no JSON with AccessKeyId, AccessKeySecret and, for STS, SecurityToken", ErrAccessKey)
	}
	if in.AccessKeyId == "" || in.AccessKeySecret == "" {
		return AccessKey{}, fmt.Errorf("%w: it holds no AccessKeyId and AccessKeySecret", ErrAccessKey)
	}
	if strings.ContainsFunc(in.AccessKeyId+in.AccessKeySecret+in.SecurityToken, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return AccessKey{}, fmt.Errorf("%w: a key is printable ASCII without spaces", ErrAccessKey)
	}
	return AccessKey{in.AccessKeyId, in.AccessKeySecret, in.SecurityToken}, nil
}

// KeyFile is the path of a file that holds an access key. It belongs to the
// machine: in the hash of a check only that there is one.
type KeyFile string

// MarshalJSON leaves the path out.
func (KeyFile) MarshalJSON() ([]byte, error) { return []byte(`"set"`), nil }

// keyHolder reads a key file at every use, so that a key that is exchanged is
// taken at once. A file that is being replaced may be half there: then the key
// that was read last is used on.
type keyHolder struct {
	path KeyFile
	read func(string) ([]byte, error)

	mu   sync.Mutex
	last AccessKey
	seen [sha256.Size]byte
}

func (h *keyHolder) get() (AccessKey, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.read == nil {
		return AccessKey{}, errors.New("this process reads no key files")
	}
	text, err := h.read(string(h.path))
	if err == nil && h.last.ID != "" && sha256.Sum256(text) == h.seen {
		return h.last, nil
	}
	if err == nil {
		var k AccessKey
		if k, err = ParseAccessKey(text); err == nil {
			h.last, h.seen = k, sha256.Sum256(text)
			return k, nil
		}
		err = fmt.Errorf("%s: %w", h.path, err)
	}
	if h.last.ID != "" && errors.Is(err, ErrAccessKey) {
		return h.last, nil
	}
	return AccessKey{}, err
}

// KeysMissing says which key files cannot be read now, each once. Probes read
// them at every use, so it may be mended while they run; until then their votes
// are unknown.
func (c Config) KeysMissing() []string {
	var out []string
	seen := map[KeyFile]bool{"": true}
	for i := range c.Targets {
		for _, one := range c.Targets[i].each() {
			for _, f := range []KeyFile{one.Check.Tablestore.ServiceKey, one.Check.Tablestore.ClientKey} {
				if seen[f] {
					continue
				}
				seen[f] = true
				if _, err := (&keyHolder{path: f, read: c.ReadKey}).get(); err != nil {
					out = append(out, fmt.Sprintf("a key of probes is missing, and what needs it is unknown until it is there: %v", err))
				}
			}
		}
	}
	return out
}
