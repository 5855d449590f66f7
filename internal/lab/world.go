package lab

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"text/template"
	"time"
)

// Names of the parts of the lab that are no cluster.
const (
	Controller = "controller"
	ClientPart = "client" // that writes; a part of the lab's own process
	Orders     = "orders"
	Billing    = "billing"
)

// ClusterSite is where a cluster lives.
type ClusterSite struct {
	Name   string         `json:"name"`
	Target string         `json:"target"` // what the instance's CNAME shows
	Addr   netip.AddrPort `json:"addr"`
	Manage netip.AddrPort `json:"manage"`
}

// InstanceSite is one instance with the names that move together.
type InstanceSite struct {
	Name    string            `json:"name"`
	Names   []string          `json:"names"`
	Targets map[string]string `json:"targets"` // cluster to target
	Tune    Tune              `json:"tune,omitzero"`
}

// World is the layout of one lab: addresses, names, files. All files lie in
// Dir and are readable by their owner only.
type World struct {
	Dir       string         `json:"dir"`
	Kind      Kind           `json:"kind"`
	Config    string         `json:"config"` // pointsman.yaml
	DNS       netip.AddrPort `json:"dns"`    // the embedded authority, UDP and TCP
	API       netip.AddrPort `json:"api"`    // of the controller; reports of vantages come in here
	Clusters  []ClusterSite  `json:"clusters"`
	Vantages  []string       `json:"vantages"` // the external ones
	Instances []InstanceSite `json:"instances"`
	Tune      Tune           `json:"tune,omitzero"`

	Secondaries []SecondarySite `json:"secondaries,omitempty"`
	Resolver    netip.AddrPort  `json:"resolver,omitzero"` // invalid where there is none

	token string              // of the management APIs
	keys  map[string]TableKey // of Tablestore, by whom they are for
}

// Tune is what a lab's instances have otherwise than usual. The zero value is
// the usual.
type Tune struct {
	Preset   string        `json:"preset,omitempty"`      // empty: that of the kind of clusters
	RideOut  time.Duration `json:"ride_out_ns,omitempty"` // 0: as the kind of clusters, or the preset, says
	Cooldown time.Duration `json:"cooldown_ns,omitempty"` // the same
	Watch    string        `json:"watch,omitempty"`       // off, hold or request; empty: as the preset says
	// Replicate lets pointsman carry the rows to the standby; of Tablestores only.
	Replicate bool `json:"replicate,omitempty"`
}

// Words says how instances are tuned, for people.
func (t Tune) Words() string {
	s := t.Preset
	if t.RideOut > 0 {
		s += ", ride_out " + t.RideOut.String()
	}
	if t.Watch != "" {
		s += ", watch " + t.Watch
	}
	if t.Replicate {
		s += ", replicated"
	}
	return s
}

// Ports are the ports that a lab takes where they are free; 0 is any. They,
// and those taken instead, lie below the range from which kernels give out
// client ports: a port stays free while its owner is dead, and nobody connects
// to himself.
type Ports struct{ DNS, API, HTTP, ManageA, ManageB, Resolver uint16 }

// UsualPorts keep the commands in the banner the same every day. A lab that
// nobody types commands for takes any: two that start in the same moment then
// do not reach for the same one.
var UsualPorts = Ports{DNS: 15353, API: 18053, HTTP: 18080, ManageA: 18081, ManageB: 18082, Resolver: 15354}

// transferSecret is the file with the secret of transferKey.
const transferSecret = "xfer.key"

// ErrNoPort is returned when no free port was found.
var ErrNoPort = errors.New("no free port between 20000 and 30000")

// ErrOccupied is returned for a work folder that is not the lab's to use.
var ErrOccupied = errors.New("the folder holds files that are not a lab's")

// WorldConfig says what a world is made of.
type WorldConfig struct {
	Dir       string
	Kind      Kind     // HTTP if empty
	Instances []string // Orders, Billing
	Ports     Ports
	Tune      Tune
	Tunes     map[string]Tune // of single instances, in place of Tune
	// Secondaries and Resolver are those of Config.
	Secondaries []string
	Resolver    string
}

// NewWorld finds free ports and makes the folder with its files: all but the
// vantages' files, which pointsman itself writes.
func NewWorld(cfg WorldConfig) (*World, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("work folder: %w", err)
	}
	w := &World{Dir: dir, Kind: cmp.Or(cfg.Kind, HTTP), Config: filepath.Join(dir, "pointsman.yaml"), Vantages: []string{"van-2", "van-3"}}
	if _, err := ParseKind(string(w.Kind)); err != nil {
		return nil, err
	}
	w.Tune = w.backend().tune(cfg.Tune)
	if w.token, err = secret(); err != nil {
		return nil, err
	}
	if err := w.pickPorts(cfg); err != nil {
		return nil, err
	}
	for _, name := range cfg.Instances {
		site, err := w.instance(name)
		if err != nil {
			return nil, err
		}
		site.Tune = w.Tune
		if tune, ok := cfg.Tunes[name]; ok {
			site.Tune = w.backend().tune(tune)
		}
		w.Instances = append(w.Instances, site)
	}
	if err := w.clean(); err != nil {
		return nil, err
	}
	return w, w.writeFiles()
}

