package config

import (
	"reflect"
	"strconv"
	"strings"
)

// located is a part of the schema that knows its place; the zero place means
// that the file does not have it.
type located interface{ where() pos }

func (p *pos) where() pos       { return *p }
func (x *val[T]) where() pos    { return x.at }
func (x *dict[T]) entries() int { return len(*x) }

func (x *dict[T]) entry(i int) (string, pos, reflect.Value) {
	e := &(*x)[i]
	return e.key, e.at, reflect.ValueOf(&e.val).Elem()
}

// keyed is a dict, whatever it holds.
type keyed interface {
	entries() int
	entry(i int) (key string, at pos, v reflect.Value)
}

// find turns a path of keys, such as the other rooms put before their faults
// (zones[0].hosts.ns1.lab.test.[1]), into a place: that of the deepest part
// of the path which the file has, or otherwise the place that was given.
func find(doc any, path string, otherwise pos) pos {
	return findIn(reflect.ValueOf(doc).Elem(), path, otherwise)
}

func findIn(v reflect.Value, path string, at pos) pos {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return at
		}
		v = v.Elem()
	}
	if l, ok := v.Addr().Interface().(located); ok && l.where() != (pos{}) {
		at = l.where()
	}
	path = strings.TrimPrefix(path, ".")
	if path == "" {
		return at
	}
	if d, ok := v.Addr().Interface().(keyed); ok {
		return findKey(d, path, at)
	}
	switch v.Kind() {
	case reflect.Slice:
		inner, rest, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
		if i, err := strconv.Atoi(inner); err == nil && i >= 0 && i < v.Len() {
			return findIn(v.Index(i), rest, at)
		}
	case reflect.Struct:
		name := path
		if i := strings.IndexAny(path, ".["); i >= 0 {
			name = path[:i]
		}
		if f, ok := fields(v.Type()).byKey[name]; ok {
			return findIn(v.FieldByIndex(f.index), path[len(name):], at)
		}
	}
	return at
}

// findKey looks for the longest key with which the path begins: keys may hold
// dots. The other rooms write names in canonical form.
func findKey(d keyed, path string, at pos) pos {
	best, rest := -1, ""
	for i := range d.entries() {
		key, _, _ := d.entry(i)
		for _, form := range []string{key, strings.ToLower(key), strings.ToLower(key) + "."} {
			if after, ok := strings.CutPrefix(path, form); ok && (best < 0 || len(after) < len(rest)) {
				best, rest = i, after
			}
		}
	}
	if best < 0 {
		return at
	}
	_, keyAt, v := d.entry(best)
	return findIn(v, rest, keyAt)
}
