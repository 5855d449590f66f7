package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// FileFacts is what the system says of a file or folder, without opening it.
type FileFacts struct {
	Path    string
	What    string // secret of provider bind, data folder
	Missing bool
	Err     string
	Mode    fs.FileMode
	UID     uint32
	Me      uint32 // who runs this check
	Size    int64
	Needed  bool // by a controller in shadow, too
}

// LookAt asks for the facts of one path, following links as whoever opens it
// does.
func LookAt(path, what string) FileFacts {
	f := FileFacts{Path: path, What: what, Me: uint32(os.Geteuid())}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Missing = true
		return f
	case err != nil:
		f.Err = plain(err)
		return f
	}
	f.Mode, f.Size = info.Mode(), info.Size()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID = st.Uid
	}
	return f
}

// JudgeSecret holds a secret file to the rule by which it is read: a regular
// file of root or of the user of the controller, for its owner alone.
func JudgeSecret(f FileFacts) Finding {
	const id = "files.secrets"
	switch mode := f.Mode.Perm(); {
	case f.Missing && f.Needed:
		return bad(Fail, id, f.Path, "make it: see docs/config.md at its key", "the %s is not there, and the controller needs it", f.What)
	case f.Missing:
		return bad(Warn, id, f.Path, "put it there, mode 0600: what needs it does not work until then; without that of a provider only pointsman run --shadow does", "the %s is not there", f.What)
	case f.Err != "":
		return bad(Fail, id, f.Path, "let the user of the controller reach it", "the %s cannot be looked at: %s", f.What, f.Err)
	case !f.Mode.IsRegular():
		return bad(Fail, id, f.Path, "put a plain file there", "the %s is no plain file but %s", f.What, f.Mode.Type())
	case mode&0o077 != 0:
		return bad(Fail, id, f.Path, "chmod 600 "+f.Path+"; if others had access, make a new secret", "the %s has mode %04o: others may read or change it", f.What, mode)
	case f.UID != f.Me && f.UID != 0 && f.Me != 0:
		return bad(Fail, id, f.Path, "chown it to the user that runs pointsman", "the %s belongs to uid %d, and this is uid %d", f.What, f.UID, f.Me)
	case f.Size == 0:
		return bad(Fail, id, f.Path, "write the secret into it", "the %s is empty", f.What)
	}
	return okay(id, f.Path, "the %s has mode %04o", f.What, f.Mode.Perm())
}

// JudgeFolder holds the data folder to the rule of the ledger.
func JudgeFolder(f FileFacts) Finding {
	const id = "files.data"
	switch mode := f.Mode.Perm(); {
	case f.Missing:
		return okay(id, f.Path, "not there yet: the controller makes it, mode 0700")
	case f.Err != "":
		return bad(Fail, id, f.Path, "let the user of the controller reach it", "cannot be looked at: %s", f.Err)
	case !f.Mode.IsDir():
		return bad(Fail, id, f.Path, "write another controller.data", "is no folder but %s", orElse(f.Mode.Type().String(), "a file"))
	case mode&0o002 != 0:
		return bad(Fail, id, f.Path, "chmod o-w "+f.Path, "everybody may write into it (mode %04o), and put another ledger there", mode)
	case f.UID != f.Me && f.UID != 0 && f.Me != 0:
		return bad(Fail, id, f.Path, "chown it to the user that runs pointsman", "it belongs to uid %d, and this is uid %d", f.UID, f.Me)
	case mode&0o077 != 0:
		return bad(Warn, id, f.Path, "chmod 700 "+f.Path, "others may look into it (mode %04o)", mode)
	}
	return okay(id, f.Path, "mode %04o, uid %d", f.Mode.Perm(), f.UID)
}

// BackupFacts is what looks like a copy of the ledger.
type BackupFacts struct {
	Dir    string
	Newest string // path; empty: none was seen
	Age    time.Duration
	Ledger bool // there is a ledger to copy
}

const backupOld = 7 * 24 * time.Hour

// JudgeBackup says how old the newest copy is.
func JudgeBackup(b BackupFacts) Finding {
	const id = "ledger.backup"
	const how = "stop the controller for a moment and copy ledger.db, or copy the folder by a snapshot of the disk"
	switch {
	case !b.Ledger:
		return Skip(id, b.Dir, "there is no ledger yet")
	case b.Newest == "":
		return Skip(id, b.Dir, "no copy lies beside the ledger; what is kept elsewhere is not known here (%s)", how)
	case b.Age > backupOld:
		return bad(Warn, id, b.Dir, how, "the newest copy, %s, is %s old", b.Newest, fmt.Sprintf("%d days", int(b.Age.Hours()/24)))
	}
	return okay(id, b.Dir, "%s is %s old", b.Newest, b.Age.Round(time.Minute))
}