func (w *World) instance(name string) (InstanceSite, error) {
	targets := map[string]string{}
	for _, c := range w.Clusters {
		targets[c.Name] = c.Target
	}
	switch name {
	case Orders:
		return InstanceSite{Name: name, Names: []string{"orders.lab.test."}, Targets: targets}, nil
	case Billing:
		return InstanceSite{Name: name, Names: []string{"billing.lab.test.", "billing-vpc.lab.test."}, Targets: targets}, nil
	}
	return InstanceSite{}, fmt.Errorf("the lab has the instances %s and %s, not %q", Orders, Billing, name)
}

func (w *World) pickPorts(cfg WorldConfig) error {
	want := cfg.Ports
	local := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	a, b := netip.AddrFrom4([4]byte{127, 0, 1, 1}), netip.AddrFrom4([4]byte{127, 0, 1, 2})
	if runtime.GOOS != "linux" { // elsewhere only 127.0.0.1 is loopback: the port tells the clusters apart
		a, b = local, local
	}
	taken := map[uint16]bool{0: true}
	var err error
	pick := func(wish uint16, on ...netip.Addr) (port uint16) {
		if err == nil {
			port, err = freePort(wish, taken, on)
		}
		return port
	}
	w.DNS = netip.AddrPortFrom(local, pick(want.DNS, local))
	w.API = netip.AddrPortFrom(local, pick(want.API, local))
	portA := pick(want.HTTP, a, b)
	portB := portA
	if a == b {
		portB = pick(want.HTTP, b)
	}
	w.Clusters = []ClusterSite{
		{"a", "a.lab.test.", netip.AddrPortFrom(a, portA), netip.AddrPortFrom(local, pick(want.ManageA, local))},
		{"b", "b.lab.test.", netip.AddrPortFrom(b, portB), netip.AddrPortFrom(local, pick(want.ManageB, local))},
	}
	for _, kind := range cfg.Secondaries {
		if _, ok := secondaryNeeds[kind]; !ok {
			return fmt.Errorf("the lab knows no secondary %q", kind)
		}
		w.Secondaries = append(w.Secondaries, SecondarySite{kind, netip.AddrPortFrom(local, pick(0, local))})
	}
	if cfg.Resolver != "" {
		w.Resolver = netip.AddrPortFrom(local, pick(want.Resolver, local))
	}
	return err
}

// freePort returns a port that is free for TCP and UDP on every address: the
// wanted one, or any.
func freePort(want uint16, taken map[uint16]bool, on []netip.Addr) (uint16, error) {
	for range 500 {
		free := !taken[want]
		for _, ip := range on {
			free = free && bindable(netip.AddrPortFrom(ip, want))
		}
		if free {
			taken[want] = true
			return want, nil
		}
		want = 20_000 + uint16(mrand.IntN(10_000))
	}
	return 0, ErrNoPort
}

func bindable(ap netip.AddrPort) bool {
	t, err := net.Listen("tcp", ap.String())
	if err != nil {
		return false
	}
	defer t.Close()
	u, err := net.ListenPacket("udp", ap.String())
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// clean makes the folder, and empties one that an earlier lab has left: every
// run begins with a fresh ledger. Files of anybody else are not touched.
func (w *World) clean() error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	entries, err := os.ReadDir(w.Dir)
	if err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(w.Dir, stateFile)); err != nil {
		return fmt.Errorf("%s: %w; name another with --dir", w.Dir, ErrOccupied)
	}
	if st, err := FindLab(w.Dir); err == nil && st.Alive() {
		return fmt.Errorf("%s: a lab is running there already (process %d)", w.Dir, st.PID)
	}
	mine := []string{"data", "logs", "pointsman.yaml", "token", "explain.txt", transferSecret, Resolver, storesDir}
	for _, who := range tableUsers {
		mine = append(mine, keyFile(who))
	}
	for kind := range secondaryNeeds {
		mine = append(mine, kind)
	}
	for _, v := range w.Vantages {
		mine = append(mine, v+".yaml", v+".key")
	}
	for _, name := range append(mine, stateFile) {
		if err := os.RemoveAll(filepath.Join(w.Dir, name)); err != nil {
			return fmt.Errorf("empty the work folder: %w", err)
		}
	}
	return nil
}

