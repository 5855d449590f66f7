package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"pointsman/healthcheck"
)

// VantageYAML returns the vantage.yaml of one of the vantages, ready to use:
// its targets have the generations that this controller expects. Numbers of
// presets are written out, so that another version of the program at the
// vantage cannot read the preset differently. The key is named by the path
// that pointsman.yaml has; the file goes to the vantage by another way.
func VantageYAML(cfg *Config, name string) ([]byte, error) {
	i := slices.IndexFunc(cfg.Vantages, func(v Vantage) bool { return string(v.Name) == name })
	if i < 0 {
		return nil, cfg.errUnknownVantage(name)
	}
	controller, err := cfg.controllerURL()
	if err != nil {
		return nil, err
	}
	doc := yaml.MapSlice{
		{Key: "version", Value: versionKnown},
		{Key: "name", Value: name},
		{Key: "key_file", Value: scalar(cfg.doc.Vantages[i].KeyFile.v)},
		{Key: "controllers", Value: []string{controller}},
	}
	if controls := cfg.Vantages[i].Controls; len(controls) > 0 {
		doc = append(doc, yaml.MapItem{Key: "controls", Value: texts(controls)})
	}
	if allow := cfg.Vantages[i].Allow; len(allow) > 0 {
		doc = append(doc, yaml.MapItem{Key: "allow", Value: texts(allow)})
	}
	if n := cfg.Vantages[i].WatchTargets; n != healthcheck.DefaultWatchTargets {
		doc = append(doc, yaml.MapItem{Key: "watch_targets", Value: n})
	}
	var instances []yaml.MapSlice
	for at, inst := range cfg.Instances {
		instances = append(instances, vantageInstance(inst, &cfg.doc.Instances[at].checksDoc))
	}
	doc = append(doc, yaml.MapItem{Key: "instances", Value: instances})
	body, err := yaml.MarshalWithOptions(doc, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, fmt.Errorf("write vantage.yaml: %w", err)
	}
	// What cannot be read back as it was meant would make votes that do not
	// count, and nobody would see why.
	back, err := compileVantageFile("vantage.yaml", body, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("write vantage.yaml: what was written is refused: %w", err)
	}
	if got, want := healthcheck.Generation(back.Targets), healthcheck.Generation(cfg.targets()); got != want {
		return nil, fmt.Errorf("write vantage.yaml: what was written has the generation %s instead of %s", got, want)
	}
	head := fmt.Sprintf("# Vantage %s of controller %s, in failure domain %s.\n"+
		"# Made from its config: change it there and make this file anew, or its votes\n"+
		"# no longer count. With several controllers, list the others too.\n", name, cfg.Controller.Name, cfg.Vantages[i].Domain)
	return append([]byte(head), body...), nil
}

