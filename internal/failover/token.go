package failover

import (
	"fmt"
	"strings"
)

// Token orders every action that leaves the process: term grows with every
// change of leading controller, epoch with every operation that may move the
// name. Whoever can compare refuses an older one.
type Token struct {
	Term  uint64 `json:"term"`
	Epoch uint64 `json:"epoch"`
}

// Less compares term first, then epoch.
func (t Token) Less(o Token) bool {
	return t.Term < o.Term || t.Term == o.Term && t.Epoch < o.Epoch
}

func (t Token) String() string { return fmt.Sprintf("%d.%d", t.Term, t.Epoch) }

// Mark is the text that stands beside a name, in the TXT record
// _pointsman.<name> (a provider without TXT keeps it as the record's remark).
type Mark struct {
	Token Token  `json:"token"`
	Op    string `json:"op"` // id of the operation that wrote it, or "claim", "adopt", "create"
	By    string `json:"by"` // the controller that wrote it
}

func (m Mark) String() string {
	return fmt.Sprintf("v=1 term=%d epoch=%d op=%s by=%s", m.Token.Term, m.Token.Epoch, m.Op, m.By)
}

// ParseMark reads what Mark.String writes and refuses anything else.
func ParseMark(s string) (Mark, error) {
	var m Mark
	fields := strings.Fields(s)
	if len(fields) != 5 || fields[0] != "v=1" {
		return m, fmt.Errorf("mark %q: want v=1 term= epoch= op= by=", s)
	}
	for i, key := range []string{"term=", "epoch=", "op=", "by="} {
		v, ok := strings.CutPrefix(fields[i+1], key)
		if !ok || v == "" {
			return Mark{}, fmt.Errorf("mark %q: field %d is not %s", s, i+2, key)
		}
		var err error
		switch key {
		case "term=":
			m.Token.Term, err = parseUint(v)
		case "epoch=":
			m.Token.Epoch, err = parseUint(v)
		case "op=":
			m.Op = v
		case "by=":
			m.By = v
		}
		if err != nil {
			return Mark{}, fmt.Errorf("mark %q: %w", s, err)
		}
	}
	return m, nil
}

func parseUint(s string) (uint64, error) {
	var n uint64
	if len(s) == 0 || len(s) > 18 {
		return 0, fmt.Errorf("number %q out of range", s) // below 10^18: sums of two stay in range
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("number %q has a character that is no digit", s)
		}
		n = n*10 + uint64(c-'0')
	}
	return n, nil
}
