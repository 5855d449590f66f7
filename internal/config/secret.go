package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSecret bounds a secret file; the longest that is used has 64 bytes.
const maxSecret = 4 << 10

var (
	// ErrSecretMode: the file can be read or written by others than its owner.
	ErrSecretMode = errors.New("others may read or change it")
	// ErrSecretOwner: the file belongs to somebody who is neither root nor the
	// user that this process runs as.
	ErrSecretOwner = errors.New("it belongs to another user")
	// ErrSecretEmpty: there is nothing in the file.
	ErrSecretEmpty = errors.New("it is empty")
	// ErrSecretForm: no regular file, too large, or holding zero bytes.
	ErrSecretForm = errors.New("it is not a small regular file with text")
)

// ReadSecretFile reads a key, token or TSIG secret and trims white space
// around it. The file must be a regular one that belongs to the user of this
// process or to root and gives group and others no right at all: whoever can
// change a key can vote, and whoever can read it can too. Mode and owner are
// those of the open file, so it cannot be exchanged after the check. Errors
// hold the path and a hint, never the content.
func ReadSecretFile(path string) ([]byte, error) {
	// O_NONBLOCK: a pipe in the file's place must not stop the start.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", path, unwrapPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", path, unwrapPath(err))
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return nil, fmt.Errorf("read secret %s: %w", path, ErrSecretForm)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read secret %s: %w (mode %04o)\nhint: chmod 600 %s", path, ErrSecretMode, mode, path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := checkOwner(st.Uid, os.Geteuid()); err != nil {
			return nil, fmt.Errorf("read secret %s: %w\nhint: chown it to the user that runs pointsman, and chmod 600 %s", path, err, path)
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", path, unwrapPath(err))
	}
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("read secret %s: %w", path, ErrSecretEmpty)
	case len(data) > maxSecret || bytes.IndexByte(data, 0) >= 0:
		return nil, fmt.Errorf("read secret %s: %w", path, ErrSecretForm)
	}
	return data, nil
}

// checkOwner accepts root, who can read everything anyhow and installs the
// files of services.
func checkOwner(owner uint32, me int) error {
	if owner != 0 && int64(owner) != int64(me) {
		return fmt.Errorf("%w (uid %d, not %d)", ErrSecretOwner, owner, me)
	}
	return nil
}

func unwrapPath(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}
