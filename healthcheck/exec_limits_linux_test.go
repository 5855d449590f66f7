//go:build linux && (amd64 || arm64)

package healthcheck

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// exits is a program that ends well with its first instructions, by the system
// call exit(0).
var exits = map[string]struct {
	machine elf.Machine
	code    []byte
}{
	"amd64": {elf.EM_X86_64, []byte{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}},
	"arm64": {elf.EM_AARCH64, []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4}},
}

// program writes it as a file that wants so many bytes of data.
func program(t *testing.T, data uint64) string {
	t.Helper()
	const at, page = 0x10000, 0x10000
	is := exits[runtime.GOARCH]
	head := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(is.machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2, Entry: at + 64 + 2*56,
	}
	size := head.Entry - at + uint64(len(is.code))
	parts := []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at, Paddr: at, Filesz: size, Memsz: size, Align: page},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Vaddr: at + page, Paddr: at + page, Memsz: data, Align: page},
	}
	var file bytes.Buffer
	for _, part := range []any{head, parts, is.code} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "check")
	if err := os.WriteFile(path, file.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// The kernel gives a program its data before its first instruction: one that
// wants more than the limit never runs, unless its limits come after its start.
func TestExecHasItsLimitsBeforeItsFirstInstruction(t *testing.T) {
	if _, err := probe(t, runs(program(t, 1<<20))); err != nil {
		t.Errorf("a program with little data: %v", err)
	}
	if _, err := probe(t, runs(program(t, maxData+1<<20))); err == nil {
		t.Error("a program with more data than the limit ran")
	}
}
