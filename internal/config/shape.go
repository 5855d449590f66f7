package config

import (
	"reflect"
	"strings"
)

// shapes remembers the keys of the structs of the schema, so that walking ten
// thousand instances does not read their tags ten thousand times.
type shapes map[reflect.Type][]schemaKey

type schemaKey struct {
	name  string
	index []int // for reflect.Value.FieldByIndex
}

func (s shapes) of(t reflect.Type) []schemaKey {
	keys, ok := s[t]
	if !ok {
		keys = keysOf(t, nil)
		s[t] = keys
	}
	return keys
}

func keysOf(t reflect.Type, prefix []int) []schemaKey {
	var out []schemaKey
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		index := append(append([]int(nil), prefix...), i)
		name, opts, _ := strings.Cut(tag, ",")
		if opts == "inline" {
			out = append(out, keysOf(t.Field(i).Type, index)...)
			continue
		}
		out = append(out, schemaKey{name, index})
	}
	return out
}

// nameOf is the value of the key name of a struct, "" where it has none.
func (s shapes) nameOf(v reflect.Value) string {
	for _, k := range s.of(v.Type()) {
		if k.name != "name" {
			continue
		}
		if x, ok := v.FieldByIndex(k.index).Addr().Interface().(*val[string]); ok {
			return x.v
		}
	}
	return ""
}

// named says that the items of a list of structs are told apart by their name,
// not by their place.
func (s shapes) named(item reflect.Type) bool {
	if item.Kind() != reflect.Struct || reflect.PointerTo(item).Implements(reflect.TypeFor[leaf]()) {
		return false
	}
	for _, k := range s.of(item) {
		if k.name == "name" {
			return true
		}
	}
	return false
}

// trail is the path of keys on which a walk stands.
type trail []string

// key adds a step; what could be misread among dots stands in brackets.
func (t *trail) key(k string) {
	if strings.ContainsAny(k, ".[] ") && !strings.HasPrefix(k, "[") {
		k = "[" + k + "]"
	}
	*t = append(*t, k)
}

func (t *trail) back() { *t = (*t)[:len(*t)-1] }

func (t trail) String() string {
	var b strings.Builder
	for i, k := range t {
		if i > 0 && !strings.HasPrefix(k, "[") {
			b.WriteByte('.')
		}
		b.WriteString(k)
	}
	return b.String()
}
