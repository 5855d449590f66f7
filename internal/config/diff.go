package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode"

	"pointsman/internal/failover"
)

// Change is one setting in which two files differ, as the files have it:
// where one says nothing the default holds.
type Change struct {
	Path     string                // of keys: instances.orders.ride_out
	Instance failover.InstanceName // whose it is; empty for everything that is not one instance's
	Old, New string                // at most maxText characters, no secret; empty: not in that file
}

// Words of a change that has no values.
const (
	wasAdded      = "added"
	wasRemoved    = "removed"
	secretChanged = "secret changed"
	fileChanged   = "content of the file changed"
)

const maxText = 100

// String is the change on one line.
func (c Change) String() string {
	switch {
	case c.Old == "" && (c.New == wasAdded || c.New == secretChanged || c.New == fileChanged), c.Old == "" && c.New == wasRemoved:
		return c.Path + ": " + c.New
	case c.Old == "":
		return fmt.Sprintf("%s: (default) → %s", c.Path, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: %s → (default)", c.Path, c.Old)
	default:
		return fmt.Sprintf("%s: %s → %s", c.Path, c.Old, c.New)
	}
}

// Diff lists what differs between two configs, in the order of the schema, and
// within a list first what the old one has, in its order, then what is new.
// Items of a list that have names are compared by name, not by place; one that
// came or went is a single change. Of a secret it says only that it changed.
func Diff(old, new *Config) []Change {
	d := newDiffer(old.File, new.File, &old.Contents, &new.Contents)
	if old.items != nil && new.items != nil && d.oldDir == d.newDir {
		d.same = func(i, j int) bool {
			return old.items.hashes[i] == new.items.hashes[j] && !new.Instances[j].bound
		}
	}
	return d.diff(old.doc, new.doc)
}

// DiffVantage is Diff for two vantage.yaml.
func DiffVantage(old, new *VantageFile) []Change {
	d := newDiffer(old.File, new.File, &old.Contents, &new.Contents)
	if old.items != nil && new.items != nil && d.oldDir == d.newDir {
		d.same = func(i, j int) bool {
			return old.items.hashes[i] == new.items.hashes[j] && !new.doc.Instances[j].bound()
		}
	}
	return d.diff(old.doc, new.doc)
}

func newDiffer(old, new string, was, is *Contents) *differ {
	return &differ{shapes: shapes{}, oldDir: filepath.Dir(old), newDir: filepath.Dir(new), was: was, is: is}
}

func (d *differ) diff(old, new any) []Change {
	d.compare(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem())
	return d.out
}

// leaf is a val, whatever it holds.
type leaf interface {
	text() string // empty: not in the file
	same(other any) bool
}

func (x *val[T]) same(other any) bool {
	o := other.(*val[T])
	return x.set == o.set && (!x.set || any(x.v) == any(o.v))
}

func (x *val[T]) text() string {
	if !x.set {
		return ""
	}
	if d, ok := any(x.v).(time.Duration); ok {
		return figure(d)
	}
	return fmt.Sprint(x.v)
}

type differ struct {
	shapes         shapes
	at             trail
	instance       failover.InstanceName
	oldDir, newDir string
	was, is        *Contents
	same           func(old, new int) bool // of instances, by place: they have the same text; may be nil
	out            []Change
}

func (d *differ) note(old, new string) {
	c := Change{Path: d.at.String(), Instance: d.instance, Old: short(old), New: short(new)}
	if hiddenPath(d.at) && (old != "" || new != "") && c.New != wasAdded && c.New != wasRemoved {
		c.Old, c.New = "", secretChanged
	}
	d.out = append(d.out, c)
}

// hiddenPath says that values below a path may be secrets: a header can be a
// login, and the environment of a program, its arguments and a URL can hold
// anything.
func hiddenPath(at trail) bool {
	for _, k := range at {
		if k == "headers" || k == "env" || k == "url" || k == "command" {
			return true
		}
	}
	return false
}

// short fits a value into one line of a log.
func short(s string) string {
	if strings.Contains(s, "-----BEGIN ") {
		return "PEM with SHA-256 " + hashOf([]byte(s))[:12]
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText-1]) + "…"
	}
	return s
}

