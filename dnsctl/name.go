package dnsctl

import (
	"fmt"
	"net/netip"
	"strings"

	"pointsman/internal/failover"
)

// markLabel stands before a name to make the name of its mark.
const markLabel = "_pointsman."

// maxName is the longest name in its written form with the final dot: 255
// octets on the wire (RFC 1035 section 2.3.4) less the length octet that the
// written form does not have.
const maxName = 254

// MarkName returns the name of the TXT record that holds the mark of n.
func MarkName(n failover.RecordName) failover.RecordName { return markLabel + n }

// ParseName reads the name of an instance and returns it in canonical form:
// lower case, with the final dot. It refuses what could not be managed: a
// single label, a wildcard, escapes, letters outside ASCII, and a name that is
// too long for its mark to stand beside it.
func ParseName(s string) (failover.RecordName, error) {
	c, err := parse(s)
	if err != nil {
		return "", fmt.Errorf("name %q: %w", s, err)
	}
	if len(c)+len(markLabel) > maxName {
		return "", fmt.Errorf("name %q: too long: its mark at %s<name> would pass 255 octets", s, markLabel)
	}
	return failover.RecordName(c), nil
}

// ParseTarget reads a CNAME target and returns it in canonical form: lower
// case, with the final dot.
func ParseTarget(s string) (failover.Target, error) {
	if _, err := netip.ParseAddr(strings.TrimSuffix(s, ".")); err == nil {
		return "", fmt.Errorf("target %q: is an address: a CNAME points at a name", s)
	}
	c, err := parse(s)
	if err != nil {
		return "", fmt.Errorf("target %q: %w", s, err)
	}
	return failover.Target(c), nil
}

// parseZone accepts a single label too: a zone may be a top level domain of
// somebody's own.
func parseZone(s string) (failover.RecordName, error) {
	c, labels, err := labels(s)
	if err != nil {
		return "", fmt.Errorf("zone %q: %w", s, err)
	}
	if labels < 1 {
		return "", fmt.Errorf("zone %q: the root is not ours", s)
	}
	return failover.RecordName(c), nil
}

func parse(s string) (string, error) {
	c, labels, err := labels(s)
	if err != nil {
		return "", err
	}
	if labels < 2 {
		return "", fmt.Errorf("has only one label: write the full name, with its domain")
	}
	return c, nil
}

// labels checks the syntax of a host name (RFC 1123 section 2.1) with the
// underscore allowed, as service names have it, and returns the canonical
// form with the number of labels.
func labels(s string) (string, int, error) {
	if s == "" {
		return "", 0, fmt.Errorf("is empty")
	}
	c := canonical(s)
	if len(c) > maxName {
		return "", 0, fmt.Errorf("is longer than 255 octets")
	}
	if c == "." {
		return c, 0, nil
	}
	parts := strings.Split(strings.TrimSuffix(c, "."), ".")
	for _, l := range parts {
		switch {
		case l == "":
			return "", 0, fmt.Errorf("has an empty label")
		case len(l) > 63:
			return "", 0, fmt.Errorf("label %q is longer than 63 octets", l)
		case l[0] == '-' || l[len(l)-1] == '-':
			return "", 0, fmt.Errorf("label %q begins or ends with a hyphen", l)
		case l == "*":
			return "", 0, fmt.Errorf("is a wildcard")
		}
		for _, r := range l {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			case r > 127:
				return "", 0, fmt.Errorf("has the character %q: write the name in its ASCII form (xn--…)", r)
			default:
				return "", 0, fmt.Errorf("has the character %q", r)
			}
		}
	}
	return c, len(parts), nil
}

// canonical lowers the ASCII letters of a name and adds the final dot. It
// takes any string, so that two forms of one name can be compared even when
// the name is one that we would not accept.
func canonical(s string) string {
	if s == "" {
		return ""
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	for !fullyQualified(b) { // twice where a lone backslash escapes the first dot
		b = append(b, '.')
	}
	return string(b)
}

// fullyQualified says whether the final dot is one that ends the name and not
// an escaped one (RFC 1035 section 5.1).
func fullyQualified(b []byte) bool {
	if len(b) == 0 || b[len(b)-1] != '.' {
		return false
	}
	escapes := 0
	for i := len(b) - 2; i >= 0 && b[i] == '\\'; i-- {
		escapes++
	}
	return escapes%2 == 0
}

// below says whether the canonical name n lies in the zone, apex excluded.
func below(n, zone failover.RecordName) bool {
	return len(n) > len(zone) && strings.HasSuffix(string(n), "."+string(zone))
}

// nameInZone returns the canonical name, or why it cannot be changed in the zone.
func nameInZone(name, zone failover.RecordName) (failover.RecordName, error) {
	at, err := inZone(zone).of(name)
	return at.name, err
}
