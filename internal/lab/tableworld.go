package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Who has an access key of the world's Tablestores.
const (
	keyOfService = "service" // the probes, and the lab's own hands
	keyOfClient  = "client"  // the application
	keyOfSource  = "source"  // replication, where it reads
	keyOfTarget  = "target"  // replication, where it writes
)

var tableUsers = []string{keyOfService, keyOfClient, keyOfSource, keyOfTarget}

// keyFile is the file of somebody's key in the work folder.
func keyFile(who string) string { return who + "-key.json" }

// storesDir is the folder of what the Tablestores hold.
const storesDir = "stores"

// KeysVariable is the environment variable with the keys that a cluster knows.
const KeysVariable = "POINTSMAN_LAB_KEYS"

// tableBackend is that of Tablestore.
type tableBackend struct{}

// tune: the preset of Tablestore moves when asked and waits for long; here it
// moves by itself, and a person who watches need not wait for a quarter of an
// hour.
func (tableBackend) tune(t Tune) Tune {
	t.Preset = cmp.Or(t.Preset, "tablestore-standby")
	t.RideOut = cmp.Or(t.RideOut, 2*time.Second)
	t.Cooldown = cmp.Or(t.Cooldown, 5*time.Second)
	return t
}

func (tableBackend) files(w *World) (map[string]string, error) {
	files := map[string]string{}
	w.keys = map[string]TableKey{}
	for _, who := range tableUsers {
		s, err := secret()
		if err != nil {
			return nil, err
		}
		k := TableKey{ID: "LTAI" + s[:16], Secret: s[16:46]}
		w.keys[who] = k
		// The form in which the vendor hands out keys.
		text, err := json.Marshal(struct{ AccessKeyId, AccessKeySecret string }{k.ID, k.Secret})
		if err != nil {
			return nil, fmt.Errorf("key of %s: %w", who, err)
		}
		files[keyFile(who)] = string(text) + "\n"
	}
	return files, nil
}

func (tableBackend) part(w *World, c ClusterSite) (args, env []string, err error) {
	args = []string{"--kind", string(Tablestore), "--data", filepath.Join(w.Dir, storesDir, c.Name)}
	for _, in := range w.Instances {
		args = append(args, "--instance", in.Name)
	}
	var keys []TableKey
	for _, who := range tableUsers { // the first is that of the lab's own hands
		keys = append(keys, w.keys[who])
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return nil, nil, fmt.Errorf("keys of the clusters: %w", err)
	}
	return args, []string{KeysVariable + "=" + string(text)}, nil
}

// config: what is set over the preset besides ride_out and cooldown lets a
// story begin seconds after the one before it.
func (tableBackend) config(in InstanceSite) (cluster, check string) {
	loss := `    # Nothing is replicated: what the new side lacks is lost, and that is accepted.
    rpo: none
`
	if in.Tune.Replicate {
		loss = replicationConfig
	}
	return ", tablestore: {instance: " + in.Name + "}", loss + `    # The preset asks a person before it moves, and one more to look after each
    # failover, and moves once in a day.
    auto: auto
    ack: false
    budget: [{moves: 100, per: 1h}]
    # It looks every 5 s, trusts a cluster a minute after that came back and a
    # config a minute after it changed, and waits for TTLs of 30 s: that is long
    # for somebody who watches.
    round: 1s
    timeout: 500ms
    rise: 2
    min_up: 0s
    config_settle: 0s
    ttl: 5s
    check:
      type: tablestore
      identity: {table: pointsman_is_}
      tablestore: {scheme: http, service_key_file: ./` + keyFile(keyOfService) + `, client_key_file: ./` + keyFile(keyOfClient) + `}
`
}

// replicationConfig lets rows be carried. Idle shards are read more often than
// usual: here nobody pays for it.
var replicationConfig = `    # A failover may lose what has not crossed: at most what was written in that
    # time, and never an unknown amount.
    rpo: 30s
    replication:
      source_key_file: ./` + keyFile(keyOfSource) + `
      target_key_file: ./` + keyFile(keyOfTarget) + `
      poll: {busy: 20ms, idle: 200ms}
`

func (tableBackend) writer(w *World) *Writer {
	cfg := WriterConfig{
		Server: w.Asked(), Name: w.Instances[0].Names[0], Sites: w.Clusters,
		Instance: w.Instances[0].Name, Key: w.keys[keyOfClient],
	}
	if w.Resolver.IsValid() {
		cfg.Patience = ResolverPatience
	}
	return NewWriter(cfg)
}

func (tableBackend) stories() []Story { return append(tableStories(), replicatedStories()...) }
