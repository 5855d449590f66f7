package config

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"pointsman/dnsctl"
	"pointsman/healthcheck"
	"pointsman/internal/failover"
)

// Topology is what stands behind a name that is to be moved.
type Topology string

const (
	TopologyHTTP           Topology = "http"            // services with certificates of their own
	TopologySameName       Topology = "same-name"       // two Tablestore clusters that serve one instance name
	TopologyGlobalTable    Topology = "global-table"    // the same, in two regions, replicated by Global Table
	TopologyDifferentNames Topology = "different-names" // two Tablestore instances
)

// Topologies lists every topology, for messages and completion.
var Topologies = []Topology{TopologyGlobalTable, TopologySameName, TopologyDifferentNames, TopologyHTTP}

// The providers that a first config may have.
const (
	StarterEmbedded  = embedded
	StarterDelegated = "delegated" // embedded, behind records at another provider that never change
	StarterBIND      = "bind"
)

// StarterProviders lists them, for messages and completion.
var StarterProviders = []string{StarterEmbedded, StarterDelegated, StarterBIND, TypeRPZ, TypeAlidns, TypePvtz}

// Wish is what a first config is asked to be.
type Wish struct {
	Preset   failover.Preset
	Topology Topology
	Provider string
	Instance string // empty: orders
	Name     string // that clients call; empty: a placeholder
}

// Starter is a first config: valid as it stands, with what is to be filled in.
type Starter struct {
	Wish
	Text    []byte
	FillIn  []FillIn
	Notices []string // what this version cannot do for the topology
}

// FillIn is one line with a placeholder.
type FillIn struct {
	Line int    `json:"line"`
	Key  string `json:"key"`
	What string `json:"what"`
}

// Refusal is why no config is made, and what can be done today.
type Refusal struct{ Why, Do string }

func (r Refusal) Error() string { return r.Why }

// refusal says why a wish cannot be met, or nil.
func (w Wish) refusal() error {
	if w.Topology == TopologyDifferentNames {
		return Refusal{
			"different-names cannot be switched by a CNAME: a client asks for its instance by the signed header x-ots-instancename whatever name it dials, " +
				"so behind the other endpoint it gets 403 OTSAuthFailed, or a shared front end takes it back to the old side and the move does nothing",
			"switch endpoint, instance, region and server name together in the clients, by your own push of their configuration (this version has none); " +
				"or give both sides one instance name and take --topology same-name or global-table",
		}
	}
	if w.Topology != TopologyHTTP && w.Preset != failover.PresetTablestore {
		return Refusal{
			fmt.Sprintf("the preset %s is too hot for Tablestore: a partition move takes seconds under load and would become a move of the name", w.Preset),
			"write --preset " + string(failover.PresetTablestore),
		}
	}
	return nil
}

// notices are what this version cannot do yet for a topology.
func (w Wish) notices() []string {
	var out []string
	switch w.Topology {
	case TopologySameName:
		out = []string{
			"make the tables of the probes first: pointsman tablestore prepare; until then every vote is unknown",
			"rows are not replicated until replication is uncommented in the file and pointsman replication prepare was run; this version closes no cluster: people move the name (auto: propose)",
		}
	case TopologyGlobalTable:
		out = []string{
			"make the tables of the probes first: pointsman tablestore prepare; keep them out of the Global Table",
			"this version does not drive Global Table: by hand, set writable=false on the old replica, wait until nothing is behind, move the name, then set writable on the new one",
			"the CNAME works only over plain http inside the VPC, with the same instance name and account in both regions, and keys that sign no region (not V4); else switch the clients' configuration",
		}
	}
	return out
}

//go:embed starter/pointsman.yaml.tmpl
var starterText string

var starterTemplate = template.Must(template.New("starter").Parse(starterText))

// starterData is what the template is filled with.
type starterData struct {
	Wish
	Lab, Named, Tablestore, Own        bool // Own: the name that moves is served by the program itself
	Keeper, Rights, Alias              string
	Zone, Control, Listen, Server      string
	Store                              string // the Tablestore instance that clients name
	TargetA, TargetB, HostA, HostB     string
	AddressA, AddressB, Auto, AutoSays string
	PresetSays, Round, RideOut, TTL    string
}

var presetSays = map[failover.Preset]string{
	failover.PresetTablestore: "slow to move: waits out partition moves, one automatic move a day",
	failover.PresetHTTP:       "for services without state",
	failover.PresetFastLab:    "demos on this machine only: refused with anything outside loopback",
}

