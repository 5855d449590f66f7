package config

import (
	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// presetWatch is what a preset holds open beside the probes. A request every
// 100 ms from every vantage is more than a cluster should get unasked, so only
// the lab does that by itself.
func presetWatch(p failover.Preset) healthcheck.WatchMode {
	if p == failover.PresetFastLab {
		return healthcheck.WatchRequest
	}
	return healthcheck.WatchHold
}

// watched sets what is held open beside the probes of the targets of one
// instance. A preset holds no more than the check allows.
func (c *compiler) watched(x val[string], preset failover.Preset, targets []healthcheck.Target) {
	if len(targets) == 0 {
		return
	}
	one, connected := targets[0].Connected()
	asks := one.Check.Type == healthcheck.HTTP || one.Check.Type == healthcheck.HTTPS
	mode := oneOf(c, "watch", x, presetWatch(preset), healthcheck.WatchModes...)
	switch {
	case mode != healthcheck.WatchOff && !connected:
		if x.set {
			c.fault(x.at, "write watch: off, or leave the key out", "watch: %s needs a check over a connection, and there is none", mode)
		}
		mode = healthcheck.WatchOff
	case mode == healthcheck.WatchRequest && !asks:
		if x.set {
			c.fault(x.at, "write watch: hold", "watch: request needs a check over HTTP, and the first over a connection is of type %s", one.Check.Type)
		}
		mode = healthcheck.WatchHold
	}
	for i := range targets {
		targets[i].Watch = mode
	}
}

func (c *compiler) watchTargets(x val[int], def int) int {
	return between(c, "watch_targets", x, def, 1, 100_000)
}
