package main

import (
	"bytes"
	"sync"
	"syscall"
)

// nilSignal asks only whether a process is there.
const nilSignal = syscall.Signal(0)

// syncBuffer may be read while a program writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
