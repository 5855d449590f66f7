package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder fills the structs of schema.go from the tree and notes every
// mistake, going on after each.
type decoder struct{ *notes }

// nodeDecoder is a type that reads its own node. The position is that of the
// value, or of its key where the value is empty.
type nodeDecoder interface {
	decode(d *decoder, n ast.Node, at pos)
}

// parse returns the root mapping of the one document, or nil with a fault.
func (d *decoder) parse(data []byte) ast.Node {
	if !d.src.check(d.notes, data) {
		return nil
	}
	return d.tree(d.src.tokenize(d.notes, strings.Join(d.src.lines, "\n"), nil))
}

// tree is parse for a text that was taken apart already; ok: it may be parsed.
func (d *decoder) tree(tokens token.Tokens, ok bool) (root ast.Node) {
	if !ok {
		return nil
	}
	// The parser is somebody else's and reads what anybody wrote: its panic
	// is a file that cannot be read, not the end of the process.
	defer func() {
		if r := recover(); r != nil {
			d.fault(pos{1, 1}, "start from one of the samples in configs", "the file is not YAML that can be parsed")
			root = nil
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if root != nil {
			d.fault(place(doc.Body), "keep one document in a file", "a second YAML document is not allowed")
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		d.fault(pos{1, 1}, "start from one of the samples in configs", "the file holds no settings")
	}
	return root
}

func (d *decoder) syntax(err error) {
	at, message := pos{1, 1}, "the file is not YAML that can be parsed"
	if e, ok := err.(yaml.Error); ok {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil {
			at = pos{t.Position.Line, t.Position.Column}
		}
	}
	hint := ""
	switch {
	case strings.Contains(message, "tab character"), strings.Contains(message, "'\t'"):
		message, hint = "a tab is not allowed here", "indent with spaces"
	case strings.Contains(message, "not allowed in this context"):
		hint = "look at the indentation, and put text that holds ': ' in quotes"
	case strings.Contains(message, "reserved character"):
		hint = "put the text in quotes"
	case strings.Contains(message, "not found"), strings.Contains(message, "could not find"):
		hint = "close what was opened here"
	case strings.Contains(message, "must be specified"):
		hint = "close the bracket that was opened before"
	default:
		hint = "look at the indentation and at what stands just before"
	}
	d.fault(at, hint, "%s", message)
}

// place is where a node begins. The token of a block mapping is the colon of
// its first key, so the key is looked up.
func place(n ast.Node) pos {
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return place(x.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(x.Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// kind names a node for people.
func kind(n ast.Node) string {
	switch n.Type() {
	case ast.NullType:
		return "nothing"
	case ast.BoolType:
		return "true or false"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.StringType, ast.LiteralType:
		return "text"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	default:
		return "something else"
	}
}

// value decodes one node into v.
func (d *decoder) value(n ast.Node, at pos, v reflect.Value) {
	if x, ok := v.Addr().Interface().(nodeDecoder); ok {
		x.decode(d, n, at)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, at, v.Elem())
	case reflect.Struct:
		d.structure(n, at, v)
	case reflect.Slice:
		d.list(n, at, v)
	default:
		panic("config: schema holds a " + v.Type().String())
	}
}

func (d *decoder) list(n ast.Node, at pos, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(at, "write it as a list: [ … ], or one item a line with - before it", "a list is wanted, this is %s", kind(n))
		return
	}
	// Empty is not nil: an empty list was given, a missing one was not.
	v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
	for _, item := range seq.Values {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(item, place(item), e)
		v.Set(reflect.Append(v, e))
	}
}

// entries calls f for each key of a mapping and notes doubled keys; what says
// what the mapping is. It reports whether the node is a mapping.
func (d *decoder) entries(n ast.Node, at pos, f func(key string, at pos, value ast.Node, valueAt pos)) bool {
	var values []*ast.MappingValueNode
	switch x := n.(type) {
	case *ast.MappingNode:
		values = x.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{x}
	default:
		d.fault(at, "write key: value lines below it, or {key: value}", "a mapping with keys is wanted, this is %s", kind(n))
		return false
	}
	seen := map[string]pos{}
	for _, mv := range values {
		keyAt := place(mv.Key)
		key := ""
		switch k := mv.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
			key = mv.Key.GetToken().Value
		default:
			d.fault(keyAt, "write a plain word", "a key must be text")
			continue
		}
		if first, ok := seen[key]; ok {
			d.doubled = append(d.doubled, key)
			d.fault(keyAt, "keep one of the two", "key %q is written twice, first in line %d", key, first.line)
			continue
		}
		seen[key] = keyAt
		value, valueAt := mv.Value, keyAt
		if value.Type() != ast.NullType {
			valueAt = place(value)
		}
		f(key, keyAt, value, valueAt)
	}
	return true
}

// field is one key that a struct knows.
type field struct {
	index    []int // for reflect.Value.FieldByIndex
	required bool
	or       string // the key that may stand in its place
}

// knownKeys are the keys of a struct, those of embedded structs included.
type knownKeys struct {
	byKey map[string]field
	order []string
}

// fields remembers them: a file has the same structs ten thousand times.
func (n *notes) fields(t reflect.Type) *knownKeys {
	k, ok := n.known[t]
	if !ok {
		if n.known == nil {
			n.known = map[reflect.Type]*knownKeys{}
		}
		k = fields(t)
		n.known[t] = k
	}
	return k
}

func fields(t reflect.Type) *knownKeys {
	k := &knownKeys{byKey: map[string]field{}}
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("yaml")
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if opts == "inline" {
			inner := fields(t.Field(i).Type)
			for _, key := range inner.order {
				f := inner.byKey[key]
				f.index = append([]int{i}, f.index...)
				k.byKey[key] = f
			}
			k.order = append(k.order, inner.order...)
			continue
		}
		or, _ := strings.CutPrefix(opts, "or=")
		k.byKey[name] = field{[]int{i}, opts != "", or}
		k.order = append(k.order, name)
	}
	return k
}

// placed is a struct that remembers where it began.
type placed interface{ setPos(pos) }

func (p *pos) setPos(at pos) { *p = at }

func (d *decoder) structure(n ast.Node, at pos, v reflect.Value) {
	if p, ok := v.Addr().Interface().(placed); ok {
		p.setPos(at)
	}
	known := d.fields(v.Type())
	given := map[string]bool{} // keys that are there, or were meant
	isMap := d.entries(n, at, func(key string, keyAt pos, value ast.Node, valueAt pos) {
		f, ok := known.byKey[key]
		if !ok {
			meant, hint := unknown(key, known.order)
			given[meant] = true
			d.fault(keyAt, hint, "unknown key %q", key)
			return
		}
		given[key] = true
		if value.Type() == ast.NullType {
			d.fault(keyAt, "give a value, or remove the key to take the default", "key %q has no value", key)
			return
		}
		d.value(value, valueAt, v.FieldByIndex(f.index))
	})
	if !isMap {
		return
	}
	for _, key := range known.order {
		if f := known.byKey[key]; f.required && !given[key] && !given[f.or] {
			d.fault(at, cmp.Or(missingHints[key], "write "+key+": and its value"), "key %q is missing", key)
		}
	}
}

// unknown says which key an unknown one was meant to be, "" if that cannot be
// told, and the hint.
func unknown(key string, known []string) (meant, hint string) {
	if f, ok := foreignKeys[key]; ok && slices.Contains(known, f.meant) {
		return f.meant, f.hint
	}
	if slices.Contains(weighing, key) && (slices.Contains(known, "combine") || slices.Contains(known, "expect_headers")) {
		return "", weighingHint
	}
	if s := nearest(key, known); s != "" {
		return s, fmt.Sprintf("did you mean %q?", s)
	}
	return "", "known here: " + strings.Join(known, ", ")
}

func (x *dict[T]) decode(d *decoder, n ast.Node, at pos) {
	d.entries(n, at, func(key string, keyAt pos, value ast.Node, valueAt pos) {
		e := entry[T]{key: key, at: keyAt}
		if value.Type() == ast.NullType {
			d.fault(keyAt, "give a value, or remove the key", "key %q has no value", key)
		} else {
			d.value(value, valueAt, reflect.ValueOf(&e.val).Elem())
		}
		*x = append(*x, e)
	})
}
