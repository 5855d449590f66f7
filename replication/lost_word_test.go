package replication

import (
	"testing"
	"time"

	"pointsman/replication/ots"
)

// TestTheLastWordOnALostRow: an update that was superseded says nothing of the
// columns that earlier ones changed.
func TestTheLastWordOnALostRow(t *testing.T) {
	type write struct {
		action  ots.Action
		class   string
		columns string // one letter each
	}
	for name, c := range map[string]struct {
		writes []write
		lost   bool
	}{
		"lost, another column superseded":  {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.UpdateRow, ClassOlder, "b"}}, true},
		"lost, the same column superseded": {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.UpdateRow, ClassOlder, "a"}}, false},
		"two lost, one of them superseded": {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.UpdateRow, ClassDiffers, "b"}, {ots.UpdateRow, ClassOlder, "b"}}, true},
		"two lost, both superseded":        {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.UpdateRow, ClassDiffers, "b"}, {ots.UpdateRow, ClassOlder, "ab"}}, false},
		"lost, the whole row superseded":   {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.PutRow, ClassOlder, "b"}}, false},
		"a delete, then an update":         {[]write{{ots.DeleteRow, ClassDeleted, ""}, {ots.UpdateRow, ClassOlder, "a"}}, true},
		"lost, then crossed":               {[]write{{ots.UpdateRow, ClassDiffers, "a"}, {ots.UpdateRow, ClassCrossed, "b"}}, false},
		"superseded, then lost":            {[]write{{ots.UpdateRow, ClassOlder, "a"}, {ots.UpdateRow, ClassDiffers, "b"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Instance: "orders", Dir: t.TempDir()}
			k := ending{Op: "orders-1.2", From: "a", To: "b", At: time.Now(), Tables: []cutTable{{Table: "orders"}}}
			l, err := openLoss(&cfg, k)
			if err != nil {
				t.Fatal(err)
			}
			var writes []judged
			for i, w := range c.writes {
				rec := ots.Record{Action: w.action, Key: keyOf(1), Seq: ots.Sequence{Time: int64(i + 1)}}
				for _, name := range w.columns {
					rec.Cells = append(rec.Cells, ots.Cell{Name: string(name), Version: 1})
				}
				writes = append(writes, judged{rec, w.class})
			}
			if err := l.add("orders", shardID{"s", "1"}, writes); err != nil {
				t.Fatal(err)
			}
			l.close()
			again, err := openLoss(&cfg, k)
			if err != nil {
				t.Fatal(err)
			}
			defer again.close()
			for _, of := range []*loss{l, again} {
				if n := of.summary().Rows; (n == 1) != c.lost {
					t.Errorf("%d rows are lost, want %t", n, c.lost)
				}
			}
		})
	}
}
