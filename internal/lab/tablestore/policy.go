package tablestore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Largest documents, in bytes: of an instance (vendor's page on instance
// policies), and of a RAM user (page of RAM's CreatePolicy).
const (
	maxInstancePolicy = 4096
	maxUserPolicy     = 6144
)

// Policy says who may do what, in the vendor's form: Version 1, and statements
// of Effect, Action or NotAction, Resource, Principal and Condition. A
// statement that denies wins over all that allow.
//
//	Action      ots:PutRow, ots:Batch*, * (* is any text, ? one character)
//	Resource    acs:ots:REGION:ACCOUNT:instance/NAME or …/NAME/table/TABLE, *;
//	            names of instances in lower case
//	Principal   *, the account's number, acs:ram::ACCOUNT:root or
//	            acs:ram::ACCOUNT:user/NAME; everybody if left out [guessed]
//	Condition   operator → key → one value or several: all of the pairs of
//	            operator and key must hold, a positive operator with any of its
//	            values, a negative one with none of them. A key that a request
//	            has not, as acs:SourceVpc from outside, fails a positive
//	            operator and meets a negative one.
//
// What the vendor's page of policy elements does not name, Sid for one, is an
// error here: RAM has checked the syntax since November 2022.
type Policy struct {
	text       string
	statements []statement
}

type statement struct {
	deny       bool
	except     bool     // the actions are those of NotAction
	actions    []string // lower-case: the service does not tell case apart
	resources  []string
	principals []string
	conditions []condition
}

type condition struct {
	operator operator
	key      string // as conditionKeys has it
	values   []string
	networks []netip.Prefix // of the operators of addresses
}

// ParsePolicy reads a document. An error names the statement and the element.
func ParsePolicy(text string) (*Policy, error) {
	if len(text) > maxUserPolicy {
		return nil, fmt.Errorf("the document has %d bytes, more than %d", len(text), maxUserPolicy)
	}
	doc, err := members([]byte(text), "Version", "Statement")
	if err != nil {
		return nil, err
	}
	var version string
	if err := json.Unmarshal(doc["Version"], &version); err != nil || version != "1" {
		return nil, errors.New(`the Version is not "1"`)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(doc["Statement"], &list); err != nil || len(list) == 0 {
		return nil, errors.New("the Statement is not a list of at least one")
	}
	p := &Policy{text: text}
	for i, raw := range list {
		st, err := parseStatement(raw)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.statements = append(p.statements, st)
	}
	return p, nil
}

// String is the document as it was given.
func (p *Policy) String() string { return p.text }

// MarshalJSON gives the document.
func (p *Policy) MarshalJSON() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalJSON reads one.
func (p *Policy) UnmarshalJSON(text []byte) error {
	q, err := ParsePolicy(string(text))
	if err != nil {
		return err
	}
	*p = *q
	return nil
}

func parseStatement(raw []byte) (statement, error) {
	st := statement{principals: []string{"*"}}
	doc, err := members(raw, "Effect", "Action", "NotAction", "Resource", "Principal", "Condition")
	if err != nil {
		return st, err
	}
	var effect string
	if err := json.Unmarshal(doc["Effect"], &effect); err != nil || effect != "Allow" && effect != "Deny" {
		return st, errors.New("the Effect is neither Allow nor Deny")
	}
	st.deny = effect == "Deny"
	action, not := doc["Action"], doc["NotAction"]
	if (action == nil) == (not == nil) {
		return st, errors.New("neither or both of Action and NotAction")
	}
	st.except = not != nil
	if st.actions, err = words(slices.Concat(action, not)); err != nil {
		return st, fmt.Errorf("the Action: %w", err)
	}
	for i, a := range st.actions {
		if st.actions[i] = strings.ToLower(a); a != "*" && !strings.HasPrefix(st.actions[i], "ots:") {
			return st, fmt.Errorf("the Action %q is neither * nor ots:… of some operation", clip(a))
		}
	}
	if st.resources, err = words(doc["Resource"]); err != nil {
		return st, fmt.Errorf("the Resource: %w", err)
	}
	for _, r := range st.resources {
		if r != "*" && (!strings.HasPrefix(r, "acs:ots:") || strings.Count(r, ":") < 4) {
			return st, fmt.Errorf("the Resource %q is neither * nor acs:ots:REGION:ACCOUNT:instance/NAME", clip(r))
		}
	}
	if who := doc["Principal"]; who != nil {
		if st.principals, err = words(who); err != nil {
			return st, fmt.Errorf("the Principal: %w", err)
		}
	}
	if when := doc["Condition"]; when != nil {
		st.conditions, err = parseConditions(when)
	}
	return st, err
}

func parseConditions(raw []byte) ([]condition, error) {
	var out []condition
	byOperator, err := members(raw)
	if err != nil {
		return nil, fmt.Errorf("the Condition: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(byOperator)) {
		op, ok := operators[name]
		if !ok {
			return nil, fmt.Errorf("the condition operator %q is not known", clip(name))
		}
		byKey, err := members(byOperator[name])
		if err != nil {
			return nil, fmt.Errorf("the condition %s: %w", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(byKey)) {
			c := condition{operator: op, key: strings.ToLower(key)}
			kinds, ok := conditionKeys[c.key]
			if !ok {
				return nil, fmt.Errorf("the condition key %q is not known", clip(key))
			}
			if !slices.Contains(kinds, op.kind) {
				return nil, fmt.Errorf("the condition operator %s is not for %s", name, key)
			}
			if c.values, err = words(byKey[key]); err != nil {
				return nil, fmt.Errorf("the condition %s %s: %w", name, key, err)
			}
			if err := c.prepare(); err != nil {
				return nil, fmt.Errorf("the condition %s %s: %w", name, key, err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// prepare brings the values into the form that a request's is compared with.
func (c *condition) prepare() error {
	for i, v := range c.values {
		switch {
		case c.operator.kind == address:
			n, err := netip.ParsePrefix(v)
			if a, e := netip.ParseAddr(v); e == nil && a.Zone() == "" {
				n, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
			}
			if err != nil {
				return fmt.Errorf("%q is neither an address nor a network", clip(v))
			}
			c.networks = append(c.networks, n.Masked())
		case c.operator.kind == boolean:
			if v != "true" && v != "false" || len(c.values) > 1 {
				return errors.New("it takes one value, true or false")
			}
		case c.key == keyTLSVersion:
			// Pages write 1.2 and TLSv1.2, and TLSv1 for 1.0.
			if v = strings.TrimPrefix(v, "TLSv"); v == "1" {
				v = "1.0"
			}
			c.values[i] = v
		}
		if c.operator.fold {
			c.values[i] = strings.ToLower(c.values[i])
		}
	}
	return nil
}

// kind is what an operator compares.
type kind int

const (
	text kind = iota
	boolean
	address
)

type operator struct {
	kind    kind
	negated bool
	fold    bool // case does not count
	like    bool // * and ? in the values
}

// operators are those of the vendor's page on condition operators that fit the
// keys that there are.
var operators = map[string]operator{
	"StringEquals":              {},
	"StringNotEquals":           {negated: true},
	"StringEqualsIgnoreCase":    {fold: true},
	"StringNotEqualsIgnoreCase": {fold: true, negated: true},
	"StringLike":                {like: true},
	"StringNotLike":             {like: true, negated: true},
	"Bool":                      {kind: boolean},
	"IpAddress":                 {kind: address},
	"NotIpAddress":              {kind: address, negated: true},
}

// Condition keys, in lower case: the vendor's pages differ in theirs.
const (
	keyAccessID        = "ots:accessid"
	keyTLSVersion      = "ots:tlsversion"
	keyTrustProxy      = "ots:isfromtrustproxy" // the console, which is no part of this
	keySourceIP        = "acs:sourceip"
	keySourceVPC       = "acs:sourcevpc"
	keySecureTransport = "acs:securetransport"
)

// conditionKeys are the keys of the pages on instance policies of 2024 and
// 2026, and what may compare them.
var conditionKeys = map[string][]kind{
	keyAccessID:        {text},
	keyTLSVersion:      {text},
	keyTrustProxy:      {boolean, text},
	keySourceIP:        {address},
	keySourceVPC:       {text},
	keySecureTransport: {boolean, text},
}

// question is what a request would do, as policies speak of it.
type question struct {
	action string            // lower-case
	who    []string          // the names that a principal may call it by
	values map[string]string // of the condition keys that it has
	from   netip.Addr
}

// verdict is what a policy says of a question.
type verdict int

const (
	unsaid verdict = iota
	allows
	denies
)

// says judges one resource. With the text of 2024 a statement is about every
// action and every resource whatever it names, and of the conditions of one
// that allows, one is enough.
func (p *Policy) says(q *question, resource string, text2024 bool) verdict {
	said := unsaid
	for _, st := range p.statements {
		if !text2024 && (anyLike(st.actions, q.action) == st.except || !anyLike(st.resources, resource)) {
			continue
		}
		if !slices.ContainsFunc(q.who, func(name string) bool { return anyLike(st.principals, name) }) {
			continue
		}
		failed := 0
		for _, c := range st.conditions {
			if !c.holds(q) {
				failed++
			}
		}
		enough := failed == 0 || text2024 && !st.deny && failed < len(st.conditions)
		switch {
		case enough && st.deny:
			return denies
		case enough:
			said = allows
		}
	}
	return said
}

func (c *condition) holds(q *question) bool {
	var found bool
	if c.operator.kind == address {
		found = slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(q.from) })
		return found != c.operator.negated
	}
	value, there := q.values[c.key]
	if !there {
		return c.operator.negated
	}
	if c.operator.fold {
		value = strings.ToLower(value)
	}
	if c.operator.like {
		found = anyLike(c.values, value)
	} else {
		found = slices.Contains(c.values, value)
	}
	return found != c.operator.negated
}

// allow says whether there is a statement that allows anything.
func (p *Policy) allow() bool {
	return slices.ContainsFunc(p.statements, func(st statement) bool { return !st.deny })
}

func anyLike(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return like(p, s) })
}

// like matches a pattern of * and ? in time that is bounded by the product of
// the lengths, whatever a stranger wrote.
func like(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// members reads an object: none twice, and none but those that are known, if
// any are given.
func members(raw []byte, known ...string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("not valid JSON")
		}
		key := t.(string) // a member's name, by the decoder's grammar
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%q is there twice", clip(key))
		}
		if known != nil && !slices.Contains(known, key) {
			return nil, fmt.Errorf("%q is not an element of a policy", clip(key))
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, errors.New("not valid JSON")
		}
		out[key] = v
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not valid JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return out, nil
}

// words reads "a" and ["a", "b"], as policies write both; true and false are
// words too.
func words(raw json.RawMessage) ([]string, error) {
	var list []any
	if err := json.Unmarshal(raw, &list); err != nil {
		var one any
		if json.Unmarshal(raw, &one) != nil {
			return nil, errors.New("neither a text nor a list of texts")
		}
		list = []any{one}
	}
	var out []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case bool:
			out = append(out, fmt.Sprint(v))
		default:
			return nil, errors.New("neither a text nor a list of texts")
		}
		if out[len(out)-1] == "" {
			return nil, errors.New("an empty text")
		}
	}
	if len(out) == 0 {
		return nil, errors.New("an empty list")
	}
	return out, nil
}
