package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// readConfig reads a config and warns of rights that let others change it:
// whoever can says where clients are sent. Mode and owner are those of the
// open file.
func readConfig(path string, open opening) ([]byte, Faults, error) {
	f, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := readOpen(f)
	if err != nil {
		return nil, nil, err
	}
	var warnings Faults
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() { // a pipe has no rights that mean anything
		warnings = loose(path, info, os.Geteuid())
	}
	return data, warnings, nil
}

// opening is openAny or openRegular.
type opening func(path string) (*os.File, error)

// openAny opens what a person gave with -c, which may be a pipe.
func openAny(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Fault{File: path, Message: plainErr(err), Hint: "give the path of the config with -c"}
	}
	return f, nil
}

// Rights warns of a file that others may change, and of nothing else.
func Rights(path string) Faults {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return loose(path, info, os.Geteuid())
}

// loose warns of a file that group or others may write or that belongs to
// somebody who is neither me nor root.
func loose(path string, info fs.FileInfo, me int) Faults {
	var out Faults
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		out = append(out, Fault{
			File: path, Hint: "chmod go-w " + path,
			Message: fmt.Sprintf("others than its owner may change this file (mode %04o), and with it where clients are sent", mode),
		})
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := checkOwner(st.Uid, me); errors.Is(err, ErrSecretOwner) {
			out = append(out, Fault{
				File: path, Hint: "chown it to the user that runs pointsman, or to root",
				Message: fmt.Sprintf("this file belongs to uid %d, who is neither the user of this process (%d) nor root", st.Uid, me),
			})
		}
	}
	return out
}
