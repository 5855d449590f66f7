package dnsctl

import (
	"fmt"
	"net"
	"strings"
)

// ByHand is the change as a person makes it with nsupdate (BIND): one message,
// conditional on what stands there, like [RFC2136.Write]. The secret is read
// from its file by the shell and stands in no argument of a process. secret is
// the path of that file; with an empty one the person puts the key in.
func (p *RFC2136) ByHand(c Change, secret string) string {
	host, port, err := net.SplitHostPort(p.t.server)
	if err != nil {
		host, port = p.t.server, "53"
	}
	at, err := p.where(c.Name)
	if err != nil {
		return "" // it is no name of this provider
	}
	lines := []string{fmt.Sprintf("server %s %s", host, port), fmt.Sprintf("zone %s", p.zone)}
	if c.Expect != "" {
		lines = append(lines, fmt.Sprintf("prereq yxrrset %s CNAME %s", at.owner, c.Expect))
	} else {
		lines = append(lines, fmt.Sprintf("prereq nxrrset %s CNAME", at.owner))
	}
	lines = append(lines,
		fmt.Sprintf("update delete %s CNAME", at.owner), fmt.Sprintf("update add %s %d CNAME %s", at.owner, c.TTL, c.Value),
		fmt.Sprintf("update delete %s TXT", at.mark), fmt.Sprintf("update add %s %d TXT %q", at.mark, c.TTL, c.Mark), "send")
	for i, l := range lines {
		lines[i] = quoted(l)
	}
	key := quoted("key " + strings.TrimSuffix(p.algorithm, ".") + ":" + p.key)
	file := "SECRET_FILE"
	if secret != "" {
		file = quoted(secret)
	}
	return "{ printf '%s ' " + key + "; head -n 1 " + file + "; printf '%s\\n' " + strings.Join(lines, " ") + "; } | nsupdate -v"
}

// ByHand is the change as a person makes it with the vendor's own program, one
// command for each line of the name, with a key of the person's own. It is ""
// when the records were never read, so that their IDs are not known.
func (p *cloud) ByHand(c Change, _ string) string {
	commands, err := p.Manual(c.Name, c.Value, c.TTL)
	if err != nil {
		return ""
	}
	return strings.Join(commands, " && ")
}

// quoted is one word of the shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