func (d *differ) into(key string, a, b reflect.Value) {
	d.at.key(key)
	d.compare(a, b)
	d.at.back()
}

// only notes a whole item that one side does not have.
func (d *differ) only(key, word string) {
	d.at.key(key)
	d.note("", word)
	d.at.back()
}

func (d *differ) compare(a, b reflect.Value) {
	switch x := a.Addr().Interface().(type) {
	case leaf:
		d.leaves(x, b.Addr().Interface().(leaf))
		return
	case keyed:
		d.dicts(x, b.Addr().Interface().(keyed))
		return
	}
	switch a.Kind() {
	case reflect.Pointer:
		switch {
		case a.IsNil() && b.IsNil():
		case a.IsNil():
			d.note("", wasAdded)
		case b.IsNil():
			d.note("", wasRemoved)
		default:
			d.compare(a.Elem(), b.Elem())
		}
	case reflect.Slice:
		d.lists(a, b)
	case reflect.Struct:
		for _, k := range d.shapes.of(a.Type()) {
			d.into(k.name, a.FieldByIndex(k.index), b.FieldByIndex(k.index))
		}
	}
}

func (d *differ) leaves(a, b leaf) {
	if !a.same(b) {
		d.note(a.text(), b.text())
		return
	}
	key := d.at[len(d.at)-1]
	if !isFileKey(key) || a.text() == "" {
		return
	}
	was, seen := d.was.files[resolve(d.oldDir, a.text())]
	is, seenNow := d.is.files[resolve(d.newDir, b.text())]
	switch {
	case !seen || !seenNow || was == is:
	case key == "ca_file":
		d.note("", fileChanged)
	default:
		d.note("", secretChanged)
	}
}

func (d *differ) dicts(a, b keyed) {
	in := func(x keyed) map[string]reflect.Value {
		m := make(map[string]reflect.Value, x.entries())
		for i := range x.entries() {
			key, _, v := x.entry(i)
			m[matching(key)] = v
		}
		return m
	}
	old, new := in(a), in(b)
	for i := range a.entries() {
		key, _, v := a.entry(i)
		if w, ok := new[matching(key)]; ok {
			d.into(key, v, w)
		} else {
			d.one(key, v, wasRemoved)
		}
	}
	for i := range b.entries() {
		key, _, v := b.entry(i)
		if _, ok := old[matching(key)]; !ok {
			d.one(key, v, wasAdded)
		}
	}
}

// one notes an entry that one side does not have: with its value where that is
// short.
func (d *differ) one(key string, v reflect.Value, word string) {
	text, plain := d.render(v)
	d.at.key(key)
	defer d.at.back()
	switch {
	case !plain:
		d.note("", word)
	case word == wasAdded:
		d.note("", text)
	default:
		d.note(text, "")
	}
}

// matching is the form in which keys and names are compared: DNS names are the
// same in upper case and with the final dot.
func matching(key string) string { return strings.TrimSuffix(strings.ToLower(key), ".") }

func (d *differ) lists(a, b reflect.Value) {
	if d.shapes.named(a.Type().Elem()) {
		if d.allNamed(a) && d.allNamed(b) {
			d.namedLists(a, b)
		} else {
			d.byPlace(a, b)
		}
		return
	}
	if a.Len() == b.Len() && a.Type().Elem().Kind() == reflect.Struct && !isLeaf(a.Type().Elem()) {
		for i := range a.Len() {
			d.into(fmt.Sprintf("[%d]", i), a.Index(i), b.Index(i))
		}
		return
	}
	if !d.sameLists(a, b) {
		old, _ := d.render(a)
		new, _ := d.render(b)
		d.note(old, new)
	}
}

