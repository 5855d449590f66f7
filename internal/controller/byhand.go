package controller

import (
	"strings"

	"pointsman/internal/failover"
)

// byHand are the commands by which a person makes the writes that are waited
// for, as the end of a page; empty where no provider has one.
func (o *owner) byHand() string {
	s := o.state()
	rec, _ := s.Record()
	var out []string
	for _, n := range rec.Names {
		if how := o.c.ByHand(n); how != "" {
			out = append(out, how)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; by hand: " + strings.Join(out, "; ")
}

// ByHand is the command by which a person makes the write that is waited for at
// a name; "" where none is, or none is known. What was done by it is found at
// the next reading and taken for done.
func (c *Controller) ByHand(n failover.NameRecord) string {
	w, waits := n.Pending()
	if !waits {
		return ""
	}
	if by, ok := c.outside.Load().names[n.Provider].(ByHand); ok {
		return by.ByHand(w)
	}
	return ""
}
