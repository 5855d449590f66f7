package healthcheck

import (
	"slices"
	"strings"
)

// kinds that share keys.
var (
	webKinds  = []CheckType{HTTP, HTTPS}
	sentKinds = []CheckType{HTTP, HTTPS, GRPC, GRPCS}
	hostKinds = []CheckType{HTTP, HTTPS, GRPC, GRPCS, Tablestore}
	tlsKinds  = []CheckType{TLS, HTTPS, GRPCS, Tablestore}
	portKinds = []CheckType{TCP, TLS, HTTP, HTTPS, GRPC, GRPCS, DNS, Tablestore}
	whoKinds  = []CheckType{HTTP, HTTPS, GRPC, GRPCS, DNS, Tablestore}
)

// use is one key of a check: whether it is set, and for which kinds it means
// something.
type use struct {
	key   string
	set   bool
	kinds []CheckType
}

// uses lists the keys that not every kind has, in the order of the alphabet.
func (c Check) uses() []use {
	i := c.Identity
	return []use{
		{"body", c.Body != BodyCheck{}, webKinds},
		{"ca", c.CA != "", tlsKinds},
		{"ca_file", c.CAFile != "", tlsKinds},
		{"cert_warn", c.CertWarn != 0, tlsKinds},
		{"dns", c.DNS != DNSCheck{}, []CheckType{DNS}},
		{"exec", len(c.Exec.Command) > 0, []CheckType{Exec}},
		{"expect_headers", len(c.ExpectHeaders) > 0, webKinds},
		{"grpc", c.GRPC != GRPCCheck{}, []CheckType{GRPC, GRPCS}},
		{"headers", len(c.Headers) > 0, sentKinds},
		{"host", c.Host != "", hostKinds},
		{"identity", i.Configured(), whoKinds},
		{"identity.body", i.Body != "", webKinds},
		{"identity.header", i.Header != "", sentKinds},
		{"identity.json_path", i.JSONPath != "", webKinds},
		{"identity.table", i.Table != "", []CheckType{Tablestore}},
		{"identity.txt", i.TXT != "", []CheckType{DNS}},
		{"json", c.JSON != JSONCheck{}, webKinds},
		{"method", c.Method != "", webKinds},
		{"path", c.Path != "", webKinds},
		{"port", c.Port != 0, portKinds},
		{"server_name", c.ServerName != "", tlsKinds},
		{"status", len(c.Status) > 0, webKinds},
		{"tablestore", c.Tablestore != TablestoreCheck{}, []CheckType{Tablestore}},
	}
}

// refuseForeign names every key that means nothing to this kind of check.
func (c Check) refuseForeign(f *faults) {
	whole := ""
	for _, u := range c.uses() {
		if !u.set || slices.Contains(u.kinds, c.Type) || whole != "" && strings.HasPrefix(u.key, whole+".") {
			continue
		}
		whole = u.key
		f.add(u.key, "use type "+list(u.kinds), "means nothing to a %s check", c.Type)
	}
}

// list writes a, b or c.
func list(kinds []CheckType) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