func (w *World) writeFiles() error {
	for _, dir := range []string{"data", "logs"} {
		if err := os.MkdirAll(filepath.Join(w.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	// The state file comes first: it marks the folder as a lab's.
	if err := os.WriteFile(filepath.Join(w.Dir, stateFile), []byte("{}\n"), 0o600); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	secrets := []string{"token"}
	for _, v := range w.Vantages {
		secrets = append(secrets, v+".key")
	}
	for _, name := range secrets {
		s, err := secret()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(w.Dir, name), []byte(s+"\n"), 0o600); err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	more, err := w.backend().files(w)
	if err != nil {
		return err
	}
	for name, content := range more {
		if err := os.WriteFile(filepath.Join(w.Dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	if len(w.Secondaries) > 0 {
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return fmt.Errorf("random key: %w", err)
		}
		text := base64.StdEncoding.EncodeToString(raw) + "\n"
		if err := os.WriteFile(filepath.Join(w.Dir, transferSecret), []byte(text), 0o600); err != nil {
			return fmt.Errorf("work folder: %w", err)
		}
	}
	return w.writeConfig()
}

// ClusterKeys and Checks are what the kind of clusters has in the config.
func (w *World) ClusterKeys(in InstanceSite) string {
	keys, _ := w.backend().config(in)
	return keys
}

// Checks is the end of an instance in the config.
func (w *World) Checks(in InstanceSite) string {
	_, check := w.backend().config(in)
	return strings.TrimSuffix(check, "\n")
}

func (w *World) writeConfig() error {
	var b bytes.Buffer
	if err := configTemplate.Execute(&b, w); err != nil {
		return fmt.Errorf("write pointsman.yaml: %w", err)
	}
	if err := replaceFile(w.Config, b.Bytes()); err != nil {
		return fmt.Errorf("work folder: %w", err)
	}
	return nil
}

// Hosts returns the address of each cluster's target.
func (w *World) Hosts() map[string]netip.Addr {
	m := map[string]netip.Addr{}
	for _, c := range w.Clusters {
		m[c.Target] = c.Addr.Addr()
	}
	return m
}

// Cluster returns the site of a cluster.
func (w *World) Cluster(name string) (ClusterSite, bool) {
	for _, c := range w.Clusters {
		if c.Name == name {
			return c, true
		}
	}
	return ClusterSite{}, false
}

// Holder returns the cluster with that target, or "".
func (w *World) Holder(target string) string {
	for _, c := range w.Clusters {
		if c.Target == target {
			return c.Name
		}
	}
	return ""
}

func secret() (string, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("random key: %w", err)
	}
	return hex.EncodeToString(b), nil
}

var configTemplate = template.Must(template.New("pointsman.yaml").Funcs(template.FuncMap{
	"domain": func(i int) string { return fmt.Sprintf("rack-%d", i+2) },
	"bare":   func(name string) string { return strings.TrimSuffix(name, ".") },
}).Parse(`# The lab's controller. Paths are relative to this file's folder.
controller:
  name: lab-1
  data: ./data
  socket: ./data/pointsman.sock
  listen: {{.API}}
  token_file: ./token

# Three failure domains: the controller's own eyes and two vantages.
vantage: {name: lab-1, domain: rack-1}
vantages:
{{- range $i, $v := .Vantages}}
  - {name: {{$v}}, domain: {{domain $i}}, key_file: ./{{$v}}.key}
{{- end}}

# The authority answers for lab.test. on UDP and TCP.
authority:
  listen: ["{{.DNS}}"]
{{- if .Secondaries}}
  keys: {xfer.: {secret_file: ./xfer.key}}
{{- end}}
  zones:
    - name: lab.test.
      ns: [ns1.lab.test.]
{{- if .Secondaries}}
      secondaries:
{{- range .Secondaries}}
        - {address: "{{.Addr}}", key: xfer.} # {{.Name}}
{{- end}}
{{- end}}
      hosts:
        ns1.lab.test.: [127.0.0.1]
{{- range .Clusters}}
        {{.Target}}: [{{.Addr.Addr}}]
{{- end}}

instances:
{{- range $in := .Instances}}
  - name: {{.Name}}
    preset: {{$in.Tune.Preset}}
{{- if $in.Tune.RideOut}}
    ride_out: {{$in.Tune.RideOut}}
{{- end}}
{{- if $in.Tune.Watch}}
    watch: {{$in.Tune.Watch}}
{{- end}}
{{- if $in.Tune.Cooldown}}
    cooldown: {{$in.Tune.Cooldown}}
{{- end}}
    names:
{{- range .Names}}
      - {name: {{.}}, provider: embedded}
{{- end}}
    clusters:
{{- range $.Clusters}}
      {{.Name}}: {target: {{.Target}}, address: "{{.Addr}}"{{$.ClusterKeys $in}}}
{{- end}}
    primary: a
{{$.Checks $in}}
{{- end}}
`))
