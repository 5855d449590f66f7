package api

import (
	"fmt"
	"slices"
)

// SetToken replaces the bearer token of the TCP listener: requests that come
// later want the new one. It may be called while requests are served. Error:
// ErrNoToken for a short one; nothing was changed then.
func (s *Server) SetToken(token []byte) error {
	if len(token) < MinToken {
		return fmt.Errorf("replace the token: %w (at least %d bytes)", ErrNoToken, MinToken)
	}
	token = slices.Clone(token)
	s.token.Store(&token)
	return nil
}
