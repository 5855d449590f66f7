package config

import (
	"crypto/sha256"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A file of ten thousand instances is some hundred megabytes of tokens and
// nodes while it is parsed. So it is cut, before that, into its items: the
// entries of the list `instances`, and the frame around them. They are parsed a
// few hundred at a time, and an item that a config already holds, letter by
// letter, is not parsed again.
//
// Nothing depends on the cut being right. Where it cannot be made, where what
// was parsed does not begin just where an item was cut, and at any mistake, the
// file is parsed as a whole, and that decides.

// together is how many items are parsed at once.
const together = 250

// items says where the entries of the list `instances` stand.
type items struct {
	starts []int // first line of each, from 0
	key    int   // line of the key
	end    int   // the line after the last
	hashes [][sha256.Size]byte
	frame  [sha256.Size]byte // of everything else
}

// cutItems finds the items of a text, or says that it cannot.
func cutItems(lines []string) (*items, bool) {
	it := &items{key: -1, end: len(lines)}
	for i, l := range lines {
		if rest, ok := strings.CutPrefix(l, "instances:"); ok {
			if rest = strings.TrimSpace(rest); it.key >= 0 || rest != "" && rest[0] != '#' {
				return nil, false
			}
			it.key = i
		}
	}
	if it.key < 0 {
		return nil, false
	}
	indent := -1
	for i := it.key + 1; i < len(lines); i++ {
		l := lines[i]
		text := strings.TrimLeft(l, " ")
		if text == "" || text[0] == '#' {
			continue
		}
		deep := len(l) - len(text)
		isItem := strings.HasPrefix(text, "- ")
		switch {
		case indent < 0 && !isItem:
			return nil, false
		case indent < 0, deep == indent && isItem:
			indent = deep
			it.starts = append(it.starts, i)
		case deep > indent:
		case deep == 0:
			it.end = i
			it.hash(lines)
			return it, true
		default:
			return nil, false
		}
	}
	it.hash(lines)
	return it, len(it.starts) > 0
}

// hash fills in the hashes.
func (it *items) hash(lines []string) {
	sum := func(parts ...[]string) (out [sha256.Size]byte) {
		h := sha256.New()
		for _, ls := range parts {
			for _, l := range ls {
				h.Write([]byte(l))
				h.Write([]byte{'\n'})
			}
			h.Write([]byte{0})
		}
		h.Sum(out[:0])
		return out
	}
	for i := range it.starts {
		from, to := it.lines(i)
		it.hashes = append(it.hashes, sum(lines[from:to]))
	}
	first := it.end
	if len(it.starts) > 0 {
		first = it.starts[0]
	}
	it.frame = sum(lines[:first], lines[it.end:])
}

// lines are the first line of an item and the one after its last.
func (it *items) lines(i int) (from, to int) {
	if i+1 < len(it.starts) {
		return it.starts[i], it.starts[i+1]
	}
	return it.starts[i], it.end
}

// known finds the items of old that stand in it too, letter by letter: for
// each of it the index in old, or -1.
func (it *items) known(old *items) []int {
	out := make([]int, len(it.starts))
	where := map[[sha256.Size]byte]int{}
	if old != nil {
		for i, h := range old.hashes {
			where[h] = i
		}
	}
	for i, h := range it.hashes {
		out[i] = -1
		if j, ok := where[h]; ok {
			out[i] = j
		}
	}
	return out
}

// excerpt is a text of some lines of another one.
type excerpt struct {
	text  strings.Builder
	lines []int // for each of its lines, which one it is in the other, from 1
}

func (e *excerpt) add(s *source, from, to int) {
	for i := from; i < to; i++ {
		e.text.WriteString(s.lines[i])
		if i+1 < len(s.lines) {
			e.text.WriteByte('\n')
		}
		e.lines = append(e.lines, i+1)
	}
}

// before is what an earlier file of the same kind had.
type before[I any] struct {
	items *items // nil: there was none
	docs  []I
}

// decodeItems fills doc by items: list is its field of instances. It returns
// for each the index of the one before that was taken over, or -1. False: the
// file has to be decoded as a whole, by another compiler.
func decodeItems[D, I any](c *compiler, doc *D, list func(*D) *[]I, at func(*I) pos, it *items, was before[I], wanted fileKind) ([]int, bool) {
	known := it.known(was.items)
	all := make([]I, len(it.starts))
	var batch []int // what is parsed next
	framed := false // of the first batch the frame is parsed too
	parse := func() bool {
		e, into, found := &excerpt{}, doc, list(doc)
		if framed {
			e.add(c.src, it.key, it.key+1)
			found = new([]I)
		} else {
			e.add(c.src, 0, it.starts[0])
		}
		for _, i := range batch {
			from, to := it.lines(i)
			e.add(c.src, from, to)
		}
		ok := false
		if framed {
			ok = c.decodeList(e, found)
		} else {
			e.add(c.src, it.end, len(c.src.lines))
			d := &decoder{c.notes}
			ok = c.decodeNode(d.tree(c.src.tokenize(c.notes, e.text.String(), e.lines)), into, wanted)
		}
		if !ok || len(c.faults) > 0 || len(*found) != len(batch) {
			return false
		}
		for k, i := range batch {
			if at(&(*found)[k]).line != it.starts[i]+1 {
				return false
			}
			all[i] = (*found)[k]
		}
		batch, framed = batch[:0], true
		return true
	}
	for i, j := range known {
		if j < 0 || i == 0 { // the frame needs one
			batch = append(batch, i)
		} else {
			all[i] = moved(was.docs[j], it.starts[i]-was.items.starts[j])
		}
		if len(batch) == together && !parse() {
			return nil, false
		}
	}
	if len(batch) > 0 && !parse() {
		return nil, false
	}
	*list(doc) = all
	return known, true
}

// decodeList reads the entries of the list under the one key of a text.
func (c *compiler) decodeList(e *excerpt, into any) bool {
	d := &decoder{c.notes}
	root, ok := d.tree(c.src.tokenize(c.notes, e.text.String(), e.lines)).(*ast.MappingNode)
	if !ok || len(root.Values) != 1 {
		return false
	}
	d.value(root.Values[0].Value, place(root), reflect.ValueOf(into).Elem())
	return true
}

// moved is a part of the schema that stands n lines further down.
func moved[I any](item I, n int) I {
	if n != 0 {
		shift{shapes{}, n}.walk(reflect.ValueOf(&item).Elem())
	}
	return item
}

// shift moves the places of what it walks, and copies what is shared.
type shift struct {
	shapes shapes
	by     int
}

func (p *pos) move(n int) {
	if *p != (pos{}) {
		p.line += n
	}
}

func (x *val[T]) move(n int) { x.at.move(n) }

func (x *dict[T]) move(n int) {
	*x = slices.Clone(*x)
	for i := range *x {
		(*x)[i].at.move(n)
	}
}

func (s shift) walk(v reflect.Value) {
	x, ok := v.Addr().Interface().(interface{ move(int) })
	if ok {
		x.move(s.by)
	}
	if isLeaf(v.Type()) {
		return
	}
	if d, ok := v.Addr().Interface().(keyed); ok {
		for i := range d.entries() {
			_, _, item := d.entry(i)
			s.walk(item)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			own := reflect.New(v.Type().Elem())
			own.Elem().Set(v.Elem())
			v.Set(own)
			s.walk(own.Elem())
		}
	case reflect.Slice:
		if !v.IsNil() {
			own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(own, v)
			v.Set(own)
			for i := range own.Len() {
				s.walk(own.Index(i))
			}
		}
	case reflect.Struct:
		for _, k := range s.shapes.of(v.Type()) {
			s.walk(v.FieldByIndex(k.index))
		}
	}
}
