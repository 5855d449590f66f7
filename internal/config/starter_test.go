package config

import (
	"strings"
	"testing"

	"pointsman/internal/failover"
)

// TestEveryStarterIsValidAndExplained: whatever init offers is good as it
// stands, holds its inequalities, and says what is to be filled in.
func TestEveryStarterIsValidAndExplained(t *testing.T) {
	wishes := StarterWishes()
	if len(wishes) != 30 {
		t.Errorf("%d wishes are met: %+v", len(wishes), wishes)
	}
	for _, w := range wishes {
		t.Run(strings.Join([]string{string(w.Preset), string(w.Topology), w.Provider}, " "), func(t *testing.T) {
			s, err := NewStarter(w)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := Parse("pointsman.yaml", s.Text)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Text)
			}
			for _, e := range cfg.Explain() {
				if broken := e.Broken(); len(broken) > 0 {
					t.Errorf("does not hold: %+v", broken)
				}
				if e.Preset != w.Preset {
					t.Errorf("preset %s", e.Preset)
				}
			}
			p := cfg.Instances[0].Policy
			kind := ""
			for _, pr := range cfg.Providers {
				kind += pr.Type
			}
			if want := map[string]string{StarterBIND: TypeRFC2136, TypeRPZ: TypeRPZ, TypeAlidns: TypeAlidns, TypePvtz: TypePvtz}[w.Provider]; kind != want {
				t.Errorf("the provider is %q, want %q", kind, want)
			}
			if as := cfg.Instances[0].Aliases; (len(as) == 1) != (w.Provider == StarterDelegated) || (p.Names[0].Provider == embedded) != (kind == "") {
				t.Errorf("aliases %v, %+v", as, p.Names)
			}
			if auto := p.Auto == failover.AutoAuto; auto != (w.Preset == failover.PresetFastLab) {
				t.Errorf("auto: %s", p.Auto)
			}
			if len(s.FillIn) < 7 {
				t.Errorf("only %d lines are to be filled in", len(s.FillIn))
			}
			lines := strings.Split(string(s.Text), "\n")
			for _, f := range s.FillIn {
				if line := lines[f.Line-1]; !strings.Contains(line, f.Key+":") || !strings.HasSuffix(line, f.What) || f.Key == "" || f.What == "" {
					t.Errorf("line %d is %q, not %q of %q", f.Line, line, f.What, f.Key)
				}
			}
			if strings.Count(string(s.Text), "FILL IN: ") != len(s.FillIn) {
				t.Error("a placeholder is not listed")
			}
			if tablestore := w.Topology != TopologyHTTP; tablestore != (len(s.Notices) > 0) {
				t.Errorf("notices: %q", s.Notices)
			}
			for _, line := range lines {
				if strings.TrimRight(line, " ") != line || len(line) > 140 {
					t.Errorf("ugly line %q", line)
				}
			}
		})
	}
}

func TestStarterTakesNames(t *testing.T) {
	s, err := NewStarter(Wish{Preset: failover.PresetHTTP, Topology: TopologyHTTP, Provider: StarterBIND, Instance: "billing", Name: "Pay.Shop.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse("x.yaml", s.Text)
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.Instances[0].Policy
	if p.Instance != "billing" || p.Names[0].Name != "pay.shop.example.org." || p.Names[0].Zone != "shop.example.org." {
		t.Errorf("got %s %+v", p.Instance, p.Names)
	}
	for _, f := range s.FillIn {
		if f.Key == "name" {
			t.Errorf("a given name is to be filled in: %+v", f)
		}
	}
}

func TestStarterRefusesWhatCannotBe(t *testing.T) {
	good := Wish{Preset: failover.PresetTablestore, Topology: TopologySameName, Provider: StarterEmbedded}
	for _, c := range []struct {
		change  func(*Wish)
		why, do string
	}{
		{func(w *Wish) { w.Topology = TopologyDifferentNames }, "x-ots-instancename", "--topology same-name or global-table"},
		{func(w *Wish) { w.Preset = failover.PresetHTTP }, "the preset stateless-http is too hot for Tablestore", "--preset tablestore-standby"},
		{func(w *Wish) { w.Preset, w.Topology = failover.PresetFastLab, TopologyGlobalTable }, "the preset fast-lab is too hot", "--preset tablestore-standby"},
		{func(w *Wish) { w.Instance = "Or ders" }, `"Or ders" cannot be the name of an instance`, "lower case"},
		{func(w *Wish) { w.Name = "a..b" }, "--name: ", "the full name"},
		{func(w *Wish) { w.Name = "orders" }, `--name: name "orders": has only one label`, "the full name"},
		{func(w *Wish) { w.Name = "cluster-a.example.com" }, "this would not be a valid config: names[0]: cluster-a.example.com. is already a host", "choose another"},
		{func(w *Wish) { w.Name = strings.Repeat("a.", 120) + "example.com" }, "too long: its mark", "the full name"},
		{func(w *Wish) { w.Name = "x\n  - evil: y.example.com" }, "--name: ", "the full name"},
	} {
		w := good
		c.change(&w)
		s, err := NewStarter(w)
		r, ok := err.(Refusal)
		if s != nil || !ok || !strings.Contains(r.Why, c.why) || !strings.Contains(r.Do, c.do) {
			t.Errorf("%+v: got %v, %v", w, s, err)
		}
	}
	if _, err := NewStarter(Wish{Preset: "slow", Topology: TopologyHTTP, Provider: StarterEmbedded}); err == nil || !strings.Contains(err.Error(), `preset "slow" is none of`) {
		t.Errorf("unknown preset: %v", err)
	}
}
