package replication

import "pointsman/replication/ots"

// ownTable is a table of our own.
type ownTable struct {
	table   ots.Table
	purpose string
}

// ownTables are those that each cluster needs, since directions change.
func ownTables(c Config) []ownTable {
	return []ownTable{
		{controlSchema(c.ControlTable), "positions, and who writes"},
		{deadSchema(c.DeadTable), "rows that the target refused"},
	}
}
