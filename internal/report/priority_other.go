//go:build !linux

package report

func lowPriority() {}
