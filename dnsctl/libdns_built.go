//go:build libdns_powerdns || libdns_rfc2136

package dnsctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// What the modules that are built in have in common.

// guardedReader takes what it reads off what the call may still get.
type guardedReader struct {
	from io.Reader
	g    *libdnsGuard
}

func (r guardedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.g.left.Add(int64(-n)) < 0 {
		return n, errZoneSize
	}
	return n, err
}

// decodeSettings decodes into a module's struct, and refuses what that does not
// have. Of an error only the key is passed on.
func decodeSettings(text []byte, out any) error {
	err := decodeWhole(text, out, true)
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("settings: %q is not what the module takes: it wants %s", printable(t.Field, 40), t.Type)
	}
	if err != nil {
		if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("settings: the module has no %s", printable(key, 60))
		}
		return errors.New("settings: not what the module takes")
	}
	return nil
}
