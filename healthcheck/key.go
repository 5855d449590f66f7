package healthcheck

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
)

// minKey is the least length of a key in bytes, that of its hash's output
// (RFC 2104 section 3).
const minKey = 32

// Key is the secret that a vantage shares with its controllers. It never
// prints itself.
type Key []byte

func (Key) String() string               { return "(secret)" }
func (Key) GoString() string             { return "(secret)" }
func (Key) LogValue() slog.Value         { return slog.StringValue("(secret)") }
func (Key) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// ParseKey takes the text of a key file: at least 32 bytes, white space around
// it is dropped. Any text will do; openssl rand -hex 32 makes a good one.
func ParseKey(text []byte) (Key, error) {
	k := bytes.TrimSpace(text)
	if len(k) < minKey {
		return nil, fmt.Errorf("key has %d bytes, at least %d are needed (try: openssl rand -hex 32)", len(k), minKey)
	}
	return Key(bytes.Clone(k)), nil
}

// MaxKeys is how many keys of one vantage count at a time: while one takes the
// place of another both do.
const MaxKeys = 2

// ParseKeys takes the text of a key file that may hold a key on each of
// [MaxKeys] lines. A vantage signs by the first; a controller takes any.
func ParseKeys(text []byte) ([]Key, error) {
	var keys []Key
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		k, err := ParseKey(line)
		switch {
		case err != nil && i > 0:
			return nil, fmt.Errorf("line %d: %w; each line is a key", i+1, err)
		case err != nil:
			return nil, err
		case i == MaxKeys:
			return nil, fmt.Errorf("more than %d lines, and each is a key", MaxKeys)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// ReadKeyFile reads a key; a file that others may read or write is refused.
func ReadKeyFile(name string) (Key, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if mode := fi.Mode().Perm(); mode&0o027 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others could speak for the vantage (try: chmod 600 %s)", name, mode, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	return key, nil
}
