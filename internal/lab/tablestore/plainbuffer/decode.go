package plainbuffer

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Two things that may be wrong with a buffer, for those who ask with
// [errors.Is].
var (
	ErrTruncated = errors.New("data ends too early")
	ErrChecksum  = errors.New("checksum mismatch")
)

// Error says what is wrong with a buffer, and where.
type Error struct {
	// Offset is where, in bytes from the beginning of the buffer.
	Offset int

	// Message is what the service answers, with the code OTSParameterInvalid:
	// a text of the section "PlainBuffer encoding" of the vendor's error code
	// reference. For what has no text of its own there it is the general
	// one, which is a guess.
	Message string

	text  string
	cause error
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.text, e.Offset) }

// Unwrap returns ErrTruncated, ErrChecksum or nil.
func (e *Error) Unwrap() error { return e.cause }

const generalMessage = "data format is invalid."

// Decode reads a whole buffer, header included. What it returns is an [*Error].
//
// It accepts a row without a key, and a key or columns without a cell, as
// pre-images of stream records may be; the service refuses them in a request,
// and the caller has to see to that. So it is with everything that takes more
// than this encoding to judge: which ops, values and times go together, ranges
// of timestamps, names, UTF-8, doubles that are no number.
//
// Nothing of the result aliases b. The names and values of one result share
// one copy of b, and its cells and values a block of memory each: who keeps a
// part of it for long keeps all of it, unless they copy that part
// ([strings.Clone]). To append to a Key or Columns of it is safe.
//
// What it allocates is bounded by the length of b, at most 24 times that and
// 1 KiB, and not by the lengths that b states.
func Decode(b []byte) ([]Row, error) { return decode(string(b), false) }

// DecodeRow reads a buffer that holds exactly one row. All that is said of
// [Decode] holds. Zeros may come after the row: the vendor's client for Node
// counts the keys of a range and the changes of an UpdateRow as longer than they
// are, and sends the rest of its buffer too (npm tablestore 5.6.5,
// lib/protocol/plian_buffer_builder.js).
func DecodeRow(b []byte) (Row, error) {
	rows, err := decode(string(b), true)
	if err != nil {
		return Row{}, err
	}
	return rows[0], nil
}

// DecodeValue reads a value as [AppendValue] writes it; all of b must be it.
func DecodeValue(b []byte) (Value, error) {
	p := parser{s: string(b)}
	v := p.value(p.s, 0)
	if p.err != nil {
		return Value{}, p.err
	}
	return v, nil
}

func decode(s string, one bool) ([]Row, error) {
	p := parser{s: s, one: one}
	p.buffer()
	if p.err != nil {
		return nil, p.err
	}
	p = parser{
		s: s, one: one, fill: true,
		rows: make([]Row, 0, p.nRows), cells: make([]Cell, 0, p.nCells),
		values: make([]Value, 0, p.nValues), exts: make([]Extension, 0, p.nExts),
	}
	p.buffer()
	if p.err != nil {
		return nil, p.err
	}
	return p.rows, nil
}

// parser goes over a buffer twice: first to see that its frame is sound and how
// much is in it, then, with fill, to look at values, to verify the checksums
// and to keep what it reads. So every block is allocated once, in its size,
// and only for what is there. The first error stays, and after it all reads
// return zero, which is no tag.
type parser struct {
	s    string
	at   int
	err  error // an *Error, or nil
	one  bool  // there must be one row
	fill bool

	nRows, nCells, nValues, nExts int

	rows   []Row
	cells  []Cell
	values []Value
	exts   []Extension
}

func (p *parser) fail(at int, cause error, message, text string) {
	if p.err == nil {
		p.err = &Error{Offset: at, Message: message, text: text, cause: cause}
	}
	p.at = len(p.s)
}

func (p *parser) truncated(what string) {
	p.fail(p.at, ErrTruncated, generalMessage, fmt.Sprintf("%v: %s", ErrTruncated, what))
}

func (p *parser) wrongTag(tag, want byte, message, what string) {
	if message == "" {
		message = fmt.Sprintf("Cell data broken, mismatch tag, actual tag(%d), expect(%d).", tag, want)
	}
	p.fail(p.at-1, nil, message, fmt.Sprintf("tag 0x%02x instead of %s", tag, what))
}

