package replication

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pointsman/replication/ots"
)

// How a text is laid out. A value may have 2 MB and a row 4: a longer text goes
// on in rows of its own, which are written before the row that names them.
const (
	textCell  = 1 << 20              // bytes of a text in one cell
	textCells = 3                    // of one row
	textRow   = textCells * textCell // bytes
	textParts = 64                   // rows of one text, at most
)

// errVersion: a text of another release.
var errVersion = errors.New("written by another release of this program")

// Save makes rows durable. Each is all or nothing; of several, those before the
// fault may be durable and those after it too.
func (c *control) Save(ctx context.Context, rows ...saved) error {
	g, gctx := newTeam(ctx)
	g.SetLimit(controlCalls)
	for _, s := range rows {
		g.Go(func() error { return c.save(gctx, s) })
	}
	return g.Wait()
}

// nameOf is the row of a table; that of the instance has no table.
func nameOf(table string) string {
	if table == "" {
		return rowInstance
	}
	return rowsTable + table
}

func partName(row string, number int64, part int) string {
	return fmt.Sprintf("%s%s/%d/%d", rowsPart, row, number, part)
}

// partOf says what a row goes on of. Names of tables have no slash.
func partOf(name string) (row string, number int64, ok bool) {
	rest, ok := strings.CutPrefix(name, rowsPart)
	if !ok {
		return "", 0, false
	}
	fields := strings.Split(rest, "/")
	if len(fields) < 3 {
		return "", 0, true // of nothing
	}
	number, err := strconv.ParseInt(fields[len(fields)-2], 10, 64)
	if err != nil {
		return "", 0, true
	}
	return strings.Join(fields[:len(fields)-2], "/"), number, true
}

func (c *control) slot(row string) (*slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == nil {
		return nil, errors.New("the rows are not claimed")
	}
	s := c.slots[row]
	if s == nil {
		s = &slot{}
		c.slots[row] = s
	}
	return s, nil
}

func (c *control) save(ctx context.Context, what saved) error {
	row := nameOf(what.Table)
	text, err := encodeSaved(what)
	if err != nil {
		return c.fault(row, err)
	}
	s, err := c.slot(row)
	if err != nil {
		return c.fault(row, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.write(ctx, s, row, text); err != nil {
		return c.lost(ctx, row, err)
	}
	return nil
}

// write writes a text under a new number, and then removes the parts of the one
// before. The slot is locked.
func (c *control) write(ctx context.Context, s *slot, row string, text []byte) error {
	groups := slices.Collect(slices.Chunk(text, textRow))
	if len(groups) > textParts {
		return fmt.Errorf("%d MB are too much for one table", len(text)>>20)
	}
	older := ots.Condition{Column: colToken, Is: ots.LessEqual, Value: c.token, Missing: true}
	put := func(name string, group []byte, more ...ots.Cell) error {
		if err := c.cfg.May(); err != nil {
			return err
		}
		cells := append([]ots.Cell{{Name: colToken, Value: c.token}, {Name: colBy, Value: c.cfg.By}}, more...)
		return c.cfg.Client.PutIf(ctx, c.cfg.Table, ots.Row{Key: c.key(name), Cells: append(cells, textCellsOf(group)...)}, older)
	}
	// A number is used once, also by a write whose answer is lost: the row that
	// is there may name it.
	s.used = max(s.used, s.number) + 1
	number, was, wasParts := s.used, s.number, s.parts
	for i, group := range groups[1:] {
		if err := put(partName(row, number, i), group); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(text)
	err := put(row, groups[0], ots.Cell{Name: colNumber, Value: number}, ots.Cell{Name: colParts, Value: int64(len(groups) - 1)},
		ots.Cell{Name: colSum, Value: hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	s.number, s.parts = number, int64(len(groups)-1)
	for i := range int(wasParts) {
		// What stays for want of an answer means nothing; the next claim takes it.
		if c.remove(ctx, partName(row, was, i), older) != nil {
			break
		}
	}
	return nil
}

func textCellsOf(group []byte) []ots.Cell {
	var cells []ots.Cell
	for chunk := range slices.Chunk(group, textCell) {
		cells = append(cells, ots.Cell{Name: colText + strconv.Itoa(len(cells)), Value: chunk})
	}
	return cells
}

// Load reads all rows, by table; that of the instance is under the empty name.
// A row that is broken is in PhaseGap with the reason, for what it said is
// unknown. A row of another release is an error.
func (c *control) Load(ctx context.Context) (map[string]saved, error) {
	now, there, err := c.readClaim(ctx)
	if err != nil {
		return nil, c.fault("load", err)
	}
	if !there {
		return map[string]saved{}, nil
	}
	if now.token > c.token {
		return nil, c.superseded(now)
	}
	all, err := c.rows(ctx)
	if err != nil {
		return nil, c.fault("load", err)
	}
	byName := make(map[string]values, len(all))
	for _, r := range all {
		if v := valuesOf(r.Row); v.text(colToken) >= now.whole {
			byName[r.name] = v
		}
	}
	out := make(map[string]saved)
	for name := range byName {
		table, isTable := strings.CutPrefix(name, rowsTable)
		switch {
		case name == rowInstance:
			table = ""
		case !isTable:
			continue
		}
		s, err := readText(byName, name)
		if err == nil && s.Table != table {
			err = fmt.Errorf("the text is of table %q", s.Table)
		}
		switch {
		case errors.Is(err, errVersion):
			return nil, c.fault(name, err)
		case err != nil && table == "":
			return nil, c.fault(name, err) // an order that cannot be read is not ignored
		case err != nil:
			s = saved{Table: table, Phase: PhaseGap, Why: "what was saved cannot be read: " + err.Error()}
		}
		out[table] = s
	}
	return out, nil
}

// readText puts a text together and reads it.
func readText(rows map[string]values, name string) (saved, error) {
	head := rows[name]
	number, parts := head.number(colNumber), head.number(colParts)
	if parts < 0 || parts >= textParts {
		return saved{}, fmt.Errorf("%d parts", parts)
	}
	text := appendChunks(nil, head)
	for i := range int(parts) {
		part, ok := rows[partName(name, number, i)]
		if !ok {
			return saved{}, fmt.Errorf("part %d of %d is missing", i+1, parts)
		}
		text = appendChunks(text, part)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != head.text(colSum) {
		return saved{}, errors.New("the checksum is wrong")
	}
	return decodeSaved(text)
}

func appendChunks(text []byte, v values) []byte {
	for i := range textCells {
		b, _ := v.cell(colText + strconv.Itoa(i)).Value.([]byte)
		text = append(text, b...)
	}
	return text
}
