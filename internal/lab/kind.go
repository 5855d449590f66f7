package lab

import (
	"fmt"
	"maps"
	"slices"
)

// Kind is what the clusters of a world are.
type Kind string

const (
	// HTTP is a pair of web servers, and the usual one.
	HTTP Kind = "http"
	// Tablestore is a pair of Tablestores with one instance name, and a client
	// that writes.
	Tablestore Kind = "tablestore"
)

// backend is everything in which kinds differ.
type backend interface {
	// tune fills in what an instance has where nothing was said.
	tune(Tune) Tune
	// files are further files of the work folder, by name, and what they hold.
	files(*World) (map[string]string, error)
	// part is what a cluster is told besides name and addresses: arguments and
	// environment of this program.
	part(*World, ClusterSite) (args, env []string, err error)
	// cluster is what the config says of each cluster besides target and
	// address, each key with a comma before it; check is the rest of an
	// instance, whole lines.
	config(InstanceSite) (cluster, check string)
	// writer is the client that writes, nil where none does.
	writer(*World) *Writer
	// stories are those of the demo, in its order.
	stories() []Story
}

var backends = map[Kind]backend{HTTP: webBackend{}, Tablestore: tableBackend{}}

// Kinds are all of them.
func Kinds() []Kind { return slices.Sorted(maps.Keys(backends)) }

// ParseKind checks the name of one.
func ParseKind(s string) (Kind, error) {
	if _, ok := backends[Kind(s)]; !ok {
		return "", fmt.Errorf("there are no clusters of kind %q, but %v", s, Kinds())
	}
	return Kind(s), nil
}

// backend is that of the world's clusters.
func (w *World) backend() backend { return backends[w.Kind] }

// fastPreset is what a pair of web servers has where nothing is said.
const fastPreset = "fast-lab"

// webBackend is that of HTTP.
type webBackend struct{}

func (webBackend) tune(t Tune) Tune {
	if t.Preset == "" {
		t.Preset = fastPreset
	}
	return t
}

func (webBackend) files(*World) (map[string]string, error) { return nil, nil }

func (webBackend) part(*World, ClusterSite) (args, env []string, err error) { return nil, nil, nil }

func (webBackend) config(InstanceSite) (cluster, check string) {
	return "", "    check: {type: http, path: /healthz, status: [200], identity: {header: X-Cluster}}\n"
}

func (webBackend) writer(*World) *Writer { return nil }

func (webBackend) stories() []Story { return webStories() }
