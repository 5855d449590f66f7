package tablestore

import (
	"cmp"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/aliyun/aliyun-tablestore-go-sdk/tablestore/otsprotocol"
	"pointsman/internal/lab/tablestore/plainbuffer"
)

// The most filters of one read, composite ones counted, and the most of one
// condition of a write, where only those that look at a column count.
const (
	maxFilters    = 32
	maxConditions = 10
)

// filter tells whether a row passes. What it looks at is the row as it was
// read: a column that was not asked for is missing.
type filter interface {
	pass(key []plainbuffer.Cell, r row) bool
}

// page is the filter that no row fails: it shows the columns of a row from an
// offset on.
type page struct{ offset, limit int }

func (page) pass([]plainbuffer.Cell, row) bool { return true }

// cut leaves the columns of the page, all versions of each.
func (p page) cut(r row) row {
	n, from, to := -1, len(r), len(r)
	for i, c := range r {
		if i == 0 || c.name != r[i-1].name {
			n++
		}
		if n == p.offset && from == len(r) {
			from = i
		}
		if n >= p.offset+p.limit {
			to = i
			break
		}
	}
	if from > to {
		return r[:0]
	}
	return r[from:to]
}

// parseFilter reads the filter of a read; nil if there is none.
func parseFilter(b []byte) (filter, *refusal) {
	f, _, ref := parseFilters(b)
	return f, ref
}

// parseCondition reads the column condition of a write; nil if there is none.
func parseCondition(b []byte) (filter, *refusal) {
	f, n, ref := parseFilters(b)
	switch _, paged := f.(page); {
	case ref != nil:
		return nil, ref
	case paged:
		return nil, invalid("Invalid type of filter: %s.", otsprotocol.FilterType_FT_COLUMN_PAGINATION)
	case n.single > maxConditions:
		return nil, invalid("The count of filter exceeds the max: %d.", maxConditions)
	}
	return f, nil
}

// counts are how many filters there are in one.
type counts struct{ all, single int }

func parseFilters(b []byte) (filter, counts, *refusal) {
	var n counts
	if len(b) == 0 {
		return nil, n, nil
	}
	var m otsprotocol.Filter
	if err := proto.Unmarshal(b, protoadapt.MessageV2Of(&m)); err != nil {
		return nil, n, invalid("Deserialize filter failed.")
	}
	f, ref := n.build(&m, false)
	return f, n, ref
}

// build makes a filter of a message. It stops at the first that is one too
// many, so that no filter is deeper than there may be filters.
func (n *counts) build(m *otsprotocol.Filter, sub bool) (filter, *refusal) {
	if n.all++; n.all > maxFilters {
		return nil, invalid("The count of filter exceeds the max: %d.", maxFilters)
	}
	switch m.GetType() {
	case otsprotocol.FilterType_FT_SINGLE_COLUMN_VALUE:
		n.single++
		return buildSingle(m.Filter)
	case otsprotocol.FilterType_FT_COMPOSITE_COLUMN_VALUE:
		return n.composite(m.Filter)
	case otsprotocol.FilterType_FT_COLUMN_PAGINATION:
		if sub {
			return nil, invalid("Invalid type of sub-filter: %s.", m.GetType())
		}
		return buildPage(m.Filter)
	}
	return nil, invalid("Invalid type of filter: %d.", m.GetType())
}

func buildPage(b []byte) (filter, *refusal) {
	var m otsprotocol.ColumnPaginationFilter
	switch err := proto.Unmarshal(b, protoadapt.MessageV2Of(&m)); {
	case err != nil:
		return nil, invalid("Deserialize column pagination filter failed.")
	case m.GetOffset() < 0:
		return nil, invalid("Offset in ColumnPaginationFilter must be greater than or equal to 0.")
	case m.GetLimit() <= 0:
		return nil, invalid("Limit in ColumnPaginationFilter must be greater than 0.")
	}
	return page{int(m.GetOffset()), int(m.GetLimit())}, nil
}

type composite struct {
	op   otsprotocol.LogicalOperator
	subs []filter
}

func (n *counts) composite(b []byte) (filter, *refusal) {
	var m otsprotocol.CompositeColumnValueFilter
	if err := proto.Unmarshal(b, protoadapt.MessageV2Of(&m)); err != nil {
		return nil, invalid("Deserialize composite filter failed.")
	}
	f := composite{op: m.GetCombinator()}
	switch subs := len(m.SubFilters); {
	case f.op < otsprotocol.LogicalOperator_LO_NOT || f.op > otsprotocol.LogicalOperator_LO_OR:
		return nil, invalid("Invalid relation operator: %d.", f.op)
	case f.op == otsprotocol.LogicalOperator_LO_NOT && subs != 1:
		return nil, invalid("Invalid NOT operator: the number of sub-filters must be 1.")
	case f.op != otsprotocol.LogicalOperator_LO_NOT && subs < 2:
		return nil, invalid("Invalid AND/OR operator: the number of sub-filters must be 2.")
	}
	for _, s := range m.SubFilters {
		sub, ref := n.build(s, true)
		if ref != nil {
			return nil, ref
		}
		f.subs = append(f.subs, sub)
	}
	return f, nil
}

