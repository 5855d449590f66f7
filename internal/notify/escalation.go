package notify

import (
	"slices"
	"time"

	"pointsman/internal/failover"
)

// place gives a message its incident, nil when it has none.
func (o *outbox) place(m *Message, now time.Time, tx *changes) *incident {
	inc := o.incidents[m.Instance]
	if m.Instance == "" {
		return nil
	}
	if inc == nil && m.State == Fire && len(o.incidents) < maxIncidents {
		inc = &incident{ID: m.ID, Instance: m.Instance, Opened: now}
		o.incidents[m.Instance] = inc
	}
	if inc == nil {
		return nil
	}
	m.Incident = inc.ID
	if m.State == Fire {
		inc.fire(m.Kind, now)
	}
	return inc
}

// after makes e the entry of a later step. false: it does not go at all,
// because somebody has acknowledged.
func (i *incident) after(e *entry, wait time.Duration, now time.Time) bool {
	if i == nil {
		return false
	}
	if i.Since.IsZero() {
		return slices.Contains(i.Told, e.channel) // it was told before, and hears the news
	}
	if at := i.Since.Add(wait); at.After(now) && !slices.Contains(i.Told, e.channel) {
		e.held, e.due = true, at
	}
	return true
}

// incidentOf is the open incident that an entry tells of, or nil.
func (o *outbox) incidentOf(e *entry) *incident {
	if inc := o.incidents[e.msg.Instance]; inc != nil && inc.ID == e.msg.Incident {
		return inc
	}
	return nil
}

// pass hands on what a channel is about to be given up for: the next step of
// its route goes now instead of at its time, and a channel that heard nothing
// else of the incident is none of those who were told.
func (o *outbox) pass(e *entry, now time.Time, tx *changes) {
	inc := o.incidentOf(e)
	if inc == nil || e.msg.State != Fire {
		return
	}
	inc.miss(e.channel)
	tx.saveIncident(inc)
	var next *entry
	for _, x := range o.entries {
		if x.held && x.msg.ID == e.msg.ID && (next == nil || x.due.Before(next.due)) {
			next = x
		}
	}
	if next != nil && next.due.After(now) {
		next.due = now
		tx.saveEntry(next)
	}
}

// acknowledge stops the escalation of an instance: what was held for later
// steps goes no more.
func (o *outbox) acknowledge(i failover.InstanceName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	inc := o.incidents[i]
	if inc == nil {
		return
	}
	tx := o.begin()
	inc.acknowledge()
	tx.saveIncident(inc)
	o.forgetHeld(i, tx)
	_ = o.commit(tx) // Trouble says why
}

func (o *outbox) forgetHeld(i failover.InstanceName, tx *changes) {
	for _, e := range slices.Clone(o.entries) {
		if e.held && e.msg.Instance == i {
			o.remove(e, tx)
		}
	}
}

// open lists the instances with an incident.
func (o *outbox) open() []failover.InstanceName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []failover.InstanceName
	for i := range o.incidents {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}
