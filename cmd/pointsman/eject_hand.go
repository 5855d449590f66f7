package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// What a person types instead of this program. Every line can be pasted into a
// shell, and none holds a secret.

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.:/@%+=,-]+$`)

// quoted is a word of a shell's line.
func quoted(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lookCommands ask every authority of a name, over UDP and TCP, and for its
// mark. Where the authorities are not listed they are looked up first.
func lookCommands(cfg *config.Config, n *ejectedName) []string {
	var out []string
	ask := func(host, port string) {
		at := fmt.Sprintf("dig +norecurse +noall +answer +comments @%s -p %s", quoted(host), port)
		out = append(out, fmt.Sprintf("%s %s CNAME", at, quoted(string(n.owner))), fmt.Sprintf("%s +tcp %s CNAME", at, quoted(string(n.owner))))
	}
	mark := func(host, port string) {
		out = append(out, fmt.Sprintf("dig +norecurse +noall +answer @%s -p %s +tcp %s TXT", quoted(host), port, quoted(string(n.MarkName))))
	}
	var at []netip.AddrPort
	switch {
	case n.Embedded && cfg.Authority != nil:
		for _, l := range cfg.Authority.Listen {
			if a, err := netip.ParseAddrPort(l); err == nil {
				at = append(at, a)
			}
		}
		at = servedBy(at, cfg.Authority).own
		for _, z := range cfg.Authority.Zones {
			for _, s := range z.Secondaries {
				if z.Name == n.Zone && !s.Hidden {
					at = append(at, s.Address)
				}
			}
		}
	case n.provider != nil && n.provider.Server() != nil:
		host, port := hostPort(n.provider.Server().Server)
		mark(host, port)
		if n.provider.RPZ != nil {
			ask(host, port) // the record itself; what clients are told follows
			break
		}
		ask(host, port)
		at = n.provider.Authorities
		if len(at) == 0 {
			out = append(out, askEach(n))
		}
		at = slices.DeleteFunc(slices.Clone(at), func(a netip.AddrPort) bool { return a.String() == n.provider.Server().Server })
	case n.provider != nil:
		if at = n.provider.Authorities; len(at) == 0 && n.provider.Alidns != nil {
			out = append(out, askEach(n))
		}
		if n.cloud.List != "" {
			out = append(out, n.cloud.List)
		}
	}
	if n.provider != nil {
		for _, r := range n.provider.Resolvers {
			out = append(out, fmt.Sprintf("dig +noall +answer +comments @%s -p %d %s CNAME   # as the clients of this resolver see it", r.Addr(), r.Port(), quoted(string(n.Name))))
		}
	}
	for i, a := range at {
		ask(a.Addr().String(), fmt.Sprint(a.Port()))
		if n.Embedded && i == 0 {
			mark(a.Addr().String(), fmt.Sprint(a.Port()))
		}
	}
	return append(out, fmt.Sprintf("dig +noall +answer %s   # as clients see it, through the resolver of this machine", quoted(string(n.Name))))
}

// askEach asks every server that the zone names.
func askEach(n *ejectedName) string {
	z, name := quoted(string(n.Zone)), quoted(string(n.Name))
	return fmt.Sprintf("for ns in $(dig +short NS %s); do dig +norecurse +noall +answer @$ns %s CNAME; dig +norecurse +noall +answer +tcp @$ns %s CNAME; done", z, name, name)
}

func hostPort(server string) (host, port string) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return server, "53"
	}
	return host, port
}

// moves makes the files that move the names of an instance to each cluster,
// restore a TTL and remove the marks, and says in words how names of our own
// authority are moved, and those of providers that take no such files.
func (e *ejection) moves(i *ejectedInstance) {
	var providers []*config.Provider
	for k := range i.Names {
		n := &i.Names[k]
		switch {
		case n.Embedded:
			file := "zones/" + strings.TrimSuffix(string(n.Zone), ".") + ".zone"
			for _, c := range i.Clusters {
				if to := c.Targets[n.Name]; to != "" {
					n.MoveTo[string(c.Name)] = editZone(file, n.Name, to)
				}
			}
		case n.provider == nil:
			for _, c := range i.Clusters {
				if to := c.Targets[n.Name]; to != "" {
					n.MoveTo[string(c.Name)] = fmt.Sprintf("provider %s is not in the config any more: give %s the value %s where it lives", n.Provider, n.Name, to)
				}
			}
		case n.provider.Server() == nil && n.provider.Cloud() == nil:
			for _, c := range i.Clusters {
				if to := c.Targets[n.Name]; to != "" {
					n.MoveTo[string(c.Name)] = fmt.Sprintf("provider %s (%s) takes no script: give %s the value %s there, in the zone %s", n.Provider, n.provider.Type, n.Name, to, n.provider.Zone)
				}
			}
		case n.provider.Server() == nil:
			e.cloudMoves(i, n)
		case !slices.Contains(providers, n.provider):
			providers = append(providers, n.provider)
		}
	}
	for _, p := range providers {
		for _, c := range i.Clusters {
			e.updateFile(i, p, "to-"+string(c.Name), fmt.Sprintf("Moves the names of %s to %s, each that still shows the other cluster. Answer NXRRSET: that one does not, and stays as it is.", i.Instance, c.Name), func(n *ejectedName) []string {
				to, other := c.Targets[n.Name], i.otherTarget(c.Name, n.Name)
				if to == "" || other == "" {
					return nil // it left the config, which said where it leads
				}
				return replaceRecord(n, other, to)
			}, func(n *ejectedName, file string) { n.MoveTo[string(c.Name)] = updateCommand(p, file) })
		}
		if slices.ContainsFunc(i.Names, func(n ejectedName) bool { return n.provider == p && n.TTL != n.SteadyTTL }) {
			e.updateFile(i, p, "ttl", fmt.Sprintf("Restores the steady TTL of the names of %s, each that shows what the ledger says.", i.Instance), func(n *ejectedName) []string {
				return replaceRecord(n, n.Value, n.Value)
			}, func(*ejectedName, string) {})
		}
		e.updateFile(i, p, "unmark", fmt.Sprintf("Removes the marks that pointsman left beside the names of %s. They do no harm; a pointsman that comes back wants 'adopt' without them.", i.Instance), func(n *ejectedName) []string {
			return []string{fmt.Sprintf("update delete %s IN TXT", n.MarkName)}
		}, func(n *ejectedName, file string) { n.Unmark = updateCommand(p, file) })
	}
}

// byCloud are the commands of a name at a cloud for one change.
func byCloud(p *config.Provider, n failover.RecordName, m dnsctl.CloudMove) (dnsctl.CloudByHand, error) {
	if p.Alidns != nil {
		return p.Alidns.ByHand(n, m)
	}
	return p.Pvtz.ByHand(n, m)
}

// cloudMoves are the lines for a name at a cloud: its API has no condition, so
// each looks first, and leaves lines that show something else.
func (e *ejection) cloudMoves(i *ejectedInstance, n *ejectedName) {
	say := func(m dnsctl.CloudMove) (dnsctl.CloudByHand, bool) {
		by, err := byCloud(n.provider, n.Name, m)
		if err != nil {
			e.Left = append(e.Left, fmt.Sprintf("%s: no commands for provider %s: %v; change it in the vendor's console", n.Name, n.Provider, err))
		}
		return by, err == nil
	}
	for _, c := range i.Clusters {
		to, other := c.Targets[n.Name], i.otherTarget(c.Name, n.Name)
		if to == "" || other == "" {
			continue // it left the config, which said where it leads
		}
		if by, ok := say(dnsctl.CloudMove{From: other, To: to, TTL: n.SteadyTTL}); ok {
			n.MoveTo[string(c.Name)] = by.Move
			n.Unmark = by.Unmark
			if len(by.Pinned) > 0 {
				if n.Pinned == nil {
					n.Pinned = map[string][]string{}
				}
				n.Pinned[string(c.Name)] = by.Pinned
			}
		}
	}
	if n.TTL != n.SteadyTTL {
		if by, ok := say(dnsctl.CloudMove{From: n.Value, To: n.Value, TTL: n.SteadyTTL}); ok {
			n.Restore = by.Move
		}
	}
}

func (i *ejectedInstance) otherTarget(c failover.ClusterName, n failover.RecordName) failover.Target {
	for _, x := range i.Clusters {
		if x.Name != c {
			return x.Targets[n]
		}
	}
	return ""
}

// replaceRecord replaces a CNAME in one step that a server takes whole or not
// at all: the prerequisite names the value that must stand there
// (RFC 2136 section 2.4.2).
func replaceRecord(n *ejectedName, from, to failover.Target) []string {
	return []string{
		fmt.Sprintf("prereq yxrrset %s IN CNAME %s", n.owner, from),
		fmt.Sprintf("update delete %s IN CNAME", n.owner),
		fmt.Sprintf("update add %s %d IN CNAME %s", n.owner, n.SteadyTTL, to),
	}
}

// updateFile writes the nsupdate script of one provider: a message for each
// name. One for all would be refused as a whole where the program died between
// two of them, which is when the file is needed.
func (e *ejection) updateFile(i *ejectedInstance, p *config.Provider, what, about string, lines func(*ejectedName) []string, tell func(*ejectedName, string)) {
	host, port := hostPort(p.Server().Server)
	file := fmt.Sprintf("%s-%s-%s.nsupdate", i.Instance, p.Name, what)
	var b strings.Builder
	fmt.Fprintf(&b, "; %s\n; Run: %s\nserver %s %s\nzone %s\n", about, updateCommand(p, file), host, port, p.Server().Zone)
	for k := range i.Names {
		if n := &i.Names[k]; n.provider == p {
			if ls := lines(n); len(ls) > 0 {
				fmt.Fprintf(&b, "%s\nsend\nanswer\n", strings.Join(ls, "\n"))
				tell(n, file)
			}
		}
	}
	e.file(file, b.String())
}

func updateCommand(p *config.Provider, file string) string {
	return fmt.Sprintf("nsupdate -v -k %s %s", quoted(keyFile(p)), quoted(file))
}

func keyFile(p *config.Provider) string { return p.Name + ".key.conf" }

// makeKey writes the key as BIND's tools want it out of the secret's own file:
// the secret is on no command line and in no answer of ours.
func makeKey(p *config.Provider) string {
	algorithm := orElse(string(p.Server().Key.Algorithm), "hmac-sha256")
	file, err := filepath.Abs(p.SecretFile)
	if err != nil {
		file = p.SecretFile
	}
	return fmt.Sprintf(`(umask 077; s=$(cat %s) && printf 'key "%s" {\n\talgorithm %s;\n\tsecret "%%s";\n};\n' "$s" > %s)`,
		quoted(file), p.Server().Key.Name, strings.TrimSuffix(algorithm, "."), quoted(keyFile(p)))
}

// editZone moves a name in a zone file: its line, then the serial.
func editZone(file string, n failover.RecordName, to failover.Target) string {
	dots := func(s string) string { return strings.ReplaceAll(s, ".", `\.`) }
	return fmt.Sprintf(`f=%s; n=$(sed -n 's/^[[:blank:]]*\([0-9]*\) ; serial.*/\1/p' $f); sed -i.before -e 's/^\(%s[[:blank:]].*[[:blank:]]CNAME[[:blank:]]\).*/\1%s/' -e "s/$n ; serial/$((n + 1)) ; serial/" $f`,
		quoted(file), dots(string(n)), to)
}

// opByHand says what became of an open operation, and how a person ends it.
func opByHand(i *ejectedInstance) []string {
	op := i.Record.Op
	if op == nil {
		return nil
	}
	at := fmt.Sprintf("%s %s from %s to %s is at %s since %s, asked for by %s: %s", op.Kind, op.ID, op.From, op.To, stepWords(op), op.StepSince.UTC().Format(time.RFC3339), op.By, op.Reason)
	out := []string{at}
	if op.Held != nil {
		out = append(out, "it is held: "+op.Held.Why)
	}
	if op.Unwind {
		out = append(out, "it was running backwards: "+op.UnwindWhy)
	}
	switch op.Step {
	case failover.StepIntent, failover.StepClose, failover.StepDrain, failover.StepOpen:
		out = append(out,
			fmt.Sprintf("nothing has moved: the names point at %s", op.From),
			fmt.Sprintf("to undo it: open the gate of %s where it was closed, close that of %s where it was opened, restore the TTL", op.From, op.To),
			fmt.Sprintf("to finish it: see that %s serves, and move the names to %s", op.To, op.To))
	case failover.StepMove:
		out = append(out,
			"a write to the names was given out: each shows the old or the new value, and only looking tells which",
			fmt.Sprintf("to finish it: move every name that does not show %s yet to %s; a prerequisite keeps you from doing it twice", op.To, op.To),
			fmt.Sprintf("to undo it, only while %s is sure to serve: move every name that shows %s back to %s", op.From, op.To, op.From))
	default:
		out = append(out,
			fmt.Sprintf("the names point at %s", op.To),
			fmt.Sprintf("what is left: see that every authority shows it, that clients have let go of %s, and restore the TTL", op.From))
	}
	for _, c := range i.Clusters {
		if c.Gate != nil {
			out = append(out, fmt.Sprintf("gate of %s: ordered %s, last proved %s", c.Name, c.Gate.Want, orElse(string(c.Gate.Seen), "neither")))
		}
	}
	return out
}
