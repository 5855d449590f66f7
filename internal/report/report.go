package report

import (
	"time"

	"pointsman/internal/failover"
)

// Version is that of the JSON of a Report. A key is added without a new one;
// one that goes or means something else makes a new one.
const Version = 1

// Report is everything that a report says; its JSON is one of the forms it is
// kept in. What comes before Instances is its head: it is read without the rest.
type Report struct {
	Version    int       `json:"version"`
	ID         string    `json:"id"` // name and moment, such as daily/2026-11-28T080500Z
	Name       string    `json:"name"`
	Controller string    `json:"controller"`
	By         string    `json:"by,omitempty"` // who asked for it; empty: the calendar
	MadeAt     time.Time `json:"made_at"`
	From       time.Time `json:"from"` // of the window
	To         time.Time `json:"to"`
	Zone       string    `json:"timezone"`
	Due        time.Time `json:"due,omitzero"` // when the calendar wanted it
	Late       *Late     `json:"late,omitempty"`
	Verdict    Verdict   `json:"verdict"`
	Counts     Counts    `json:"counts"`
	Config     string    `json:"config"` // SHA-256 of the configuration that runs
	ConfigAt   time.Time `json:"config_at,omitzero"`

	Instances []Instance `json:"instances"` // the worst first
	Changes   Changes    `json:"changes"`
	Coverage  Coverage   `json:"coverage"`
	Score     *Score     `json:"score,omitempty"`          // missing: nothing judges, or it could not, see NotKnown
	Vantages  []Clock    `json:"vantage_clocks,omitempty"` // of those elsewhere; decides nothing
	NotKnown  []string   `json:"not_known"`                // what this report could not find out
}

// Late says that the report was made after its time.
type Late struct {
	Missed int    `json:"missed"` // runs that it stands for, at least 1
	Why    string `json:"why"`
}

// Level is a verdict in one word.
type Level string

const (
	Good Level = "good" // every instance could fail over, by itself or by a person
	Look Level = "look" // something wants a look
	Bad  Level = "bad"  // an instance could not fail over now
)

// Verdict is the first thing that a reader sees.
type Verdict struct {
	Level Level    `json:"level"`
	Text  string   `json:"text"`
	Why   []string `json:"why,omitempty"` // the most frequent reasons
}

// Readiness says whether an instance could fail over safely now.
type Readiness string

const (
	ByItself  Readiness = "by itself"
	ByPerson  Readiness = "by a person" // automation is refused, a person is not
	WhenArmed Readiness = "when armed"  // nothing but shadow is in the way
	Not       Readiness = "no"
	Unsure    Readiness = "not known"
)

// worse sorts instances: those that could not come first.
var worse = map[Readiness]int{Not: 0, Unsure: 1, ByPerson: 2, WhenArmed: 3, ByItself: 4}

// Counts are over all instances of the report.
type Counts struct {
	Instances int               `json:"instances"`
	Ready     map[Readiness]int `json:"ready"`
	Guards    map[string]int    `json:"guards"`     // by the guard that refuses everybody: at how many instances
	Auto      map[string]int    `json:"automation"` // by the one that refuses automation alone
	Modes     map[string]int    `json:"modes"`
	Switches  int               `json:"switches"`
	Outages   int               `json:"outages"`
	Warnings  int               `json:"warnings"`
	Stops     int               `json:"stops"`
	Stale     int               `json:"stale_proofs"`
	Flapping  int               `json:"flapping"` // clusters above FlapLimit
	Detailed  int               `json:"detailed"` // so many instances have everything, the others the most important
}

// Instance is one instance.
type Instance struct {
	Name   failover.InstanceName `json:"name"`
	Ready  Readiness             `json:"ready"`
	Why    []failover.Refusal    `json:"why,omitempty"`
	Auto   []failover.Refusal    `json:"automation,omitempty"` // why automation could not, beside Why
	Mode   string                `json:"mode"`
	Active failover.ClusterName  `json:"active"`
	Preset failover.Preset       `json:"preset,omitempty"`
	InHand string                `json:"in_hand,omitempty"`  // the operation that runs
	Loss   string                `json:"exposure,omitempty"` // what switching now would lose, where something is replicated
	SeenAt time.Time             `json:"seen_at,omitzero"`   // of the state that this was read from

	Replication string    `json:"replication,omitempty"`     // how the rows get to the standby now, in words
	Exposed     *Exposure `json:"exposure_window,omitempty"` // missing where nothing is replicated

	Brief   bool `json:"brief,omitempty"` // the details were left out: too many instances
	Outages int  `json:"outages"`

	Clusters []Cluster            `json:"clusters"`
	Switches []Switch             `json:"switches,omitempty"`
	Pages    map[string]int       `json:"pages,omitempty"` // calls for people, by kind
	Warnings []string             `json:"warnings,omitempty"`
	Limits   []string             `json:"limits,omitempty"` // what the providers of its names do not promise
	Proofs   []Proof              `json:"proofs,omitempty"`
	Bound    []failover.BoundTerm `json:"bound,omitempty"`
	Worst    time.Duration        `json:"worst_rto_ns,omitempty"` // the sum of the bounded terms
	Stops    []failover.Stop      `json:"stops,omitempty"`
}

