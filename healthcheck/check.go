package healthcheck

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CheckType is the kind of a probe.
type CheckType string

const (
	TCP   CheckType = "tcp"   // a connection is accepted
	TLS   CheckType = "tls"   // and a certificate for the clients' name is shown
	HTTP  CheckType = "http"  // and a request is answered as expected
	HTTPS CheckType = "https" // the same over TLS
	GRPC  CheckType = "grpc"  // the health service says SERVING, over HTTP/2 without TLS
	GRPCS CheckType = "grpcs" // the same over TLS
	DNS   CheckType = "dns"   // a question is answered as expected
	ICMP  CheckType = "icmp"  // an echo request is answered
	Exec  CheckType = "exec"  // a command ends with 0

	Tablestore CheckType = "tablestore" // a row of our own is written and read back
)

// CheckTypes lists every kind, for messages and completion.
var CheckTypes = []CheckType{TCP, TLS, HTTP, HTTPS, GRPC, GRPCS, DNS, ICMP, Exec, Tablestore}

// Check says how a cluster is looked at. The zero value of every field but
// Type has a sane meaning. It is plain data: the same check runs at every
// vantage, and its hash is part of the generation that a vote bears.
type Check struct {
	Name string    `json:"name,omitempty"` // of one of several checks, for people; a word
	Type CheckType `json:"type"`
	Port int       `json:"port,omitempty"` // 1 to 65535, replaces the port of the address

	// For http and https; host, headers and the header of identity also for
	// grpc and grpcs.
	Path          string            `json:"path,omitempty"`           // with query; default /
	Method        string            `json:"method,omitempty"`         // GET (default), HEAD or OPTIONS
	Status        []StatusRange     `json:"status,omitempty"`         // default 200-299; a redirect is a miss unless it is in here
	Host          string            `json:"host,omitempty"`           // default: the clients' name, with the port when it is not the scheme's own
	Headers       map[string]string `json:"headers,omitempty"`        // sent with the request
	ExpectHeaders map[string]string `json:"expect_headers,omitempty"` // name to a regular expression that one of its values must match
	Body          BodyCheck         `json:"body,omitzero"`
	JSON          JSONCheck         `json:"json,omitzero"`
	Identity      IdentityCheck     `json:"identity,omitzero"`
	Slow          time.Duration     `json:"slow,omitempty"` // for every kind: a success slower than this carries a warning; default half of the timeout

	GRPC GRPCCheck `json:"grpc,omitzero"`
	DNS  DNSCheck  `json:"dns,omitzero"`
	Exec ExecCheck `json:"exec,omitzero"`

	Tablestore TablestoreCheck `json:"tablestore,omitzero"`

	// For tls, https, grpcs and, unless its scheme is http, tablestore.
	ServerName string        `json:"server_name,omitempty"` // default: the clients' name
	CA         string        `json:"ca,omitempty"`          // PEM certificates to trust instead of the system's
	CAFile     string        `json:"-"`                     // a file that holds CA; whoever reads the config loads it and empties this
	CertWarn   time.Duration `json:"cert_warn,omitempty"`   // a certificate that ends sooner carries a warning; default 14 days
}

// BodyCheck is what the first 64 KiB of the body must hold.
type BodyCheck struct {
	Contains string `json:"contains,omitempty"`
	Matches  string `json:"matches,omitempty"` // regular expression (RE2)
}

// JSONCheck is a value that the body, taken as JSON, must hold.
type JSONCheck struct {
	Path  string `json:"path,omitempty"`  // as in $.status.checks[0].state: a singular query of RFC 9535 section 2.3.5.1
	Value string `json:"value,omitempty"` // string, number, true, false or null as text; empty: it must only be there
}

// IdentityCheck is where the answer says which cluster it comes from. At most
// one is set. What it must say is the target's Identity.
type IdentityCheck struct {
	Header   string `json:"header,omitempty"`
	JSONPath string `json:"json_path,omitempty"`
	Body     string `json:"body,omitempty"`  // regular expression; its first group, or the whole match, is the identity
	TXT      string `json:"txt,omitempty"`   // for dns: the name of a TXT record that holds it, such as id.server
	Table    string `json:"table,omitempty"` // for tablestore: it and the identity are the name of a table that only this cluster has
}