func (f composite) pass(key []plainbuffer.Cell, r row) bool {
	for _, s := range f.subs {
		ok := s.pass(key, r)
		switch f.op {
		case otsprotocol.LogicalOperator_LO_NOT:
			return !ok
		case otsprotocol.LogicalOperator_LO_AND:
			if !ok {
				return false
			}
		default:
			if ok {
				return true
			}
		}
	}
	return f.op == otsprotocol.LogicalOperator_LO_AND
}

type single struct {
	op      otsprotocol.ComparatorType
	name    string
	value   plainbuffer.Value
	missing bool // what a missing column gives
	latest  bool
	regex   *regexp.Regexp
	cast    otsprotocol.VariantType
}

func buildSingle(b []byte) (filter, *refusal) {
	var m otsprotocol.SingleColumnValueFilter
	if err := proto.Unmarshal(b, protoadapt.MessageV2Of(&m)); err != nil {
		return nil, invalid("Deserialize relation filter failed.")
	}
	v, err := plainbuffer.DecodeValue(m.ColumnValue)
	if err != nil {
		return nil, invalid("Deserialize relation filter failed.")
	}
	if ref := checkName(m.GetColumnName()); ref != nil {
		return nil, ref
	}
	if ref := checkValue(m.GetColumnName(), v); ref != nil {
		return nil, ref
	}
	if op := m.GetComparator(); op < otsprotocol.ComparatorType_CT_EQUAL || op > otsprotocol.ComparatorType_CT_LESS_EQUAL {
		return nil, invalid("Invalid relation operator: %d.", op)
	}
	// The vendor's English page of this field says the reverse; the Java and
	// Python clients send "not pass if missing" in it.
	f := single{op: m.GetComparator(), name: m.GetColumnName(), value: v, missing: !m.GetFilterIfMissing(), latest: m.GetLatestVersionOnly()}
	if rule := m.ValueTransRule; rule != nil {
		if f.regex, err = regexp.Compile(rule.GetRegex()); err != nil {
			return nil, invalid("Invalid regex of value transfer rule: %s.", clip(rule.GetRegex()))
		}
		f.cast = otsprotocol.VariantType_VT_STRING
		if rule.CastType != nil {
			f.cast = *rule.CastType
		}
		switch f.cast {
		case otsprotocol.VariantType_VT_STRING, otsprotocol.VariantType_VT_INTEGER, otsprotocol.VariantType_VT_DOUBLE:
		default:
			return nil, invalid("Invalid cast type of value transfer rule: %s.", f.cast)
		}
	}
	return f, nil
}

func (f single) pass(key []plainbuffer.Cell, r row) bool {
	for _, c := range key {
		if c.Name == f.name {
			return f.holds(*c.Value)
		}
	}
	from, to := r.column(f.name)
	if from == to {
		return f.missing
	}
	if f.latest {
		to = from + 1
	}
	for _, c := range r[from:to] {
		if f.holds(c.v) {
			return true
		}
	}
	return false
}

// holds compares one value. Values of different types are not equal, and
// neither is less; a text that the rule of the filter does not fit is like a
// value of another type.
func (f single) holds(v plainbuffer.Value) bool {
	ok := true
	if f.regex != nil {
		v, ok = f.transfer(v)
	}
	if !ok || v.Kind != f.value.Kind {
		return f.op == otsprotocol.ComparatorType_CT_NOT_EQUAL
	}
	n := 0
	switch v.Kind {
	case plainbuffer.Integer, plainbuffer.Boolean:
		n = cmp.Compare(v.Int, f.value.Int)
	case plainbuffer.Double:
		n = cmp.Compare(v.Double, f.value.Double)
	default:
		n = cmp.Compare(v.Bytes, f.value.Bytes)
	}
	switch f.op {
	case otsprotocol.ComparatorType_CT_EQUAL:
		return n == 0
	case otsprotocol.ComparatorType_CT_NOT_EQUAL:
		return n != 0
	case otsprotocol.ComparatorType_CT_GREATER_THAN:
		return n > 0
	case otsprotocol.ComparatorType_CT_GREATER_EQUAL:
		return n >= 0
	case otsprotocol.ComparatorType_CT_LESS_THAN:
		return n < 0
	}
	return n <= 0
}

// transfer takes from a text what the rule's expression finds in it, its first
// group if it has one, and reads that as a value of the rule's type.
func (f single) transfer(v plainbuffer.Value) (plainbuffer.Value, bool) {
	if v.Kind != plainbuffer.String {
		return v, false
	}
	found := f.regex.FindStringSubmatch(v.Bytes)
	if found == nil {
		return v, false
	}
	text := found[min(1, len(found)-1)]
	switch f.cast {
	case otsprotocol.VariantType_VT_INTEGER:
		n, err := strconv.ParseInt(text, 10, 64)
		return plainbuffer.Value{Kind: plainbuffer.Integer, Int: n}, err == nil
	case otsprotocol.VariantType_VT_DOUBLE:
		n, err := strconv.ParseFloat(text, 64)
		return plainbuffer.Value{Kind: plainbuffer.Double, Double: n}, err == nil
	}
	return plainbuffer.Value{Kind: plainbuffer.String, Bytes: text}, true
}
