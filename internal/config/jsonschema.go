package config

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// A JSON Schema (draft 2020-12) of both files, for editors. It is made from the
// structs of schema.go, so that it cannot lack a key; what a schema can say of
// a value stands in schema_rules.go. It is written with the few words below and
// not with a library: those that build schemas bring a YAML parser along, and
// this program has one. The validator is a test's alone.

// node is one schema.
type node struct {
	Schema      string   `json:"$schema,omitempty"`
	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	Type        any      `json:"type,omitempty"` // a word, or several
	Enum        []any    `json:"enum,omitempty"`
	Pattern     string   `json:"pattern,omitempty"`
	Minimum     *float64 `json:"minimum,omitempty"`
	Above       *float64 `json:"exclusiveMinimum,omitempty"`
	Maximum     *float64 `json:"maximum,omitempty"`
	MinLength   int      `json:"minLength,omitempty"`
	MinItems    int      `json:"minItems,omitempty"`
	MaxItems    int      `json:"maxItems,omitempty"`
	Unique      bool     `json:"uniqueItems,omitempty"`
	MinKeys     int      `json:"minProperties,omitempty"`
	MaxKeys     int      `json:"maxProperties,omitempty"`
	Items       *node    `json:"items,omitempty"`
	Properties  members  `json:"properties,omitempty"`
	Names       *node    `json:"propertyNames,omitempty"`
	Others      any      `json:"additionalProperties,omitempty"` // false, or a schema
	Required    []string `json:"required,omitempty"`
	OneOf       []*node  `json:"oneOf,omitempty"`
	AnyOf       []*node  `json:"anyOf,omitempty"`
	AllOf       []*node  `json:"allOf,omitempty"`
	Not         *node    `json:"not,omitempty"`
	If          *node    `json:"if,omitempty"`
	Then        *node    `json:"then,omitempty"`

	Together map[string][]string `json:"dependentRequired,omitempty"`
}

// members are the keys of a mapping, in the order of the struct: the order in
// which editors offer them.
type members []member

type member struct {
	key string
	is  *node
}

// MarshalJSON writes them in their order, which a map has not.
func (ms members) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range ms {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		is, err := json.Marshal(m.is)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(is)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

const draft = "https://json-schema.org/draft/2020-12/schema"

// JSONSchema is the schema of pointsman.yaml.
func JSONSchema() ([]byte, error) {
	return schemaText("pointsman.yaml: a controller of pointsman", "", reflect.TypeFor[fileDoc]())
}

// VantageJSONSchema is the schema of vantage.yaml.
func VantageJSONSchema() ([]byte, error) {
	return schemaText("vantage.yaml: a prober of pointsman elsewhere", vantagePart, reflect.TypeFor[vantageFileDoc]())
}

func schemaText(title, part string, t reflect.Type) ([]byte, error) {
	w := schemaWalk{part}
	root := w.structure(t, "")
	root.Schema, root.Title = draft, title
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return b.Bytes(), nil
}

// schemaWalk makes the schema of one of the two files; part stands before its
// paths in keys.txt.
type schemaWalk struct{ part string }

// at makes the schema of a value; path is that of its key in the reference.
func (w schemaWalk) at(t reflect.Type, path string) *node {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := &node{}
	switch {
	case strings.HasPrefix(t.Name(), "dict["):
		v, _ := t.Elem().FieldByName("val")
		n = &node{Type: "object", Others: w.at(v.Type, path+".NAME")}
	case strings.HasPrefix(t.Name(), "val["):
		f, _ := t.FieldByName("v")
		n = scalarNode(f.Type)
	case t.Kind() == reflect.Slice:
		n = &node{Type: "array", Items: w.at(t.Elem(), path+"[]")}
	case t.Kind() == reflect.Struct:
		n = w.structure(t, path+".")
	}
	n.Description = describe(w.part, path)
	bend(w.part, path, n)
	return n
}

func (w schemaWalk) structure(t reflect.Type, prefix string) *node {
	n := &node{Type: "object", Others: false}
	known := fields(t)
	for _, key := range known.order {
		f := known.byKey[key]
		n.Properties = append(n.Properties, member{key, w.at(t.FieldByIndex(f.index).Type, prefix+key)})
		switch _, other := known.byKey[f.or]; {
		case other:
			n.OneOf = []*node{{Required: []string{key}}, {Required: []string{f.or}}}
		case f.required:
			n.Required = append(n.Required, key)
		}
	}
	return n
}

// durationPattern is what duration reads: Go's notation, or whole days.
const durationPattern = `^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$|^[0-9]{1,5}d$|^0$`

func scalarNode(t reflect.Type) *node {
	switch t {
	case reflect.TypeFor[string]():
		return &node{Type: "string", MinLength: 1}
	case reflect.TypeFor[code]():
		return &node{Type: []string{"string", "integer"}, MinLength: 1}
	case reflect.TypeFor[int]():
		return &node{Type: "integer"}
	case reflect.TypeFor[float64]():
		return &node{Type: "number"}
	case reflect.TypeFor[bool]():
		return &node{Type: "boolean"}
	case reflect.TypeFor[time.Duration]():
		return &node{Type: "string", Pattern: durationPattern}
	default:
		panic("config: schema holds a " + t.String())
	}
}

// keys.txt is the meaning of every key as docs/config.md has it: a test writes
// it anew from there, and fails while the two differ.
//
//go:embed keys.txt
var keysText string

const vantagePart = "vantage.yaml "

var keyTexts = func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(keysText) {
		if key, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			m[key] = text
		}
	}
	return m
}()

// describe finds the text of a key. What a vantage has as the controller has
// it, is described there; and one of several checks is a check.
func describe(part, path string) string {
	path = strings.Replace(path, "instances[].checks[].", "instances[].check.", 1)
	if path == "instances[].check.name" {
		path = "instances[].checks[].name"
	}
	text := keyTexts[part+path]
	if part != "" && (text == "" || strings.HasPrefix(text, "as in pointsman.yaml")) {
		text = keyTexts[path]
	}
	return strings.ReplaceAll(text, "`", "")
}
