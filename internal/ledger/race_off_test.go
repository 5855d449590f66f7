//go:build !race

package ledger

const thorough = 1