// NewStarter makes a first config. It opens no file and asks nobody. A wish
// that cannot be met gives a [Refusal].
func NewStarter(w Wish) (*Starter, error) {
	if err := w.refusal(); err != nil {
		return nil, err
	}
	d, err := w.data()
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := starterTemplate.Execute(&b, d); err != nil {
		return nil, fmt.Errorf("fill in the first config: %w", err)
	}
	s := &Starter{Wish: d.Wish, Text: []byte(b.String()), FillIn: fillIns(b.String()), Notices: w.notices()}
	// A name may be too long for the names that are made of it.
	if _, err := Parse("pointsman.yaml", s.Text); err != nil {
		fs, ok := errors.AsType[Faults](err)
		if !ok {
			return nil, err
		}
		return nil, Refusal{"this would not be a valid config: " + fs[0].Message, "choose another --instance or --name"}
	}
	return s, nil
}

func (w Wish) data() (starterData, error) {
	p, err := failover.PresetPolicy(w.Preset)
	if err != nil {
		return starterData{}, err
	}
	d := starterData{
		Wish: w, Lab: w.Preset == failover.PresetFastLab, Named: w.Name != "", Tablestore: w.Topology != TopologyHTTP,
		Control: "192.0.2.1:443", Listen: "127.0.0.1:5353", Server: "192.0.2.53:53", HostA: "192.0.2.11", HostB: "198.51.100.11",
		Auto: string(failover.AutoPropose), AutoSays: "People move the name at first;\n    # later approve, which asks those of controller.principals, and then auto.", PresetSays: presetSays[w.Preset],
		Round: figure(p.Round), RideOut: figure(p.RideOut), TTL: figure(time.Duration(p.TTL) * time.Second),
	}
	port := "8080"
	if d.Tablestore {
		port = map[Topology]string{TopologySameName: "443", TopologyGlobalTable: "80"}[w.Topology]
	}
	d.AddressA, d.AddressB = d.HostA+":"+port, d.HostB+":"+port
	d.Own = w.Provider == StarterEmbedded || w.Provider == StarterDelegated
	d.Keeper, d.Rights = w.Provider, w.Provider
	if w.Provider == StarterDelegated {
		d.Keeper, d.Rights = embedded, embedded
	}
	if d.Lab {
		d.Server, d.HostA, d.HostB = "127.0.0.1:5300", "127.0.0.1", "127.0.0.1"
		switch w.Provider { // something that answers on this machine
		case TypeAlidns, TypePvtz:
			d.Control = labCloud
		case StarterBIND, TypeRPZ:
			d.Control = d.Server
		default:
			d.Control = d.Listen
		}
		d.AddressA, d.AddressB = "127.0.0.1:18081", "127.0.0.1:18082"
		d.Auto, d.AutoSays = string(failover.AutoAuto), "In a demo it is all."
	}
	if d.Instance == "" {
		d.Instance = "orders"
	}
	if d.Store = d.Instance; !healthcheck.IsTablestoreInstance(d.Store) {
		d.Store = "orders"
	}
	if !word.MatchString(d.Instance) {
		return d, Refusal{fmt.Sprintf("%q cannot be the name of an instance", d.Instance), "use lower case letters, digits, '-', '_' and '.', at most 63"}
	}
	if d.Name == "" {
		d.Name = d.Instance + ".svc.example.com."
		if w.Provider == StarterDelegated {
			d.Name = d.Instance + ".example.com."
		}
	}
	name, err := dnsctl.ParseName(d.Name)
	if err != nil {
		return d, Refusal{fmt.Sprintf("--name: %v", err), "write the full name that clients call, such as orders.svc.example.com"}
	}
	first, rest, _ := strings.Cut(string(name), ".")
	d.Zone = rest
	if w.Provider == StarterDelegated { // what clients call never changes, and a name in a child zone moves
		d.Alias, d.Zone = string(name), "svc."+rest
		if name, err = dnsctl.ParseName(first + "." + d.Zone); err != nil {
			return d, Refusal{fmt.Sprintf("--name: %v", err), "write a shorter name: the one that moves is made of it"}
		}
	}
	d.Name, d.TargetA, d.TargetB = string(name), "cluster-a."+d.Zone, "cluster-b."+d.Zone
	return d, nil
}

const fillInMark = "# FILL IN: "

// labCloud is where `pointsman-lab alicloud` answers when it is asked to.
const labCloud = "127.0.0.1:18053"

// fillIns finds the lines with placeholders.
func fillIns(text string) []FillIn {
	var out []FillIn
	for i, line := range strings.Split(text, "\n") {
		before, what, ok := strings.Cut(line, fillInMark)
		if !ok {
			continue
		}
		key, _, _ := strings.Cut(strings.TrimLeft(before, " -"), ": ")
		out = append(out, FillIn{Line: i + 1, Key: strings.TrimSpace(key), What: what})
	}
	return out
}

// StarterWishes are all wishes for which a config is made, for tests and help.
func StarterWishes() []Wish {
	var out []Wish
	for _, p := range failover.Presets {
		for _, t := range Topologies {
			for _, pr := range StarterProviders {
				if w := (Wish{Preset: p, Topology: t, Provider: pr}); w.refusal() == nil {
					out = append(out, w)
				}
			}
		}
	}
	return slices.Clip(out)
}
