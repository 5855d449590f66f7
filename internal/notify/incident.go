package notify

import (
	"slices"
	"time"

	"pointsman/internal/failover"
)

// Over is the kind of a message that ends the whole incident of an instance.
const Over = "over"

// incident is what an instance's calls have in common from the first one to the
// end. An instance has one at most.
type incident struct {
	ID       string                `json:"id"`
	Instance failover.InstanceName `json:"instance"`
	Opened   time.Time             `json:"opened"`
	Since    time.Time             `json:"since,omitzero"` // first call that nobody has acknowledged; zero: all are
	Kinds    []string              `json:"kinds"`          // that fire
	Known    []string              `json:"known,omitempty"`
	Told     []string              `json:"told,omitempty"`  // channels that something of it went to
	Heard    []string              `json:"heard,omitempty"` // channels that took something of it
}

// fire notes a call. A kind that nobody has acknowledged starts the clock of
// the escalation where it stands still.
func (i *incident) fire(kind string, now time.Time) {
	if !slices.Contains(i.Kinds, kind) {
		i.Kinds = append(i.Kinds, kind)
	}
	if i.Since.IsZero() && !slices.Contains(i.Known, kind) {
		i.Since = now
	}
}

// acknowledge stops the clock until a kind fires that is not known yet.
func (i *incident) acknowledge() {
	i.Since = time.Time{}
	for _, k := range i.Kinds {
		if !slices.Contains(i.Known, k) {
			i.Known = append(i.Known, k)
		}
	}
}

// end notes that a kind fires no more, and says whether none does.
func (i *incident) end(kind string) (over bool) {
	if kind == Over {
		i.Kinds = nil
	}
	i.Kinds = slices.DeleteFunc(i.Kinds, func(k string) bool { return k == kind })
	i.Known = slices.DeleteFunc(i.Known, func(k string) bool { return k == kind })
	return len(i.Kinds) == 0
}

// hear notes that a channel took something of the incident, and says whether
// that is new.
func (i *incident) hear(channel string) bool {
	if slices.Contains(i.Heard, channel) {
		return false
	}
	i.Heard = append(i.Heard, channel)
	i.tell(channel)
	return true
}

// miss notes that a channel was given up: without anything that it took it was
// not told.
func (i *incident) miss(channel string) {
	if !slices.Contains(i.Heard, channel) {
		i.Told = slices.DeleteFunc(i.Told, func(c string) bool { return c == channel })
	}
}

func (i *incident) tell(channel string) {
	if !slices.Contains(i.Told, channel) {
		i.Told = append(i.Told, channel)
	}
}
