package ledger

var children = map[string]func(dir string) error{}
