package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pointsman/internal/lab/tablestore"
)

// tableLab is what the flags of tablestore say.
type tableLab struct {
	name                      string
	listen, tlsListen, manage string
	control, account          string
	vpcs                      []string
	tlsNames, instances, keys []string
	keyFile, dataDir, region  string
	ready, clock              time.Duration
	output                    string
}

func (a *app) tablestoreCommand() *cobra.Command {
	var c tableLab
	cmd := &cobra.Command{
		Use:   "tablestore",
		Short: "Run a Tablestore on loopback for the vendor's own clients, with faults on demand",
		Long: `Run a Tablestore on loopback until Ctrl-C, or tell one that runs what to do:
tables, rows and streams for the vendor's own clients, and a management API that
lets calls go wrong by count. docs/lab-tablestore.md says what is exact, what is
approximated and what is guessed.

The first key, the token of the management API and the addresses are written to
tablestore.env in the work folder, mode 0600, as lines for a shell; all keys to
tablestore-keys.json, mode 0600; with TLS the certificate of its issuer to
tablestore-ca.pem. They are taken away at the end. --name lets several run with
one work folder: --name east writes east.env, and the verbs take --name east.

Without --data-dir everything is in memory. With it, what was acknowledged is
there again after a kill -9.`,
		Example: `  pointsman-lab tablestore
  pointsman-lab tablestore --name east --listen 127.0.0.1:8801 --data-dir east --instance orders --key-file keys.json
  pointsman-lab tablestore --tls-name orders.cn-hangzhou.ots.aliyuncs.com
  pointsman-lab tablestore fault error --code OTSServerBusy --operation PutRow --times 3
  pointsman-lab tablestore fault drop --after --operation BatchWriteRow
  pointsman-lab tablestore fault partition --table orders --of k42 --for 100ms
  pointsman-lab tablestore requests --table orders --last 20
  pointsman-lab tablestore kill --name east`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&c.name, "name", "tablestore", "`NAME` of this one among those of the work folder")
	cmd.PersistentFlags().StringVarP(&c.output, "output", "o", "table", "`FORMAT` of what is printed: table or json")
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", "127.0.0.1:0", "`ADDRESS` of the service, ip:port on loopback")
	f.StringVar(&c.tlsListen, "tls-listen", "", "`ADDRESS` of the service over TLS, ip:port on loopback; any free port with --tls-name, else none")
	f.StringArrayVar(&c.tlsNames, "tls-name", nil, "a `NAME` that the certificate is for, beside localhost (may be given several times)")
	f.StringVar(&c.manage, "manage", "127.0.0.1:0", "`ADDRESS` of the management API, ip:port on loopback")
	f.StringVar(&c.control, "control", "127.0.0.1:0", "`ADDRESS` of the control API, which has the policies, ip:port on loopback")
	f.StringArrayVar(&c.instances, "instance", nil, "an instance, `NAME[@REGION]`, told from others by the header of a request; lab if none is given (may be given several times)")
	f.StringArrayVar(&c.keys, "key", nil, "an access key, its secret made: `ID[=INSTANCE,...]`, for these instances alone (may be given several times)")
	f.StringVar(&c.keyFile, "key-file", "", "`FILE` of access keys with their secrets, as tablestore-keys.json")
	f.StringVar(&c.region, "region", "", "`REGION` that V4 signatures have to be made for, and of instances that name none; any, and cn-hangzhou, if empty")
	f.StringVar(&c.account, "account", "", "`NUMBER` of the account that owns all")
	f.StringArrayVar(&c.vpcs, "vpc", nil, "a network that clients are in, `ID=PREFIX`, as vpc-a=127.0.1.0/24 (may be given several times)")
	f.StringVar(&c.dataDir, "data-dir", "", "`FOLDER` that keeps everything; in memory if empty")
	f.DurationVar(&c.ready, "ready", 0, "how `LONG` a new table is not ready")
	f.DurationVar(&c.clock, "clock", 0, "how `FAR` its clock is fast; slow below 0")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.serveTablestore(cmd, &c) }
	check := func(*cobra.Command, []string) error {
		if c.output != "table" && c.output != "json" {
			return fmt.Errorf("-o %s: there are table and json", c.output)
		}
		if c.name == "" || strings.ContainsAny(c.name, `/\`) || strings.HasPrefix(c.name, ".") {
			return fmt.Errorf("--name %s: a word that can name a file", c.name)
		}
		return nil
	}
	cmd.PreRunE = check
	for _, verb := range a.tablestoreVerbs(&c) {
		verb.PreRunE = check
		cmd.AddCommand(verb)
	}
	return cmd
}

func (a *app) serveTablestore(cmd *cobra.Command, c *tableLab) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if _, err := a.tableAsk(cmd.Context(), c, http.MethodGet, "/status", nil); err == nil {
		return fmt.Errorf("one called %s runs in %s\nhint: give this one another --name, or another --dir", c.name, a.folder())
	}
	s, err := tablestore.New(o)
	if err != nil {
		return err
	}
	s.SetClockOffset(c.clock)
	files, err := a.tableFiles(s, c, o)
	defer func() {
		for _, f := range files {
			_ = os.Remove(f)
		}
	}()
	if err != nil {
		return errors.Join(err, s.Close())
	}
	if err := a.tableBanner(s, c, o); err != nil {
		return errors.Join(err, s.Close())
	}
	<-cmd.Context().Done()
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Fprintln(a.err, "\nended")
	return nil
}

// options reads the flags.
func (c *tableLab) options() (tablestore.Options, error) {
	o := tablestore.Options{
		Listen: c.listen, TLSListen: c.tlsListen, TLSNames: c.tlsNames, Manage: c.manage, Control: c.control,
		Region: c.region, Account: c.account, DataDir: c.dataDir, Ready: c.ready,
	}
	for _, flag := range [][2]string{{"--listen", c.listen}, {"--tls-listen", c.tlsListen}, {"--manage", c.manage}, {"--control", c.control}} {
		if flag[1] == "" {
			continue
		}
		if at, err := netip.ParseAddrPort(flag[1]); err != nil || !at.Addr().IsLoopback() {
			return o, fmt.Errorf("%s %s: an ip:port on loopback\nhint: nothing of this is hardened for any other network", flag[0], flag[1])
		}
	}
	if c.ready < 0 || c.ready > time.Hour {
		return o, fmt.Errorf("--ready %s: 0 to 1h", c.ready)
	}
	if len(c.instances) == 0 {
		o.Instances = []tablestore.Instance{{Name: "lab"}}
	}
	for _, text := range c.instances {
		name, region, _ := strings.Cut(text, "@")
		o.Instances = append(o.Instances, tablestore.Instance{Name: name, Region: region})
	}
	for _, text := range c.vpcs {
		id, prefix, _ := strings.Cut(text, "=")
		p, err := netip.ParsePrefix(prefix)
		if err != nil || id == "" {
			return o, fmt.Errorf("--vpc %s: ID=PREFIX, as vpc-a=127.0.1.0/24", text)
		}
		o.VPCs = append(o.VPCs, tablestore.VPC{ID: id, Prefix: p.Masked()})
	}
	if c.keyFile != "" {
		text, err := os.ReadFile(c.keyFile)
		if err != nil {
			return o, fmt.Errorf("--key-file: %w", err)
		}
		if err := json.Unmarshal(text, &o.Keys); err != nil || len(o.Keys) == 0 {
			return o, fmt.Errorf("--key-file %s: a JSON list of keys, each {\"id\": …, \"secret\": …}", c.keyFile)
		}
	}
	for _, text := range c.keys {
		id, instances, limited := strings.Cut(text, "=")
		k := tablestore.Key{ID: id, Secret: tablestore.NewSecret()}
		if limited {
			k.Instances = strings.Split(instances, ",")
		}
		if id == "" || limited && instances == "" {
			return o, fmt.Errorf("--key %s: ID, or ID=INSTANCE,…", text)
		}
		o.Keys = append(o.Keys, k)
	}
	return o, nil
}

// tablePath is the path of a file of a server's run.
func (a *app) tablePath(name, suffix string) string { return filepath.Join(a.folder(), name+suffix) }

// tableFiles writes what clients and verbs need, and returns what it wrote.
func (a *app) tableFiles(s *tablestore.Server, c *tableLab, o tablestore.Options) ([]string, error) {
	if err := os.MkdirAll(a.folder(), 0o700); err != nil {
		return nil, fmt.Errorf("work folder: %w", err)
	}
	var written []string
	write := func(suffix string, mode os.FileMode, text []byte) error {
		path := a.tablePath(c.name, suffix)
		// One that is there may be readable by others: it is made anew.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		written = append(written, path)
		return os.WriteFile(path, text, mode)
	}
	keys, err := json.MarshalIndent(s.Keys(), "", "  ")
	if err != nil {
		return nil, err
	}
	k := s.Key()
	lines := [][2]string{
		{"TABLESTORE_ACCESS_KEY_ID", k.ID},
		{"TABLESTORE_ACCESS_KEY_SECRET", k.Secret},
		{"LAB_ENDPOINT", s.Endpoint()},
		{"LAB_INSTANCE", o.Instances[0].Name},
		{"LAB_CONTROL", s.Control()},
		{"LAB_MANAGE", s.Manage()},
		{"LAB_TOKEN", s.ManageToken()},
	}
	if s.TLSEndpoint() != "" {
		ca, err := filepath.Abs(a.tablePath(c.name, "-ca.pem"))
		if err == nil {
			err = write("-ca.pem", 0o644, s.CA())
		}
		if err != nil {
			return written, fmt.Errorf("certificate: %w", err)
		}
		lines = append(lines, [2]string{"LAB_TLS_ENDPOINT", s.TLSEndpoint()}, [2]string{"LAB_CA_FILE", ca})
	}
	env := ""
	for _, l := range lines {
		env += l[0] + "='" + strings.ReplaceAll(l[1], "'", `'\''`) + "'\n"
	}
	if err := write("-keys.json", 0o600, append(keys, '\n')); err != nil {
		return written, fmt.Errorf("file of the keys: %w", err)
	}
	if err := write(".env", 0o600, []byte(env)); err != nil {
		return written, fmt.Errorf("file of the addresses: %w", err)
	}
	return written, nil
}

// tableBanner says what is running and what to try. Secrets are in the files.
func (a *app) tableBanner(s *tablestore.Server, c *tableLab, o tablestore.Options) error {
	env, keys := a.tablePath(c.name, ".env"), a.tablePath(c.name, "-keys.json")
	var names, ids []string
	for _, in := range s.Instances() {
		names = append(names, in.Name)
	}
	for _, k := range s.Keys() {
		ids = append(ids, k.ID)
	}
	if c.output == "json" {
		said := map[string]any{
			"name": c.name, "endpoint": s.Endpoint(), "instances": names, "key_ids": ids,
			"control": s.Control(), "manage": s.Manage(), "env_file": env, "keys_file": keys, "data_dir": o.DataDir,
		}
		if s.TLSEndpoint() != "" {
			said["tls_endpoint"], said["ca_file"] = s.TLSEndpoint(), a.tablePath(c.name, "-ca.pem")
		}
		return json.NewEncoder(a.out).Encode(said)
	}
	out := a.out
	fmt.Fprintf(out, "\n  endpoint     %s\n", s.Endpoint())
	if s.TLSEndpoint() != "" {
		fmt.Fprintf(out, "  with TLS     %s, by the issuer in %s\n", s.TLSEndpoint(), short(a.tablePath(c.name, "-ca.pem")))
	}
	fmt.Fprintf(out, "  instances    %s\n", strings.Join(names, ", "))
	fmt.Fprintf(out, "  keys         %s, secrets in %s\n", strings.Join(ids, ", "), short(keys))
	fmt.Fprintf(out, "  control API  %s\n", s.Control())
	fmt.Fprintf(out, "  management   %s\n", s.Manage())
	if o.DataDir == "" {
		fmt.Fprintf(out, "  data         in memory\n")
	} else {
		fmt.Fprintf(out, "  data         %s\n", short(o.DataDir))
	}
	fmt.Fprintf(out, "  first key, token   %s\n\nTry in another terminal:\n\n", short(env))
	flags := ""
	if a.dir != "" {
		flags += " --dir " + a.dir
	}
	if c.name != "tablestore" {
		flags += " --name " + c.name
	}
	for _, try := range [][2]string{
		{". " + short(env), "first key, endpoint and token for a client and the lines below"},
		{"curl -s $LAB_ENDPOINT", "what the service says to who has no key"},
		{"pointsman-lab tablestore requests" + flags, "what was asked"},
		{"pointsman-lab tablestore fault error --code OTSServerBusy --operation PutRow --times 3" + flags, "the next three writes are refused; the SDK tries again"},
		{"pointsman-lab tablestore fault drop --after --operation PutRow" + flags, "the next write is done, and its answer is lost"},
		{"pointsman-lab tablestore kill" + flags, "connections are refused, until revive"},
	} {
		fmt.Fprintf(out, "  %s\n      %s\n", try[0], try[1])
	}
	fmt.Fprintln(out, "\nCtrl-C ends everything.")
	return nil
}