func (p *parser) wrongSum(at int, got, want byte, what string) {
	p.fail(at, ErrChecksum, fmt.Sprintf("Cell data broken, checksum is mismatch, %d :%d :", got, want),
		fmt.Sprintf("%s data broken, %v: 0x%02x instead of 0x%02x", what, ErrChecksum, got, want))
}

func (p *parser) byte(what string) byte {
	if p.at >= len(p.s) {
		p.truncated(what)
		return 0
	}
	b := p.s[p.at]
	p.at++
	return b
}

// take returns the next n bytes, or nothing if there are fewer.
func (p *parser) take(n uint32, what string) string {
	if uint64(n) > uint64(len(p.s)-p.at) {
		p.truncated(what)
		return ""
	}
	s := p.s[p.at : p.at+int(n)]
	p.at += int(n)
	return s
}

// block returns the bytes that their length goes before.
func (p *parser) block(what string) string {
	s := p.take(4, what)
	if len(s) < 4 {
		return ""
	}
	return p.take(u32(s), what)
}

func u32(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func u64(s string) uint64 {
	_ = s[7]
	return uint64(u32(s)) | uint64(u32(s[4:]))<<32
}

func (p *parser) buffer() {
	s := p.take(4, "header")
	if p.err != nil {
		return
	}
	if h := u32(s); h != header {
		p.fail(0, nil, fmt.Sprintf("Cell data broken, mismatch header, actual: %d, expect: %d.", h, header),
			fmt.Sprintf("header 0x%08x instead of 0x%08x", h, header))
		return
	}
	if p.one {
		p.row()
		if p.err == nil && strings.Trim(p.s[p.at:], "\x00") != "" {
			p.fail(p.at, nil, generalMessage, "more than the one row")
		}
		return
	}
	for p.at < len(p.s) {
		p.row()
	}
}

func (p *parser) row() {
	var row Row
	p.nRows++
	tag, sum := p.byte("row"), byte(0)
	if tag != tagKey && tag != tagColumns {
		p.wrongTag(tag, tagKey, "", "a row")
		return
	}
	if tag == tagKey {
		row.Key, sum, tag = p.part(sum, "")
	}
	if tag == tagColumns {
		row.Columns, sum, tag = p.part(sum, "Cell data broken, attr has no name.")
	}
	if tag == tagDelete {
		row.Delete = true
		tag = p.byte("row")
	}
	if tag == tagExtension {
		row.Ext = p.extension()
		tag = p.byte("row")
	}
	if tag != tagRowChecksum {
		p.wrongTag(tag, tagRowChecksum, "Cell data broken, row is not end with checksum tag.", "the checksum of the row")
		return
	}
	got := p.byte("checksum of the row")
	if !p.fill || p.err != nil {
		return
	}
	if sum = finish(sum, row.Delete); got != sum {
		p.wrongSum(p.at-1, got, sum, "row")
		return
	}
	p.rows = append(p.rows, row)
}

// part reads the cells of a key or of columns, and returns them with the
// checksum of the row so far and the tag after them.
func (p *parser) part(sum byte, noName string) (cells []Cell, _, tag byte) {
	from := len(p.cells)
	for tag = p.byte("row"); tag == tagCell; tag = p.byte("row") {
		sum = tables[0][sum^p.cell(noName)]
	}
	if to := len(p.cells); to > from {
		cells = p.cells[from:to:to]
	}
	return cells, sum, tag
}

// cell reads a cell after its tag and returns its checksum.
func (p *parser) cell(noName string) byte {
	p.nCells++
	tag := p.byte("cell")
	if tag != tagName {
		p.wrongTag(tag, tagName, noName, "the name of a cell")
		return 0
	}
	c := Cell{Name: p.block("name")}
	var value, op, time string
	tag = p.byte("cell")
	if tag == tagValue {
		p.nValues++
		value = p.block("value")
		if p.fill {
			p.values = append(p.values, p.value(value, p.at-len(value)))
			c.Value = &p.values[len(p.values)-1]
		}
		tag = p.byte("cell")
	}
	if tag == tagOp {
		if op = p.take(1, "op"); op != "" {
			c.Op = Op(op[0])
		}
		if c.Op != DeleteAll && c.Op != DeleteOne && c.Op != Increment {
			p.fail(p.at-1, nil, generalMessage, fmt.Sprintf("unknown op 0x%02x", byte(c.Op)))
		}
		tag = p.byte("cell")
	}
	if tag == tagTime {
		if time = p.take(8, "timestamp"); time != "" {
			c.Time, c.HasTime = int64(u64(time)), true
		}
		tag = p.byte("cell")
	}
	if tag != tagCellChecksum {
		p.wrongTag(tag, tagCellChecksum, "Cell data broken, cell is not end with checksum[0x0A] tag.", "the checksum of the cell")
		return 0
	}
	got := p.byte("checksum of the cell")
	if !p.fill || p.err != nil {
		return got
	}
	// On the wire the op goes before the timestamp, here after it.
	if sum := checksum(checksum(checksum(checksum(0, c.Name), value), time), op); got != sum {
		p.wrongSum(p.at-1, got, sum, "cell")
		return 0
	}
	p.cells = append(p.cells, c)
	return got
}

// value reads all of s, which begins at the given offset, as one value.
func (p *parser) value(s string, at int) (v Value) {
	if p.err != nil {
		return v
	}
	if s == "" {
		p.fail(at, nil, generalMessage, "value without a type")
		return v
	}
	v.Kind = Kind(s[0])
	var want int
	switch v.Kind {
	case Integer, Double:
		want = 9
	case Boolean:
		want = 2
	case String, Blob:
		want = max(5, len(s))
	case Null, InfMin, InfMax, AutoIncrement:
		want = 1
	default:
		p.fail(at, nil, "data format is invalid, unknown variant type occured.", fmt.Sprintf("value of unknown type 0x%02x", s[0]))
		return v
	}
	if len(s) != want {
		message := "Cell data broken, has more data in cell, but they can't be parsed."
		switch {
		case v.Kind == Boolean:
			message = fmt.Sprintf("Invalid boolean real value, value length: %d.", len(s))
		case len(s) < want:
			message = generalMessage
		}
		p.fail(at, nil, message, fmt.Sprintf("%s of %d bytes instead of %d", v.Kind, len(s), want))
		return v
	}
	switch v.Kind {
	case Integer:
		v.Int = int64(u64(s[1:]))
	case Double:
		v.Double = math.Float64frombits(u64(s[1:]))
	case Boolean:
		if v.Int = int64(s[1]); v.Int > 1 {
			p.fail(at+1, nil, generalMessage, fmt.Sprintf("boolean that is 0x%02x", s[1]))
		}
	case String, Blob:
		v.Bytes = s[5:]
		if n := u32(s[1:]); uint64(n) != uint64(len(v.Bytes)) {
			p.fail(at+1, nil, fmt.Sprintf("Cell data broken, wrong string format, size: %d.", n),
				fmt.Sprintf("%s said to have %d bytes in a value that holds %d of it", v.Kind, n, len(v.Bytes)))
		}
	}
	return v
}

// extension reads an extension after its tag. Parts of unknown tags are
// skipped by their length, as the vendor's Java client does.
func (p *parser) extension() (ext *Extension) {
	parts := p.block("extension")
	if p.err != nil {
		return nil
	}
	in := parser{s: p.s[:p.at], at: p.at - len(parts)} // nothing reads beyond the end of the extension
	for in.err == nil && in.at < len(in.s) {
		at := in.at
		tag := in.byte("extension")
		if tag <= tagIndex && tag != tagSequence && tag != 0 {
			in.wrongTag(tag, tagSequence, "", "a part of the extension")
			break
		}
		body := in.block("extension")
		if in.err != nil || tag != tagSequence {
			continue
		}
		if len(body) != sequenceLen || body[0] != tagEpoch || body[5] != tagMicros || body[14] != tagIndex {
			in.fail(at, nil, generalMessage, "extension whose sequence is not epoch, time and index")
			break
		}
		p.nExts++
		if p.fill {
			p.exts = append(p.exts, Extension{
				Epoch: int32(u32(body[1:])), Micros: int64(u64(body[6:])), Index: int32(u32(body[15:])),
			})
			ext = &p.exts[len(p.exts)-1]
		}
	}
	if in.err != nil {
		p.err, p.at = in.err, len(p.s)
	}
	return ext
}