// Configured says whether any identity is asked for.
func (i IdentityCheck) Configured() bool { return i != IdentityCheck{} }

// StatusRange is a closed range of HTTP status codes, written 200 or 200-299.
type StatusRange struct{ From, To int }

func (r StatusRange) String() string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// ParseStatusRange reads 200 or 200-299; codes lie within 100 to 599.
func ParseStatusRange(s string) (StatusRange, error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if errA != nil || errB != nil {
		return StatusRange{}, fmt.Errorf("status %q is neither a code such as 200 nor a range such as 200-299", s)
	}
	r := StatusRange{int(a), int(b)}
	return r, r.check()
}

func (r StatusRange) check() error {
	if r.From < 100 || r.To > 599 || r.From > r.To {
		return fmt.Errorf("status %s is no rising range within 100 to 599", r)
	}
	return nil
}

// MarshalText writes what ParseStatusRange reads.
func (r StatusRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Fault is one mistake in a config, at a path of keys such as
// check.status[1], with a hint for people where there is one.
type Fault struct {
	Path    string
	Problem string
	Hint    string
}

func (f Fault) Error() string {
	s := f.Path + ": " + f.Problem
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}

// Under puts the faults below a longer path.
func Under(prefix string, faults []Fault) []Fault {
	out := slices.Clone(faults)
	for i := range out {
		out[i].Path = prefix + "." + out[i].Path
	}
	return out
}

func (c Check) withDefaults() Check {
	if c.isHTTP() {
		c.Path = cmp.Or(c.Path, "/")
		c.Method = cmp.Or(c.Method, http.MethodGet)
		if len(c.Status) == 0 {
			c.Status = []StatusRange{{200, 299}}
		}
	}
	if c.isTLS() {
		c.CertWarn = cmp.Or(c.CertWarn, 14*24*time.Hour)
	}
	if c.Type == DNS {
		c.DNS = c.DNS.withDefaults()
	}
	if c.Type == Tablestore {
		c.Tablestore = c.Tablestore.withDefaults()
	}
	return c
}

func (c Check) isHTTP() bool { return c.Type == HTTP || c.Type == HTTPS }
func (c Check) isGRPC() bool { return c.Type == GRPC || c.Type == GRPCS }
func (c Check) isTLS() bool {
	switch c.Type {
	case TLS, HTTPS, GRPCS:
		return true
	case Tablestore:
		return c.Tablestore.Scheme != SchemeHTTP
	}
	return false
}

// hasPort says whether the kind dials a port.
func (c Check) hasPort() bool { return c.Type != ICMP && c.Type != Exec }

// faults collects mistakes with their paths.
type faults []Fault

func (f *faults) add(path, hint, format string, args ...any) {
	*f = append(*f, Fault{path, fmt.Sprintf(format, args...), hint})
}

func (f *faults) pattern(path, expr string) {
	if len(expr) > maxPattern {
		f.add(path, "", "is longer than %d bytes", maxPattern)
	} else if _, err := regexp.Compile(expr); err != nil {
		f.add(path, "the syntax is RE2, see https://pkg.go.dev/regexp/syntax", "%v", err)
	}
}

const maxPattern = 1024

// ownHeaders are set by the probe itself.
var ownHeaders = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Grpc-Timeout"}

// Validate returns every fault of the check; paths are its own keys.
func (c Check) Validate() []Fault {
	var f faults
	if !slices.Contains(CheckTypes, c.Type) {
		f.add("type", "", "%q is none of %v", c.Type, CheckTypes)
		return f
	}
	if c.Name != "" && (!isToken(c.Name) || len(c.Name) > 63) {
		f.add("name", "", "%q is no word of at most 63 characters", clean(c.Name, 64))
	}
	if c.Port < 0 || c.Port > 65535 {
		f.add("port", "", "%d is outside 1 to 65535", c.Port)
	}
	c.refuseForeign(&f)
	switch {
	case c.isHTTP():
		c.validateHTTP(&f)
		c.validateHeaders(&f)
	case c.isGRPC():
		c.GRPC.validate(&f)
		c.validateHeaders(&f)
	case c.Type == DNS:
		c.DNS.validate(&f)
	case c.Type == Exec:
		c.Exec.validate(&f)
	case c.Type == Tablestore:
		c.Tablestore.validate(&f)
	}
	c.Identity.validate(&f)
	c.validateTLS(&f)
	if c.Slow < 0 {
		f.add("slow", "", "%s is negative", c.Slow)
	}
	return f
}

func (c Check) validateHTTP(f *faults) {
	if c.Path != "" {
		u, err := url.ParseRequestURI(c.Path)
		if err != nil || !strings.HasPrefix(c.Path, "/") || strings.HasPrefix(c.Path, "//") || u.Fragment != "" {
			f.add("path", "", "%q is no path such as /healthz?full=1", c.Path)
		}
	}
	if !slices.Contains([]string{"", http.MethodGet, http.MethodHead, http.MethodOptions}, c.Method) {
		f.add("method", "a probe must not change anything: RFC 9110 section 9.2.1", "%q is none of GET, HEAD, OPTIONS", c.Method)
	}
	needsBody := c.Body != BodyCheck{} || c.JSON != JSONCheck{} || c.Identity.Body != "" || c.Identity.JSONPath != ""
	if c.Method == http.MethodHead && needsBody {
		f.add("method", "use GET", "HEAD brings no body to look at")
	}
	for i, r := range c.Status {
		if err := r.check(); err != nil {
			f.add(fmt.Sprintf("status[%d]", i), "", "%v", err)
		}
	}
	for _, name := range sortedKeys(c.ExpectHeaders) {
		if !isToken(name) {
			f.add("expect_headers."+name, "", "is no valid header name")
		}
		f.pattern("expect_headers."+name, c.ExpectHeaders[name])
	}
	f.pattern("body.matches", c.Body.Matches)
	if c.JSON.Path == "" && c.JSON.Value != "" {
		f.add("json.path", "", "is missing beside json.value")
	}
	if _, err := parseJSONPath(c.JSON.Path); c.JSON.Path != "" && err != nil {
		f.add("json.path", "", "%v", err)
	}
}

// validateHeaders looks at what is sent with a request of http or grpc.
func (c Check) validateHeaders(f *faults) {
	if c.Host != "" && !isHost(c.Host) {
		f.add("host", "", "%q is no host", c.Host)
	}
	for _, name := range sortedKeys(c.Headers) {
		switch {
		case !isToken(name) || !isFieldValue(c.Headers[name]):
			f.add("headers."+name, "", "is no valid header")
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			f.add("headers."+name, "for Host use the key host", "is set by the probe itself")
		}
	}
}

func (i IdentityCheck) validate(f *faults) {
	set := 0
	for _, s := range []string{i.Header, i.JSONPath, i.Body, i.TXT, i.Table} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		f.add("identity", "", "header, json_path and body exclude one another")
	}
	if i.Header != "" && !isToken(i.Header) {
		f.add("identity.header", "", "%q is no valid header name", i.Header)
	}
	if _, err := parseJSONPath(i.JSONPath); i.JSONPath != "" && err != nil {
		f.add("identity.json_path", "", "%v", err)
	}
	f.pattern("identity.body", i.Body)
	if i.Table != "" && !tableName.MatchString(i.Table) {
		f.add("identity.table", "letters, digits and '_', such as "+IdentityPrefix, "%q is not how the name of a table begins", clean(i.Table, 64))
	}
	if i.TXT != "" && !isDomain(i.TXT) {
		f.add("identity.txt", "", "%q is no DNS name", i.TXT)
	}
}

func (c Check) validateTLS(f *faults) {
	if !c.isTLS() {
		return
	}
	if c.CA != "" && c.CAFile != "" {
		f.add("ca_file", "", "excludes ca")
	}
	if _, err := c.roots(); err != nil {
		f.add("ca", "", "%v", err)
	}
	if c.CertWarn < 0 {
		f.add("cert_warn", "", "%s is negative", c.CertWarn)
	}
}

// roots returns the certificates to trust; nil means the system's.
func (c Check) roots() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, errors.New("holds no PEM certificate")
	}
	return pool, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// isToken is the grammar of a header's name, RFC 9110 section 5.6.2.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && (r == 0 || !strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}

// isFieldValue refuses what could end a header line, RFC 9110 section 5.5.
func isFieldValue(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}

func isHost(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`/\?#@"<>`, r) }) < 0
}
