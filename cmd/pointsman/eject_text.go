package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// text is what a person reads at night: what stands where, then what to type.
func (e *ejection) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "%s\n", clean(fmt.Sprintf(format, args...))) }
	line("Going on without pointsman. Made %s from %s, written last %s.", e.MadeAt.UTC().Format(time.RFC3339), e.Ledger, e.Written.UTC().Format(time.RFC3339))
	line("Controller: %s", e.Controller)
	for _, l := range e.Left {
		line("LEFT OVER: %s", l)
	}
	for k := range e.Instances {
		b.WriteString("\n")
		e.Instances[k].text(line)
	}
	if len(e.Zones) > 0 {
		b.WriteString("\n")
		e.zoneText(line)
	}
	return b.String()
}

func (i *ejectedInstance) text(line func(string, ...any)) {
	line("== %s: %s serves, %s stands by; mode %s, epoch %d, term %d ==", i.Instance, i.Active, i.Standby, i.Mode, i.Record.Epoch, i.Record.Term)
	for _, l := range i.OpByHand {
		line("OPERATION: %s", l)
	}
	for _, s := range i.Record.Stops {
		line("stop %s by %s: %s, %s", s.Kind, s.By, s.Why, untilWhen(s))
	}
	for _, c := range i.Clusters {
		if c.Gate != nil && i.Record.Op == nil {
			line("gate of %s: ordered %s, last proved %s", c.Name, c.Gate.Want, orElse(string(c.Gate.Seen), "neither"))
		}
	}
	for _, due := range i.Record.HooksDue {
		line("post-hooks of %s have not run: %s", due.Op.ID, strings.Join(due.Left, ", "))
	}
	told := map[*config.Provider]bool{}
	for k := range i.Names {
		n := &i.Names[k]
		line("")
		line("%s %d IN CNAME %s", n.Name, n.TTL, n.Value)
		switch m := n.Mark; {
		case m == (failover.Mark{}):
		case n.provider != nil && n.provider.Cloud() != nil:
			line("  mark, in the remark of its records: %q", m.String())
		default:
			line("  mark %s TXT %q", n.MarkName, m.String())
		}
		line("  look:")
		for _, l := range n.Look {
			line("    %s", l)
		}
		if p := n.provider; p != nil && p.Cloud() != nil && !told[p] {
			told[p] = true
			line("  the vendor's program aliyun needs a key of your own that may list and update these records: aliyun configure")
			line("  %s: look before you move, and again after it", p.Capabilities().Words())
		}
		if p := n.provider; p != nil && p.Server() != nil && !told[p] {
			told[p] = true
			line("  the key %s as BIND's nsupdate wants it, once:", p.Server().Key.Name)
			line("    %s", makeKey(p))
		}
		for _, c := range i.Clusters {
			if n.MoveTo[string(c.Name)] == "" {
				line("  to %s: the config does not say where that is for this name", c.Name)
				continue
			}
			line("  to %s (%s):", c.Name, c.Targets[n.Name])
			line("    %s", n.MoveTo[string(c.Name)])
			if pinned := n.Pinned[string(c.Name)]; len(pinned) > 0 {
				line("  or, line by line and whatever it shows, by the IDs that the config pins:")
				for _, l := range pinned {
					line("    %s", l)
				}
			}
		}
		if n.Restore != "" {
			line("  its steady TTL:")
			line("    %s", n.Restore)
		}
		if n.Unmark != "" {
			line("  without the mark:")
			line("    %s", n.Unmark)
		}
	}
}

func (e *ejection) zoneText(line func(string, ...any)) {
	line("== zones of pointsman's own authority ==")
	line("While its process runs it answers the last commit, also with a ledger that cannot be written. To serve a zone by another")
	line("server: end pointsman (or take another address), load the file, and let the secondaries take it from there. The file has")
	line("every name of the zone, those of other instances too.")
	for _, z := range e.Zones {
		name := strings.TrimSuffix(string(z.Zone), ".")
		line("")
		line("%s, serial %d: %s", z.Zone, z.Serial, z.File)
		line("  check it:  named-checkzone %s %s", name, z.File)
		line("  BIND:      zone %q { type primary; file \"%s.zone\"; };   then: rndc reload %s", name, name, name)
		line("  NSD:       zone: {name: %q, zonefile: %q}   (nsd.conf), then: nsd-control reload %s", name, name+".zone", name)
		line("  secondaries: give their config the new server as primary; until then they serve what they have")
	}
}

// show prints the text and, where they were not written, the files.
func (e *ejection) show(w io.Writer, folder string) {
	for _, f := range e.Files {
		switch {
		case f.Name == "README.txt":
			fmt.Fprint(w, f.Text)
		case f.Name == "state.json" && folder == "":
		case folder == "":
			fmt.Fprintf(w, "\n== file %s ==\n%s", clean(f.Name), f.Text)
		}
	}
	if folder != "" {
		fmt.Fprintf(w, "\nwritten to %s:\n", clean(folder))
		for _, f := range e.Files {
			fmt.Fprintf(w, "  %s\n", clean(f.Name))
		}
	}
}