// Cluster is one of the two of an instance.
type Cluster struct {
	Name      failover.ClusterName `json:"name"`
	Role      string               `json:"role"`
	Verdict   failover.Vote        `json:"verdict"`
	Why       string               `json:"why,omitempty"`
	Window    Availability         `json:"availability"`
	Flaps     int                  `json:"flaps"`      // changes between up and down
	FlapIndex *float64             `json:"flap_index"` // of them for each day of known time; null: not known
	Outages   []Stretch            `json:"outages,omitempty"`
	Strip     []Stretch            `json:"strip,omitempty"`
	Vantages  []VantageSeen        `json:"vantages,omitempty"`
}

// VantageSeen is what one vantage said of a cluster.
type VantageSeen struct {
	Vantage failover.VantageName `json:"vantage"`
	Domain  failover.DomainName  `json:"domain"`
	Vote    failover.Vote        `json:"vote"`
	Reason  string               `json:"reason,omitempty"`
	AgeMS   int64                `json:"age_ms"` // of its newest report; -1: there was none
	Window  *Availability        `json:"availability,omitempty"`
}

// FlapLimit is the flap index from which a cluster counts as flapping.
const FlapLimit = 4.0

// Availability splits a window. The four make up the whole window.
type Availability struct {
	Up      time.Duration `json:"up_ns"`
	Down    time.Duration `json:"down_ns"`
	Unknown time.Duration `json:"unknown_ns"` // the vantages could not say
	Gap     time.Duration `json:"gap_ns"`     // nothing was recorded
	Part    *float64      `json:"up_part"`    // up of up and down; null: neither was seen
	Covered float64       `json:"covered"`    // up and down of the window
}

// State is what a cluster was for a while.
type State string

const (
	IsUp      State = "up"
	IsDown    State = "down"
	IsUnknown State = "unknown"
	IsGap     State = "gap"
)

// Stretch is a while in one state.
type Stretch struct {
	State State     `json:"state"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Open  bool      `json:"open,omitempty"` // it goes on
}

// Switch is one finished operation.
type Switch struct {
	At      time.Time            `json:"at"`
	ID      string               `json:"id"`
	Kind    failover.OpKind      `json:"kind"`
	From    failover.ClusterName `json:"from"`
	To      failover.ClusterName `json:"to"`
	Auto    bool                 `json:"auto"`
	By      string               `json:"by"`
	Reason  string               `json:"reason"`
	Outcome failover.Outcome     `json:"outcome"`
	Why     string               `json:"why,omitempty"`
	RTO     time.Duration        `json:"rto_ns,omitempty"` // missing where the name never moved
	Slowest string               `json:"slowest,omitempty"`
	Phases  []failover.PhaseTime `json:"phases,omitempty"`

	Moved     bool           `json:"moved,omitempty"`        // every write point showed the new value
	Published *time.Duration `json:"published_ns,omitempty"` // from then until the last authority did
	TTLOld    uint32         `json:"ttl_old,omitempty"`      // seconds, the largest that the old value may have been cached with
	Reached   []Reach        `json:"reached,omitempty"`
}

// Proof is something that was shown once and gets stale.
type Proof struct {
	What  string        `json:"what"`
	At    time.Time     `json:"at,omitzero"` // missing: never
	Age   time.Duration `json:"age_ns,omitempty"`
	Life  time.Duration `json:"life_ns,omitempty"` // how long it counts
	Stale bool          `json:"stale"`
	How   string        `json:"how,omitempty"`
}

// Coverage says how much of the window was recorded.
type Coverage struct {
	Samples int       `json:"samples"` // that lie in the window
	Unread  int       `json:"unread"`  // that could not be read
	Oldest  time.Time `json:"oldest,omitzero"`
	Gaps    []Stretch `json:"gaps,omitempty"` // for all instances: the controller did not run or did not record; the longest
	Missing float64   `json:"missing"`        // part of the window that lies in gaps
	Trouble string    `json:"trouble,omitempty"`
}

// Score is how well what was done, or would have been, was judged afterwards.
type Score struct {
	Counts    map[string]int `json:"counts"` // by judgement
	Gained    time.Duration  `json:"gained_ns"`
	Incidents []Incident     `json:"incidents,omitempty"` // the newest last, without what was far from a switch
	More      int            `json:"more,omitempty"`      // incidents that were left out
	Unseen    int            `json:"gaps"`                // times in which nobody looked
	Unread    int            `json:"unread,omitempty"`    // lines of the history that could not be read
}

// Incident is one that was judged.
type Incident struct {
	Instance  failover.InstanceName `json:"instance"`
	At        time.Time             `json:"at"`
	Judgement string                `json:"judgement"`
	Why       string                `json:"why"`
}

// Changes is what is different from the report before.
type Changes struct {
	Since time.Time `json:"since,omitzero"` // when that was made; missing: there was none
	ID    string    `json:"id,omitempty"`
	Lines []string  `json:"lines,omitempty"`
	More  int       `json:"more,omitempty"` // lines that were left out
}
