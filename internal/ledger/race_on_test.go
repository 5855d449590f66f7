//go:build race

package ledger

// thorough divides the amount of random work. Under the race detector SQLite,
// which is Go code too, runs an order of magnitude slower; races show in few
// rounds, torn files want many.
const thorough = 8
