package healthcheck

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Control is an address that is up whenever the vantage's own network is: a
// gateway, a switch, a name server. A vantage that reaches none of its
// controls knows nothing about clusters. It is written tcp://host:port.
type Control struct{ Address string }

// ParseControl reads tcp://host:port.
func ParseControl(s string) (Control, error) {
	addr, ok := strings.CutPrefix(s, "tcp://")
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	if !ok || err != nil || perr != nil || n == 0 || !isHost(host) {
		return Control{}, fmt.Errorf("control %s is no tcp://host:port", quote(s))
	}
	return Control{addr}, nil
}

func (c Control) String() string { return "tcp://" + c.Address }

// controlInstance stands in the place of an instance for the controls.
const controlInstance failover.InstanceName = "controls"

// target lets a control be probed like everything else, as often as the
// busiest target.
func (c Control) target(like Target) Target {
	return Target{
		Instance: controlInstance, Cluster: failover.ClusterName(c.String()), Address: c.Address,
		Check: Check{Type: TCP}, Count: failover.CountPolicy{Fall: 1, Rise: 1},
		Round: like.Round, Timeout: like.Timeout, Burst: like.Burst,
	}
}

// controls is what is known of the vantage's own network.
type controls struct {
	watches []*watch
	wanted  time.Time // a first miss was sent then: a control must be reached after it
}

// seen says that a control was reached by a check sent at or after t, so that
// what was missed at t was not our own network.
func (c *controls) seen(t time.Time) bool {
	if len(c.watches) == 0 {
		return true
	}
	for _, w := range c.watches {
		if w.reached && !w.lastSuccess.Before(t) {
			return true
		}
	}
	return false
}

// sick is why the vantage must abstain, or empty.
func (c *controls) sick() string {
	if len(c.watches) == 0 {
		return ""
	}
	checked := 0
	var why string
	for _, w := range c.watches {
		switch {
		case w.finished.IsZero():
		case w.lastError == "":
			return ""
		default:
			checked++
			why = fmt.Sprintf("%s: %s", w.target.Cluster, w.lastError)
		}
	}
	if checked < len(c.watches) {
		return "the controls are not checked yet"
	}
	return fmt.Sprintf("none of %d controls is reachable (%s)", checked, why)
}

// want asks for a check that is sent after the first miss at t; it returns
// the controls that have to be checked at once.
func (c *controls) want(t time.Time) []*watch {
	if t.After(c.wanted) {
		c.wanted = t
	}
	var due []*watch
	for _, w := range c.watches {
		if w.flying == 0 && w.sent.Before(c.wanted) {
			due = append(due, w)
		}
	}
	return due
}
