package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pointsman/internal/failover"
)

// Explained is one instance for whoever must answer for its figures: every
// knob, how long a move may take at the worst, what it may lose, and what was
// checked.
type Explained struct {
	Instance     failover.InstanceName `json:"instance"`
	Preset       failover.Preset       `json:"preset"`
	Knobs        []KnobLine            `json:"knobs"`
	Failover     WorstCase             `json:"failover"`
	Switchover   WorstCase             `json:"switchover"`
	Partial      string                `json:"partial_failure"` // when a failure of some of the requests is noticed
	RPO          string                `json:"rpo"`             // the loss at the worst, in words
	Inequalities []failover.Inequality `json:"inequalities"`
	Warnings     []string              `json:"warnings,omitempty"`
}

// KnobLine is one knob with the value that the instance runs with.
type KnobLine struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	From    string `json:"from"`           // file, preset, default, constant, or what it follows from
	Line    int    `json:"line,omitempty"` // of the file
	Was     string `json:"preset_has,omitempty"`
	Unit    string `json:"unit,omitempty"`
	Range   string `json:"range,omitempty"`
	Does    string `json:"does"`
	Larger  string `json:"larger,omitempty"`
	Smaller string `json:"smaller,omitempty"`
}

// WorstCase is a time bound, term by term.
type WorstCase struct {
	Terms   []failover.BoundTerm `json:"terms"`
	Bounded string               `json:"bounded_sum"` // of the bounded terms
	Whole   bool                 `json:"whole"`       // no term is unbounded
}

// Broken are the inequalities that do not hold.
func (e Explained) Broken() []failover.Inequality {
	return slices.DeleteFunc(slices.Clone(e.Inequalities), func(q failover.Inequality) bool { return q.Holds })
}

// LoadAnyway reads pointsman.yaml as Load does, and gives what could be made of
// it beside its mistakes, so that they can be explained: no Config where
// nothing could be made of the text, no error where it is good.
func LoadAnyway(path string) (*Config, error) {
	data, loose, err := readConfig(path, openAny)
	if err != nil {
		return nil, err
	}
	cfg, err := parseAnyway(path, data, readFile)
	if cfg == nil {
		return nil, err
	}
	if err == nil {
		err = guardCommands(loose, cfg.targets(), cfg.runs())
	}
	cfg.Warnings, cfg.Rights = append(loose, cfg.Warnings...), loose
	return cfg, err
}

func parseAnyway(name string, data []byte, read func(string) ([]byte, error)) (*Config, error) {
	c, doc := newCompiler(name, data, read), &fileDoc{}
	if !c.decode(data, doc, controllerKind) {
		return nil, c.err()
	}
	cfg := &Config{File: name, Contents: c.made, doc: doc}
	return cfg, c.compile(cfg, nil, nil)
}

// Explain explains every instance.
func (cfg *Config) Explain() []Explained {
	out := make([]Explained, 0, len(cfg.Instances))
	for i := range cfg.Instances {
		out = append(out, cfg.explain(&cfg.Instances[i], &cfg.doc.Instances[i]))
	}
	return out
}

func (cfg *Config) explain(inst *Instance, doc *instanceDoc) Explained {
	p := &inst.Policy
	e := Explained{
		Instance: p.Instance, Preset: p.Preset,
		Failover: worstCase(p, failover.Failover), Switchover: worstCase(p, failover.Switchover),
		Partial: partial(p), RPO: p.WorstLoss(),
		Inequalities: slices.Concat(p.Inequalities(), cfg.inequalities(p), idleLag(inst.Replication, p)), Warnings: cfg.advice(p),
	}
	settings := append(given(doc, p), inst.Settings...)
	for _, k := range knobs {
		if i := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == k.Key }); i >= 0 {
			e.Knobs = append(e.Knobs, knobLine(settings[i], k, doc))
		}
	}
	for _, s := range settings {
		if KnobOf(s.Key).Key != "" {
			continue
		}
		e.Knobs = append(e.Knobs, knobLine(s, constantOf(s.Key), doc))
	}
	return e
}

// constantOf finds the row of a figure that has no key. Of some there may be
// several, such as maintenance of a and maintenance of b.
func constantOf(key string) Knob {
	for _, k := range constants {
		if k.Key == key || strings.HasPrefix(key, k.Key+" of ") {
			return k
		}
	}
	return Knob{}
}

func knobLine(s Setting, k Knob, doc *instanceDoc) KnobLine {
	l := KnobLine{
		Key: s.Key, Value: s.Value, From: s.From, Was: s.Was, Unit: k.Unit, Range: strings.ReplaceAll(k.Range, "`", ""),
		Does: strings.ReplaceAll(k.Does, "`", ""), Larger: k.Larger, Smaller: k.Smaller,
	}
	if s.From == fromFile {
		l.Line = lineOf(doc, s.Key)
	}
	return l
}

const (
	fromFile    = "file"
	fromDefault = "default"
)

// lineOf is the line of the file in which the value of a key begins, 0 where
// it has none.
func lineOf(doc *instanceDoc, key string) int {
	if key == "clusters" && len(doc.Clusters) > 0 {
		return doc.Clusters[0].at.line
	}
	for _, path := range []string{key, key + "[0]"} {
		if at := find(doc, path, doc.pos); at != doc.pos {
			return at.line
		}
	}
	return 0
}

// given are the keys that say what an instance is; they have no preset.
func given(doc *instanceDoc, p *failover.Policy) []Setting {
	var names []string
	for _, n := range doc.Names {
		names = append(names, fmt.Sprintf("%s by %s", n.Name.v, n.Provider.v))
	}
	out := []Setting{
		{Key: "name", Value: doc.Name.v, From: fromFile},
		{Key: "preset", Value: doc.Preset.v, From: fromFile},
		{Key: "names", Value: strings.Join(names, ", "), From: fromFile},
		{Key: "clusters", Value: strings.Join(doc.Clusters.keys(), ", "), From: fromFile},
		{Key: "primary", Value: doc.Primary.v, From: fromFile},
	}
	if len(doc.Checks) == 0 {
		return append(out, Setting{Key: "check", Value: doc.Check.Type.v, From: fromFile})
	}
	var kinds []string
	for _, k := range doc.Checks {
		kinds = append(kinds, k.Type.v)
	}
	from := fromDefault
	if doc.Combine.set {
		from = fromFile
	}
	return append(out, Setting{Key: "checks", Value: strings.Join(kinds, ", "), From: fromFile},
		Setting{Key: "combine", Value: cmp.Or(doc.Combine.v, "all"), From: from})
}

func worstCase(p *failover.Policy, kind failover.OpKind) WorstCase {
	w := WorstCase{Terms: p.WorstCase(kind)}
	sum, whole := failover.Sum(w.Terms)
	w.Bounded, w.Whole = figure(sum), whole
	return w
}

// partial says when a cluster that fails only some of its requests is voted
// down: that is no part of the sum, which begins with a death.
func partial(p *failover.Policy) string {
	if p.Count.Window == 0 {
		return "never noticed while some probes in a row succeed: window is 0"
	}
	return fmt.Sprintf("a share of %v or more is voted down after at most %s (window %d of round %s)",
		p.Count.Ratio, figure(time.Duration(p.Count.Window)*p.Round), p.Count.Window, figure(p.Round))
}
