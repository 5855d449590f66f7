package healthcheck

import "fmt"

const (
	leastCommands = 8
	// MostCommands is how many commands a vantage runs at a time at most: each
	// may use memory and processor up to its limits.
	MostCommands = 64
)

// commands is how many commands one probe of the target runs.
func (t *Target) commands() int {
	n := 0
	if t.Check.Type == Exec {
		n++
	}
	for i := range t.Checks {
		if t.Checks[i].Type == Exec {
			n++
		}
	}
	return n
}

// commandPlaces is how many commands of these targets have to run at a time so
// that all may hang at once and none waits longer than a probe may be late:
// half a round. A command that hangs has its place for the whole timeout.
func commandPlaces(ts []Target) int {
	var sum float64
	for i := range ts {
		t := &ts[i]
		if n := t.commands(); n > 0 && t.Round > 0 {
			sum += float64(n) * min(1, float64(2*t.Timeout)/float64(t.Round))
		}
	}
	return int(sum + 0.999)
}

// CommandsInTheWay says that commands would wait for each other if all of them
// hung at once: their targets are then unknown in turn. Empty where none would.
func (c Config) CommandsInTheWay() string {
	n := commandPlaces(c.Targets)
	if n <= MostCommands {
		return ""
	}
	return fmt.Sprintf("%d commands may have to run at a time if all hang, a vantage runs at most %d: the others would wait, and be unknown meanwhile", n, MostCommands)
}

// fits says whether there are places for the commands of a probe. There are
// enough for any one probe: leastCommands is at least maxChecks.
func (a *pad) fits(f flight) bool { return a.running+f.commands <= a.places }
