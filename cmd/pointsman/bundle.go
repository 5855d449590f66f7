package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/api"
	"pointsman/internal/config"
	"pointsman/internal/failover"
)

// Bounds of a bundle: it is sent by mail and looked at by people.
const (
	maxPart      = 8 << 20  // bytes of one part
	maxBundle    = 64 << 20 // bytes of all parts, before they are compressed
	maxDetailed  = 200      // instances that have parts of their own
	bundleWithin = 2 * time.Minute
)

// bundlePart is one file of a bundle.
type bundlePart struct {
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	Cut    string `json:"cut,omitempty"` // what of it was left out, and why
}

// missingPart is what could not be had.
type missingPart struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// manifest is MANIFEST.json, the last file of a bundle.
type manifest struct {
	MadeAt  time.Time     `json:"made_at"`
	By      string        `json:"by"`
	Program api.Version   `json:"program"` // that made it
	Since   time.Time     `json:"since"`   // of history, audit and probes
	Parts   []bundlePart  `json:"parts"`
	Missing []missingPart `json:"missing"`
}

// bundleResult is what bundle prints.
type bundleResult struct {
	File    string        `json:"file"`
	Bytes   int64         `json:"bytes"`
	SHA256  string        `json:"sha256"`
	Parts   []bundlePart  `json:"parts"`
	Missing []missingPart `json:"missing,omitempty"`
}

const bundleLong = `Gather everything about an incident into one file: versions, what is configured,
status, explanations, history, recorded votes, audit with the check of its chain,
probes, metrics, secondaries, health reports, the score, what channels did, the
findings of pointsman doctor, and facts of this host.
Where no controller answers, the ledger's file is read instead, and MANIFEST.json
says what is missing and why.

No secret file is opened, and what looks like a secret in the words of others
(URLs of webhooks, tokens, keys) is masked. The file is new, mode 0600.`

func (a *app) bundleCommand() *cobra.Command {
	var out []string
	var since string
	cmd := &cobra.Command{
		Use:   "bundle [INSTANCE…]",
		Short: "Gather everything about an incident into one file, without secrets",
		Long:  bundleLong,
		Example: `  pointsman bundle -c pointsman.yaml
  pointsman bundle orders --since 2h --output incident.tar.gz -o json`,
		ValidArgsFunction: a.completeInstances,
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			for _, o := range out {
				switch {
				case isOutput(o):
					a.output = outputFormat(o)
				case file != "":
					return failed("give one of them", "both %s and %s are given as the file", file, o)
				default:
					file = o
				}
			}
			q, err := (&listFlags{since: since, limit: api.MaxPage}).query(nil)
			if err != nil {
				return err
			}
			src, err := a.bundleSource()
			if err != nil {
				return err
			}
			return a.bundle(cmd.Context(), src, args, q, file)
		},
	}
	cmd.Flags().StringArrayVarP(&out, "output", "o", nil, "table, json or yaml; anything else is the `FILE` to write (default pointsman-NAME-TIME.tar.gz)")
	cmd.Flags().StringVar(&since, "since", "24h", "of history, audit and probes what is younger: a `DURATION`, or an RFC 3339 time with zone")
	return cmd
}

// bundleSource is what a bundle is made of: the configuration or, where the
// file has mistakes, what of it says where the controller is. A file that
// nobody can load is no reason to have nothing.
type bundleSource struct {
	cfg *config.Config // nil: it has mistakes
	ctl config.Controller
	why string // without cfg
}

func (a *app) bundleSource() (bundleSource, error) {
	file := orElse(a.config, defaultConfig)
	cfg, err := config.Load(file)
	if err == nil {
		return bundleSource{cfg: cfg, ctl: cfg.Controller}, nil
	}
	ctl, cerr := config.LoadController(file)
	if cerr != nil {
		return bundleSource{}, configError(err)
	}
	text, _ := splitHint(configError(err))
	return bundleSource{ctl: ctl, why: text}, nil
}

func (a *app) bundle(ctx context.Context, src bundleSource, args []string, q api.Query, file string) error {
	ctx, cancel := context.WithTimeout(ctx, bundleWithin)
	defer cancel()
	names, err := src.names(args)
	if err != nil {
		return err
	}
	if file == "" {
		file = fmt.Sprintf("pointsman-%s-%s.tar.gz", orElse(src.ctl.Name, "controller"), time.Now().UTC().Format("20060102T150405Z"))
	}
	b, err := newBundle(file)
	if err != nil {
		return err
	}
	b.man.MadeAt, b.man.By, b.man.Program, b.man.Since = time.Now().UTC(), a.who(), buildVersion(), q.Since.UTC()
	a.gather(ctx, b, src, names, q)
	r, err := b.finish()
	if err != nil {
		b.drop()
		return failed("free the disk, or name another file by --output", "write %s: %w", file, err)
	}
	return a.print(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %d parts, %d bytes, SHA-256 %s\n", clean(r.File), len(r.Parts), r.Bytes, r.SHA256)
		for _, p := range r.Parts {
			if p.Cut != "" {
				fmt.Fprintf(w, "  cut: %s: %s\n", clean(p.Name), clean(p.Cut))
			}
		}
		for _, m := range r.Missing {
			fmt.Fprintf(w, "  missing: %s: %s\n", clean(m.Name), flat(m.Why))
		}
	})
}

