package ots

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Credentials sign requests. Their secret is in no message: %v and %#v show the
// ID alone, and so does JSON.
type Credentials struct {
	ID     string
	secret string
	token  string // of STS, or empty
}

func (c Credentials) String() string { return c.ID }

// GoString keeps the secret out of %#v.
func (c Credentials) GoString() string { return "Credentials(" + c.ID + ")" }

// ErrCredentials: what was given is no access key.
var ErrCredentials = errors.New("no access key")

// ParseCredentials reads the form in which the vendor hands out keys: JSON with
// AccessKeyId, AccessKeySecret and, for STS, SecurityToken. Errors never hold
// what was read.
func ParseCredentials(text []byte) (Credentials, error) {
	var in struct {
		AccessKeyId     string //nolint:revive // the vendor's spelling
		AccessKeySecret string
		SecurityToken   string
	}
	if json.Unmarshal(text, &in) != nil {
		return Credentials{}, fmt.Errorf("%w: it is no JSON with AccessKeyId, AccessKeySecret and, for STS, SecurityToken", ErrCredentials)
	}
	if in.AccessKeyId == "" || in.AccessKeySecret == "" {
		return Credentials{}, fmt.Errorf("%w: it holds no AccessKeyId and AccessKeySecret", ErrCredentials)
	}
	if strings.ContainsFunc(in.AccessKeyId+in.AccessKeySecret+in.SecurityToken, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return Credentials{}, fmt.Errorf("%w: a key is printable ASCII without spaces", ErrCredentials)
	}
	return Credentials{in.AccessKeyId, in.AccessKeySecret, in.SecurityToken}, nil
}

// maxKeyFile bounds a key file. One with an STS token has about 1 KiB.
const maxKeyFile = 64 << 10

// KeyFile is for [Config.Credentials]: it reads the file at every use, so that a
// key that is exchanged is taken at once. A file that is being replaced may be
// half there: then the key that was read last is used on. A file that others
// may read (mode 0600 is right) is refused.
func KeyFile(path string) func() (Credentials, error) {
	var (
		mu   sync.Mutex
		last Credentials
		seen [sha256.Size]byte
	)
	return func() (Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		text, err := readKeyFile(path)
		if err != nil {
			return Credentials{}, err
		}
		sum := sha256.Sum256(text)
		if last.ID != "" && sum == seen {
			return last, nil
		}
		c, err := ParseCredentials(text)
		switch {
		case err == nil:
			last, seen = c, sum
		case last.ID == "":
			return Credentials{}, fmt.Errorf("%s: %w", path, err)
		}
		return last, nil
	}
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may read the key (mode %04o; try: chmod 600 %s)", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}
