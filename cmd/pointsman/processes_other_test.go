//go:build !linux

package main

import "testing"

// alone cannot be seen here.
func (s *secondary) alone(*testing.T) {}
