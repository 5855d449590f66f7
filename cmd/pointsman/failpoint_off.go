//go:build !failpoint

package main

// failpoints is the hook that tests of crashes use; a program built for use
// has none, whatever the environment says.
func failpoints(func(string) string) (func(name string) error, error) { return nil, nil }
