package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cache is a program on this host that keeps answers for others.
type Cache struct {
	Name    string        `json:"name"`
	Running bool          `json:"running"`
	Path    string        `json:"path,omitempty"` // of the settings that were read
	Keeps   time.Duration `json:"keeps_ns"`       // how much longer than the TTL it may keep an address; 0: not longer
	Stale   bool          `json:"stale"`          // it may serve expired answers while authorities are silent
	What    string        `json:"what"`           // in words
}

// Caches looks for nscd, systemd-resolved, dnsmasq and unbound, and at how long
// they are told to keep answers. running are the names of processes.
func (h Host) Caches(running []string) []Cache {
	var out []Cache
	is := func(names ...string) bool {
		return slices.ContainsFunc(running, func(r string) bool { return slices.Contains(names, r) })
	}
	if is("nscd") {
		out = append(out, h.nscd())
	}
	if is("systemd-resolve", "systemd-resolved") { // the kernel keeps 15 characters
		out = append(out, h.resolved())
	}
	if is("dnsmasq") {
		out = append(out, h.clamped("dnsmasq", "min-cache-ttl", "=", "/etc/dnsmasq.conf", "/etc/dnsmasq.d/*.conf"))
	}
	if is("unbound") {
		out = append(out, h.clamped("unbound", "cache-min-ttl", ":", "/etc/unbound/unbound.conf", "/etc/unbound/unbound.conf.d/*.conf"))
	}
	return out
}

// nscdDefault is positive-time-to-live for hosts where the file says none
// (nscd/connections.c: postimeout 3600 for hstdb).
const nscdDefault = 3600 * time.Second

func (h Host) nscd() Cache {
	c := Cache{Name: "nscd", Running: true, Path: "/etc/nscd.conf", Keeps: nscdDefault}
	text, err := h.read(c.Path)
	if err != nil {
		c.What = fmt.Sprintf("its settings cannot be read (%v): it may keep addresses for %s", err, nscdDefault)
		return c
	}
	on, ttl := ParseNscd(text)
	if c.Keeps = ttl; !on {
		c.Keeps, c.What = 0, "hosts are not cached"
		return c
	}
	c.What = fmt.Sprintf("keeps addresses for up to %s (positive-time-to-live of hosts; the TTL of the answer counts where the library passes it on)", ttl)
	return c
}

// ParseNscd returns whether nscd caches hosts, and for how long.
func ParseNscd(text []byte) (on bool, ttl time.Duration) {
	on, ttl = true, nscdDefault
	for _, line := range lines(text, "#") {
		w := strings.Fields(line)
		if len(w) < 3 || w[1] != "hosts" {
			continue
		}
		switch w[0] {
		case "enable-cache":
			on = w[2] == "yes"
		case "positive-time-to-live":
			if n, err := strconv.ParseUint(w[2], 10, 31); err == nil {
				ttl = time.Duration(n) * time.Second
			}
		}
	}
	return on, ttl
}

// resolved reads resolved.conf(5). It keeps what the TTL says, two hours at
// most, and expired answers only with StaleRetentionSec.
func (h Host) resolved() Cache {
	c := Cache{Name: "systemd-resolved", Running: true, Path: "/etc/systemd/resolved.conf", What: "keeps answers for their TTL"}
	set := map[string]string{}
	for _, p := range append([]string{c.Path}, h.glob("/etc/systemd/resolved.conf.d/*.conf")...) {
		text, err := h.read(p)
		if err != nil {
			continue // the defaults hold
		}
		for _, line := range lines(text, "#;") {
			if k, v, ok := strings.Cut(line, "="); ok {
				set[strings.TrimSpace(k)] = strings.TrimSpace(v)
			}
		}
	}
	if v := set["Cache"]; v == "no" {
		c.What = "keeps nothing (Cache=no)"
	}
	if v := set["StaleRetentionSec"]; v != "" && v != "0" {
		c.Stale = true
		c.What += ", and expired ones for " + v + " while no server answers (StaleRetentionSec)"
	}
	return c
}

// clamped reads the least time that a forwarder keeps answers, and whether it
// serves expired ones.
func (h Host) clamped(name, key, sep string, paths ...string) Cache {
	c := Cache{Name: name, Running: true, What: "keeps answers for their TTL"}
	for _, pattern := range paths {
		for _, p := range h.glob(pattern) {
			text, err := h.read(p)
			if err != nil {
				c.What = fmt.Sprintf("its settings cannot be read: %v", err)
				continue
			}
			for _, line := range lines(text, "#") {
				k, v, _ := strings.Cut(line, sep)
				v = strings.TrimSpace(v)
				switch strings.TrimSpace(k) {
				case key:
					if n, err := strconv.ParseUint(v, 10, 31); err == nil && n > 0 {
						c.Keeps, c.Path = time.Duration(n)*time.Second, p
						c.What = fmt.Sprintf("keeps answers for %s at least (%s)", c.Keeps, key)
					}
				case "serve-expired", "use-stale-cache":
					if v != "no" {
						c.Stale, c.Path = true, p
					}
				}
			}
		}
	}
	if c.Stale {
		c.What += ", and serves expired ones while no authority answers"
	}
	return c
}
