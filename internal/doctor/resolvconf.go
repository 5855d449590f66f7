package doctor

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ResolvConf is /etc/resolv.conf as glibc reads it (resolv.conf(5)).
type ResolvConf struct {
	Nameservers []netip.AddrPort `json:"nameservers"` // the first three count
	Search      []string         `json:"search,omitempty"`
	Options     []string         `json:"options,omitempty"`
	Ndots       int              `json:"ndots"`      // names with fewer dots are searched first
	Timeout     time.Duration    `json:"timeout_ns"` // of one question
	Attempts    int              `json:"attempts"`
	Odd         []string         `json:"odd,omitempty"` // lines that nobody understands, at most a few
}

// Bounds of glibc (resolv/resolv.h: MAXNS, RES_MAXNDOTS, RES_MAXRETRANS,
// RES_MAXRETRY).
const (
	mostServers  = 3
	mostNdots    = 15
	mostTimeout  = 30
	mostAttempts = 5
	mostOdd      = 8
	mostWords    = 64
)

// ReadResolvConf reads that of this host.
func ReadResolvConf() (ResolvConf, error) { return Host{}.ResolvConf() }

// ResolvConf reads that of the host. ErrNoFile: there is none, and the C
// library asks 127.0.0.1.
func (h Host) ResolvConf() (ResolvConf, error) {
	text, err := h.read("/etc/resolv.conf")
	if err != nil {
		return ParseResolvConf(nil), err
	}
	return ParseResolvConf(text), nil
}

// Asked are the servers that are asked, in their order: the listed ones, or
// this host itself.
func (c ResolvConf) Asked() []netip.AddrPort {
	if len(c.Nameservers) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return c.Nameservers
}

// ParseResolvConf takes any text: what it cannot read it notes and goes on, as
// the C library does.
func ParseResolvConf(text []byte) ResolvConf {
	c := ResolvConf{Ndots: 1, Timeout: 5 * time.Second, Attempts: 2}
	for _, line := range lines(text, "#;") {
		words := strings.Fields(line)
		args := words[1:min(len(words), mostWords)]
		switch words[0] {
		case "nameserver":
			ip, err := netip.ParseAddr(strings.Join(args, " "))
			switch {
			case err != nil:
				c.odd("nameserver %q is no address", strings.Join(args, " "))
			case len(c.Nameservers) == mostServers:
				c.odd("nameserver %s is the fourth or later: the C library leaves it out", ip)
			default:
				c.Nameservers = append(c.Nameservers, netip.AddrPortFrom(ip, 53))
			}
		case "domain", "search":
			c.Search = args // the last of them counts
		case "options":
			for _, o := range args {
				c.option(o)
			}
		case "sortlist", "family", "lookup":
		default:
			c.odd("%.40q is no line of resolv.conf", line)
		}
	}
	return c
}

func (c *ResolvConf) odd(format string, args ...any) {
	if len(c.Odd) < mostOdd {
		c.Odd = append(c.Odd, fmt.Sprintf(format, args...))
	}
}

func (c *ResolvConf) option(o string) {
	if len(c.Options) < mostWords {
		c.Options = append(c.Options, o)
	}
	key, value, has := strings.Cut(o, ":")
	if !has {
		return
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		c.odd("option %.40q has no number", o)
		return
	}
	switch key {
	case "ndots":
		c.Ndots = min(n, mostNdots)
	case "timeout":
		c.Timeout = time.Duration(min(n, mostTimeout)) * time.Second
	case "attempts":
		c.Attempts = min(n, mostAttempts)
	}
}

// ParseHostsOrder returns the services of the line hosts: of nsswitch.conf, in
// their order, with actions in brackets.
func ParseHostsOrder(text []byte) []string {
	for _, line := range lines(text, "#") {
		if rest, ok := strings.CutPrefix(line, "hosts:"); ok {
			words := strings.Fields(rest)
			return words[:min(len(words), mostWords)]
		}
	}
	return nil
}

// PinnedBy returns the addresses that a hosts file has for a name.
func PinnedBy(text []byte, name string) []string {
	name = strings.TrimSuffix(name, ".")
	var out []string
	for _, line := range lines(text, "#") {
		words := strings.Fields(line)
		for _, w := range words[1:] {
			if strings.EqualFold(strings.TrimSuffix(w, "."), name) && len(out) < mostOdd {
				out = append(out, words[0])
			}
		}
	}
	return out
}