func isLeaf(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[leaf]())
}

// sameLists compares lists of single values without making texts of them.
func (d *differ) sameLists(a, b reflect.Value) bool {
	if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
		return false
	}
	for i := range a.Len() {
		x, ok := a.Index(i).Addr().Interface().(leaf)
		if !ok || !x.same(b.Index(i).Addr().Interface()) {
			return false
		}
	}
	return true
}

// allNamed says that names tell the items of a list apart: a check need have
// none.
func (d *differ) allNamed(v reflect.Value) bool {
	seen := make(map[string]bool, v.Len())
	for i := range v.Len() {
		name := matching(d.shapes.nameOf(v.Index(i)))
		if name == "" || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// byPlace compares lists whose items only their place tells apart.
func (d *differ) byPlace(a, b reflect.Value) {
	for i := range max(a.Len(), b.Len()) {
		switch at := fmt.Sprintf("[%d]", i); {
		case i >= a.Len():
			d.only(at, wasAdded)
		case i >= b.Len():
			d.only(at, wasRemoved)
		default:
			d.into(at, a.Index(i), b.Index(i))
		}
	}
}

func (d *differ) namedLists(a, b reflect.Value) {
	instances := len(d.at) == 1 && d.at[0] == "instances"
	index := func(v reflect.Value) map[string]int {
		m := make(map[string]int, v.Len())
		for i := range v.Len() {
			m[matching(d.shapes.nameOf(v.Index(i)))] = i
		}
		return m
	}
	old, new := index(a), index(b)
	mine := func(name string) func() {
		if !instances {
			return func() {}
		}
		d.instance = failover.InstanceName(name)
		return func() { d.instance = "" }
	}
	for i := range a.Len() {
		name := d.shapes.nameOf(a.Index(i))
		done := mine(name)
		if j, ok := new[matching(name)]; ok {
			if !instances || d.same == nil || !d.same(i, j) {
				d.sameName(name, a.Index(i), b.Index(j))
			}
		} else {
			d.only(name, wasRemoved)
		}
		done()
	}
	for j := range b.Len() {
		name := d.shapes.nameOf(b.Index(j))
		if _, ok := old[matching(name)]; !ok {
			done := mine(name)
			d.only(name, wasAdded)
			done()
		}
	}
}

// sameName compares two items of one name; that may be written differently.
func (d *differ) sameName(name string, a, b reflect.Value) {
	d.at.key(name)
	defer d.at.back()
	for _, k := range d.shapes.of(a.Type()) {
		if k.name != "name" {
			d.into(k.name, a.FieldByIndex(k.index), b.FieldByIndex(k.index))
		}
	}
}

// render writes a value as YAML would in one line; plain says that it is a
// single value or a list of such.
func (d *differ) render(v reflect.Value) (text string, plain bool) {
	if x, ok := v.Addr().Interface().(leaf); ok {
		return x.text(), true
	}
	if x, ok := v.Addr().Interface().(keyed); ok {
		var parts []string
		for i := range x.entries() {
			key, _, item := x.entry(i)
			t, _ := d.render(item)
			parts = append(parts, key+": "+t)
		}
		return "{" + strings.Join(parts, ", ") + "}", false
	}
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return "", true
		}
		var parts []string
		plain = true
		for i := range v.Len() {
			t, p := d.render(v.Index(i))
			parts, plain = append(parts, t), plain && p
		}
		return "[" + strings.Join(parts, ", ") + "]", plain
	case reflect.Struct:
		var parts []string
		for _, k := range d.shapes.of(v.Type()) {
			if t, _ := d.render(v.FieldByIndex(k.index)); t != "" && t != "{}" {
				parts = append(parts, k.name+": "+t)
			}
		}
		return "{" + strings.Join(parts, ", ") + "}", false
	case reflect.Pointer:
		if !v.IsNil() {
			return d.render(v.Elem())
		}
	}
	return "", false
}
