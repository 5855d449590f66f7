package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/dnsctl"
	"pointsman/dnsctl/authority"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// ejection is all that a person needs to go on without this program: what
// stands where, and files that move it by hand.
type ejection struct {
	MadeAt     time.Time         `json:"made_at"`
	Ledger     string            `json:"ledger"`
	Written    time.Time         `json:"written"`
	Controller string            `json:"controller"` // what was done with the running one
	Instances  []ejectedInstance `json:"instances"`
	Zones      []ejectedZone     `json:"zones,omitempty"`
	Left       []string          `json:"left,omitempty"` // what is not as it should be
	Files      []ejectedFile     `json:"files"`
}

type ejectedInstance struct {
	Instance failover.InstanceName `json:"instance"`
	Active   failover.ClusterName  `json:"active"`
	Standby  failover.ClusterName  `json:"standby"`
	Mode     string                `json:"mode"`
	Clusters []ejectedCluster      `json:"clusters"`
	Names    []ejectedName         `json:"names"`
	OpByHand []string              `json:"operation_by_hand,omitempty"`
	Record   failover.Record       `json:"record"` // as the ledger has it

	policy *failover.Policy
}

type ejectedCluster struct {
	Name    failover.ClusterName                    `json:"name"`
	Targets map[failover.RecordName]failover.Target `json:"targets"`
	Gate    *failover.Gate                          `json:"gate,omitempty"`
}

type ejectedName struct {
	failover.NameRecord
	SteadyTTL uint32              `json:"steady_ttl"` // seconds
	MarkName  failover.RecordName `json:"mark_name"`
	Look      []string            `json:"look"` // commands
	MoveTo    map[string]string   `json:"move_to"`
	Pinned    map[string][]string `json:"move_pinned_to,omitempty"` // at a cloud, by the IDs that the config pins, without looking
	Restore   string              `json:"restore_ttl,omitempty"`    // at a cloud
	Unmark    string              `json:"unmark,omitempty"`         // command

	provider *config.Provider    // nil: our own authority
	owner    failover.RecordName // where its CNAME stands: the name, or in a policy zone
	cloud    dnsctl.CloudByHand  // where it is at a cloud: to look
}

// place finds where the records of the name stand at its provider.
func (n *ejectedName) place() {
	switch p := n.provider; {
	case p.RPZ != nil:
		if owner, mark, err := p.RPZ.Places(n.Name); err == nil {
			n.owner, n.MarkName = owner, mark
		}
	case p.Cloud() != nil:
		n.MarkName = n.Name                                                              // the mark is the remark of its records
		n.cloud, _ = byCloud(p, n.Name, dnsctl.CloudMove{To: n.Value, TTL: n.SteadyTTL}) // without them the moves say why
	}
}

// gone says that the config does not know any more where the name may lead.
func (n *ejectedName) gone(cs []ejectedCluster) bool {
	return slices.ContainsFunc(cs, func(c ejectedCluster) bool { return c.Targets[n.Name] == "" })
}

type ejectedZone struct {
	Zone   failover.RecordName `json:"zone"`
	Serial uint32              `json:"serial"`
	File   string              `json:"file"`
}

type ejectedFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// markName is where the mark of a name stands.
func markName(n failover.RecordName) failover.RecordName { return "_pointsman." + n }

// eject takes the state of instances out of the ledger and the config.
func eject(cfg *config.Config, p ledger.Peeked, names []string, now time.Time) (*ejection, error) {
	e := &ejection{MadeAt: now, Ledger: p.Path, Written: p.Written}
	zones := map[failover.RecordName]bool{}
	for _, name := range names {
		at := slices.IndexFunc(cfg.Instances, func(i config.Instance) bool { return string(i.Policy.Instance) == name }) // ejectable saw it
		r := slices.IndexFunc(p.Records, func(r failover.Record) bool { return string(r.Instance) == name })
		if r < 0 {
			return nil, failed("nothing was ever done for it: what stands at its names is not pointsman's", "the ledger has no record of %q", name)
		}
		i := e.instance(cfg, &cfg.Instances[at].Policy, &p.Records[r])
		for _, n := range p.Records[r].Shown() {
			zones[n.Zone] = true
		}
		e.Instances = append(e.Instances, i)
	}
	if cfg.Authority != nil {
		for _, z := range cfg.Authority.Zones {
			if zones[z.Name] {
				if err := e.zone(cfg, p, z.Name); err != nil {
					return nil, err
				}
			}
		}
	}
	return e, nil
}

