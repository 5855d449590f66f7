package dnsctl

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/libdns/libdns"
)

// libdnsModule is one module of the libdns project that passed the contract
// suite here, against a real server. It is in the binary only where its build
// tag is given.
type libdnsModule struct {
	// atomic: one SetRecords with a CNAME and a TXT is one step at the server.
	atomic bool
	// shown are the settings that are no secrets; all others are hidden in
	// whatever the module says.
	shown []string
	// open checks the settings and returns what a call is made with. An error
	// shows no value of a setting that is not in shown.
	open func(settings []byte) (libdnsClient, error)
	// denial turns an error into the sentinel that it means: the server has
	// answered, and the request changed nothing. nil: it is not known.
	denial func(error) error
}

// libdnsClient makes single calls of a module. Everything that a call sends or
// gets goes through its guard.
type libdnsClient interface {
	get(ctx context.Context, g *libdnsGuard, zone string) ([]libdns.Record, error)
	set(ctx context.Context, g *libdnsGuard, zone string, recs []libdns.Record) error
}

// libdnsGuard is what one call may do, and what became of it.
type libdnsGuard struct {
	mayWrite bool
	left     atomic.Int64 // octets that may still come

	mu   sync.Mutex
	sent bool // something that changes may have left
	over bool // nobody waits for the call any longer
}

func newGuard(mayWrite bool) *libdnsGuard {
	g := &libdnsGuard{mayWrite: mayWrite}
	g.left.Store(maxZoneBytes)
	return g
}

// begin is asked before something leaves that may change something.
func (g *libdnsGuard) begin() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mayWrite || g.over {
		return ErrReadOnly
	}
	g.sent = true
	return nil
}

// shut lets nothing leave from now on, and says whether something may have.
func (g *libdnsGuard) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	return g.sent
}

const (
	maxZoneBytes   = 8 << 20 // of one reading, as it comes
	maxZoneRecords = 20_000
	maxSettings    = 64 << 10
)

// errZoneSize: nothing is known of the names of a zone that is too large.
var errZoneSize = fmt.Errorf("%w: the zone is larger than %d records or %d MiB, and libdns knows only whole zones: move the names into a child zone of their own",
	ErrUnsupported, maxZoneRecords, maxZoneBytes>>20)

// libdnsAllowed are the modules that passed the contract suite here, with the
// exact version that did, and their build tags.
var libdnsAllowed = map[string]struct{ path, version, tag string }{
	"powerdns": {"github.com/libdns/powerdns", "v0.1.4", "libdns_powerdns"},
	"rfc2136":  {"github.com/libdns/rfc2136", "v1.0.1", "libdns_rfc2136"},
}

const untried = "it could not be run against the contract suite: its endpoint is the vendor's and cannot be set"

// libdnsRefused are modules that people will ask for, with the reason.
var libdnsRefused = map[string]string{
	"alidns": "its SetRecords (v1.0.6-beta.3) looks for a record with the new value, does not find the old one, and adds a second CNAME" +
		" (libdns/alidns#10): use the type alidns",
	"azure":          untried,
	"cloudflare":     untried,
	"digitalocean":   untried,
	"dnspod":         "it is written for libdns v0.2 and does not fit: its successor is tencentcloud, which is not allowed either",
	"gandi":          untried,
	"googleclouddns": untried,
	"hetzner":        untried,
	"huaweicloud":    "its SetRecords (v1.0.1) takes any failure of looking, even of the network, for a record that is not there, and creates one",
	"route53":        untried,
	"tencentcloud":   "its SetRecords (v1.4.3) goes on when looking failed, and changes a record without an ID",
}

// libdnsBuilt are the modules in this binary, from the files behind the tags.
var libdnsBuilt = map[string]libdnsModule{}

// The reasons for which a module cannot be used.
var (
	ErrModuleRefused = errors.New("module refused")
	ErrModuleMissing = errors.New("this binary was built without module")
)

// CheckLibDNSModule says why a module cannot be used: it is not on the list
// (ErrModuleRefused, with the reason), or this binary was built without it
// (ErrModuleMissing, with the build tag).
func CheckLibDNSModule(name string) error {
	known, ok := libdnsAllowed[name]
	if why := libdnsRefused[name]; why != "" {
		return fmt.Errorf("%w: %s: %s", ErrModuleRefused, name, why)
	}
	if !ok {
		return fmt.Errorf("%w: %s is not one of those that passed the contract suite: %s", ErrModuleRefused, printable(name, 40),
			strings.Join(slices.Sorted(maps.Keys(libdnsAllowed)), ", "))
	}
	if _, ok := libdnsBuilt[name]; !ok {
		return fmt.Errorf("%w %s: build with -tags %s", ErrModuleMissing, name, known.tag)
	}
	return nil
}

// ParseLibDNSSettings takes the settings of a module: one JSON object, as the
// module's own documents have it. They hold secrets, so they print as hidden.
// The error shows nothing of them.
func ParseLibDNSSettings(text []byte) (Secret, error) {
	if len(text) > maxSettings {
		return Secret{}, fmt.Errorf("settings are longer than %d KiB", maxSettings>>10)
	}
	var all map[string]any
	if err := decodeWhole(text, &all, false); err != nil || all == nil {
		return Secret{}, errors.New("settings are not one JSON object")
	}
	kept := bytes.Clone(text)
	return Secret{raw: func() []byte { return kept }}, nil
}

// decodeWhole decodes one JSON value and refuses what follows it; strict
// refuses keys that out does not have.
func decodeWhole(text []byte, out any, strict bool) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(out); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the settings")
	}
	return nil
}

// hider takes the values of settings out of what a module says.
type hider struct {
	replace func(string) string
	all     bool // a secret is too short to be found: nothing is shown
}

// newHider hides all values of the settings but those of the shown keys.
func newHider(settings []byte, shown []string) hider {
	var all map[string]any
	if err := decodeWhole(settings, &all, false); err != nil {
		return hider{all: true}
	}
	var forms []string
	h := hider{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if v == "" {
				return
			}
			h.all = h.all || len(v) < 4
			forms = append(forms, formsOf(v)...)
		case float64:
			if text := strconv.FormatFloat(v, 'f', -1, 64); len(text) >= 4 {
				forms = append(forms, text)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	for key, v := range all {
		if !slices.Contains(shown, key) {
			walk(v)
		}
	}
	// The longest first, so that no part of one is left.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, f := range forms {
		pairs = append(pairs, f, redacted)
	}
	h.replace = strings.NewReplacer(pairs...).Replace
	return h
}

// formsOf are the ways in which an API or a client may repeat a secret.
func formsOf(s string) []string {
	quotedJSON, _ := json.Marshal(s) // of a string it does not fail
	b64 := base64.StdEncoding.EncodeToString([]byte(s))
	out := []string{
		s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(quotedJSON), `"`), strings.Trim(fmt.Sprintf("%q", s), `"`),
		hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
		b64, strings.TrimRight(b64, "="), base64.URLEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)),
	}
	if raw, err := base64.StdEncoding.DecodeString(s); err == nil && len(raw) >= 4 {
		out = append(out, string(raw), hex.EncodeToString(raw))
	}
	return out
}

// say is what may be shown of an error of a module: flat, so that nothing can
// be found inside, short, printable and without secrets.
func (h hider) say(err error) string {
	if h.all {
		return "what it said is not shown: one of its secrets is so short that it could not be found there"
	}
	text := h.replace(err.Error())
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	return printable(text, 300)
}