// controllerURL is where a vantage reaches this controller.
func (cfg *Config) controllerURL() (string, error) {
	c := cfg.Controller
	if c.Advertise != "" {
		return strings.TrimSuffix(c.Advertise, "/"), nil
	}
	if c.Listen == "" {
		return "", errors.New("controller.listen is missing: vantages elsewhere report over TCP")
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "0" {
		return "", fmt.Errorf("controller.listen %s takes a free port: write controller.advertise", c.Listen)
	}
	return "http://" + c.Listen, nil
}

func vantageInstance(inst Instance, doc *checksDoc) yaml.MapSlice {
	t := inst.Targets[0]
	var clusters yaml.MapSlice
	for _, t := range inst.Targets {
		cl := yaml.MapSlice{{Key: "address", Value: t.Address}}
		if t.Identity != "" {
			cl = append(cl, yaml.MapItem{Key: "identity", Value: scalar(t.Identity)})
		}
		if t.Place.Instance != "" {
			place := yaml.MapSlice{{Key: "instance", Value: scalar(t.Place.Instance)}}
			if t.Place.Region != "" {
				place = append(place, yaml.MapItem{Key: "region", Value: scalar(t.Place.Region)})
			}
			cl = append(cl, yaml.MapItem{Key: "tablestore", Value: place})
		}
		clusters = append(clusters, yaml.MapItem{Key: string(t.Cluster), Value: cl})
	}
	return append(yaml.MapSlice{
		{Key: "name", Value: string(t.Instance)},
		{Key: "client_name", Value: t.Name},
		{Key: "preset", Value: string(inst.Policy.Preset)},
		{Key: "round", Value: figure(t.Round)},
		{Key: "timeout", Value: figure(t.Timeout)},
		{Key: "burst", Value: figure(t.Burst)},
		{Key: "fall", Value: t.Count.Fall},
		{Key: "rise", Value: t.Count.Rise},
		{Key: "window", Value: t.Count.Window},
		{Key: "ratio", Value: t.Count.Ratio},
		{Key: "ride_out", Value: figure(t.RideOut)},
		{Key: "watch", Value: string(t.Watch)},
		{Key: "clusters", Value: clusters},
	}, checksYAML(t, doc.all())...)
}

// checksYAML writes the check, or the several checks and their rule.
func checksYAML(t healthcheck.Target, docs []*checkDoc) yaml.MapSlice {
	if len(t.Checks) == 0 {
		return yaml.MapSlice{{Key: "check", Value: checkYAML(t.Check, docs[0])}}
	}
	var checks []yaml.MapSlice
	for i, k := range t.Checks {
		checks = append(checks, checkYAML(k, docs[i]))
	}
	out := yaml.MapSlice{{Key: "checks", Value: checks}}
	if t.Combine != "" {
		out = append(out, yaml.MapItem{Key: "combine", Value: string(t.Combine)})
	}
	return out
}

// checkYAML writes what the file of the controller says of the check, and a CA
// in full, so that it need not be a file at the vantage. Keys go there by
// another way, to the path that the file of the controller names.
func checkYAML(k healthcheck.Check, doc *checkDoc) yaml.MapSlice {
	var out yaml.MapSlice
	text := func(to *yaml.MapSlice, key, v string) {
		if v != "" {
			*to = append(*to, yaml.MapItem{Key: key, Value: scalar(v)})
		}
	}
	text(&out, "name", k.Name)
	text(&out, "type", string(k.Type))
	if k.Port != 0 {
		out = append(out, yaml.MapItem{Key: "port", Value: k.Port})
	}
	text(&out, "path", k.Path)
	text(&out, "method", k.Method)
	if len(k.Status) > 0 {
		var codes []string
		for _, s := range k.Status {
			codes = append(codes, s.String())
		}
		out = append(out, yaml.MapItem{Key: "status", Value: codes})
	}
	text(&out, "host", k.Host)
	out = append(out, headersYAML("headers", k.Headers)...)
	out = append(out, headersYAML("expect_headers", k.ExpectHeaders)...)
	group := func(key string, pairs ...string) {
		var in yaml.MapSlice
		for i := 0; i < len(pairs); i += 2 {
			text(&in, pairs[i], pairs[i+1])
		}
		if len(in) > 0 {
			out = append(out, yaml.MapItem{Key: key, Value: in})
		}
	}
	group("body", "contains", k.Body.Contains, "matches", k.Body.Matches)
	group("json", "path", k.JSON.Path, "value", k.JSON.Value)
	group("identity", "header", k.Identity.Header, "json_path", k.Identity.JSONPath, "body", k.Identity.Body, "txt", k.Identity.TXT, "table", k.Identity.Table)
	group("grpc", "service", k.GRPC.Service)
	group("dns", "name", k.DNS.Name, "type", k.DNS.Type, "transport", k.DNS.Transport, "rcode", k.DNS.Rcode, "contains", k.DNS.Contains, "matches", k.DNS.Matches)
	if k.Type == healthcheck.Tablestore {
		s := k.Tablestore
		group("tablestore", "service_key_file", doc.Tablestore.ServiceKeyFile.v, "client_key_file", doc.Tablestore.ClientKeyFile.v,
			"scheme", s.Scheme, "table", s.Table, "denial", s.Denial, "front_every", figure(s.FrontEvery), "front_timeout", figure(s.FrontTimeout))
	}
	if len(k.Exec.Command) > 0 {
		var command []scalar
		for _, arg := range k.Exec.Command {
			command = append(command, scalar(arg))
		}
		out = append(out, yaml.MapItem{Key: "exec", Value: yaml.MapSlice{{Key: "command", Value: command}}})
	}
	if k.Slow != 0 {
		out = append(out, yaml.MapItem{Key: "slow", Value: figure(k.Slow)})
	}
	text(&out, "server_name", k.ServerName)
	if k.CA != "" {
		out = append(out, yaml.MapItem{Key: "ca", Value: k.CA}) // as a block
	}
	text(&out, "ca_file", k.CAFile)
	if k.CertWarn != 0 {
		out = append(out, yaml.MapItem{Key: "cert_warn", Value: figure(k.CertWarn)})
	}
	return out
}

func headersYAML(key string, m map[string]string) yaml.MapSlice {
	if len(m) == 0 {
		return nil
	}
	var in yaml.MapSlice
	for _, h := range slices.Sorted(maps.Keys(m)) {
		in = append(in, yaml.MapItem{Key: h, Value: scalar(m[h])})
	}
	return yaml.MapSlice{{Key: key, Value: in}}
}

func texts[T fmt.Stringer](xs []T) []string {
	var out []string
	for _, x := range xs {
		out = append(out, x.String())
	}
	return out
}

// scalar is text that somebody else chose. The library writes some of it in a
// form that it does not read back (a tab inside plain text), so everything
// but plain words is quoted.
type scalar string

var plainText = regexp.MustCompile(`^[A-Za-z/$][A-Za-z0-9_./$-]*$`)

// MarshalYAML implements yaml.BytesMarshaler.
func (s scalar) MarshalYAML() ([]byte, error) {
	text := string(s)
	switch {
	case plainText.MatchString(text) && !slices.Contains([]string{"true", "false", "null"}, strings.ToLower(text)):
		return []byte(text), nil
	default:
		return []byte(strconv.Quote(text)), nil
	}
}