func (e *ejection) instance(cfg *config.Config, pol *failover.Policy, r *failover.Record) ejectedInstance {
	i := ejectedInstance{Instance: r.Instance, Active: r.Active, Standby: pol.Other(r.Active), Mode: r.Mode.String(), Record: r.Clone(), policy: pol}
	for _, c := range pol.Clusters {
		ec := ejectedCluster{Name: c, Targets: map[failover.RecordName]failover.Target{}}
		for _, n := range pol.Names {
			ec.Targets[n.Name] = n.Targets[c]
		}
		if g, ok := r.Gates[c]; ok {
			ec.Gate = &g
		}
		i.Clusters = append(i.Clusters, ec)
	}
	for _, n := range r.Names {
		en := ejectedName{NameRecord: n, SteadyTTL: pol.TTL, MarkName: markName(n.Name), MoveTo: map[string]string{}, owner: n.Name}
		if k := slices.IndexFunc(cfg.Providers, func(p config.Provider) bool { return p.Name == n.Provider }); k >= 0 && !n.Embedded {
			en.provider = &cfg.Providers[k]
			en.place()
		}
		en.Look = lookCommands(cfg, &en)
		i.Names = append(i.Names, en)
		if n.TTL != pol.TTL {
			e.Left = append(e.Left, fmt.Sprintf("%s has a TTL of %d s, its steady one is %d s", n.Name, n.TTL, pol.TTL))
		}
		if w := n.Want; w != nil {
			e.Left = append(e.Left, fmt.Sprintf("a write of %s to CNAME %s with TTL %d (%s) is not proved: look which of the two stands", n.Name, w.Value, w.TTL, w.Why))
		}
	}
	for _, n := range pol.Names {
		if !slices.ContainsFunc(r.Names, func(have failover.NameRecord) bool { return have.Name == n.Name }) {
			e.Left = append(e.Left, fmt.Sprintf("%s of the config is not in the ledger: nothing is known of it, look what it shows", n.Name))
		}
	}
	for k := range i.Names {
		if n := &i.Names[k]; n.gone(i.Clusters) {
			e.Left = append(e.Left, fmt.Sprintf("%s of the ledger is not in the config: it shows %s, and where else it may lead is not known", n.Name, n.Value))
		}
	}
	e.moves(&i)
	i.OpByHand = opByHand(&i)
	if r.Op != nil {
		e.Left = append(e.Left, fmt.Sprintf("operation %s of %s is open at %s", r.Op.ID, r.Instance, stepWords(r.Op)))
	}
	return i
}

// zone makes the file of a zone of our own authority. Its serial is above the
// one that secondaries have, in the order of RFC 1982.
func (e *ejection) zone(cfg *config.Config, p ledger.Peeked, zone failover.RecordName) error {
	var names []failover.NameRecord
	for i := range p.Records {
		for _, n := range p.Records[i].Shown() {
			n.TTL = steadyTTL(cfg, p.Records[i].Instance, n.TTL)
			names = append(names, n)
		}
	}
	z := ejectedZone{Zone: zone, Serial: max(p.Serials[zone]+1, 1), File: "zones/" + strings.TrimSuffix(string(zone), ".") + ".zone"}
	var b bytes.Buffer
	fmt.Fprintf(&b, "; %s as pointsman's own authority showed it when its ledger was written last, %s.\n; After every change raise the serial: secondaries take nothing else.\n", zone, p.Written.UTC().Format(time.RFC3339))
	if err := authority.ZoneFile(&b, *cfg.Authority, zone, names, z.Serial); err != nil {
		return err
	}
	e.Zones = append(e.Zones, z)
	e.file(z.File, b.String())
	return nil
}

// steadyTTL is what a name carries when nothing is under way.
func steadyTTL(cfg *config.Config, i failover.InstanceName, otherwise uint32) uint32 {
	for _, inst := range cfg.Instances {
		if inst.Policy.Instance == i {
			return inst.Policy.TTL
		}
	}
	return otherwise
}

func (e *ejection) file(name, text string) {
	e.Files = append(e.Files, ejectedFile{name, text})
}

// finish adds what is made of all the rest: the text for people, and the state
// for programs, which does not hold the files again.
func (e *ejection) finish() error {
	state := *e
	state.Files = nil
	data, err := json.MarshalIndent(utc(state), "", "  ")
	if err != nil {
		return fmt.Errorf("marshal state: %w", err)
	}
	e.file("state.json", string(data)+"\n")
	e.Files = slices.Insert(e.Files, 0, ejectedFile{"README.txt", e.text()})
	return nil
}
