package hook

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pointsman/internal/failover"
)

// Version is that of the contract. A key or a variable may be added under the
// same version; none changes its meaning or goes away.
const Version = 1

// maxReason bounds a reason, in bytes.
const maxReason = 4 << 10

// Body is what a hook is told: on the standard input of a command, and as the
// body of a request.
type Body struct {
	Version    int                   `json:"version"`
	ID         string                `json:"id"` // of this run: operation, side, hook, attempt
	Hook       string                `json:"hook"`
	When       failover.HookWhen     `json:"when"`
	Attempt    int                   `json:"attempt"` // from 1; one with a smaller number may have run
	Test       bool                  `json:"test"`    // by hand: there is no operation
	Controller string                `json:"controller"`
	Instance   failover.InstanceName `json:"instance"`
	Op         failover.HookOp       `json:"op"`
	Deadline   time.Time             `json:"deadline"` // when it is killed
}

func bodyOf(cfg *Config, i failover.InstanceName, a *failover.RunHooks, d *Def, test bool) Body {
	return Body{
		Version: Version, ID: fmt.Sprintf("%s/%s/%s/%d", a.Op.ID, a.When, d.Name, a.Attempt),
		Hook: d.Name, When: a.When, Attempt: a.Attempt, Test: test, Controller: cfg.Controller, Instance: i, Op: a.Op,
	}
}

func (b *Body) json() []byte {
	data, err := json.Marshal(b)
	if err != nil { // plain values always have a JSON form
		panic("hook: the body does not marshal: " + err.Error())
	}
	return append(data, '\n')
}

// env is the whole environment of a command. Nothing of our own goes in.
func (b *Body) env() []string {
	out := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=/"}
	add := func(key, value string) { out = append(out, "POINTSMAN_"+key+"="+oneLine(value, maxReason)) }
	op := &b.Op
	add("HOOK_VERSION", strconv.Itoa(b.Version))
	add("HOOK", b.Hook)
	add("ID", b.ID)
	add("WHEN", string(b.When))
	add("ATTEMPT", strconv.Itoa(b.Attempt))
	add("TEST", strconv.FormatBool(b.Test))
	add("CONTROLLER", b.Controller)
	add("INSTANCE", string(b.Instance))
	add("OP", op.ID)
	add("KIND", string(op.Kind))
	add("FROM", string(op.From))
	add("TO", string(op.To))
	add("AUTO", strconv.FormatBool(op.Auto))
	add("BY", op.By)
	add("REASON", op.Reason)
	add("CHANGE", op.Change)
	add("SINCE", op.Since.UTC().Format(time.RFC3339))
	add("DEADLINE", b.Deadline.Format(time.RFC3339Nano))
	if b.When == failover.HookPost {
		add("OUTCOME", string(op.Outcome))
		add("WHY", op.Why)
	}
	return out
}

// Variables lists what a command finds in its environment besides PATH, LANG
// and HOME.
func Variables() []string {
	b := Body{When: failover.HookPost}
	var out []string
	for _, v := range b.env()[3:] {
		key, _, _ := strings.Cut(v, "=")
		out = append(out, key)
	}
	return out
}

// oneLine makes text of others fit to be shown: printable, on one line, and at
// most so many bytes.
func oneLine(s string, most int) string {
	var out strings.Builder
	blank := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			blank = out.Len() > 0
			continue
		case !unicode.IsPrint(r), r == utf8.RuneError:
			continue
		}
		if out.Len()+utf8.RuneLen(r)+1 > most {
			break
		}
		if blank {
			out.WriteByte(' ')
			blank = false
		}
		out.WriteRune(r)
	}
	return out.String()
}