// names are the instances that a bundle has parts of, in the order of the
// config; nil: all that the controller knows.
func (s bundleSource) names(args []string) ([]failover.InstanceName, error) {
	if s.cfg != nil {
		for _, arg := range args {
			if _, err := instanceNamed(s.cfg, arg); err != nil {
				return nil, err
			}
		}
		if len(args) == 0 {
			for _, i := range s.cfg.Instances {
				args = append(args, string(i.Policy.Instance))
			}
		}
	}
	var out []failover.InstanceName
	for _, arg := range args {
		out = append(out, failover.InstanceName(arg))
	}
	return out, nil
}

// instanceNamed finds an instance of a configuration by its name.
func instanceNamed(cfg *config.Config, name string) (config.Instance, error) {
	var known []string
	for _, i := range cfg.Instances {
		if string(i.Policy.Instance) == name {
			return i, nil
		}
		known = append(known, string(i.Policy.Instance))
	}
	hint := didYouMean(known, 0)
	if n := nearest(name, known); n != "" {
		hint = fmt.Sprintf("did you mean %s?", n)
	}
	return config.Instance{}, failed(hint, "%s has no instance %q", cfg.File, name)
}

// bundle is a file that is being written.
type bundle struct {
	file *os.File
	zip  *gzip.Writer
	tar  *tar.Writer
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
	man  manifest
	used int
	err  error // the first of writing; everything after it is dropped
}

// newBundle makes the file. One that is there is somebody else's.
func newBundle(path string) (*bundle, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case errors.Is(err, os.ErrExist):
		return nil, failed("name another file by --output", "%s is there already", path)
	case err != nil:
		return nil, failed("name a file in a folder that you may write, by --output", "make bundle: %w", err)
	}
	b := &bundle{file: f, sum: sha256.New()}
	b.zip = gzip.NewWriter(io.MultiWriter(f, b.sum))
	b.tar = tar.NewWriter(b.zip)
	return b, nil
}

// add writes one part, masked and within the bounds. cut says what was left
// out already.
func (b *bundle) add(name string, data []byte, cut string) {
	data = scrub(data)
	if len(data) > maxPart {
		cut = joinWords(cut, fmt.Sprintf("the first %d of %d bytes", maxPart, len(data)))
		data = data[:maxPart]
	}
	if b.used+len(data) > maxBundle {
		b.miss(name, fmt.Sprintf("the bundle has %d bytes already, and takes %d", b.used, maxBundle))
		return
	}
	b.write(name, data)
	sum := sha256.Sum256(data)
	b.man.Parts = append(b.man.Parts, bundlePart{Name: name, Bytes: len(data), SHA256: hex.EncodeToString(sum[:]), Cut: cut})
}

func (b *bundle) write(name string, data []byte) {
	if b.err != nil {
		return
	}
	b.used += len(data)
	b.err = b.tar.WriteHeader(&tar.Header{Name: "pointsman-bundle/" + name, Mode: 0o600, Size: int64(len(data)), ModTime: b.man.MadeAt, Format: tar.FormatPAX})
	if b.err == nil {
		_, b.err = b.tar.Write(data)
	}
}

// json adds a value as JSON with times in UTC.
func (b *bundle) json(name string, v any, cut string) {
	data, err := json.MarshalIndent(utc(v), "", " ")
	if err != nil {
		b.miss(name, err.Error())
		return
	}
	b.add(name, append(data, '\n'), cut)
}

func (b *bundle) miss(name, why string) {
	b.man.Missing = append(b.man.Missing, missingPart{Name: name, Why: string(scrub([]byte(why)))})
}

// finish writes the manifest and makes the file durable.
func (b *bundle) finish() (bundleResult, error) {
	data, err := json.MarshalIndent(b.man, "", " ")
	if err != nil {
		return bundleResult{}, err
	}
	b.write("MANIFEST.json", append(data, '\n'))
	err = errors.Join(b.err, b.tar.Close(), b.zip.Close(), b.file.Sync())
	info, serr := b.file.Stat()
	if err = errors.Join(err, serr, b.file.Close()); err != nil {
		return bundleResult{}, err
	}
	path, err := filepath.Abs(b.file.Name())
	if err != nil {
		path = b.file.Name()
	}
	return bundleResult{File: path, Bytes: info.Size(), SHA256: hex.EncodeToString(b.sum.Sum(nil)), Parts: b.man.Parts, Missing: b.man.Missing}, nil
}

// drop removes what could not be finished.
func (b *bundle) drop() {
	b.file.Close()
	_ = os.Remove(b.file.Name()) // half a bundle helps nobody; if it stays, it is private
}

// joinWords puts two remarks together.
func joinWords(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
