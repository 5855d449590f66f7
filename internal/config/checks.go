package config

import (
	"slices"

	"pointsman/healthcheck"
)

// all lists the checks that the file has.
func (d *checksDoc) all() []*checkDoc {
	if d.Checks == nil {
		return []*checkDoc{&d.Check}
	}
	out := make([]*checkDoc, len(d.Checks))
	for i := range d.Checks {
		out[i] = &d.Checks[i].checkDoc
	}
	return out
}

// identity is the place of the first check that asks which cluster answers,
// the zero place when none does.
func (d *checksDoc) identity() pos {
	for _, k := range d.all() {
		if k.Identity.pos != (pos{}) {
			return k.Identity.pos
		}
	}
	return pos{}
}

// typed is the place of the first kind of check that the file names.
func (d *checksDoc) typed() (at pos, ok bool) {
	for _, k := range d.all() {
		if k.Type.set {
			return k.Type.at, true
		}
	}
	return pos{}, false
}

// checks puts the check, or the several checks and their rule, into a target.
func (c *compiler) checks(at pos, doc *checksDoc, t *healthcheck.Target) {
	single := doc.Check.pos != pos{}
	switch {
	case doc.Checks != nil && len(doc.Checks) == 0:
		c.fault(at, "write one item for each check, or check: for a single one", "checks is empty")
	case doc.Checks != nil && single:
		c.fault(doc.Checks[0].pos, "keep one of the two: checks takes a single one too", "check and checks exclude one another")
	}
	t.Combine = oneOf(c, "combine", doc.Combine, "", healthcheck.Combines...)
	if doc.Checks == nil {
		t.Check = c.check(&doc.Check)
	}
	for i := range doc.Checks {
		d := &doc.Checks[i]
		k := c.check(&d.checkDoc)
		k.Name = d.Name.v
		t.Checks = append(t.Checks, k)
	}
	c.kernelAnswers(doc, t)
	c.possible(doc)
}

// possible warns of checks that this machine cannot make. Another machine may,
// and so may this one later: until then its votes are unknown, with the reason.
func (c *compiler) possible(doc *checksDoc) {
	if c.read == nil {
		return // nothing of this machine is looked at
	}
	for _, k := range doc.all() {
		switch healthcheck.CheckType(k.Type.v) {
		case healthcheck.ICMP:
			if err := healthcheck.PingPossible(); err != nil {
				c.warn(k.Type.at, "until then votes from here are unknown", "%v", err)
			}
		case healthcheck.Exec:
			if len(k.Exec.Command) == 0 || !k.Exec.Command[0].set {
				continue
			}
			if err := healthcheck.CommandFile(k.Exec.Command[0].v); err != nil {
				c.warn(k.Exec.Command[0].at, "until that is mended votes from here are unknown", "exec: %v", err)
			}
		}
	}
}

// runsCommands says whether a file can make this process run something.
func runsCommands(ts []healthcheck.Target) bool {
	isExec := func(k healthcheck.Check) bool { return k.Type == healthcheck.Exec }
	return slices.ContainsFunc(ts, func(t healthcheck.Target) bool { return isExec(t.Check) || slices.ContainsFunc(t.Checks, isExec) })
}

// guardCommands refuses a file that others may change and that runs commands:
// they would run theirs, with our rights.
func guardCommands(loose Faults, ts []healthcheck.Target, runs string) error {
	what := "an exec check"
	switch {
	case len(loose) == 0:
		return nil
	case runsCommands(ts):
	case runs != "":
		what = runs
	default:
		return nil
	}
	out := slices.Clone(loose)
	for i := range out {
		out[i].Message += "; it has " + what + ", and so they could run what they like"
	}
	return out
}

// kernelAnswers warns where a cluster can pass although its process is
// stalled: the kernel alone accepts a connection and answers a ping.
func (c *compiler) kernelAnswers(doc *checksDoc, t *healthcheck.Target) {
	kernel := func(k *checkDoc) bool {
		return k.Type.v == string(healthcheck.TCP) || k.Type.v == string(healthcheck.ICMP)
	}
	kinds := doc.all()
	alone := !slices.ContainsFunc(kinds, func(k *checkDoc) bool { return !kernel(k) })
	if t.Combine == healthcheck.Any {
		alone = slices.ContainsFunc(kinds, kernel)
	}
	if !alone {
		return
	}
	for _, k := range kinds {
		if kernel(k) {
			c.warn(k.Type.at, "add a check that the process itself must answer, such as http",
				"check type %s can be all that a cluster has to pass, and there the kernel answers for a process that is stalled", k.Type.v)
			return
		}
	}
}
