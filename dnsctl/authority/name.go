package authority

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxNameOctets bounds a name in wire form, the root label included (RFC 1035
// section 2.3.4).
const maxNameOctets = 255

// markLabel stands in front of a managed name; its TXT carries the mark.
const markLabel = "_pointsman."

// key is a name in wire form in lower case. Escapes cannot make two keys of
// one name, and walking to the parent is one slice operation.
type key string

// keyOf packs a fully qualified name.
func keyOf(name string) (key, error) {
	var buf [maxNameOctets]byte
	n, err := dns.PackDomainName(name, buf[:], 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("%q is not a domain name of at most 63 octets a label and 255 in all: %w", name, err)
	}
	lower(buf[:n], buf[:n])
	return key(buf[:n]), nil
}

// parent drops the leftmost label; the root is its own parent.
func (k key) parent() key {
	if len(k) <= 1 {
		return k
	}
	return k[1+int(k[0]):]
}

// under says whether k is zone or stands below it.
func (k key) under(zone key) bool {
	for len(k) > len(zone) {
		k = k.parent()
	}
	return k == zone
}

// lower copies src to dst with A-Z folded. Length octets are below 64 and so
// are never mistaken for letters.
func lower(dst, src []byte) {
	for i, c := range src {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst[i] = c
	}
}

// checkName accepts a fully qualified name made of letters, digits, hyphens
// and underscores: the names that resolvers, certificates and people agree on.
func checkName(name string) (key, error) {
	if name == "" {
		return "", errors.New("a name is missing")
	}
	if !strings.HasSuffix(name, ".") {
		return "", fmt.Errorf("%q does not end in a dot: write %q", name, name+".")
	}
	if name == "." {
		return "", errors.New("the root is no name for this")
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "*" {
			return "", fmt.Errorf("%q is a wildcard, which is not served: write the names in full", name)
		}
		for _, c := range []byte(label) {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			default:
				return "", fmt.Errorf("%q has the character %q: only letters, digits, hyphen and underscore may stand in a name (an international name goes in its xn-- form)", name, c)
			}
		}
	}
	if _, err := netip.ParseAddr(strings.TrimSuffix(name, ".")); err == nil {
		return "", fmt.Errorf("%q is an address, not a name: give the address a name under hosts", name)
	}
	return keyOf(name)
}
