package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pointsman/healthcheck"
)

// word is a name that we choose ourselves: it stands in marks, URLs, metrics
// and file names, so it has the letters that are safe in all of them.
var word = regexp.MustCompile(`^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$`)

func (c *compiler) word(what, s string, at pos) {
	if !word.MatchString(s) {
		c.fault(at, "use lower case letters, digits, '-', '_' and '.', at most 63", "%q cannot be the name of %s", s, what)
	}
}

// oneOf notes a word that is not in the list and returns the default for it.
func oneOf[T ~string](c *compiler, key string, x val[string], def T, known ...T) T {
	if !x.set {
		return def
	}
	if slices.Contains(known, T(x.v)) {
		return T(x.v)
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	c.fault(x.at, choice(x.v, words), "%s: %q is not known", key, x.v)
	return def
}

// between notes a value outside its range and then returns the default.
func between[T int | float64 | time.Duration](c *compiler, key string, x val[T], def, least, most T) T {
	if !x.set {
		return def
	}
	if x.v < least || x.v > most {
		c.fault(x.at, "the default is "+figure(def), "%s: %s is outside %s to %s", key, figure(x.v), figure(least), figure(most))
		return def
	}
	return x.v
}

// seconds is between for what DNS carries in whole seconds.
func (c *compiler) seconds(key string, x val[time.Duration], def uint32, least, most time.Duration) uint32 {
	d := between(c, key, x, time.Duration(def)*time.Second, least, most)
	if d%time.Second != 0 {
		c.fault(x.at, "DNS counts whole seconds", "%s: %s is not a whole number of seconds", key, x.v)
		return def
	}
	return uint32(d / time.Second)
}

// figure writes a number as a file would have it: 10m, not 10m0s.
func figure[T int | float64 | time.Duration](v T) string {
	d, ok := any(v).(time.Duration)
	if !ok {
		return fmt.Sprint(v)
	}
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// hostPort splits host:port and notes what is wrong with it; the port lies
// between lowest and 65535.
func (c *compiler) hostPort(x val[string], lowest int) (host string, ok bool) {
	host, port, err := net.SplitHostPort(x.v)
	if err != nil {
		c.fault(x.at, "write it like 192.0.2.1:8080 or [2001:db8::1]:8080", "%q is not host:port", x.v)
		return "", false
	}
	if n, err := strconv.Atoi(port); err != nil || n < lowest || n > 65535 {
		c.fault(x.at, "write it like 192.0.2.1:8080 or [2001:db8::1]:8080", "%q: port %q is outside %d to 65535", x.v, port, lowest)
		return "", false
	}
	return host, true
}

// loopback says whether a host is this machine and nothing else.
func loopback(host string) bool {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// serverURL checks the URL of a controller: reports are signed but not
// encrypted, so plain http stays on this machine.
func (c *compiler) serverURL(x val[string]) {
	u, err := url.Parse(x.v)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		c.fault(x.at, "write it like http://127.0.0.1:8053 or https://pointsman.example.com", "%q is not the URL of a controller", x.v)
	case u.User != nil:
		c.fault(x.at, "remove it: reports are signed by the key of the vantage", "a URL with a user or password does not belong here")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		c.fault(x.at, "give only scheme, host and port", "the URL %q has a path or a query", x.v)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.fault(x.at, "use https (a TLS proxy in front of the controller), or a tunnel that ends on this machine", "%q would send reports in clear text over the network", x.v)
	}
}

// controls are addresses that answer whenever the vantage's own network works.
func (c *compiler) controls(xs []val[string], allow []netip.Prefix) []healthcheck.Control {
	var out []healthcheck.Control
	seen := map[string]pos{}
	for _, x := range xs {
		if !x.set || c.twice(seen, "control", x) {
			continue
		}
		ctl, err := healthcheck.ParseControl(x.v)
		if err != nil {
			c.fault(x.at, "write it like tcp://192.0.2.1:22", "%v", err)
			continue
		}
		if a, ok := literal(ctl.Address); ok {
			c.forbidden(x.at, healthcheck.Forbidden(a, allow), "")
		}
		out = append(out, ctl)
	}
	return out
}

// literal is the address in what is dialled, false when that is a host name.
func literal(dialled string) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(dialled)
	if err != nil {
		host = strings.Trim(dialled, "[]")
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// forbidden notes an address that the probers would refuse when they start.
func (c *compiler) forbidden(at pos, err error, who string) {
	if err != nil && !c.has(at) {
		c.fault(at, "write another address, or name its network under the allow of the vantage if it is meant", "%v%s", err, who)
	}
}

// allowed are networks that probes may reach although they are link-local or
// hold the metadata of a cloud.
func (c *compiler) allowed(xs []val[string]) []netip.Prefix {
	var out []netip.Prefix
	for _, x := range xs {
		if !x.set {
			continue
		}
		p, err := netip.ParsePrefix(x.v)
		switch {
		case err != nil:
			c.fault(x.at, "write it like 169.254.10.0/24", "%q is not a network", x.v)
		case p != p.Masked():
			c.fault(x.at, "write "+p.Masked().String(), "%q has bits set beyond its length", x.v)
		default:
			out = append(out, p)
		}
	}
	return out
}

// twice notes a value that was seen before and says so.
func (c *compiler) twice(seen map[string]pos, what string, x val[string]) bool {
	if first, ok := seen[x.v]; ok {
		c.fault(x.at, "keep one of the two, or correct one", "the %s %q is written twice, first in line %d", what, x.v, first.line)
		return true
	}
	seen[x.v] = x.at
	return false
}
