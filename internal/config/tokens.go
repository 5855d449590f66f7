package config

import (
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// surprises are the features of YAML that make a file say something else than
// what it seems to say.
var surprises = map[token.Type]struct{ what, hint string }{
	token.AnchorType:     {"anchors (&name)", "write the value out where it is needed"},
	token.AliasType:      {"aliases (*name)", "write the value out where it is needed, or put text that begins with * in quotes"},
	token.MergeKeyType:   {"merge keys (<<)", "write the keys out where they are needed"},
	token.TagType:        {"tags (!name)", "remove it, or put text that begins with ! in quotes"},
	token.DirectiveType:  {"directives (%)", "remove it"},
	token.MappingKeyType: {"keys written with ?", "write key: value"},
}

// checkTokens refuses surprising features, second documents and what would
// make the parser recurse without bound.
func checkTokens(n *notes, tokens token.Tokens) bool {
	before := len(n.faults)
	keys := map[int]int{} // keys of the block mapping that is open at a column
	content, directive := false, 0
	var open brackets
	for i, t := range tokens {
		at := pos{t.Position.Line, t.Position.Column}
		if u, ok := surprises[t.Type]; ok {
			n.fault(at, u.hint, "%s are not allowed", u.what)
			if t.Type == token.DirectiveType {
				directive = at.line
			}
			continue
		}
		open.pass(t)
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if content || t.Type == token.DocumentEndType {
				n.fault(at, "keep one document in a file, without --- and ... between or after the keys", "a second YAML document is not allowed")
			}
			continue
		case token.CommentType:
			continue
		case token.MappingStartType, token.SequenceStartType:
			if len(open) == maxLevels+1 {
				n.fault(at, "no setting needs more than four", "more than %d brackets stand inside one another", maxLevels)
			}
		case token.SequenceEntryType:
			forget(keys, at.col)
		case token.MappingValueType:
			if open.in(token.MappingStartType) && i > 0 && plain(tokens[i-1]) && i+1 < len(tokens) && plain(tokens[i+1]) && touches(t, tokens[i+1]) {
				n.fault(at, "write a space after it, or put text that holds a colon in quotes", "a colon without a space after it does not end a key")
			}
			if t.Prev == nil {
				break
			}
			col := t.Prev.Position.Column
			forget(keys, col)
			if keys[col]++; keys[col] == maxKeys+1 {
				n.fault(at, "split what stands here", "more than %d keys in one mapping", maxKeys)
			}
		}
		content = content || at.line != directive
	}
	return len(n.faults) == before
}

// forget closes the mappings that stand deeper than a column.
func forget(keys map[int]int, col int) {
	for c := range keys {
		if c > col {
			delete(keys, c)
		}
	}
}

// brackets are those that are open, the innermost last.
type brackets []token.Type

func (b *brackets) pass(t *token.Token) {
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		*b = append(*b, t.Type)
	case token.MappingEndType, token.SequenceEndType:
		*b = (*b)[:max(len(*b)-1, 0)]
	}
}

func (b brackets) in(t token.Type) bool { return len(b) > 0 && b[len(b)-1] == t }

// joinAddresses puts together what the scanner of the library takes apart
// wrongly: within {} it ends a key at any colon, so that the list in
// {listen: [127.0.0.1:53]} holds a mapping of 127.0.0.1 to 53. In YAML 1.2
// (section 7.3.3) a colon in plain text is text unless white space follows.
func joinAddresses(in token.Tokens) token.Tokens {
	var out token.Tokens
	var open brackets
	for i := 0; i < len(in); i++ {
		t := in[i]
		open.pass(t)
		if t.Type != token.MappingValueType || !open.in(token.SequenceStartType) || i+1 == len(in) || !plain(in[i+1]) || !touches(t, in[i+1]) {
			out = append(out, t)
			continue
		}
		next := in[i+1]
		i++
		if last := len(out) - 1; last >= 0 && plain(out[last]) && touches(out[last], t) {
			t = out[last]
			out = out[:last]
			t.Value, t.Origin = t.Value+":", t.Origin+":"
		}
		t.Type, t.CharacterType, t.Indicator = token.StringType, token.CharacterTypeMiscellaneous, token.NotIndicator
		t.Value, t.Origin = t.Value+next.Value, t.Origin+next.Origin
		out = append(out, t)
	}
	for i, t := range out {
		t.Prev, t.Next = nil, nil
		if i > 0 {
			t.Prev, out[i-1].Next = out[i-1], t
		}
	}
	return out
}

// plain says that a token is a scalar without quotes.
func plain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType,
		token.HexIntegerType, token.OctetIntegerType, token.BinaryIntegerType:
		return true
	}
	return false
}

// touches says that b begins where a ends.
func touches(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && a.Position.Column+utf8.RuneCountInString(a.Value) == b.Position.Column
}
