package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// val is one scalar with its place. A value that could not be read stays
// unset, and the mistake was noted.
type val[T any] struct {
	v   T
	at  pos
	set bool
}

// or returns the value, or the default where none was given.
func (x val[T]) or(def T) T {
	if x.set {
		return x.v
	}
	return def
}

// place is where the value stands, or else another place.
func (x val[T]) place(otherwise pos) pos {
	if x.set {
		return x.at
	}
	return otherwise
}

// code is a word that may also be written as a number: 200, 2xx, 200-299.
type code string

func (x *val[T]) decode(d *decoder, n ast.Node, at pos) {
	x.at = at
	switch p := any(&x.v).(type) {
	case *string:
		*p, x.set = d.text(n, at)
	case *code:
		if i, ok := n.(*ast.IntegerNode); ok {
			*p, x.set = code(i.GetToken().Value), true
			return
		}
		var s string
		s, x.set = d.text(n, at)
		*p = code(s)
	case *int:
		*p, x.set = d.number(n, at)
	case *float64:
		*p, x.set = d.fraction(n, at)
	case *bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.fault(at, "write true or false", "true or false is wanted, this is %s", kind(n))
			return
		}
		*p, x.set = b.Value, true
	case *time.Duration:
		*p, x.set = d.duration(n, at)
	default:
		panic(fmt.Sprintf("config: schema holds a %T", p))
	}
}

func (d *decoder) text(n ast.Node, at pos) (string, bool) {
	s := ""
	switch x := n.(type) {
	case *ast.StringNode:
		s = x.Value
	case *ast.LiteralNode:
		s = x.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.fault(at, "put it in quotes if it is meant as text", "text is wanted, this is %s", kind(n))
		return "", false
	default:
		d.fault(at, "write one word or a text in quotes", "text is wanted, this is %s", kind(n))
		return "", false
	}
	if s == "" {
		d.fault(at, "give a value, or remove the key to take the default", "the text is empty")
		return "", false
	}
	return s, true
}

// plainNumber is the only way to write a whole number: YAML also reads 010 as
// eight, 1_000 and 0x10.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

func (d *decoder) number(n ast.Node, at pos) (int, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		d.fault(at, "write plain decimal digits", "a whole number is wanted, this is %s", kind(n))
		return 0, false
	}
	t := i.GetToken().Value
	v, err := strconv.Atoi(t)
	if !plainNumber.MatchString(t) || err != nil {
		d.fault(at, "write plain decimal digits", "%s is not a plain whole number", t)
		return 0, false
	}
	return v, true
}

func (d *decoder) fraction(n ast.Node, at pos) (float64, bool) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := strconv.ParseFloat(n.GetToken().Value, 64)
		if err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v, true
		}
	}
	d.fault(at, "write it like 0.4", "a number is wanted, this is %s", kind(n))
	return 0, false
}

var days = regexp.MustCompile(`^[0-9]{1,5}d$`)

// duration reads Go's notation and whole days. A number without a unit is
// refused: 5 has meant seconds, milliseconds and nanoseconds.
func (d *decoder) duration(n ast.Node, at pos) (time.Duration, bool) {
	const hint = "write a number with a unit: 500ms, 15s, 10m, 24h, 30d"
	switch x := n.(type) {
	case *ast.StringNode:
		if days.MatchString(x.Value) {
			v, _ := strconv.Atoi(strings.TrimSuffix(x.Value, "d"))
			return time.Duration(v) * 24 * time.Hour, true
		}
		v, err := time.ParseDuration(x.Value)
		switch {
		case err != nil:
			d.fault(at, hint, "%q is not a duration", x.Value)
		case v < 0:
			d.fault(at, hint, "the duration %s is negative", x.Value)
		default:
			return v, true
		}
	case *ast.IntegerNode, *ast.FloatNode:
		d.fault(at, fmt.Sprintf("write %ss if seconds are meant; units are ms, s, m, h, d", n.GetToken().Value), "the duration %s has no unit", n.GetToken().Value)
	default:
		d.fault(at, hint, "a duration is wanted, this is %s", kind(n))
	}
	return 0, false
}

// entry is one key of a mapping whose keys are names that the user chose.
type entry[T any] struct {
	key string
	at  pos
	val T
}

// dict is such a mapping, in the order of the file.
type dict[T any] []entry[T]

// get returns the entry of a key, or nil.
func (x dict[T]) get(key string) *entry[T] {
	for i := range x {
		if x[i].key == key {
			return &x[i]
		}
	}
	return nil
}

func (x dict[T]) keys() []string {
	var ks []string
	for _, e := range x {
		ks = append(ks, e.key)
	}
	return ks
}
