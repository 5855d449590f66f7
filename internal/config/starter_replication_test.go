package config

import (
	"strings"
	"testing"
	"time"

	"pointsman/internal/failover"
)

// The lines about replication that a first config has commented out are good
// once somebody takes the comments away as the text says.
func TestTheStarterCanReplicate(t *testing.T) {
	s, err := NewStarter(Wish{Preset: failover.PresetTablestore, Topology: TopologySameName, Provider: StarterEmbedded})
	if err != nil {
		t.Fatal(err)
	}
	text := string(s.Text)
	for _, line := range []string{"replication:", "  source_key_file: source.key.json", "  target_key_file: target.key.json"} {
		if !strings.Contains(text, "    # "+line) {
			t.Fatalf("the file does not have %q", line)
		}
		text = strings.Replace(text, "    # "+line, "    "+line, 1)
	}
	cfg, err := Parse("pointsman.yaml", []byte(strings.Replace(text, "rpo: none", "rpo: 30s", 1)))
	if err != nil {
		t.Fatal(err)
	}
	i := cfg.Instances[0]
	if i.Replication == nil || i.Policy.RPO.Bound != 30*time.Second || !i.Policy.Replicated || len(i.Replication.Clusters) != 2 {
		t.Errorf("it is %+v, %+v", i.Replication, i.Policy.RPO)
	}
}
