// Package ots is Tablestore as the replication needs it: the vendor's SDK made
// cancellable, bounded and silent, with plain values in place of its wrappers.
//
// It decides nothing. Every call ends with its context or after
// [Config.Timeout]; nothing is retried, pooled connections are this package's
// own, the SDK's logger is off, and every error is an [*Error] or a fault of the
// line ([ErrLine]), so that callers can ask what it means ([ClassOf]).
//
// Where the SDK's own methods say too little, its messages are used alone: rows
// are encoded and decoded here, with every operation, version and checksum.
//
//	Write, PutIf, UpdateIf, DeleteIf    changes
//	Get, Range, Splits                  reads
//	Streams, Shards, Iterator, Records  streams
//	Describe, CreateTable, UpdateTable  tables, and GlobalTable
package ots
